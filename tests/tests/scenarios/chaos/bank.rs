//! A bank whose tellers keep a book of what they were told.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::Random;
use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stop, wait_for, within};

/// Accounts with money.
#[derive(Debug)]
pub(super) struct Bank;

/// Transfers, by what their teller was told of each.
#[derive(Debug, Default)]
pub(super) struct Book {
    committed: BTreeSet<String>,
    /// Rolled back, failed, or lost before anybody asked for a commit.
    undone: BTreeSet<String>,
    /// The connection ended before COMMIT was answered.
    unknown: BTreeSet<String>,
    /// Connections that were lost or refused.
    lost: usize,
}

/// A client that transfers money.
#[derive(Debug)]
pub(super) struct Teller {
    number: usize,
    random: Random,
    transfers: usize,
    book: Book,
}

impl Bank {
    pub(super) fn open(postgres: &Postgres) -> Self {
        postgres.query("create table account (id int primary key, balance int not null)");
        postgres.query(&format!(
            "insert into account select id, {WEALTH} from generate_series(1, {ACCOUNTS}) id"
        ));
        postgres.query(
            "create table transfer (id text primary key, payer int not null, payee int not null, \
             amount int not null)",
        );
        Self
    }

    /// Compares what there is with what was told.
    pub(super) fn check(&self, postgres: &Postgres, book: &Book) {
        wait_for("all to leave PostgreSQL", PATIENCE, || {
            postgres.connections() == 0
        });
        let sum = postgres.number("select sum(balance) from account");
        assert_eq!(sum, (ACCOUNTS * WEALTH) as i64, "money was made or lost");
        let wrong = postgres.query(&format!(
            "select id, balance from account a where balance <> {WEALTH} \
             + (select coalesce(sum(amount), 0) from transfer where payee = a.id) \
             - (select coalesce(sum(amount), 0) from transfer where payer = a.id)"
        ));
        assert_eq!(wrong, Vec::<String>::new(), "these have a wrong balance");
        let there: BTreeSet<String> = postgres
            .query("select id from transfer")
            .into_iter()
            .collect();
        let missing: Vec<_> = book.committed.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "told of commits that are not there: {missing:?}"
        );
        let undone: Vec<_> = book.undone.intersection(&there).collect();
        assert!(
            undone.is_empty(),
            "not told of commits that are there: {undone:?}"
        );
        let mut known = book.committed.union(&book.unknown);
        let strange = there.iter().find(|id| !known.any(|known| known == *id));
        assert_eq!(strange, None, "nobody has asked for this");
    }
}

impl Book {
    pub(super) fn together(books: Vec<Self>) -> Self {
        let mut all = Self::default();
        for book in books {
            all.committed.extend(book.committed);
            all.undone.extend(book.undone);
            all.unknown.extend(book.unknown);
            all.lost += book.lost;
        }
        all
    }

    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }
}

impl fmt::Display for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            committed,
            undone,
            unknown,
            lost,
        } = self;
        let (committed, undone, unknown) = (committed.len(), undone.len(), unknown.len());
        write!(
            f,
            "transfers: {committed} committed, {undone} undone, {unknown} not known; \
             {lost} connections lost"
        )
    }
}

impl Teller {
    pub(super) fn new(number: usize, random: Random) -> Self {
        Self {
            number,
            random,
            transfers: 0,
            book: Book::default(),
        }
    }

    /// Transfers money, with another connection whenever one is lost.
    pub(super) fn work(mut self, pooler: &Pooler, stop: &Stop) -> Book {
        while !stop.is_set() {
            let login = Login::new().parameter("application_name", &self.name());
            let client = if self.number.is_multiple_of(3) {
                pooler.connect_unix(&login)
            } else {
                pooler.try_connect(&login)
            };
            let Ok(client) = client else {
                self.book.lost += 1;
                within(RETRY, || stop.is_set());
                continue;
            };
            let most = 1 + self.random.below(40);
            let served = prepare(&client)
                && (0..most)
                    .all(|_| stop.is_set() || (self.ask(&client) && self.transfer(&client)));
            if served {
                client.close();
            } else {
                self.book.lost += 1;
            }
        }
        self.book
    }

    /// Asks who it is, and for a word that nobody else asks for, by the statement that
    /// it has prepared; false when the connection is of no more use.
    fn ask(&mut self, client: &Client) -> bool {
        let word = format!("word {}.{}", self.number, self.transfers);
        let mut bind = b"\0own\0\0\0\0\x01".to_vec();
        bind.extend_from_slice(&u32::try_from(word.len()).unwrap().to_be_bytes());
        bind.extend_from_slice(word.as_bytes());
        bind.extend_from_slice(&[0, 0]);
        client.send_message(b'B', &bind);
        client.send_message(b'E', b"\0\0\0\0\0");
        client.send_message(b'S', b"");
        let Ok(rows) = client.pending().wait() else {
            return client.status() == 'I' && client.query("rollback").is_ok();
        };
        assert_eq!(rows, [format!("{} {word}", self.name())]);
        true
    }

    fn name(&self) -> String {
        format!("teller {}", self.number)
    }

    /// Transfers something; false when the connection is of no more use.
    fn transfer(&mut self, client: &Client) -> bool {
        self.transfers += 1;
        let id = format!("{}.{}", self.number, self.transfers);
        for (number, statement) in self.statements(&id).into_iter().enumerate() {
            let outcome = if self.number.is_multiple_of(2) {
                client.query(&statement)
            } else {
                client.execute(&statement, &[])
            };
            match outcome {
                Ok(rows) if number == 0 => assert_eq!(rows, Vec::<String>::new()),
                Ok(rows) => assert_eq!(rows, [format!("{id} {number}")]),
                Err(_) => {
                    self.book.undone.insert(id);
                    return client.query("rollback").is_ok() && client.status() == 'I';
                }
            }
        }
        if self.random.below(8) == 0 {
            self.book.undone.insert(id);
            return client.query("rollback").is_ok();
        }
        let told = commit(client);
        let kept = match told.as_deref() {
            Some("COMMIT") => &mut self.book.committed,
            Some("ROLLBACK") => &mut self.book.undone,
            Some(other) => panic!("COMMIT is answered by {other:?}"),
            None => {
                self.book.unknown.insert(id);
                return false;
            }
        };
        kept.insert(id);
        true
    }

    /// All of a transfer but its end; each answers with its own number. Accounts are
    /// locked in one order.
    fn statements(&mut self, id: &str) -> [String; 4] {
        let payer = 1 + self.random.below(ACCOUNTS);
        let payee = 1 + (payer + self.random.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = 1 + self.random.below(9);
        let change = |account: usize, number: usize| {
            let sign = if account == payer { '-' } else { '+' };
            format!(
                "update account set balance = balance {sign} {amount} where id = {account} \
                 returning '{id} {number}'"
            )
        };
        [
            "begin".to_owned(),
            format!(
                "insert into transfer values ('{id}', {payer}, {payee}, {amount}) \
                 returning id || ' 1'"
            ),
            change(payer.min(payee), 2),
            change(payer.max(payee), 3),
        ]
    }
}

/// Prepares a statement of its own; false when the connection is of no more use.
fn prepare(client: &Client) -> bool {
    let text = b"own\0select current_setting('application_name') || ' ' || $1::text\0\0\0";
    client.send_message(b'P', text);
    client.send_message(b'S', b"");
    client.pending().wait().is_ok()
}

/// Asks for a commit; gives the tag of the answer, if there is one.
fn commit(client: &Client) -> Option<String> {
    client.send_message(b'Q', b"commit\0");
    let mut told = None;
    while let Some(message) = client.read_message() {
        match message.tag {
            b'C' => told = message.strings().first().cloned(),
            // Whether it was committed before that is not said.
            b'E' => return None,
            b'Z' => return told,
            _ => {}
        }
    }
    told
}

const ACCOUNTS: usize = 10;
const WEALTH: usize = 1000;

/// When a teller who was refused tries again.
const RETRY: Duration = Duration::from_millis(20);

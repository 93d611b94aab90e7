//! Clients that use prepared statements while a scenario does something else.
//!
//! They use the names that drivers use, for other texts, and know what each of
//! theirs has to answer. Whoever gets a statement of somebody else finds out.

use std::collections::BTreeMap;
use std::thread;

use crate::client::{Client, SqlState};
use crate::pooler::Pooler;
use crate::wait::Stop;
use crate::wire::message;

/// Interfering clients, in the pool of user and database `postgres`.
#[derive(Debug)]
pub struct Crowd;

/// One of them.
#[derive(Debug)]
struct Member {
    client: Client,
    number: usize,
    /// What each of its names stands for now.
    texts: BTreeMap<&'static str, u64>,
    random: u64,
}

impl Crowd {
    /// Does `work` with so many clients around, who begin before it and end
    /// after it.
    ///
    /// # Panics
    ///
    /// When one of them got an answer that was not its own.
    pub fn during<T>(pooler: &Pooler, clients: usize, work: impl FnOnce() -> T) -> T {
        let stop = Stop::default();
        thread::scope(|scope| {
            let _guard = stop.guard();
            for number in 0..clients {
                let mut member = Member::join(pooler, number);
                // Each has prepared something before the work begins.
                member.run_prepared();
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.is_set() {
                        member.do_something();
                    }
                    member.client.close();
                });
            }
            work()
        })
    }
}

impl Member {
    fn join(pooler: &Pooler, number: usize) -> Self {
        Self {
            client: pooler.connect(),
            number,
            texts: BTreeMap::new(),
            random: number as u64 + 1,
        }
    }

    fn do_something(&mut self) {
        match self.draw(8) {
            0 => self.forget(),
            1 => self.fail(),
            2 => {
                self.client.query("begin").unwrap();
                self.run_prepared();
                self.run_prepared();
                self.client.query("commit").unwrap();
            }
            3 => assert_eq!(self.client.value("select 7"), "7"),
            _ => self.run_prepared(),
        }
    }

    /// Runs a statement by its name; prepares it in the same flight when it is
    /// new.
    fn run_prepared(&mut self) {
        let name = NAMES[usize::try_from(self.draw(NAMES.len() as u64)).unwrap()];
        let value = self.draw(1000);
        let variants = self.draw(VARIANTS);
        let mut bytes = Vec::new();
        let variant = *self.texts.entry(name).or_insert_with(|| {
            bytes = parse(name, &statement(self.number, variants));
            variants
        });
        bytes.extend_from_slice(&run(name, &value.to_string()));
        self.client.send(&bytes);
        let expected = format!("{}|{variant}|{value}", whose(self.number, variant));
        assert_eq!(self.client.pending().wait(), Ok(vec![expected]));
    }

    /// Closes a statement, so that its name is free for another text.
    fn forget(&mut self) {
        if let Some((name, _)) = self.texts.pop_first() {
            let mut bytes = message(b'C', format!("S{name}\0").as_bytes());
            bytes.extend_from_slice(&message(b'S', b""));
            self.client.send(&bytes);
            assert_eq!(self.client.pending().wait(), Ok(Vec::new()));
        }
    }

    /// Has a statement refused, after which its name does not exist.
    fn fail(&mut self) {
        self.client
            .send(&parse("refused", "select no_such_column, $1::text"));
        self.client.send(&run("refused", "1"));
        assert_eq!(self.client.pending().wait(), Err(SqlState("42703")));
    }

    /// A number below `end`, the same in every run.
    fn draw(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }
}

/// A text that says whose it is.
fn statement(number: usize, variant: u64) -> String {
    format!("select '{}', {variant}, $1::text", whose(number, variant))
}

/// Half of the texts are the same for all members, the others are their own.
fn whose(number: usize, variant: u64) -> String {
    if variant < VARIANTS / 2 {
        "everybody".to_owned()
    } else {
        format!("member {number}")
    }
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// Bind of a text, Describe, Execute and Sync.
fn run(name: &str, value: &str) -> Vec<u8> {
    let mut bind = format!("\0{name}\0").into_bytes();
    bind.extend_from_slice(&[0, 0, 0, 1]);
    bind.extend_from_slice(&u32::try_from(value.len()).unwrap().to_be_bytes());
    bind.extend_from_slice(value.as_bytes());
    bind.extend_from_slice(&[0, 0]);
    let mut bytes = message(b'B', &bind);
    bytes.extend_from_slice(&message(b'D', b"P\0"));
    bytes.extend_from_slice(&message(b'E', b"\0\0\0\0\0"));
    bytes.extend_from_slice(&message(b'S', b""));
    bytes
}

/// As psycopg, asyncpg, pg8000, tokio-postgres, pgjdbc and pgbench make them.
const NAMES: [&str; 12] = [
    "_pg3_0",
    "_pg3_1",
    "_pg3_2",
    "__asyncpg_stmt_1__",
    "__asyncpg_stmt_2__",
    "pg8000_statement_0",
    "s0",
    "s1",
    "S_1",
    "S_2",
    "P_0",
    "P0_0",
];
/// Texts that a member has.
const VARIANTS: u64 = 40;

//! Whatever is killed, started again or reloaded: no money is made or lost, and
//! nobody is told of a commit that is not there.
//!
//! Clients transfer money between accounts and keep a book of what they were
//! told. In the end it is compared with what PostgreSQL has. A seed decides what
//! happens next; how long that takes differs from run to run. `make chaos` runs it
//! for longer.

mod bank;
mod havoc;

use std::env;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::bank::{Bank, Book, Teller};
use self::havoc::Havoc;
use crate::harness::{Pooler, Postgres, Stop};

pub(crate) const SETTINGS: &str = "workers = 3\nbalance = 1\npool_mode = transaction\ndefault_pool_size = 5\n\
     server_login_retry = 1\nlog_connections = 0\nlog_disconnections = 0";

#[test]
fn transfers_are_whole_and_told_truly_whatever_is_killed_or_started_again() {
    let seed = Seed::choose();
    let postgres = Postgres::start();
    let bank = Bank::open(&postgres);
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stop = Stop::default();
    let (havoc, books) = thread::scope(|scope| {
        let _guard = stop.guard();
        let tellers: Vec<_> = (0..TELLERS)
            .map(|number| {
                let (pooler, stop) = (&pooler, &stop);
                let teller = Teller::new(number, seed.random(number));
                scope.spawn(move || teller.work(pooler, stop))
            })
            .collect();
        let mut havoc = Havoc::new(&pooler, &postgres, seed.random(TELLERS));
        havoc.wreak(length());
        stop.set();
        let books: Vec<Book> = tellers.into_iter().map(|t| t.join().unwrap()).collect();
        (havoc, books)
    });
    let done = havoc.end();
    let book = Book::together(books);
    println!("{done}; {book}");
    bank.check(&postgres, &book);
    assert!(book.committed() >= TELLERS, "too little was done: {book}");
}

/// Decides what happens; it is shown when the scenario fails.
#[derive(Debug)]
struct Seed(u64);

/// Numbers that look as if they were drawn.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Seed {
    /// That of `PGSKEIN_SEED`, or another one in every run.
    fn choose() -> Self {
        let given = env::var("PGSKEIN_SEED").ok();
        let given = given.map(|seed| seed.parse().expect("PGSKEIN_SEED is a number"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(given.unwrap_or(u64::from(now.subsec_nanos())))
    }

    fn random(&self, number: usize) -> Random {
        let mixed = (self.0 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number as u64;
        let mut random = Random(mixed.max(1));
        random.below(2);
        random
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("PGSKEIN_SEED={} decides the same again", self.0);
        }
    }
}

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % end as u64).unwrap()
    }
}

/// How long things happen; everything happens at least once in any case.
fn length() -> Duration {
    let seconds = env::var("PGSKEIN_CHAOS_SECONDS").ok();
    let seconds = seconds.map_or(4, |seconds| seconds.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

const TELLERS: usize = 6;

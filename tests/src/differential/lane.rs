//! Lanes: clients that say sequences at the same time, and compare.

use std::env;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::compare::{Difference, Outcome, compare};
use super::generator::generate;
use super::run::{End, log_in, run};
use super::sequence::Sequence;
use super::shrink::shrink;
use super::texts;
use crate::client::{Client, Login};
use crate::pooler::Pooler;
use crate::postgres::Postgres;
use crate::wait::{PATIENCE, Stop};

/// A comparison of PostgreSQL with itself through a pooler.
#[derive(Debug)]
pub struct Differential<'a> {
    postgres: &'a Postgres,
    pooler: &'a Pooler,
    plan: Plan,
    /// Lanes that have said all that they have to; the others need them still.
    finished: AtomicUsize,
    stop: Stop,
    failure: Mutex<Option<String>>,
    same: AtomicUsize,
    partly: AtomicUsize,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
struct Plan {
    first: u64,
    count: u64,
    /// How often each is run.
    rounds: u64,
}

/// One client of each side.
#[derive(Debug)]
struct Lane<'a> {
    of: &'a Differential<'a>,
    number: u64,
    /// How many sequences were run, which tells their tables apart.
    runs: u64,
    /// A session for the tables of each side.
    tables: [Client; 2],
}

impl<'a> Differential<'a> {
    /// Prepares a comparison; both must serve the database `postgres`.
    pub fn new(postgres: &'a Postgres, pooler: &'a Pooler) -> Self {
        postgres.query(&format!("create database {DIRECT}"));
        Self {
            postgres,
            pooler,
            plan: Plan::from_environment(),
            finished: AtomicUsize::new(0),
            stop: Stop::default(),
            failure: Mutex::new(None),
            same: AtomicUsize::new(0),
            partly: AtomicUsize::new(0),
        }
    }

    /// Runs all sequences.
    ///
    /// # Panics
    ///
    /// With a report when the answers to one of them differ.
    pub fn run(self) {
        std::thread::scope(|scope| {
            let _guard = self.stop.guard();
            let lanes: Vec<_> = (0..LANES)
                .map(|number| {
                    let lane = Lane::new(&self, number);
                    scope.spawn(move || lane.run())
                })
                .collect();
            for lane in lanes {
                lane.join().expect("a lane reports and does not panic");
            }
        });
        if let Some(failure) = self.failure.into_inner().unwrap() {
            panic!("{failure}");
        }
        let (same, partly) = (self.same.into_inner(), self.partly.into_inner());
        println!("{same} sequences answered alike, {partly} in part");
        assert!(partly <= same / 5, "most sequences are compared as a whole");
    }
}

impl Plan {
    /// A part of all seeds that is always the same, or what the environment
    /// asks for: a seed to begin with, and a number of sequences. Without a
    /// number the one sequence is run again and again.
    fn from_environment() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            Some(text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
        };
        match (number(SEED), number(COUNT)) {
            (Some(first), None) => Self {
                first,
                count: 1,
                rounds: ROUNDS,
            },
            (first, count) => Self {
                first: first.unwrap_or(1),
                count: count.unwrap_or(DEFAULT_COUNT),
                rounds: 1,
            },
        }
    }
}

impl<'a> Lane<'a> {
    fn new(of: &'a Differential<'a>, number: u64) -> Self {
        let login = Login::new().parameter("application_name", "direct");
        let connect = |database| {
            let wire = of.postgres.wire();
            let login = login.clone().database(database);
            let client = Client::log_in(wire, &login).expect("the server takes logins");
            client.query(PATIENT).expect("a setting can be set");
            client
        };
        Self {
            of,
            number,
            runs: 0,
            tables: [connect(DIRECT), connect(POOLED)],
        }
    }

    /// Runs its share of the sequences, then others to interfere with those
    /// that have not finished.
    fn run(mut self) {
        let plan = self.of.plan;
        let mut seed = plan.first + self.number;
        let mut finished = false;
        while !self.of.stop.is_set() {
            if seed >= plan.first + plan.count && !finished {
                finished = true;
                self.of.finished.fetch_add(1, Ordering::Relaxed);
            }
            if self.of.finished.load(Ordering::Relaxed) == LANES_COUNT {
                return;
            }
            let rounds = if finished { 1 } else { plan.rounds };
            for _ in 0..rounds {
                self.check(seed);
                if self.of.stop.is_set() {
                    return;
                }
            }
            seed += LANES;
        }
    }

    /// Runs the sequence of a seed, and reports a difference.
    fn check(&mut self, seed: u64) {
        let sequence = generate(seed);
        match self.compare(&sequence, PATIENCE) {
            Ok(Outcome::Same) => {
                self.of.same.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::Partly) => {
                self.of.partly.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::Different(difference)) => self.report(sequence, difference),
            Err(end) => self.fail(&format!(
                "seed {seed} does not end with PostgreSQL alone: {end:?}\n{sequence}"
            )),
        }
    }

    /// Runs a sequence on both sides.
    ///
    /// # Errors
    ///
    /// How it ended, if that was not well with PostgreSQL alone: no client may
    /// say this.
    fn compare(&mut self, sequence: &Sequence, deadline: Duration) -> Result<Outcome, End> {
        self.runs += 1;
        let letter = char::from(b'a' + u8::try_from(self.number).unwrap());
        let tables = format!("{letter}{:06}_", self.runs);
        for client in &self.tables {
            let sql = with_tables(texts::TABLES, &tables);
            let made = client.query(&sql);
            made.unwrap_or_else(|e| panic!("{sql}: {e:?}, {:?}", client.last_error()));
        }
        let mut direct = self.of.postgres.wire();
        let mut pooled = self.of.pooler.wire();
        assert!(log_in(&mut direct, DIRECT), "PostgreSQL takes logins");
        assert!(log_in(&mut pooled, POOLED), "the pooler takes logins");
        let theirs = run(&mut direct, sequence, &tables, deadline);
        if theirs.end != End::Whole {
            return Err(theirs.end);
        }
        let ours = run(&mut pooled, sequence, &tables, deadline);
        let whole = ours.end == End::Whole;
        for mut wire in [direct, pooled] {
            drop(wire.try_send(TERMINATE));
        }
        if whole {
            for client in &self.tables {
                // They stay where something has gone wrong and is reported.
                drop(client.query(&with_tables(texts::REMOVE, &tables)));
            }
        }
        Ok(compare(&theirs, &ours))
    }

    /// Shrinks a sequence whose answers differ and says what is left of it.
    fn report(&mut self, sequence: Sequence, difference: Difference) {
        let of = self.of;
        // One report is enough, and the others go on interfering meanwhile.
        let Ok(mut failure) = of.failure.try_lock() else {
            return;
        };
        if failure.is_some() {
            return;
        }
        let seed = sequence.seed;
        let messages = sequence.len();
        let first = difference.kind.clone();
        eprintln!("seed {seed}, to be made smaller: {difference}\n{sequence}");
        let mut tries = TRIES;
        let often = (0..TRIES).all(|_| {
            let outcome = self.compare(&sequence, IMPATIENCE);
            matches!(outcome, Ok(Outcome::Different(difference)) if difference.kind == first)
        });
        if often {
            tries = 1;
        }
        let mut again = 0;
        let (smallest, difference) = shrink(sequence, difference, |candidate| {
            for _ in 0..tries {
                if let Ok(Outcome::Different(difference)) = self.compare(candidate, IMPATIENCE)
                    && difference.kind == first
                {
                    again += 1;
                    return Some(difference);
                }
            }
            None
        });
        *failure = Some(format!(
            "seed {seed}: {difference}\nseen {again} times more while it was made smaller from \
             {messages} to {} messages:\n{smallest}\nrun it again with {SEED}={seed}",
            smallest.len(),
        ));
        of.stop.set();
    }

    fn fail(&self, text: &str) {
        let mut failure = self.of.failure.lock().unwrap();
        failure.get_or_insert_with(|| text.to_owned());
        self.of.stop.set();
    }
}

/// A text about the tables of one sequence.
fn with_tables(sql: &str, tables: &str) -> String {
    sql.replace(super::message::TABLES, tables)
}

/// Clients at the same time.
const LANES: u64 = 4;
const LANES_COUNT: usize = 4;
/// Sequences of one comparison, unless told otherwise.
const DEFAULT_COUNT: u64 = 120;
/// How often the sequence of a given seed is run.
const ROUNDS: u64 = 30;
/// How often a smaller sequence is tried: what interferes is not the same.
const TRIES: usize = 3;
/// How long an answer may take while a sequence is made smaller.
const IMPATIENCE: Duration = Duration::from_secs(2);
/// The first seed to run.
const SEED: &str = "PGSKEIN_DIFFERENTIAL_SEED";
/// How many seeds to run.
const COUNT: &str = "PGSKEIN_DIFFERENTIAL_COUNT";
/// Database of the direct connections.
const DIRECT: &str = "direct";
/// Database of those through the pooler.
const POOLED: &str = "postgres";
/// Tables that somebody still holds stay.
const PATIENT: &str = "set lock_timeout = '2s'";
/// A Terminate.
const TERMINATE: &[u8] = &[b'X', 0, 0, 0, 4];

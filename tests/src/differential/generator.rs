//! Making sequences from a seed.
//!
//! A sequence is a row of phrases: what a driver would say to prepare, run or
//! close something, in whatever order, so that names are in use or unknown,
//! transactions are open or failed, and portals are gone. A client may say all
//! of that. What it may not say never comes up: a COPY always gets its end, and
//! state of the session that a transaction pooler does not keep (statements of
//! SQL's PREPARE, temporary tables, settings that are not reported) is used
//! within one transaction.

mod copies;
mod phrases;

use super::message::ClientMessage;
use super::random::Random;
use super::sequence::{Flight, Sequence, Then};
use super::texts;

/// Makes the sequence of a seed.
pub(super) fn generate(seed: u64) -> Sequence {
    let mut random = Random::seeded(seed);
    let habits = Habits::draw(&mut random);
    let mut generator = Generator {
        random,
        habits,
        flights: Vec::new(),
        groups: 0,
        texts: 0,
    };
    match generator.random.below(100) {
        0 => generator.long_pipeline(),
        1..=8 => generator.many_statements(),
        _ => generator.conversation(),
    }
    generator.finish();
    Sequence {
        seed,
        flights: generator.flights,
    }
}

/// A sequence in the making.
#[derive(Debug)]
struct Generator {
    random: Random,
    habits: Habits,
    flights: Vec<Flight>,
    /// How many groups of flights belong together.
    groups: u32,
    /// How many texts were made that occur only once.
    texts: u32,
}

/// How a client behaves in one sequence, in percent.
#[derive(Debug)]
struct Habits {
    /// Phrases that end with Sync.
    sync: usize,
    /// Others that end with Flush.
    flush: usize,
    /// Flights after which it waits.
    wait: usize,
    /// Other flights that go out at once.
    write: usize,
    /// Flights that are cut.
    cut: usize,
    /// Phrases that make no sense.
    noise: usize,
    /// Phrases about the shape of a table.
    shape: usize,
    /// How many names it has for statements.
    names: usize,
}

impl Habits {
    fn draw(random: &mut Random) -> Self {
        Self {
            sync: *random.pick(&[95, 95, 70, 40]),
            flush: *random.pick(&[0, 30, 80]),
            wait: *random.pick(&[100, 100, 60, 10, 0]),
            write: *random.pick(&[100, 50, 0]),
            cut: *random.pick(&[0, 20, 60]),
            noise: *random.pick(&[0, 5, 30]),
            shape: *random.pick(&[0, 0, 0, 40]),
            names: random.between(1, 5),
        }
    }
}

impl Generator {
    /// Phrases of all kinds.
    fn conversation(&mut self) {
        for _ in 0..self.random.between(3, 16) {
            if self.random.percent(self.habits.noise) {
                self.noise();
            } else if self.random.percent(self.habits.shape) {
                self.shape();
            } else {
                let phrase = self.random.weighted(PHRASES);
                phrase(self);
            }
        }
    }

    /// Ends whatever is open, and asks what is left.
    fn finish(&mut self) {
        let result = [
            ClientMessage::Sync,
            ClientMessage::Query("rollback".to_owned()),
            ClientMessage::Query(texts::RESULT.to_owned()),
        ];
        let group = self.group();
        self.push(result.to_vec(), Some(group), Then::Wait);
    }

    /// Adds what may be left out message by message, with the end that is the
    /// client's habit.
    fn say(&mut self, mut messages: Vec<ClientMessage>) {
        if self.random.percent(self.habits.sync) {
            messages.push(ClientMessage::Sync);
        } else if self.random.percent(self.habits.flush) {
            messages.push(ClientMessage::Flush);
        }
        let then = self.then();
        self.push(messages, None, then);
    }

    /// Adds simple queries that are left out only together.
    fn say_whole(&mut self, queries: &[String]) {
        let group = self.group();
        let messages = queries.iter().cloned().map(ClientMessage::Query).collect();
        let then = self.then();
        self.push(messages, Some(group), then);
    }

    fn push(&mut self, messages: Vec<ClientMessage>, whole: Option<u32>, then: Then) {
        let cuts = self.cuts();
        self.flights.push(Flight {
            messages,
            whole,
            if_copying: false,
            then,
            cuts,
        });
    }

    fn then(&mut self) -> Then {
        if self.random.percent(self.habits.wait) {
            Then::Wait
        } else if self.random.percent(self.habits.write) {
            Then::Write
        } else {
            Then::Join
        }
    }

    fn cuts(&mut self) -> Vec<usize> {
        let mut cuts = Vec::new();
        if self.random.percent(self.habits.cut) {
            for _ in 0..self.random.between(1, 4) {
                cuts.push(self.random.below(1 << 16));
            }
        }
        cuts
    }

    fn group(&mut self) -> u32 {
        self.groups += 1;
        self.groups
    }

    /// A text that nothing else in the sequence is prepared as.
    fn once(&mut self, sql: &str) -> String {
        self.texts += 1;
        format!("{sql} /* {} */", self.texts)
    }
}

/// Adds a phrase.
type Phrase = fn(&mut Generator);

/// What a client says, and how often.
const PHRASES: &[(usize, Phrase)] = &[
    (14, Generator::query),
    (16, Generator::prepare),
    (22, Generator::run_prepared),
    (14, Generator::run_unnamed),
    (5, Generator::prepare_and_run),
    (4, Generator::close),
    (4, Generator::describe),
    (9, Generator::transaction),
    (3, Generator::wrong),
    (3, Generator::portal_in_parts),
    (3, Generator::cursor),
    (3, Generator::function_call),
    (3, Generator::definition),
    (4, Generator::parameter),
    (2, Generator::forget_all),
    (2, Generator::prepare_in_sql),
    (3, Generator::copy_simple),
    (3, Generator::copy_extended),
    (2, Generator::copy_blindly),
    (2, Generator::burst),
];

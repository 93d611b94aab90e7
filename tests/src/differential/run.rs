//! Running a sequence on one connection.

use std::time::{Duration, Instant};

use super::dues::Dues;
use super::sequence::{Flight, Sequence, Then};
use crate::client::Login;
use crate::wire::{Message, Wire};

/// Everything that came back for a sequence.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) messages: Vec<Message>,
    pub(super) end: End,
}

/// How the run of a sequence ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// All was answered.
    Whole,
    /// This was due and did not come in time.
    Hung(Vec<String>),
    /// The connection was closed.
    Closed,
}

/// A run in progress.
#[derive(Debug)]
struct Run<'a> {
    wire: &'a mut Wire,
    deadline: Duration,
    dues: Dues,
    messages: Vec<Message>,
    outbox: Vec<u8>,
    cuts: Vec<usize>,
}

/// Logs in over a connected socket; true if that went well.
pub(super) fn log_in(wire: &mut Wire, database: &str) -> bool {
    let login = Login::new().database(database);
    if wire.try_send(&login.packet()).is_err() {
        return false;
    }
    loop {
        match wire.read_message() {
            Some(message) if message.tag == b'Z' => return true,
            Some(message) if message.tag != b'E' => {}
            _ => return false,
        }
    }
}

/// Says a sequence; `tables` begins the names of its tables.
///
/// An answer may take as long as `deadline`, which guards against hanging.
pub(super) fn run(
    wire: &mut Wire,
    sequence: &Sequence,
    tables: &str,
    deadline: Duration,
) -> Answers {
    let mut run = Run {
        wire,
        deadline,
        dues: Dues::default(),
        messages: Vec::new(),
        outbox: Vec::new(),
        cuts: Vec::new(),
    };
    let mut end = End::Whole;
    for flight in &sequence.flights {
        end = run.say(flight, tables);
        if end != End::Whole {
            break;
        }
    }
    Answers {
        messages: run.messages,
        end,
    }
}

impl Run<'_> {
    fn say(&mut self, flight: &Flight, tables: &str) -> End {
        if flight.if_copying && !self.dues.copying() {
            return End::Whole;
        }
        let start = self.outbox.len();
        for message in &flight.messages {
            self.dues.on_sent(message);
            self.outbox.extend_from_slice(&message.encode(tables));
        }
        let added = self.outbox.len() - start;
        if added > 0 {
            let cuts = flight.cuts.iter().map(|cut| start + cut % added);
            self.cuts.extend(cuts);
        }
        match flight.then {
            Then::Join => End::Whole,
            Then::Write => self.write(),
            Then::Wait => match self.write() {
                End::Whole => self.wait(),
                end => end,
            },
        }
    }

    /// Writes what was said, in pieces.
    fn write(&mut self) -> End {
        self.cuts.sort_unstable();
        let mut from = 0;
        for cut in self.cuts.drain(..).chain([self.outbox.len()]) {
            if self.wire.try_send(&self.outbox[from..cut]).is_err() {
                return End::Closed;
            }
            from = cut;
            // The other side may read the piece before the next one comes.
            for _ in 0..YIELDS {
                std::thread::yield_now();
            }
        }
        self.outbox.clear();
        End::Whole
    }

    /// Reads until nothing is due.
    fn wait(&mut self) -> End {
        while self.dues.pending() {
            let start = Instant::now();
            let Some(message) = self.wire.poll_message(self.deadline) else {
                if start.elapsed() < self.deadline {
                    return End::Closed;
                }
                let due = self.dues.words().into_iter();
                return End::Hung(due.map(str::to_owned).collect());
            };
            self.dues.on_answer(&message);
            self.messages.push(message);
        }
        End::Whole
    }
}

/// How often the processor is offered to others between two pieces.
const YIELDS: usize = 10;

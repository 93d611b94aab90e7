//! A sequence: everything that a client says in one session.

use std::fmt;

use super::message::ClientMessage;

/// What one client says, flight by flight.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) seed: u64,
    pub(super) flights: Vec<Flight>,
}

/// Messages that are sent without a look at their answers.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) messages: Vec<ClientMessage>,
    /// What a smaller sequence leaves out all at once: a COPY without its end
    /// is nothing that a client may send.
    pub(super) whole: Option<u32>,
    /// Whether it is data for a COPY, sent only if the server waits for data.
    pub(super) if_copying: bool,
    pub(super) then: Then,
    /// Where its bytes are cut into several writes, each modulo its length.
    pub(super) cuts: Vec<usize>,
}

/// What a client does behind a flight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    /// Goes on; the bytes go out together with those of the next flight.
    Join,
    /// Writes, and reads nothing yet.
    Write,
    /// Writes, and waits for all that is due.
    Wait,
}

impl Sequence {
    /// How many messages it has.
    pub(super) fn len(&self) -> usize {
        self.flights
            .iter()
            .map(|flight| flight.messages.len())
            .sum()
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for flight in &self.flights {
            let condition = if flight.if_copying {
                ", if the server waits for COPY data"
            } else {
                ""
            };
            let then = match flight.then {
                Then::Join => "join with the next",
                Then::Write => "write",
                Then::Wait => "write and wait",
            };
            write!(f, "- {then}{condition}")?;
            if !flight.cuts.is_empty() {
                write!(f, ", cut at {:?}", flight.cuts)?;
            }
            writeln!(f)?;
            let many = flight.messages.len() > SHOWN;
            let shown = if many { SHOWN } else { flight.messages.len() };
            for message in &flight.messages[..shown] {
                writeln!(f, "    {message}")?;
            }
            if many {
                writeln!(f, "    … {} messages in all", flight.messages.len())?;
            }
        }
        Ok(())
    }
}

/// Messages of a flight that are shown.
const SHOWN: usize = 40;

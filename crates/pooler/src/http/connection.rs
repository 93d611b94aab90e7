//! One connection: a request, its answer, and the end.
//!
//! ```text
//! reading ──request──> writing ──answer──> closing ──> gone
//!    └────────────── deadline, or the other side leaves ──────┘
//! ```
//!
//! Our side is closed after the answer, and what still comes is read over for a
//! moment: closing with unread bytes would reset the connection, and the answer
//! might be lost with it.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::message::{Asked, LONGEST};

/// A connection of somebody who asks how the group is.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: TcpStream,
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// The request is not whole yet.
    Reading(Vec<u8>),
    /// What is left of the answer.
    Writing(Vec<u8>),
    /// Answered; so many bytes more are read over.
    Closing { left: usize },
}

/// Whether a connection is still needed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// Something is to come.
    Waits,
    /// It is over, or of no use.
    Over,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            state: State::Reading(Vec::new()),
            deadline: now + PATIENCE,
        }
    }

    /// When it is closed, whatever it is doing.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Goes on as far as the socket lets it; `answer` makes the answer.
    pub(super) fn turn(&mut self, now: Instant, answer: impl Fn(&Asked) -> Vec<u8>) -> Turn {
        match self.go_on(now, answer) {
            Ok(turn) => turn,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Turn::Waits,
            Err(_) => Turn::Over,
        }
    }

    fn go_on(&mut self, now: Instant, answer: impl Fn(&Asked) -> Vec<u8>) -> io::Result<Turn> {
        loop {
            match &mut self.state {
                State::Reading(received) => {
                    let mut bytes = [0; 1024];
                    let room = bytes.len().min(LONGEST.saturating_sub(received.len()));
                    let room = bytes.get_mut(..room).unwrap_or_default();
                    let length = retry(|| self.stream.read(room))?;
                    if length == 0 {
                        return Ok(Turn::Over);
                    }
                    received.extend(room.iter().take(length));
                    if let Some(asked) = Asked::of(received) {
                        self.state = State::Writing(answer(&asked));
                    }
                }
                State::Writing(left) => {
                    let written = retry(|| self.stream.write(left))?;
                    left.drain(..written.min(left.len()));
                    if left.is_empty() {
                        self.stream.shutdown(Shutdown::Write)?;
                        self.state = State::Closing { left: READ_OVER };
                        self.deadline = self.deadline.min(now + LINGER);
                    }
                }
                State::Closing { left } => {
                    let mut rest = [0; 1024];
                    let length = retry(|| self.stream.read(&mut rest))?;
                    *left = left.saturating_sub(length);
                    if length == 0 || *left == 0 {
                        return Ok(Turn::Over);
                    }
                }
            }
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// How long a connection may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it is read on after the answer.
const LINGER: Duration = Duration::from_secs(1);

/// How much of what comes behind a request is read over, in bytes.
const READ_OVER: usize = 64 * 1024;

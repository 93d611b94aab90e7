//! Legacy: all that a supervisor leaves to the program that takes its place.
//!
//! At a restart the supervisor executes another program over itself. What it
//! knows goes through a file in memory, what it holds through descriptors that
//! stay open and are named here by their numbers. Everything is written with
//! the time it has lasted or has left, never with a time of day.
//!
//! Layout, version 2: eight bytes that say what it is, version (2), then what
//! the types below say, in that order; version 1 has neither
//! `cancel_listeners` nor `http`. A number of a descriptor, process, worker
//! or generation has 4 bytes; others 8. A list has its length before it, in 4
//! bytes; what may be missing, a byte that is 0 or 1.

mod books;
#[cfg(test)]
mod tests;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use pgskein_protocol::key::Slot;

pub use self::books::{Books, BooksRef};
use crate::console::Topic;
use crate::control::Asked;
use crate::drain_order::DrainOrder;
use crate::ledger::WorkerId;

/// All that a supervisor leaves to the next program.
#[derive(Debug, PartialEq)]
pub struct Legacy {
    /// The program that writes this, and how it was started.
    pub program: Program,
    /// The configuration to go over to.
    pub config: Configuration,
    /// What there is once for the group.
    pub common: Common,
    /// The slots.
    pub places: Vec<Place>,
    /// The worker processes.
    pub workers: Vec<Worker>,
    /// Connections to the supervisor's peer socket.
    pub peers: Vec<Peer>,
    /// What is being asked of the group: reloads and settings that wait for
    /// their turn.
    pub asked: Vec<(Option<AskerId>, Asked)>,
    /// What is left of the orders to go away that are in force.
    pub drains: Vec<DrainOrder>,
    /// Consoles that wait for tables of what was counted.
    pub tables: Vec<(AskerId, Topic)>,
    /// The restart that this is part of.
    pub restart: Restart,
    /// The books, encoded by [`Books::encode`].
    pub books: Vec<u8>,
}

/// A descriptor that stays open.
pub type Descriptor = i32;

/// A console that waits, by its worker and the number of its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AskerId {
    /// The incarnation of the worker.
    pub worker: u32,
    /// The request.
    pub request: u64,
}

/// A program, and how it was started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// Where it was started from.
    pub path: PathBuf,
    /// It logs to standard error.
    pub stderr: bool,
    /// How often `-v` was given.
    pub verbose: u8,
}

/// The configuration in effect, and the one to go over to.
#[derive(Clone, Eq, PartialEq)]
pub struct Configuration {
    /// Version of the configuration in effect.
    pub version: u64,
    /// All its files.
    pub former: Vec<u8>,
    /// All files of the one to go over to.
    pub sources: Vec<u8>,
    /// Settings that a reload does not change, with the values in effect.
    pub fixed: Vec<(String, String)>,
}

/// What there is once for the group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Common {
    /// How long the group has served.
    pub age: Duration,
    /// The number that was last given to a connection of the supervisor.
    pub last_token: u32,
    /// The folder of the peer sockets.
    pub runtime_dir: PathBuf,
    /// Its lock.
    pub lock: Descriptor,
    /// The supervisor's peer socket.
    pub peer: Descriptor,
    /// The scoreboard.
    pub scoreboard: Descriptor,
    /// The word that says which version that is.
    pub scoreboard_version: u64,
    /// The pidfile.
    pub pidfile: Option<PathBuf>,
    /// The unix socket for clients.
    pub unix: Option<UnixSocket>,
    /// Secret of the names of prepared statements.
    pub statement_key: [u8; 16],
    /// Where other hosts bring cancel requests.
    pub cancel_listeners: Vec<Descriptor>,
    /// Where HTTP is answered, if anywhere.
    pub http: Option<Http>,
}

/// The unix socket for clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnixSocket {
    /// The socket.
    pub listener: Descriptor,
    /// Its name.
    pub path: PathBuf,
    /// What its file is known by, if it has one.
    pub mark: Option<String>,
}

/// Where HTTP is answered, and by whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Http {
    /// The sockets.
    pub listeners: Vec<Descriptor>,
    /// The process that accepts from them.
    pub process: Option<HttpProcess>,
}

/// A process that answers HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpProcess {
    /// Its number.
    pub pid: u32,
    /// The link to it.
    pub link: Descriptor,
}

/// A slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Its number.
    pub slot: Slot,
    /// The generation that serves it; 0 if it is new, and its listeners do not
    /// listen yet.
    pub generation: u32,
    /// Deaths of its workers in a row.
    pub failures: u32,
    /// It has no worker of its own any more.
    pub retired: bool,
    /// Its listeners.
    pub listeners: Vec<Descriptor>,
    /// Its worker, by its incarnation.
    pub worker: Option<u32>,
    /// The worker that accepts meanwhile, by its incarnation.
    pub adopter: Option<u32>,
}

/// A worker process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Worker {
    /// Who it is.
    pub id: WorkerId,
    /// Its process.
    pub pid: u32,
    /// The link to it, unless that is closed.
    pub link: Option<Link>,
    /// How long ago it was started.
    pub age: Duration,
    /// How long ago it was ready, if it is.
    pub ready: Option<Duration>,
    /// When it is to be killed.
    pub kill_in: Option<Duration>,
}

/// One end of a control link.
#[derive(Clone, Eq, PartialEq)]
pub struct Link {
    /// The socket.
    pub socket: Descriptor,
    /// What was read and is no whole frame yet.
    pub inbox: Vec<u8>,
    /// What is left to be written of frames, with the descriptors that go with
    /// the first byte.
    pub outbox: Vec<(Vec<u8>, Vec<Descriptor>)>,
}

/// A connection to the supervisor's peer socket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// The number that the supervisor has given it.
    pub token: u32,
    /// The socket.
    pub socket: Descriptor,
    /// What was read and is no whole request yet.
    pub inbox: Vec<u8>,
    /// How long it has until it is closed.
    pub left: Duration,
}

/// A restart that is under way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Restart {
    /// Who has asked for it.
    pub asker: Option<AskerId>,
    /// How long ago.
    pub age: Duration,
    /// How many slots are to have a worker of their own.
    pub workers: u32,
    /// What whoever has asked is told in the end, if all goes well.
    pub notice: String,
}

/// What another program has left cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LegacyError {
    /// It is of a version that is not known here.
    Version(u8),
    /// It ends before it should, or holds something impossible.
    Malformed,
    /// Its ledger cannot be read.
    Ledger(crate::ledger::CarryError),
}

impl std::fmt::Display for LegacyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "state of unknown version {version}"),
            Self::Malformed => f.write_str("malformed state"),
            Self::Ledger(_) => f.write_str("the ledger in the state"),
        }
    }
}

impl std::error::Error for LegacyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ledger(error) => Some(error),
            Self::Version(_) | Self::Malformed => None,
        }
    }
}

impl std::fmt::Debug for Configuration {
    /// Shows no text of a file, which may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configuration")
            .field("version", &self.version)
            .field("fixed", &self.fixed)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Link {
    /// Shows no message: some carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("socket", &self.socket)
            .field("inbox", &self.inbox.len())
            .field("outbox", &self.outbox.len())
            .finish()
    }
}

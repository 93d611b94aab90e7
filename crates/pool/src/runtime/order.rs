//! Orders of the console that every worker carries out, and why they may not be.

use std::fmt;

use pgskein_protocol::key::Slot;

use crate::drain_order::{DrainKind, DrainOrder, DrainScope};
use crate::octets::{Octets, Truncated, put_bytes};

/// Something that every worker is to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Order {
    /// Lend no server; done when none is left.
    Pause(Scope),
    /// Take back what pauses or suspends.
    Resume(Scope),
    /// Stand still; done when everything that was begun is written.
    Suspend,
    /// Close servers when they are released.
    Reconnect(Scope),
    /// Take no new clients of this database.
    Disable(String),
    /// Take new clients of this database again.
    Enable(String),
    /// Close clients and servers, and lend no server; done when all are gone.
    Kill(Scope),
    /// Close the client of this number in the group's one sequence.
    KillClient(u64),
    /// Nothing; done when no server is left that is to be closed.
    WaitClose(Scope),
    /// Ask clients to go, as this order says.
    GoAway(DrainOrder),
    /// Withdraw what is not done yet of such orders.
    GoAwayStop,
}

/// What an order is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Everything.
    All,
    /// One database.
    Database(String),
}

/// Why an order is not obeyed; the texts are PgBouncer's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OrderError {
    /// The group does not serve anyhow.
    AlreadyPaused,
    /// The group serves.
    NotPaused,
    /// The database is not paused.
    DatabaseNotPaused(String),
    /// There is no such database.
    NoSuchDatabase(String),
    /// This is not for the console's database.
    ConsoleDatabase {
        /// What it is not for.
        verb: &'static str,
        /// The name.
        name: String,
    },
    /// Some databases are paused, so that not everything can be written.
    PausedDatabases,
    /// The group drains.
    ShuttingDown,
    /// There is no such client.
    NoSuchClient,
    /// There is no worker of this slot.
    NoSuchWorker(Slot),
}

impl Scope {
    /// Whether this is about the database too.
    pub fn covers(&self, database: &str) -> bool {
        match self {
            Self::All => true,
            Self::Database(name) => name == database,
        }
    }
}

impl Order {
    /// Whether it waits for what clients do, however long that takes.
    pub fn waits(&self) -> bool {
        matches!(self, Self::Pause(_) | Self::WaitClose(_) | Self::Suspend)
    }

    /// Whether it is about one client, which somebody has to have.
    pub(super) fn is_about_one_client(&self) -> bool {
        match self {
            Self::KillClient(_) => true,
            Self::GoAway(order) => matches!(order.scope, DrainScope::Client(_)),
            _ => false,
        }
    }

    /// Its first word.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Suspend => "SUSPEND",
            Self::Reconnect(_) => "RECONNECT",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Kill(_) => "KILL",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::GoAway(_) | Self::GoAwayStop => "GOAWAY",
        }
    }

    /// Appends the order to `out`: a byte for its kind, then its argument.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Pause(scope) => put_scope(out, 1, scope),
            Self::Resume(scope) => put_scope(out, 2, scope),
            Self::Suspend => out.push(3),
            Self::Reconnect(scope) => put_scope(out, 4, scope),
            Self::Disable(name) => put_name(out, 5, name),
            Self::Enable(name) => put_name(out, 6, name),
            Self::Kill(scope) => put_scope(out, 7, scope),
            Self::KillClient(number) => {
                out.push(8);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::WaitClose(scope) => put_scope(out, 9, scope),
            Self::GoAway(order) => {
                out.push(10);
                order.encode(out);
            }
            Self::GoAwayStop => out.push(11),
        }
    }

    /// Takes an order from the start of `octets`.
    pub(crate) fn take(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(match octets.u8()? {
            1 => Self::Pause(scope(octets)?),
            2 => Self::Resume(scope(octets)?),
            3 => Self::Suspend,
            4 => Self::Reconnect(scope(octets)?),
            5 => Self::Disable(octets.text()?),
            6 => Self::Enable(octets.text()?),
            7 => Self::Kill(scope(octets)?),
            8 => Self::KillClient(octets.u64()?),
            9 => Self::WaitClose(scope(octets)?),
            10 => Self::GoAway(goaway(octets)?),
            11 => Self::GoAwayStop,
            _ => return Err(Truncated),
        })
    }
}

impl fmt::Display for Order {
    /// As it is written in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb())?;
        match self {
            Self::Pause(Scope::Database(name))
            | Self::Resume(Scope::Database(name))
            | Self::Reconnect(Scope::Database(name))
            | Self::Kill(Scope::Database(name))
            | Self::WaitClose(Scope::Database(name))
            | Self::Disable(name)
            | Self::Enable(name) => write!(f, " '{name}'"),
            Self::KillClient(number) => write!(f, " {number}"),
            Self::GoAway(order) => write!(f, " {}", order.scope),
            Self::GoAwayStop => f.write_str(" STOP"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyPaused => f.write_str("already suspended/paused"),
            Self::NotPaused => f.write_str("pooler is not paused/suspended"),
            Self::DatabaseNotPaused(name) => write!(f, "database {name} is not paused"),
            Self::NoSuchDatabase(name) => write!(f, "no such database: {name}"),
            Self::ConsoleDatabase { verb, name } => write!(f, "cannot {verb} admin db: {name}"),
            Self::PausedDatabases => f.write_str("cannot suspend with paused databases"),
            Self::ShuttingDown => f.write_str("pooler is shutting down"),
            Self::NoSuchClient => f.write_str("client not found"),
            Self::NoSuchWorker(slot) => write!(f, "no such worker: {slot}"),
        }
    }
}

fn put_scope(out: &mut Vec<u8>, kind: u8, scope: &Scope) {
    match scope {
        Scope::All => out.extend([kind, 0]),
        Scope::Database(name) => {
            out.extend([kind, 1]);
            put_bytes(out, name.as_bytes());
        }
    }
}

fn put_name(out: &mut Vec<u8>, kind: u8, name: &str) {
    out.push(kind);
    put_bytes(out, name.as_bytes());
}

/// An order to drain that does not end the group.
fn goaway(octets: &mut Octets<'_>) -> Result<DrainOrder, Truncated> {
    let order = DrainOrder::decode(octets)?;
    match order.kind {
        DrainKind::GoAway => Ok(order),
        _ => Err(Truncated),
    }
}

fn scope(octets: &mut Octets<'_>) -> Result<Scope, Truncated> {
    match octets.u8()? {
        0 => Ok(Scope::All),
        1 => octets.text().map(Scope::Database),
        _ => Err(Truncated),
    }
}

//! Runtime state: what holds for the whole group until it is taken back.
//!
//! Orders of the console change it: databases that are paused or disabled, or
//! everything. The supervisor keeps it, every change is a new version, and each
//! worker has it before it accepts its first client. [`Orders`] is the book of
//! the orders that are being carried out.

mod databases;
mod order;
mod orders;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeSet;

pub use self::databases::Databases;
pub use self::order::{Order, OrderError, Scope};
pub use self::orders::{Orders, Outcome};
pub use self::wire::{FromSupervisor, FromWorker};
use crate::drain_order::DrainScope;
use crate::octets::{Octets, Truncated, put_bytes};

/// What holds for the whole group until it is taken back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuntimeState {
    /// What the group as a whole is doing.
    pub activity: Activity,
    /// Databases that are paused, each by its name.
    pub paused: Databases,
    /// Databases that take no new clients.
    pub disabled: BTreeSet<String>,
}

/// What the group as a whole is doing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Activity {
    /// Serving.
    #[default]
    Active,
    /// Lending no server.
    Paused,
    /// Standing still: nothing is accepted, and nothing read.
    Suspended,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Known {
    /// A database.
    Database,
    /// The console.
    Console,
    /// Nothing.
    Nothing,
}

impl RuntimeState {
    /// Whether no server of this database is lent.
    pub fn is_paused(&self, database: &str) -> bool {
        self.activity == Activity::Paused || self.paused.contains(database)
    }

    /// Whether this database takes no new clients.
    pub fn is_disabled(&self, database: &str) -> bool {
        self.disabled.contains(database)
    }

    /// Whether the group stands still.
    pub fn is_suspended(&self) -> bool {
        self.activity == Activity::Suspended
    }

    /// Whether an order that pauses this is still in force.
    pub fn pauses(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => self.activity == Activity::Paused || self.paused.is_all(),
            Scope::Database(name) => self.is_paused(name),
        }
    }

    /// The state after an order; `known` says what a name stands for.
    ///
    /// # Errors
    ///
    /// [`OrderError`] when the order makes no sense now.
    pub fn after(&self, order: &Order, known: impl Fn(&str) -> Known) -> Result<Self, OrderError> {
        let mut next = self.clone();
        match order {
            Order::Pause(scope) => {
                self.needs_activity()?;
                match scope {
                    Scope::All => next.activity = Activity::Paused,
                    Scope::Database(name) => {
                        exists(name, "pause", known)?;
                        next.paused.insert(name);
                    }
                }
            }
            Order::Kill(scope) => {
                self.needs_activity()?;
                match scope {
                    Scope::All => next.paused = Databases::all(),
                    Scope::Database(name) => {
                        exists(name, "kill", known)?;
                        next.paused.insert(name);
                    }
                }
            }
            Order::Resume(Scope::All) => {
                if self.activity != Activity::Active {
                    next.activity = Activity::Active;
                } else if self.paused.is_all() {
                    next.paused = Databases::default();
                } else {
                    return Err(OrderError::NotPaused);
                }
            }
            Order::Resume(Scope::Database(name)) => {
                if !next.paused.remove(name) {
                    // One that was paused may be gone from the configuration.
                    return Err(match known(name) {
                        Known::Nothing => OrderError::NoSuchDatabase(name.clone()),
                        _ => OrderError::DatabaseNotPaused(name.clone()),
                    });
                }
            }
            Order::Suspend => {
                self.needs_activity()?;
                if !self.paused.is_empty() {
                    return Err(OrderError::PausedDatabases);
                }
                next.activity = Activity::Suspended;
            }
            Order::Disable(name) => {
                exists(name, "disable", known)?;
                next.disabled.insert(name.clone());
            }
            Order::Enable(name) => {
                if !next.disabled.remove(name) {
                    exists(name, "enable", known)?;
                }
            }
            Order::Reconnect(Scope::Database(name)) => exists(name, "reconnect", known)?,
            Order::WaitClose(Scope::Database(name)) => exists(name, "wait in", known)?,
            Order::GoAway(order) => {
                if let DrainScope::Database(name) = &order.scope {
                    exists(name, "drain", known)?;
                }
            }
            Order::Reconnect(Scope::All)
            | Order::WaitClose(Scope::All)
            | Order::KillClient(_)
            | Order::GoAwayStop => {}
        }
        Ok(next)
    }

    /// Appends the state to `out`.
    ///
    /// Layout, version 1: the version, what the group is doing, whether all
    /// databases but those named are paused, then two lists of names, of paused
    /// and of disabled databases, each with its length in four bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(match self.activity {
            Activity::Active => 0,
            Activity::Paused => 1,
            Activity::Suspended => 2,
        });
        out.push(u8::from(self.paused.is_all()));
        put_names(out, self.paused.names());
        put_names(out, &self.disabled);
    }

    /// The state of recorded bytes.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut octets = Octets(bytes);
        let state = Self::take(&mut octets).ok()?;
        octets.end().ok()?;
        Some(state)
    }

    /// Takes a state from the start of `octets`.
    fn take(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        let activity = match octets.u8()? {
            0 => Activity::Active,
            1 => Activity::Paused,
            2 => Activity::Suspended,
            _ => return Err(Truncated),
        };
        let all = octets.u8()? != 0;
        let paused = names(octets)?;
        Ok(Self {
            activity,
            paused: Databases::new(all, paused),
            disabled: names(octets)?,
        })
    }

    fn needs_activity(&self) -> Result<(), OrderError> {
        match self.activity {
            Activity::Active => Ok(()),
            Activity::Paused | Activity::Suspended => Err(OrderError::AlreadyPaused),
        }
    }
}

fn exists(name: &str, verb: &'static str, known: impl Fn(&str) -> Known) -> Result<(), OrderError> {
    match known(name) {
        Known::Database => Ok(()),
        Known::Console => Err(OrderError::ConsoleDatabase {
            verb,
            name: name.to_owned(),
        }),
        Known::Nothing => Err(OrderError::NoSuchDatabase(name.to_owned())),
    }
}

fn put_names(out: &mut Vec<u8>, names: &BTreeSet<String>) {
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for name in names {
        put_bytes(out, name.as_bytes());
    }
}

fn names(octets: &mut Octets<'_>) -> Result<BTreeSet<String>, Truncated> {
    let count = octets.u32()?;
    (0..count).map(|_| octets.text()).collect()
}

const VERSION: u8 = 1;

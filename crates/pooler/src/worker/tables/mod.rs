//! Tables: what this worker knows of each table of the console.
//!
//! Rows come a few at a time ([`Worker::take_rows`]), so that ten thousand
//! clients do not hold up the loop. Tables with a row for each connection are
//! read as the slab is walked; what is counted is counted at once.

mod clients;
mod clock;
mod latency;
mod lists;
mod pools;
mod servers;

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use pgskein_pool::console::{Row, Topic};
use pgskein_pool::slab::{ClientId, Id, ServerId};

pub(super) use self::clients::CONSOLE;
use self::clock::Clock;
use super::Worker;

/// What is left to be said of a table.
#[derive(Debug)]
pub(super) enum Source {
    /// The clients from this place of the slab on.
    Clients {
        /// The place.
        next: u32,
    },
    /// The servers from this place of the slab on.
    Servers {
        /// The place.
        next: u32,
        /// Since when those that are idle are.
        idle: HashMap<ServerId, Instant>,
    },
    /// These rows.
    Ready(VecDeque<Row>),
}

impl Worker {
    /// The beginning of what this worker says of a table.
    pub(super) fn source_of(&self, topic: Topic) -> Source {
        match topic {
            Topic::Clients => Source::Clients { next: 0 },
            Topic::Servers => Source::Servers {
                next: 0,
                idle: self.idle_since(),
            },
            Topic::Pools => Source::Ready(self.pool_rows().into()),
            Topic::Lists => Source::Ready(self.list_rows().into()),
            Topic::Latency => Source::Ready(self.latency_rows().into()),
            // The supervisor is told what was counted here, and tells.
            Topic::Stats | Topic::StatsTotals | Topic::StatsAverages | Topic::Totals => {
                Source::Ready(VecDeque::new())
            }
        }
    }

    /// Takes the next rows, at most [`ROWS_PER_TURN`]; false when there are no
    /// more.
    pub(super) fn take_rows(&self, source: &mut Source, rows: &mut Vec<Row>) -> bool {
        match source {
            Source::Clients { next } => {
                let clock = Clock::new(self.now);
                for (id, client) in self.clients.iter_from(*next).take(PLACES_PER_TURN) {
                    let id: ClientId = id;
                    *next = id.index() + 1;
                    if let Some(client) = client {
                        rows.extend(self.client_row(client, &clock));
                    }
                }
                *next < self.clients.places()
            }
            Source::Servers { next, idle } => {
                let clock = Clock::new(self.now);
                for (id, server) in self.servers.iter_from(*next).take(PLACES_PER_TURN) {
                    let id: ServerId = id;
                    *next = id.index() + 1;
                    if let Some(server) = server {
                        rows.extend(self.server_row(server, idle.get(&id).copied(), &clock));
                    }
                }
                *next < self.servers.places()
            }
            Source::Ready(ready) => {
                let count = ready.len().min(ROWS_PER_TURN);
                rows.extend(ready.drain(..count));
                !ready.is_empty()
            }
        }
    }
}

/// Rows that one turn makes, merges or writes, at most.
pub(super) const ROWS_PER_TURN: usize = 128;

/// Places of a slab that one turn looks at.
const PLACES_PER_TURN: usize = ROWS_PER_TURN;

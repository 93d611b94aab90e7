//! Tables: what this worker knows of each table of the console.
//!
//! Rows come a few at a time ([`Worker::take_rows`]), so that ten thousand
//! clients do not hold up the loop. Tables with a row for each connection are
//! made as the slabs are walked; what is counted is counted at once.

mod clients;
mod clock;
mod databases;
mod drain;
mod latency;
mod lists;
mod peers;
mod pools;
mod servers;
mod sockets;
mod state;

pub(crate) use self::drain::drain_row;
pub(crate) use self::state::state_rows;

use std::collections::VecDeque;

use pgskein_pool::console::{Row, Topic};
use pgskein_pool::slab::{ClientId, Id, ServerId};

pub(super) use self::clients::CONSOLE;
use self::clock::Clock;
use self::sockets::Form;
use super::Worker;

/// What is left to be said of a table.
#[derive(Debug)]
pub(super) enum Source {
    /// Connections, as far as they were not looked at yet.
    Walk(Walk),
    /// These rows.
    Ready(VecDeque<Row>),
}

/// A walk over the connections of this worker.
#[derive(Debug)]
pub(super) struct Walk {
    form: Form,
    /// The next place among the clients, unless they are done.
    clients: Option<u32>,
    /// The next place among the servers, unless they are done.
    servers: Option<u32>,
}

impl Worker {
    /// The beginning of what this worker says of a table.
    pub(super) fn source_of(&self, topic: Topic) -> Source {
        let walk = |form, clients: bool, servers: bool| {
            Source::Walk(Walk {
                form,
                clients: clients.then_some(0),
                servers: servers.then_some(0),
            })
        };
        let rows = match topic {
            Topic::Clients => return walk(Form::Plain, true, false),
            Topic::Servers => return walk(Form::Plain, false, true),
            Topic::Sockets => return walk(Form::Buffers, true, true),
            Topic::ActiveSockets => return walk(Form::Active, true, true),
            Topic::Fds => return walk(Form::Descriptors, true, true),
            Topic::Pools => self.pool_rows(),
            Topic::Lists => self.list_rows(),
            Topic::Databases => self.database_rows(),
            Topic::Users => self.user_rows(),
            Topic::Peers => self.peer_rows(),
            Topic::PeerPools => self.peer_pool_rows(),
            Topic::Drain => self.drain_rows(),
            Topic::State => {
                let ready = !self.is_draining();
                state_rows(self.orders.state().activity, ready, self.config_version)
            }
            Topic::Mem => self.memory_rows(),
            Topic::DnsHosts => self.host_rows(),
            Topic::Latency => self.latency_rows(),
            // Zones are not looked at, and leases are the supervisor's.
            Topic::DnsZones | Topic::Leases => Vec::new(),
            // The supervisor is told what was counted here, and tells.
            Topic::Stats | Topic::StatsTotals | Topic::StatsAverages | Topic::Totals => Vec::new(),
        };
        Source::Ready(rows.into())
    }

    /// Takes the next rows, at most [`ROWS_PER_TURN`]; false when there are no
    /// more.
    pub(super) fn take_rows(&self, source: &mut Source, rows: &mut Vec<Row>) -> bool {
        match source {
            Source::Walk(walk) => self.walk(walk, rows),
            Source::Ready(ready) => {
                let count = ready.len().min(ROWS_PER_TURN);
                rows.extend(ready.drain(..count));
                !ready.is_empty()
            }
        }
    }

    fn walk(&self, walk: &mut Walk, rows: &mut Vec<Row>) -> bool {
        let clock = Clock::new(self.now);
        let form = walk.form;
        if let Some(start) = walk.clients {
            let mut next = start;
            for (id, client) in self.clients.iter_from(start).take(ROWS_PER_TURN) {
                next = ClientId::index(id) + 1;
                rows.extend(client.and_then(|client| self.client_row(client, form, &clock)));
            }
            walk.clients = (next < self.clients.places()).then_some(next);
        } else if let Some(start) = walk.servers {
            let mut next = start;
            let idle = self.idle_since();
            for (id, server) in self.servers.iter_from(start).take(ROWS_PER_TURN) {
                next = ServerId::index(id) + 1;
                let idle = idle.get(&id).copied();
                rows.extend(server.and_then(|server| self.server_row(server, idle, form, &clock)));
            }
            walk.servers = (next < self.servers.places()).then_some(next);
        }
        walk.clients.is_some() || walk.servers.is_some()
    }
}

/// Rows that one turn makes, merges or writes, at most.
pub(super) const ROWS_PER_TURN: usize = 128;

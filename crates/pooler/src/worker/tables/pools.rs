//! SHOW POOLS: what this worker has of each pool.

use std::collections::HashMap;
use std::time::Duration;

use pgskein_pool::console::{Row, Value};
use pgskein_pool::control::PoolKey;
use pgskein_pool::pools::PoolId;

use super::clients::CONSOLE;
use super::databases::balance;
use super::servers::ServerPhase;
use crate::worker::Worker;
use crate::worker::cancel::Purpose;
use crate::worker::client::{Client, SessionState, Stage};
use crate::worker::errand::Kind;

/// What a worker counts of one pool.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    clients_active: u32,
    clients_waiting: u32,
    requests_sent: u32,
    requests_waiting: u32,
    active: u32,
    cancels: u32,
    being_cancelled: u32,
    idle: u32,
    used: u32,
    tested: u32,
    logging_in: u32,
}

impl Worker {
    /// The row of every pool, and of the console.
    pub(super) fn pool_rows(&self) -> Vec<Row> {
        let mut counts = self.server_counts();
        for (_, client) in self.clients.iter() {
            if let Some((pool, waits)) = pool_of(client) {
                let counts = counts.entry(pool).or_default();
                if waits {
                    counts.clients_waiting += 1;
                } else {
                    counts.clients_active += 1;
                }
            }
        }
        self.count_cancels(&mut counts);
        // A pool of dedicated servers comes behind its own, and its row is
        // merged with that.
        let mut rows: Vec<Row> = self
            .pools
            .iter()
            .map(|(id, pool)| {
                let counts = counts.get(&id).copied().unwrap_or_default();
                let wait = pool.longest_wait(self.now).unwrap_or_default();
                let database = self.config.database(&pool.key.database);
                let mut row = row(&pool.key, counts, wait, pool.settings.pool_mode.as_str());
                row.push(database.as_deref().map_or(Value::Null, balance));
                row.push(database.as_deref().map_or(Value::Null, |database| {
                    Value::from(database.target_session_attrs.as_str())
                }));
                row
            })
            .collect();
        let consoles = self
            .clients
            .ids(|client| matches!(client.stage, Stage::Console(_)));
        let counts = Counts {
            clients_active: u32::try_from(consoles.len()).unwrap_or(u32::MAX),
            ..Counts::default()
        };
        let console = PoolKey {
            database: CONSOLE.to_owned(),
            user: CONSOLE.to_owned(),
        };
        let mut row = row(&console, counts, Duration::ZERO, "statement");
        row.extend([Value::Null, Value::Null]);
        rows.push(row);
        rows
    }

    fn server_counts(&self) -> HashMap<PoolId, Counts> {
        let idle = self.idle_since();
        let mut counts = HashMap::<PoolId, Counts>::new();
        for (id, server) in self.servers.iter() {
            let Some(phase) = self.phase_of(server, idle.get(&id).copied()) else {
                continue;
            };
            let counts = counts.entry(server.pool).or_default();
            let count = match phase {
                ServerPhase::New => &mut counts.logging_in,
                ServerPhase::Used => &mut counts.used,
                ServerPhase::Idle => &mut counts.idle,
                ServerPhase::Tested => &mut counts.tested,
                ServerPhase::BeingCancelled => &mut counts.being_cancelled,
                ServerPhase::Active => &mut counts.active,
            };
            *count += 1;
        }
        counts
    }

    fn count_cancels(&self, counts: &mut HashMap<PoolId, Counts>) {
        for (_, errand) in self.errands.iter() {
            let Kind::CancelServer {
                server,
                packet,
                purposes,
            } = &errand.kind
            else {
                continue;
            };
            let Some(server) = self.servers.get(*server) else {
                continue;
            };
            let asked = |purpose: &&Purpose| matches!(purpose, Purpose::Query { .. });
            let asked = u32::try_from(purposes.iter().filter(asked).count()).unwrap_or(u32::MAX);
            let counts = counts.entry(server.pool).or_default();
            counts.cancels += 1;
            if packet.is_empty() {
                counts.requests_sent += asked;
            } else {
                counts.requests_waiting += asked;
            }
        }
    }
}

/// The pool of a client, and whether it waits for a server.
fn pool_of(client: &Client) -> Option<(PoolId, bool)> {
    match &client.stage {
        Stage::Login(login) => login.pool.map(|pool| (pool, true)),
        _ if client.is_coming() => None,
        Stage::Session(session) => Some((session.pool, session.state == SessionState::Waiting)),
        Stage::Console(_) | Stage::Cancelling { .. } | Stage::Closing { .. } => None,
    }
}

/// A row without its last columns.
fn row(pool: &PoolKey, counts: Counts, wait: Duration, mode: &str) -> Row {
    vec![
        Value::number(wait.as_micros()),
        Value::text(pool.database.as_str()),
        Value::text(&*pool.shown()),
        Value::number(counts.clients_active),
        Value::number(counts.clients_waiting),
        Value::number(counts.requests_sent),
        Value::number(counts.requests_waiting),
        Value::number(counts.active),
        Value::number(counts.cancels),
        Value::number(counts.being_cancelled),
        Value::number(counts.idle),
        Value::number(counts.used),
        Value::number(counts.tested),
        Value::number(counts.logging_in),
        Value::Null,
        Value::Null,
        Value::from(mode),
    ]
}

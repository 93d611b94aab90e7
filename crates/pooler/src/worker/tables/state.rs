//! SHOW STATE, MEM and DNS_HOSTS: what this worker is made of.

use pgskein_config::{Database, Peer, User};
use pgskein_pool::console::{Row, Value};
use pgskein_pool::flow::Flow;
use pgskein_pool::peers::Host;
use pgskein_pool::pools::Pool;
use pgskein_pool::runtime::Activity;

use crate::worker::Worker;
use crate::worker::cancel::Waiter;
use crate::worker::client::Client;
use crate::worker::errand::Errand;
use crate::worker::server::Server;

/// The rows of SHOW STATE, as the supervisor and the workers know them.
///
/// `ready`: new clients are served, and will be.
pub(crate) fn state_rows(activity: Activity, ready: bool, config_version: u64) -> Vec<Row> {
    let is = |this: Activity| Value::from(if activity == this { "yes" } else { "no" });
    let states = [
        ("active", is(Activity::Active)),
        ("paused", is(Activity::Paused)),
        ("suspended", is(Activity::Suspended)),
        ("config_version", Value::text(config_version.to_string())),
        ("ready", Value::from(if ready { "yes" } else { "no" })),
    ];
    let rows = (0_i64..).zip(states);
    let rows =
        rows.map(|(position, (key, value))| vec![Value::Number(position), Value::from(key), value]);
    rows.collect()
}

impl Worker {
    /// The rows of SHOW MEM, with PgBouncer's names for what is like its own.
    pub(super) fn memory_rows(&self) -> Vec<Row> {
        let config = &self.config;
        let buffers = self
            .clients
            .iter()
            .map(|(_, client)| client.inbox.capacity() + client.outbox.capacity());
        let buffers = buffers.chain(
            self.servers
                .iter()
                .map(|(_, server)| server.inbox.capacity() + server.outbox.capacity()),
        );
        let buffers: Vec<usize> = buffers.filter(|bytes| *bytes > 0).collect();
        let secrets = config.auth.iter();
        let secrets: usize = secrets
            .map(|(user, secret)| user.len() + secret.len())
            .sum();
        let login = size_of::<(String, String)>();
        let caches = [
            Cache::of::<User>("user_cache", config.users.len(), 0),
            Cache {
                total: secrets + login * config.auth.len(),
                ..Cache::new("credentials_cache", login, config.auth.len(), 0)
            },
            Cache::of::<Database>("db_cache", config.databases.len(), 0),
            Cache::of::<Peer>("peer_cache", config.peers.len(), 0),
            Cache::of::<Host<Waiter>>("peer_pool_cache", self.peers.hosts().count(), 0),
            Cache::of::<Pool>("pool_cache", self.pools.iter().count(), 0),
            Cache::of::<Flow>("outstanding_request_cache", self.servers.len(), 0),
            Cache::of::<Server>("server_cache", self.servers.len(), self.servers.free()),
            Cache::of::<Client>("client_cache", self.clients.len(), self.clients.free()),
            Cache {
                total: self.scratch.len() + buffers.iter().sum::<usize>(),
                ..Cache::new("iobuf_cache", self.scratch.len(), buffers.len() + 1, 0)
            },
            Cache {
                total: self.parameters.bytes(),
                ..Cache::new("var_list_cache", 0, self.parameters.len(), 0)
            },
            Cache {
                total: self.statements.bytes(),
                ..Cache::new(
                    "server_prepared_statement_cache",
                    0,
                    self.statements.len(),
                    0,
                )
            },
            Cache::of::<Errand>("errand_cache", self.errands.len(), self.errands.free()),
        ];
        let rows = (0_i64..).zip(caches);
        rows.map(|(position, cache)| cache.row(position)).collect()
    }

    /// The row of every host whose addresses are known.
    pub(super) fn host_rows(&self) -> Vec<Row> {
        let hosts = self
            .addresses
            .known(self.now)
            .map(|(host, left, addresses)| {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                vec![
                    Value::from(host),
                    Value::number(left.as_secs()),
                    Value::text(addresses.join(",")),
                ]
            });
        hosts.collect()
    }
}

/// Things of one kind, and what they take.
struct Cache {
    name: &'static str,
    /// Of one of them, in bytes; 0 where they differ.
    size: usize,
    used: usize,
    free: usize,
    /// Of all of them, in bytes.
    total: usize,
}

impl Cache {
    fn of<T>(name: &'static str, used: usize, free: usize) -> Self {
        Self::new(name, size_of::<T>(), used, free)
    }

    fn new(name: &'static str, size: usize, used: usize, free: usize) -> Self {
        Self {
            name,
            size,
            used,
            free,
            total: size * (used + free),
        }
    }

    fn row(&self, position: i64) -> Row {
        vec![
            Value::Number(position),
            Value::from(self.name),
            Value::number(self.size),
            Value::number(self.used),
            Value::number(self.free),
            Value::number(self.total),
        ]
    }
}

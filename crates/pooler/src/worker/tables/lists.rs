//! SHOW LISTS: how many there are of what.

use std::collections::BTreeSet;

use pgskein_pool::console::{Row, Value};

use super::clients::CONSOLE;
use crate::worker::Worker;
use crate::worker::client::Stage;

impl Worker {
    /// The rows, in PgBouncer's order.
    pub(super) fn list_rows(&self) -> Vec<Row> {
        let logging_in = self
            .clients
            .ids(|client| matches!(client.stage, Stage::Login(_)));
        let (hosts, asked) = self.addresses.counts();
        let lists = [
            ("databases", names(self.database_names().chain([CONSOLE]))),
            ("users", names(self.user_names())),
            ("peers", names_of(self.config.peers.keys().copied())),
            ("pools", Value::Names(self.pool_names())),
            ("peer_pools", names_of(self.peers.hosts().map(|(id, _)| id))),
            ("free_clients", Value::number(self.clients.free())),
            (
                "used_clients",
                Value::number(self.clients.len() - self.undecided.coming_clients),
            ),
            ("login_clients", Value::number(logging_in.len())),
            ("free_servers", Value::number(self.servers.free())),
            (
                "used_servers",
                Value::number(self.servers.len() - self.undecided.coming_servers),
            ),
            ("dns_names", Value::Names(hosts)),
            // No zone is ever looked at.
            ("dns_zones", Value::Number(0)),
            ("dns_queries", Value::number(asked)),
            ("dns_pending", Value::Number(0)),
            // PgBouncer counts no such keys.
            ("unknown_cancels", Value::number(self.unknown_keys.total())),
            (
                "held_cancels",
                Value::number(self.unknown_keys.held(self.now)),
            ),
        ];
        let rows = (0_i64..).zip(lists).map(|(position, (list, items))| {
            let (names, count) = match items {
                Value::Names(_) => (items, Value::Null),
                _ => (Value::Null, items),
            };
            vec![
                Value::Number(position),
                names,
                count,
                Value::from(list),
                Value::Null,
            ]
        });
        rows.collect()
    }

    /// Pools are told apart by both names, and the console's is one of them.
    fn pool_names(&self) -> BTreeSet<Box<str>> {
        let pools = self.pools.iter();
        let names = pools.map(|(_, pool)| pool.key.to_string().into());
        names.chain(["pgbouncer/pgbouncer".into()]).collect()
    }
}

fn names_of(peers: impl Iterator<Item = u16>) -> Value {
    Value::Names(peers.map(|peer| peer.to_string().into()).collect())
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    Value::Names(names.map(Into::into).collect())
}

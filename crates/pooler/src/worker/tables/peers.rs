//! SHOW PEERS and PEER_POOLS: the other hosts of the group, and what this worker
//! has to do with them.

use std::collections::BTreeMap;
use std::time::{Instant, UNIX_EPOCH};

use pgskein_config::{Peer, PeerKind};
use pgskein_pool::console::{Row, Value};
use pgskein_pool::peers::Host;

use super::Clock;
use crate::worker::Worker;
use crate::worker::cancel::Waiter;

impl Worker {
    /// The row of every host, this one among them.
    pub(super) fn peer_rows(&self) -> Vec<Row> {
        let clock = Clock::new(self.now);
        let own = self.config.peer_id;
        let peers = self.config.peers.iter();
        let mut peers: BTreeMap<u16, Option<&Peer>> =
            peers.map(|(id, peer)| (*id, Some(peer))).collect();
        if let Some(own) = own {
            peers.entry(own).or_default();
        }
        let rows = peers
            .into_iter()
            .map(|(id, peer)| self.peer_row(id, peer, own == Some(id), &clock));
        rows.collect()
    }

    /// The row of every other host.
    pub(super) fn peer_pool_rows(&self) -> Vec<Row> {
        let rows = self.peers.hosts().map(|(id, host)| {
            let (under_way, sent) = host.under_way();
            vec![
                Value::number(id),
                Value::number(under_way),
                Value::number(host.waiting()),
                Value::number(sent),
                Value::number(under_way - sent),
            ]
        });
        rows.collect()
    }

    fn peer_row(&self, id: u16, peer: Option<&Peer>, own: bool, clock: &Clock) -> Row {
        let host = self.peers.host(id);
        let counts = host.map(Host::counts).unwrap_or_default();
        let received = if own {
            self.peers.received(None)
        } else {
            self.peers.received(Some(id))
        };
        let failed = host.and_then(Host::<Waiter>::failed);
        let default = self.config.settings.default_pool_size;
        let kind = if own {
            PeerKind::Pgskein
        } else {
            peer.map_or(PeerKind::Unknown, |peer| peer.kind)
        };
        vec![
            Value::number(id),
            peer.map_or(Value::Null, |peer| Value::text(peer.host.as_str())),
            peer.map_or(Value::Null, |peer| Value::number(peer.port)),
            peer.map_or(Value::Null, |peer| {
                Value::number(peer.pool_size.unwrap_or(default))
            }),
            Value::from(kind.as_str()),
            Value::Null,
            Value::number(counts.sent),
            Value::number(received),
            Value::number(counts.failed),
            failed.map_or(Value::Null, |outcome| {
                Value::text(format!("{}: {}", clock.text(outcome.at), outcome.error))
            }),
            Value::number(own),
            milliseconds(host.and_then(Host::<Waiter>::succeeded), clock),
            milliseconds(failed.map(|outcome| outcome.at), clock),
        ]
    }
}

fn milliseconds(at: Option<Instant>, clock: &Clock) -> Value {
    at.map_or(Value::Null, |at| {
        let since = clock
            .wall(at)
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Value::number(since.as_millis())
    })
}

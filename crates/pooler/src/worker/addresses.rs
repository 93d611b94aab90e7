//! Addresses: what is known of the addresses of hosts.
//!
//! Names are looked up by a thread and kept for `dns_max_ttl`.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pgskein_pool::control::LeaseId;
use pgskein_pool::pools::PoolId;

use super::Worker;

/// What is known of the addresses of hosts.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    pub(super) known: HashMap<String, Known>,
    pub(super) waiting: HashMap<String, Vec<(PoolId, LeaseId)>>,
    /// Counts failures, so that the next attempt takes the next host.
    pub(super) turns: HashMap<PoolId, usize>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) until: Instant,
    pub(super) addresses: Result<Vec<IpAddr>, String>,
}

impl Addresses {
    /// The names that are known, and how many are being looked up.
    pub(super) fn counts(&self) -> (BTreeSet<Box<str>>, usize) {
        let names = self.known.keys().map(|name| name.as_str().into());
        (names.collect(), self.waiting.len())
    }

    /// Leases of servers that wait for the address of their host.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (PoolId, LeaseId)> {
        self.waiting.values().flatten().copied()
    }

    /// The hosts with their addresses, and how long these still hold.
    pub(super) fn known(&self, now: Instant) -> impl Iterator<Item = (&str, Duration, &[IpAddr])> {
        self.known.iter().filter_map(move |(host, known)| {
            let left = known.until.checked_duration_since(now)?;
            Some((
                host.as_str(),
                left,
                known.addresses.as_ref().ok()?.as_slice(),
            ))
        })
    }

    /// Forgets all addresses, so that names are looked up again.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Forgets a pool that is gone.
    pub(super) fn forget_pool(&mut self, pool: PoolId) {
        self.turns.remove(&pool);
    }
}

impl Worker {
    /// The addresses of a host are known.
    pub(super) fn resolved(&mut self, host: String, addresses: Result<Vec<IpAddr>, String>) {
        let settings = &self.config.settings;
        let ttl = match addresses {
            Ok(_) => settings.dns_max_ttl,
            Err(_) => settings.dns_nxdomain_ttl,
        };
        let waiting = self.addresses.waiting.remove(&host).unwrap_or_default();
        // What waited is served in any case, even if nothing may be kept.
        let until = self.now + ttl.max(Duration::from_millis(1));
        let known = Known { until, addresses };
        self.addresses.known.insert(host, known);
        for (pool, lease) in waiting {
            self.open_server(pool, lease);
        }
    }
}

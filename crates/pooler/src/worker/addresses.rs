//! Addresses: what is known of the addresses of hosts.
//!
//! Names are looked up by a thread and kept for `dns_max_ttl`; one that could
//! not be found is not asked for again within `dns_nxdomain_ttl`. Whoever needs
//! a name waits until the answer is there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pgskein_pool::control::LeaseId;
use pgskein_pool::pools::PoolId;

use super::Worker;
use super::chores::Chore;

/// What is known of the addresses of hosts.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: HashMap<String, Known>,
    waiting: HashMap<String, Vec<Wanted>>,
}

/// Who waits for the addresses of a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// A server that is to be opened with this lease.
    Server(PoolId, LeaseId),
    /// Cancel requests for the peer of this number.
    Peer(u16),
}

/// What is known of one host.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lookup<'a> {
    /// It has these addresses.
    Found(&'a [IpAddr]),
    /// It has none, for this reason.
    Failed(&'a str),
    /// Nothing that still holds.
    Unknown,
}

#[derive(Debug)]
struct Known {
    until: Instant,
    addresses: Result<Vec<IpAddr>, String>,
}

impl Addresses {
    /// What is known of `host`.
    pub(super) fn find(&self, host: &str, now: Instant) -> Lookup<'_> {
        match self.known.get(host).filter(|known| known.until > now) {
            Some(known) => match &known.addresses {
                Ok(addresses) => Lookup::Found(addresses),
                Err(error) => Lookup::Failed(error),
            },
            None => Lookup::Unknown,
        }
    }

    /// What was last known of `host`, whether or not it still holds.
    pub(super) fn last(&self, host: &str) -> Lookup<'_> {
        match self.known.get(host).map(|known| &known.addresses) {
            Some(Ok(addresses)) => Lookup::Found(addresses),
            Some(Err(error)) => Lookup::Failed(error),
            None => Lookup::Unknown,
        }
    }

    /// The names that are known, and how many are being looked up.
    pub(super) fn counts(&self) -> (BTreeSet<Box<str>>, usize) {
        let names = self.known.keys().map(|name| name.as_str().into());
        (names.collect(), self.waiting.len())
    }

    /// Leases of servers that wait for the address of their host.
    pub(super) fn waiting_leases(&self) -> impl Iterator<Item = (PoolId, LeaseId)> {
        let wanted = self.waiting.values().flatten();
        // One may wait for several names.
        let leases: BTreeMap<_, _> = wanted
            .filter_map(|wanted| match wanted {
                Wanted::Server(pool, lease) => Some((lease.id, (*pool, *lease))),
                Wanted::Peer(_) => None,
            })
            .collect();
        leases.into_values()
    }

    /// Whether somebody waits for any name.
    fn waits(&self, wanted: Wanted) -> bool {
        self.waiting.values().flatten().any(|one| *one == wanted)
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

    /// Forgets the addresses of one host.
    pub(super) fn forget_host(&mut self, host: &str) {
        self.known.remove(host);
    }
}

impl Worker {
    /// Has the addresses of `hosts` looked up, each unless that is under way;
    /// `wanted` is served once, when all are known.
    pub(super) fn look_up(&mut self, hosts: Vec<String>, wanted: Wanted) {
        let mut unasked = Vec::new();
        for host in hosts {
            let waiting = self.addresses.waiting.entry(host.clone()).or_default();
            if waiting.is_empty() {
                unasked.push(host);
            }
            if !waiting.contains(&wanted) {
                waiting.push(wanted);
            }
        }
        for host in unasked {
            let chore = Chore::Resolve { host: host.clone() };
            if let Err(error) = self.chores.start(chore) {
                self.resolved(host, Err(error.to_string()));
            }
        }
    }

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
        self.addresses.known.insert(host.clone(), known);
        for wanted in waiting {
            match wanted {
                Wanted::Server(..) if self.addresses.waits(wanted) => {}
                Wanted::Server(pool, lease) => self.open_addressed(pool, lease, true),
                Wanted::Peer(peer) => self.peer_resolved(peer, &host),
            }
        }
    }
}

//! Peers: cancel requests that are for other hosts.
//!
//! ```text
//! submit ──> waiting ──> poll_start ──> under way ──> on_sent ──> on_ended
//!    │          └─> expire                  └──────────────────────┘
//!    └─> Refused
//! ```
//!
//! Each host has a number of places, and whoever has one may be on its way
//! there. The others wait; of those that do, the one comes next whose source has
//! the fewest places, so that nobody who sends many keeps out somebody else.
//! A host that is down costs nothing but the requests for it: each is a new
//! try, whatever has come of the one before.

mod host;
mod identity;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

pub use self::host::{Counts, Host, Outcome, Ticket};
pub use self::identity::{Identity, Route};
use pgskein_protocol::key::{SHORTEST_SECRET, hops, with_hops};

/// What this worker knows of the other hosts of the group; `W` waits for the
/// end of a request.
#[derive(Debug)]
pub struct Peers<W> {
    identity: Identity,
    hosts: BTreeMap<u16, Host<W>>,
    /// Requests that other hosts have forwarded, by who that was; those of
    /// which that is not known by 0.
    received: BTreeMap<u16, u64>,
    last_ticket: u64,
}

/// A cancel request for another host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request<W> {
    /// First half of its key.
    pub process_id: u32,
    /// Second half of its key, with the hop counter that is sent.
    pub secret: Vec<u8>,
    /// Where it came from, if it came over TCP.
    pub source: Option<IpAddr>,
    /// When it is given up.
    pub deadline: Instant,
    /// The addresses of its peer are no older than it is, or never change.
    pub looked_up: bool,
    /// Who waits for it.
    pub waiter: W,
}

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Its secret is too short for any key.
    NoSecret,
    /// It has been forwarded often enough.
    HopsUsedUp,
    /// Too many wait already.
    Crowded,
    /// There is no such peer.
    NoPeer,
}

impl<W> Peers<W> {
    /// No other host yet; what this one is called, and was before.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            hosts: BTreeMap::new(),
            received: BTreeMap::new(),
            last_ticket: 0,
        }
    }

    /// Takes over a configuration: the number of this host, and of each other
    /// one the number with how many requests the whole group may have on their
    /// way there. Returns those who wait for a host that is gone.
    pub fn configure(
        &mut self,
        own: Option<u16>,
        others: impl Iterator<Item = (u16, u32)>,
    ) -> Vec<W> {
        self.identity.change(own);
        let mut before = std::mem::take(&mut self.hosts);
        self.hosts = others
            .map(|(id, pool_size)| {
                let mut host = before.remove(&id).unwrap_or_default();
                host.pool_size = pool_size;
                (id, host)
            })
            .collect();
        let gone = before.into_values();
        gone.flat_map(Host::into_waiting).collect()
    }

    /// Where a cancel request with this key has to go.
    pub fn route(&self, process_id: u32) -> Route {
        self.identity
            .route(process_id, |id| self.hosts.contains_key(&id))
    }

    /// Takes a request for the peer `id` that is to be forwarded.
    ///
    /// # Errors
    ///
    /// [`Refused`], with whoever waits for the one that is refused. If it is
    /// [`Refused::Crowded`] that can be another, which makes room.
    pub fn submit(&mut self, id: u16, mut request: Request<W>) -> Result<(), (Refused, W)> {
        let Some(host) = self.hosts.get_mut(&id) else {
            return Err((Refused::NoPeer, request.waiter));
        };
        if request.secret.len() < SHORTEST_SECRET {
            return Err((Refused::NoSecret, request.waiter));
        }
        let Some(left) = hops(&request.secret).and_then(|hops| hops.checked_sub(1)) else {
            return Err((Refused::HopsUsedUp, request.waiter));
        };
        request.secret = with_hops(&request.secret, left);
        host.submit(request)
            .map_err(|request| (Refused::Crowded, request.waiter))
    }

    /// The next request that may be on its way to the peer `id` now. `sharers`
    /// is how many workers share its places.
    pub fn poll_start(&mut self, id: u16, sharers: usize) -> Option<(Ticket, Request<W>)> {
        let ticket = Ticket(self.last_ticket + 1);
        let request = self.hosts.get_mut(&id)?.poll_start(ticket, sharers)?;
        self.last_ticket = ticket.0;
        Some((ticket, request))
    }

    /// The request to the peer `id` that is to make way for one that waits.
    pub fn poll_yield(&mut self, id: u16, sharers: usize, now: Instant) -> Option<Ticket> {
        self.hosts.get_mut(&id)?.poll_yield(sharers, now)
    }

    /// A request has no place any more, and waits again, before the others.
    pub fn put_back(&mut self, id: u16, ticket: Ticket, request: Request<W>) -> Result<(), W> {
        match self.hosts.get_mut(&id) {
            Some(host) => {
                host.put_back(ticket, request);
                Ok(())
            }
            None => Err(request.waiter),
        }
    }

    /// The addresses of the peer `id` have just been looked up.
    pub fn on_looked_up(&mut self, id: u16) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.on_looked_up();
        }
    }

    /// A request could not be sent to the address that it tried first, and goes
    /// on to the next one.
    pub fn on_unreachable(&mut self, id: u16, ticket: Ticket) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.on_unreachable(ticket);
        }
    }

    /// A request was written whole.
    pub fn on_sent(&mut self, id: u16, ticket: Ticket, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.on_sent(ticket, now);
        }
    }

    /// A request that was on its way has ended: the peer has closed its
    /// connection, or something went wrong.
    pub fn on_ended(&mut self, id: u16, ticket: Ticket, error: Option<String>, now: Instant) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.on_ended(ticket, error, now);
        }
    }

    /// Nothing can be sent to the peer `id`: returns all who wait for it.
    pub fn fail_waiting(&mut self, id: u16, error: &str, now: Instant) -> Vec<W> {
        let host = self.hosts.get_mut(&id);
        host.map(|host| host.fail_waiting(error, now))
            .unwrap_or_default()
    }

    /// Takes those who have waited for too long.
    pub fn expire(&mut self, now: Instant) -> Vec<W> {
        let hosts = self.hosts.values_mut();
        hosts.flat_map(|host| host.expire(now)).collect()
    }

    /// Counts a request that another host has forwarded, if it is known which.
    pub fn on_received(&mut self, from: Option<u16>) {
        *self.received.entry(from.unwrap_or(0)).or_default() += 1;
    }

    /// How many requests a host has forwarded; `None` is for those of which it
    /// is not known who has.
    pub fn received(&self, from: Option<u16>) -> u64 {
        let received = self.received.get(&from.unwrap_or(0));
        received.copied().unwrap_or(0)
    }

    /// The other hosts.
    pub fn hosts(&self) -> impl Iterator<Item = (u16, &Host<W>)> {
        self.hosts.iter().map(|(id, host)| (*id, host))
    }

    /// One of the other hosts.
    pub fn host(&self, id: u16) -> Option<&Host<W>> {
        self.hosts.get(&id)
    }

    /// Whether nobody waits, and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        let mut hosts = self.hosts.values();
        hosts.all(|host| host.waiting() == 0 && host.under_way().0 == 0)
    }

    /// The peers that somebody waits for.
    pub fn waited_for(&self) -> Vec<u16> {
        let hosts = self.hosts.iter();
        let waited = hosts.filter(|(_, host)| host.waiting() > 0);
        waited.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;

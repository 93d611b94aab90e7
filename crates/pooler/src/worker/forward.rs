//! Forward: cancel requests that are for other hosts.
//!
//! Each gets a connection of its own to the peer, over which the plain
//! CancelRequest goes and nothing else. The connection is held until the peer
//! closes it; then the client's is closed. All addresses of the peer are tried,
//! and if none can be connected to, those are looked up that its name has now.
//!
//! Who is on the way when, is decided in [`pgskein_pool::peers`].

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use pgskein_pool::peers::{Refused, Request, Route, Ticket};
use pgskein_pool::slab::{ClientId, ErrandId};
use pgskein_protocol::key::hops;
use pgskein_protocol::write;

use super::Worker;
use super::addresses::{Lookup, Wanted};
use super::cancel::Waiter;
use super::client::Origin;
use super::connect::open_socket;
use super::errand::Kind;
use super::server::Target;
use super::stream::{Filled, Outbox, Stream};
use crate::scoreboard::WorkerState;

/// A request that is on its way to another host.
#[derive(Debug)]
pub(super) struct Forwarding {
    peer: u16,
    ticket: Ticket,
    request: Request<Waiter>,
    /// Where it goes.
    target: Target,
    /// Where else it can go.
    others: VecDeque<Target>,
    /// It was written whole.
    sent: bool,
}

/// Where a peer can be reached.
enum Reach {
    /// There, one after the other.
    At(Vec<Target>),
    /// The addresses of this name are not known.
    Named(String),
    /// Nowhere, for this reason.
    Nowhere(String),
}

impl Worker {
    /// Forwards a cancel request to the host of this number.
    pub(super) fn forward_cancel(
        &mut self,
        peer: u16,
        waiter: Waiter,
        process_id: u32,
        secret: &[u8],
    ) {
        let entry = self.config.peers.get(&peer);
        let named = entry.is_some_and(|entry| is_name(&entry.host));
        let request = Request {
            process_id,
            secret: secret.to_vec(),
            source: self.source(waiter),
            deadline: self.now + self.cancel_time(),
            looked_up: !named,
            waiter,
        };
        match self.peers.submit(peer, request) {
            Ok(()) => self.forward_next(peer),
            // As many as somebody likes to send: no line for each.
            Err((Refused::Crowded, waiter)) => {
                log::debug!("peer {peer}: cancel request not forwarded: too many wait already");
                self.cancel_over(waiter);
                self.forward_next(peer);
            }
            Err((Refused::NoSecret | Refused::HopsUsedUp | Refused::NoPeer, waiter)) => {
                self.cancel_unknown(waiter);
            }
        }
    }

    /// Sends what may be sent to a peer now.
    pub(super) fn forward_next(&mut self, peer: u16) {
        let sharers = self.sharers();
        while let Some(ticket) = self.peers.poll_yield(peer, sharers, self.now) {
            let same = |kind: &Kind| matches!(kind, Kind::Forward(f) if f.ticket == ticket);
            for id in self.errands.ids(|errand| same(&errand.kind)) {
                self.end_errand(id, false);
            }
        }
        while self
            .peers
            .host(peer)
            .is_some_and(|host| host.may_start(sharers))
        {
            match self.reach(peer) {
                Reach::At(targets) => {
                    let Some((ticket, request)) = self.peers.poll_start(peer, sharers) else {
                        return;
                    };
                    if !self.forward_to(peer, ticket, request, targets.into()) {
                        return;
                    }
                }
                Reach::Named(host) => return self.look_up(vec![host], Wanted::Peer(peer)),
                Reach::Nowhere(error) => return self.forward_none(peer, &error),
            }
        }
    }

    /// The name of a peer has been looked up.
    pub(super) fn peer_resolved(&mut self, peer: u16, host: &str) {
        self.peers.on_looked_up(peer);
        if let Lookup::Failed(error) = self.addresses.find(host, self.now) {
            let error = format!("DNS lookup failed: {host}: {error}");
            return self.forward_none(peer, &error);
        }
        self.forward_next(peer);
    }

    /// Gives up what waits for too long, and looks what may be sent.
    pub(super) fn sweep_forwards(&mut self) {
        for waiter in self.peers.expire(self.now) {
            self.cancel_over(waiter);
        }
        for peer in self.peers.waited_for() {
            self.forward_next(peer);
        }
    }

    /// Goes over to the peers of a new configuration.
    pub(super) fn reconfigure_peers(&mut self) {
        let default = self.config.settings.default_pool_size;
        let others = self.config.other_peers();
        let others = others.map(|peer| (peer.id, peer.pool_size.unwrap_or(default)));
        for waiter in self.peers.configure(self.config.peer_id, others) {
            self.cancel_over(waiter);
        }
    }

    /// Counts a cancel request that another host has forwarded, as its hop
    /// counter shows.
    pub(super) fn note_received(&mut self, id: ClientId, process_id: u32, secret: &[u8]) {
        if !self.has_hopped(secret) || self.peers.route(process_id) == Route::Nowhere {
            return;
        }
        let from = self.source(Waiter::Client(id)).and_then(|source| {
            let mut peers = self.config.other_peers();
            let first = peers.find(|peer| self.is_at(&peer.host, source))?.id;
            let alone = !peers.any(|peer| self.is_at(&peer.host, source));
            alone.then_some(first)
        });
        self.peers.on_received(from);
    }

    /// Whether another host may have forwarded a cancel request: its hop counter
    /// shows it, and it comes from where one of them is. One that is a name may
    /// be anywhere.
    pub(super) fn may_be_forwarded(&self, id: ClientId, secret: &[u8]) -> bool {
        let source = self.source(Waiter::Client(id));
        let may_be_at = |host: &str| match source {
            Some(source) => is_name(host) || self.is_at(host, source),
            None => is_folder(host),
        };
        let mut peers = self.config.other_peers();
        self.has_hopped(secret) && peers.any(|peer| may_be_at(&peer.host))
    }

    /// Whether the hop counter in a secret has been counted down, if there is one.
    fn has_hopped(&self, secret: &[u8]) -> bool {
        self.config.peer_id.is_some() && hops(secret).is_some_and(|hops| hops < FRESH)
    }

    /// Gives a request that is on its way its turn.
    pub(super) fn forward_turn(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        let Kind::Forward(forwarding) = &mut errand.kind else {
            return;
        };
        let (peer, ticket) = (forwarding.peer, forwarding.ticket);
        if !forwarding.sent {
            if !errand.stream.writable() {
                return;
            }
            match errand.stream.connect_error() {
                Ok(None) => {}
                Ok(Some(error)) | Err(error) => {
                    return self.forward_failed(id, &error.to_string());
                }
            }
            if let Err(error) = errand.outbox.flush(&mut errand.stream) {
                return self.forward_failed(id, &error.to_string());
            }
            forwarding.sent = errand.outbox.is_empty();
            if forwarding.sent {
                errand.deadline = forwarding.request.deadline;
                self.peers.on_sent(peer, ticket, self.now);
            }
        }
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        if !errand.stream.readable() {
            return;
        }
        match errand.stream.fill(&mut Vec::new(), &mut self.scratch) {
            Ok(Filled::Nothing) => {}
            // Nobody has a word to say here.
            Ok(Filled::Scratch(_) | Filled::Inbox(_)) => self.wake_errand(id),
            Ok(Filled::End) => self.end_errand(id, true),
            Err(error) => self.forward_failed(id, &error.to_string()),
        }
    }

    /// A connection to a peer is over; unless it was `orderly`, nobody has
    /// closed it.
    pub(super) fn forward_over(&mut self, forwarding: Forwarding, orderly: bool) {
        if orderly && forwarding.sent {
            self.peers
                .on_ended(forwarding.peer, forwarding.ticket, None, self.now);
            self.cancel_over(forwarding.request.waiter);
            return self.forward_next(forwarding.peer);
        }
        let peer = forwarding.peer;
        let why = match (orderly, forwarding.sent) {
            (true, _) => "closed before the request was sent",
            (false, true) => "no answer",
            (false, false) => "connection timed out",
        };
        self.forward_on(forwarding, why);
        self.forward_next(peer);
    }

    fn forward_failed(&mut self, id: ErrandId, why: &str) {
        let Some(mut errand) = self.errands.remove(id) else {
            return;
        };
        errand.stream.deregister(self.poll.registry());
        drop(errand.stream);
        if let Kind::Forward(forwarding) = errand.kind {
            let peer = forwarding.peer;
            self.forward_on(*forwarding, why);
            self.forward_next(peer);
        }
    }

    /// Goes on with a request that could not be sent, or was sent without an
    /// end that shows that it was taken.
    fn forward_on(&mut self, forwarding: Forwarding, why: &str) {
        let Forwarding {
            peer,
            ticket,
            mut request,
            target,
            others,
            sent,
        } = forwarding;
        let in_time = self.now < request.deadline;
        if !sent && in_time && !others.is_empty() {
            self.peers.on_unreachable(peer, ticket);
            self.forward_to(peer, ticket, request, others);
            return;
        }
        let error = format!("{target}: {why}");
        let name = self.config.peers.get(&peer).map(|peer| peer.host.clone());
        let name = name.filter(|name| is_name(name));
        if let Some(name) = name
            && !sent
            && in_time
            && !request.looked_up
        {
            // Perhaps it is somewhere else by now.
            request.looked_up = true;
            self.addresses.forget_host(&name);
            if let Err(waiter) = self.peers.put_back(peer, ticket, request) {
                self.cancel_over(waiter);
            }
            return;
        }
        self.log_failed(peer, &error);
        self.peers.on_ended(peer, ticket, Some(error), self.now);
        self.cancel_over(request.waiter);
    }

    /// Connects to the first of these places that can be connected to; false if
    /// none can be now, and the request waits again.
    fn forward_to(
        &mut self,
        peer: u16,
        ticket: Ticket,
        request: Request<Waiter>,
        mut targets: VecDeque<Target>,
    ) -> bool {
        let Some(target) = targets.pop_front() else {
            let error = Some("no address".to_owned());
            self.peers.on_ended(peer, ticket, error, self.now);
            self.cancel_over(request.waiter);
            return true;
        };
        let mut outbox = Outbox::default();
        let packet = outbox.buffer();
        let written = write::cancel_request(packet, request.process_id, &request.secret);
        let socket = match written {
            Ok(()) => open_socket(&target, &self.config.settings),
            Err(error) => Err(io::Error::other(error)),
        };
        let deadline = self.attempt_deadline(&request, targets.len());
        let forwarding = Forwarding {
            peer,
            ticket,
            request,
            target,
            others: targets,
            sent: false,
        };
        match socket {
            Ok(socket) => {
                let stream = Stream::to_server(socket);
                let kind = Kind::Forward(Box::new(forwarding));
                self.start_errand_until(stream, outbox, kind, deadline);
            }
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && self.now < forwarding.request.deadline =>
            {
                // The backlog of its unix socket is full: once more, a little
                // later.
                let put_back = self.peers.put_back(peer, ticket, forwarding.request);
                if let Err(waiter) = put_back {
                    self.cancel_over(waiter);
                }
                return false;
            }
            Err(error) => self.forward_on(forwarding, &error.to_string()),
        }
        true
    }

    /// When an attempt is given up: each place where a request can still go has
    /// its part of the time.
    fn attempt_deadline(&self, request: &Request<Waiter>, others: usize) -> Instant {
        let left = request.deadline.saturating_duration_since(self.now);
        let attempts = others + 1 + usize::from(!request.looked_up);
        let share = left / u32::try_from(attempts).unwrap_or(u32::MAX);
        self.now + share
    }

    /// Nobody who waits for a peer can be served.
    fn forward_none(&mut self, peer: u16, error: &str) {
        self.log_failed(peer, error);
        for waiter in self.peers.fail_waiting(peer, error, self.now) {
            self.cancel_over(waiter);
        }
    }

    fn reach(&self, id: u16) -> Reach {
        let Some(peer) = self.config.peers.get(&id) else {
            return Reach::Nowhere("there is no such peer".to_owned());
        };
        let (host, port) = (&peer.host, peer.port);
        if is_folder(host) {
            return Reach::At(vec![Target::Unix(PathBuf::from(format!(
                "{host}/.s.PGSQL.{port}"
            )))]);
        }
        let at = |address: &IpAddr| Target::Tcp(SocketAddr::new(*address, port));
        if let Ok(address) = host.parse() {
            return Reach::At(vec![at(&address)]);
        }
        match self.addresses.find(host, self.now) {
            Lookup::Found(addresses) => {
                let host = self.peers.host(id);
                let addresses = host.map(|host| host.in_turn(addresses));
                Reach::At(addresses.unwrap_or_default().iter().map(at).collect())
            }
            // Each request is a new try.
            Lookup::Failed(_) | Lookup::Unknown => Reach::Named(host.clone()),
        }
    }

    /// Whether a host of this name has this address, as far as is known.
    fn is_at(&self, host: &str, source: IpAddr) -> bool {
        if is_folder(host) {
            return false;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return address.to_canonical() == source;
        }
        let known = self.addresses.last(host);
        matches!(known, Lookup::Found(all) if all.iter().any(|a| a.to_canonical() == source))
    }

    fn source(&self, waiter: Waiter) -> Option<IpAddr> {
        let Waiter::Client(id) = waiter else {
            return None;
        };
        match self.clients.get(id)?.origin {
            Origin::Tcp(address) => Some(address.ip().to_canonical()),
            Origin::Unix { .. } => None,
        }
    }

    /// The workers among which the places of a peer are divided.
    fn sharers(&self) -> usize {
        let cells = self.scoreboard.cells();
        let living =
            cells.filter(|cell| !matches!(cell.state, WorkerState::Empty | WorkerState::Dead));
        living.count()
    }

    /// The first of several failures in a row is worth a warning.
    fn log_failed(&self, peer: u16, error: &str) {
        let failing = self.peers.host(peer).is_some_and(|host| host.is_failing());
        let level = if failing {
            log::Level::Debug
        } else {
            log::Level::Warn
        };
        log::log!(level, "peer {peer}: cancel request not forwarded: {error}");
    }
}

fn is_folder(host: &str) -> bool {
    host.starts_with(['/', '@'])
}

/// Whether a host has to be looked up.
fn is_name(host: &str) -> bool {
    !is_folder(host) && host.parse::<IpAddr>().is_err()
}

/// Hops that a request has left that comes from a client.
const FRESH: u8 = 3;

//! Quiet: whom it is safe to close, and how a client is asked to go.
//!
//! A client is asked when it is at rest, once and for good, by the carrier it
//! can take. It may stay. At a timeout those are closed who are between two
//! transactions and quiet, so that no error crosses a query on its way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgskein_pool::slab::{ClientId, ServerId, Slab};
use pgskein_protocol::{TransactionStatus, write};

use super::Worker;
use super::answer::DISCONNECT_REQUESTED;
use super::auth::random;
use super::client::{Carrier, Client, Rest, SessionState, Stage};
use super::greet::{tells_by_goaway, tells_by_parameter};
use super::reason::Reason;
use super::server::Server;
use crate::sys::tcp::{round_trip_time, unread};

/// Beginning and end of turns that took long, a while ago at most: what was
/// heard in one may have come at its end.
#[derive(Debug, Default)]
pub(super) struct SlowTurns(BTreeMap<Instant, Instant>);

impl SlowTurns {
    /// Takes note of how long a turn took.
    pub(super) fn note(&mut self, begun: Instant, ended: Instant) {
        self.0
            .retain(|_, end| ended.saturating_duration_since(*end) < A_WHILE);
        if ended.saturating_duration_since(begun) > SLOW_TURN {
            self.0.insert(begun, ended);
        }
    }

    /// The latest time at which that may have come which was heard at `at`.
    fn latest(&self, at: Instant) -> Instant {
        self.0.get(&at).copied().unwrap_or(at)
    }
}

impl Worker {
    /// Asks those to go whose turn it is.
    pub(super) fn ask_clients(&mut self) {
        let (clients, servers) = (&self.clients, &self.servers);
        let between = |id| {
            clients
                .get(id)
                .is_some_and(|client| is_between(client, servers))
        };
        // Without random bits the turns are evenly apart.
        let bits = || random().map_or(1 << 31, u32::from_ne_bytes);
        let asked = self.drains.ask_due(self.now, bits, between);
        for id in asked {
            self.tell(id);
        }
    }

    /// Asks a client to go, whether or not an order is about it, as soon as it is
    /// at rest.
    pub(super) fn ask_to_go(&mut self, id: ClientId) {
        self.drains.ask(id);
        self.tell(id);
    }

    /// A client may have come to rest: its turn to move has come, if it is to.
    /// Asks it to go, if its turn for that has come, it is at rest and it does not
    /// move.
    pub(super) fn tell(&mut self, id: ClientId) {
        self.moves.on_rest(id);
        if !self.drains.is_due(id) || self.moves.spares(id) {
            return;
        }
        let notify = self.config.settings.drain_notify;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let linked = client.linked();
        let busy = linked
            .and_then(|server| self.servers.get(server))
            .is_some_and(|server| !server.flow.at_rest() || server.rest != Rest::None)
            || self.lost.get(&id).is_some_and(|lost| !lost.at_rest());
        let Stage::Session(session) = &mut client.stage else {
            return;
        };
        let at_rest = !matches!(
            session.state,
            SessionState::Waiting
                | SessionState::Skipping
                | SessionState::Offered(_)
                | SessionState::Coming(_)
        ) && session.rest == Rest::None
            && client.inbox.is_empty();
        if busy || !at_rest {
            return;
        }
        match session.carrier {
            Carrier::GoAway if tells_by_goaway(notify) => {
                write::go_away(client.outbox.buffer());
            }
            Carrier::Parameter if tells_by_parameter(notify) => {
                write::parameter_status(client.outbox.buffer(), DISCONNECT_REQUESTED, b"on");
            }
            Carrier::Told => return self.drains.on_told(id),
            _ => return self.drains.on_silent(id),
        }
        session.carrier = Carrier::Told;
        self.drains.on_told(id);
        if let Err(error) = client.outbox.flush(&mut client.stream) {
            self.close_client(id, &Reason::SocketFailed(error.kind()));
        }
    }

    /// Asks all whose turn has come and who are at rest.
    pub(super) fn tell_due(&mut self) {
        for id in self.drains.due() {
            self.tell(id);
        }
    }

    /// Whether a client can be closed without an error crossing a query of it:
    /// between transactions, nothing heard for a while, nothing unread.
    pub(super) fn is_quiet(&self, id: ClientId) -> bool {
        let Some(client) = self.clients.get(id) else {
            return false;
        };
        let Some(session) = client.session() else {
            return false;
        };
        let heard = client.heard.max(session.turned);
        let heard = self.ending.slow_turns.latest(heard);
        let quiet = self.now.saturating_duration_since(heard);
        is_between(client, &self.servers)
            && quiet >= QUIET_MIN.max(4 * round_trip_time(&client.stream).unwrap_or_default())
            && unread(&client.stream).is_ok_and(|bytes| bytes == 0)
            // What TLS has taken from the socket may not be read yet.
            && (client.stream.tls().is_none() || !client.stream.readable())
    }
}

/// Whether a client is logged in and between two transactions.
pub(super) fn is_between(client: &Client, servers: &Slab<ServerId, Server>) -> bool {
    let Some(session) = client.session() else {
        return false;
    };
    let between = match session.state {
        SessionState::Idle => true,
        SessionState::Linked(server) => servers.get(server).is_some_and(|server| {
            server.flow.at_rest()
                && server.rest == Rest::None
                && server.flow.status() == TransactionStatus::Idle
        }),
        SessionState::Waiting
        | SessionState::Skipping
        | SessionState::Lost
        | SessionState::Offered(_)
        | SessionState::Coming(_) => false,
    };
    between && session.rest == Rest::None && client.inbox.is_empty()
}

/// A client is quiet when nothing was heard of it for this long, at least.
const QUIET_MIN: Duration = Duration::from_millis(100);

/// A turn that takes longer says little about when something was heard.
const SLOW_TURN: Duration = Duration::from_millis(5);

/// How long slow turns are remembered.
const A_WHILE: Duration = Duration::from_secs(2);

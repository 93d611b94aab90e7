//! Cancel: from a CancelRequest to the query that it is meant for.
//!
//! The worker that is reached looks at its own clients first. If the key is
//! not one of them it asks, over their peer sockets, the worker of the key's
//! home slot, then those that may have sessions of other slots; if it is another
//! host's, that is asked instead ([`super::forward`]). The owner opens a
//! connection to PostgreSQL and keeps the server until that connection has ended,
//! so that the cancel can hit nobody else. Whoever asked is answered by the end
//! of his connection.
//!
//! Source: PostgreSQL documentation, "Canceling Requests in Progress".

use std::time::Duration;

use pgskein_pool::flow::{ClientVerdict, Flow};
use pgskein_pool::peers::Route;
use pgskein_pool::slab::{ClientId, ErrandId};
use pgskein_protocol::key::Slot;
use pgskein_protocol::tag::frontend;
use pgskein_protocol::{Header, Report, TransactionStatus, write};

use super::Worker;
use super::client::{Rest, SessionState, Stage};
use super::errand::Search;
use super::reason::Reason;
use super::server::{Server, ServerState};
use super::sweep::after;
use crate::runtime_dir::peer_socket_path;
use crate::scoreboard::WorkerState;

/// Who waits for the end of a cancel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Waiter {
    /// The connection that a CancelRequest came over.
    Client(ClientId),
    /// A sibling that relays one.
    Peer(ErrandId),
}

/// What a cancel request to a server is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// This client's query is to end.
    Query {
        /// The client.
        client: ClientId,
        /// Who waits for it.
        waiter: Waiter,
    },
    /// The client has left its query behind.
    ClientLeft,
}

impl Worker {
    /// Carries out a CancelRequest that a client has sent.
    pub(super) fn begin_cancel(&mut self, id: ClientId, process_id: u32, secret: &[u8]) {
        let waiter = Waiter::Client(id);
        if let Some(owner) = self.owner(process_id, secret) {
            return self.cancel_client(owner, waiter);
        }
        match self.peers.route(process_id) {
            Route::Siblings => self.search_siblings(waiter, process_id, secret, None),
            Route::SiblingsThen(peer) => {
                self.search_siblings(waiter, process_id, secret, Some(peer));
            }
            Route::Peer(peer) => self.forward_cancel(peer, waiter, process_id, secret),
            Route::Nowhere => self.cancel_unknown(waiter),
        }
    }

    /// Looks for a client among the siblings, and then at the peer `then`.
    fn search_siblings(
        &mut self,
        waiter: Waiter,
        process_id: u32,
        secret: &[u8],
        then: Option<u16>,
    ) {
        let home = Slot::of_process_id(process_id);
        let guests = self.scoreboard.guests();
        let mut siblings: Vec<_> = self
            .scoreboard
            .cells()
            .filter(|cell| {
                (cell.slot, cell.generation) != (self.slot, self.generation)
                    && !matches!(cell.state, WorkerState::Empty | WorkerState::Dead)
                    // Nobody else can know the key.
                    && (Some(cell.slot) == home || guests.are_at(cell.slot, cell.generation))
            })
            .map(|cell| (Some(cell.slot) == home, cell.generation, cell.slot))
            .collect();
        // The last is asked first: where the session went from here, if it did;
        // the home slot, its newest generation.
        let went = self.undecided.away.find(process_id, secret);
        siblings.sort_by_key(|(at_home, generation, slot)| {
            let there = went.is_some_and(|to| (to.slot, to.generation) == (*slot, *generation));
            (there, *at_home, *generation)
        });
        // And once more at the end: a session may have come there since, from a
        // worker that has ended then.
        if siblings.len() > 1
            && let Some(first) = siblings.last().copied()
        {
            siblings.insert(0, first);
        }
        let search = Search {
            waiter,
            process_id,
            secret: secret.into(),
            deadline: after(self.now, self.config.settings.cancel_wait_timeout),
            siblings: siblings
                .into_iter()
                .map(|(_, generation, slot)| peer_socket_path(&self.runtime_dir, slot, generation))
                .collect(),
            then,
            guests,
        };
        self.ask_sibling(search);
    }

    /// How long a cancel request may take where it has to end at some time:
    /// `cancel_wait_timeout`, or a minute if that is 0.
    pub(super) fn cancel_time(&self) -> Duration {
        let timeout = self.config.settings.cancel_wait_timeout;
        if timeout.is_zero() {
            CANCEL_AT_MOST
        } else {
            timeout
        }
    }

    /// The client of this worker that has this cancel key.
    pub(super) fn owner(&self, process_id: u32, secret: &[u8]) -> Option<ClientId> {
        // All are compared, so that the time tells nothing about any.
        let has = |id: &ClientId| {
            let session = self.clients.get(*id).and_then(|client| client.session());
            session.is_some_and(|session| session.key.matches(secret))
        };
        self.keys.with(process_id).filter(has).last()
    }

    /// Ends what a client of this worker is doing.
    pub(super) fn cancel_client(&mut self, id: ClientId, waiter: Waiter) {
        let Some(session) = self.clients.get(id).and_then(|client| client.session()) else {
            return self.cancel_over(waiter);
        };
        match session.state {
            SessionState::Linked(server) => {
                let running = self
                    .servers
                    .get(server)
                    .is_some_and(|server| server.flow.running());
                if running {
                    let purpose = Purpose::Query { client: id, waiter };
                    self.cancel_server(server, purpose);
                } else {
                    self.cancel_over(waiter);
                }
            }
            SessionState::Waiting => {
                self.cancel_waiting(id);
                self.cancel_over(waiter);
            }
            SessionState::Idle | SessionState::Skipping | SessionState::Lost => {
                self.cancel_over(waiter);
            }
            SessionState::Offered(_) | SessionState::Coming(_) => {
                self.undecided.cancel_later(id, waiter);
            }
        }
    }

    /// A cancel is done, or nobody knew its key.
    pub(super) fn cancel_over(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Client(id) => self.close_client(id, &Reason::CancelDone),
            Waiter::Peer(id) => self.peer_cancel_over(id),
        }
    }

    /// Whether a cancel request would still hit what it is for.
    pub(super) fn still_wanted(&self, server: Option<&Server>, purpose: Purpose) -> bool {
        match (purpose, server.map(|server| (&server.state, &server.flow))) {
            (Purpose::Query { client, .. }, Some((ServerState::Linked(linked), flow))) => {
                *linked == client && flow.running()
            }
            (Purpose::Query { .. }, _) => false,
            (Purpose::ClientLeft, Some((state, _))) => matches!(
                state,
                ServerState::Recovering { .. } | ServerState::Closing { .. }
            ),
            (Purpose::ClientLeft, None) => true,
        }
    }

    /// Answers a client that waits in the queue: 57014, at once.
    ///
    /// What it has sent for this query is thrown away; the session goes on.
    fn cancel_waiting(&mut self, id: ClientId) {
        let now = self.now;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let inbox = std::mem::take(&mut client.inbox);
        let Stage::Session(session) = &mut client.stage else {
            return;
        };
        if let Some(pool) = self.pools.get_mut(session.pool) {
            pool.forget_client(id);
        }
        let pool = session.pool;
        session.since = now;
        let text = Reason::Cancelled;
        let report = Report {
            severity: "ERROR",
            sqlstate: text.sqlstate().unwrap_or_default(),
            message: &text.text(),
            detail: None,
            hint: None,
        };
        let out = client.outbox.buffer();
        write::error(out, &report);
        match Header::peek(&inbox) {
            Ok(Some(header)) if matches!(header.tag, frontend::QUERY | frontend::FUNCTION_CALL) => {
                session.state = SessionState::Idle;
                session.rest = Rest::Drop(header.total());
                write::ready_for_query(out, TransactionStatus::Idle);
            }
            Ok(Some(header)) if Flow::unlinked(header.tag) == ClientVerdict::Forward => {
                session.state = SessionState::Skipping;
            }
            _ => session.state = SessionState::Idle,
        }
        self.wish(pool);
        match self.take_from_client(id, &inbox) {
            Ok(()) => {
                self.tell(id);
                self.flush_and_wake(id);
            }
            Err(reason) => self.close_client(id, &reason),
        }
    }
}

/// How long a cancel request may take when `cancel_wait_timeout` is 0.
const CANCEL_AT_MOST: Duration = Duration::from_secs(60);

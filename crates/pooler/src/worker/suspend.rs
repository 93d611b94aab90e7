//! Suspend: the worker stands still.
//!
//! Nothing is accepted, and nothing more read of clients and servers than the
//! rest of messages that have begun to pass. Who has not come to that before
//! `suspend_timeout` is closed. Consoles, logins to servers and cancels go on.

use pgskein_pool::slab::ClientId;

use super::client::{Client, Rest, Stage};
use super::reason::Reason;
use super::server::{Server, ServerState};
use super::{Runnable, Worker};

impl Worker {
    /// A worker that is started while the group stands still does so too.
    pub(super) fn begin_suspended(&mut self) {
        if self.orders.state().is_suspended() {
            self.suspend();
        }
    }

    /// Comes to a stand.
    pub(super) fn suspend(&mut self) {
        let timeout = self.config.settings.suspend_timeout;
        self.orders.give_up_at = (!timeout.is_zero()).then(|| self.now + timeout);
        self.listeners.hold(true);
    }

    /// Goes on where it stood still.
    pub(super) fn go_on_again(&mut self) {
        self.orders.give_up_at = None;
        self.orders.suspended_by = None;
        self.listeners.hold(false);
        self.runnable.append(&mut self.orders.parked);
    }

    /// Keeps those from their turn who have nothing left to be written.
    #[cold]
    pub(super) fn park(&mut self) {
        let mut queue = std::mem::take(&mut self.runnable);
        queue.append(&mut self.orders.parked);
        for subject in queue {
            let parked = match subject {
                Runnable::Client(id) => self.clients.get(id).is_some_and(|client| {
                    matches!(client.stage, Stage::Session(_)) && is_settled(client)
                }),
                Runnable::Server(id) => self.servers.get(id).is_some_and(|server| {
                    matches!(server.state, ServerState::Idle | ServerState::Linked(_))
                        && is_written(server)
                }),
                Runnable::Errand(_) | Runnable::Way(_) => false,
            };
            if parked {
                self.orders.parked.push(subject);
            } else {
                self.runnable.push(subject);
            }
        }
    }

    /// Whether nothing is left to be written, and nothing half read.
    pub(super) fn stands_still(&self) -> bool {
        let given_up = self.orders.give_up_at.is_some_and(|at| at <= self.now);
        given_up
            || self.clients.iter().all(|(_, client)| is_settled(client))
                && self.servers.iter().all(|(_, server)| match server.state {
                    ServerState::Linked(_) => is_written(server),
                    ServerState::Idle
                    | ServerState::Offered(_)
                    | ServerState::Coming(_)
                    | ServerState::Closing { .. } => true,
                    _ => false,
                })
    }

    /// Closes whoever keeps the worker from standing still for too long.
    pub(super) fn give_up_writing(&mut self) {
        if self.orders.give_up_at.is_some_and(|at| at <= self.now) {
            let late: Vec<ClientId> = self.clients.ids(|client| !is_settled(client));
            self.close_waiting(late, &Reason::SuspendTimeout);
        }
    }
}

/// Whether everything that a client was sent, or has begun to send, has passed.
fn is_settled(client: &Client) -> bool {
    match &client.stage {
        Stage::Session(session) => client.outbox.is_empty() && session.rest == Rest::None,
        Stage::Login(_) => false,
        Stage::Console(_) | Stage::Cancelling { .. } | Stage::Closing { .. } => true,
    }
}

/// The same of a server.
fn is_written(server: &Server) -> bool {
    server.outbox.is_empty() && server.rest == Rest::None
}

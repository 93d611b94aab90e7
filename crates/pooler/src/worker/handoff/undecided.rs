//! Undecided: what waits until it is decided which worker has a connection.
//!
//! A connection that is offered is in the books of both workers, and nothing is
//! done about it: whoever has it in the end does what was asked of it meanwhile.
//! So a cancel finds its session at any instant. The giver has it until it is
//! given, and for a while remembers where it went; the taker has its key from the
//! offer on.

use std::collections::HashMap;

use pgskein_pool::handoff::Away;
use pgskein_pool::peer::PeerAnswer;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::key::CancelKey;

use super::super::Worker;
use super::super::cancel::Waiter;
use super::super::errand::Search;
use super::super::reason::Reason;
use super::super::sweep::after;
use super::{Cargo, Place};
use crate::runtime_dir::peer_socket_path;

/// What was asked of clients that are offered, and who has gone.
#[derive(Debug, Default)]
pub(in crate::worker) struct Undecided {
    /// What is offered, with the version of the orders that its offer is of.
    offered: HashMap<Cargo, u64>,
    /// Why clients are closed by whoever has them.
    closings: HashMap<ClientId, Reason>,
    /// Who wants to cancel what they do.
    cancels: HashMap<ClientId, Vec<Waiter>>,
    /// Cancels that wait for the next turn of their client, which may have a
    /// query in its socket.
    after_turn: Vec<(ClientId, Waiter)>,
    /// Where sessions have gone lately.
    pub away: Away<Place>,
    /// Clients that other workers offer.
    pub coming_clients: usize,
    /// Servers that other workers offer.
    pub coming_servers: usize,
}

impl Undecided {
    /// Something is offered when orders up to this version were seen.
    pub(super) fn on_offered(&mut self, cargo: Cargo, orders: u64) {
        self.offered.insert(cargo, orders);
    }

    /// It is decided who has it.
    pub(super) fn on_decided(&mut self, cargo: Cargo) {
        self.offered.remove(&cargo);
    }

    /// A client is to be closed by whoever has it.
    pub(in crate::worker) fn close_later(&mut self, id: ClientId, reason: &Reason) {
        self.closings.entry(id).or_insert_with(|| reason.clone());
    }

    /// What a client does is to be cancelled by whoever has it.
    pub(in crate::worker) fn cancel_later(&mut self, id: ClientId, waiter: Waiter) {
        self.cancels.entry(id).or_default().push(waiter);
    }

    /// A client is not this worker's: nothing is to be done about it.
    pub(super) fn forget(&mut self, id: ClientId) {
        self.closings.remove(&id);
    }

    /// Whether a cancel waits for a turn.
    pub(in crate::worker) fn has_cancels(&self) -> bool {
        !self.after_turn.is_empty()
    }
}

impl Worker {
    /// Whether an order has come since something was offered. Then it stays: its
    /// taker may have carried the order out before it had it.
    pub(super) fn is_outdated(&self, cargo: Cargo) -> bool {
        let offered = self.undecided.offered.get(&cargo);
        offered.is_some_and(|orders| *orders != self.orders.version())
    }

    /// A client is this worker's, and has its turns again: does what was asked of
    /// it meanwhile.
    pub(super) fn go_on_with(&mut self, id: ClientId) {
        for waiter in self.undecided.cancels.remove(&id).unwrap_or_default() {
            if let Waiter::Peer(errand) = waiter {
                // A sibling that has not been told yet is told now.
                self.answer_found(errand);
            }
            self.undecided.after_turn.push((id, waiter));
        }
        if let Some(reason) = self.undecided.closings.remove(&id) {
            return self.close_client(id, &reason);
        }
        self.tell(id);
        self.wake_client(id);
    }

    /// A client is another worker's: sends cancels after it.
    pub(super) fn send_after(&mut self, id: ClientId, key: CancelKey, to: Place) {
        self.undecided.closings.remove(&id);
        self.undecided.away.insert(key, to, self.now);
        for waiter in self.undecided.cancels.remove(&id).unwrap_or_default() {
            if let Waiter::Peer(errand) = waiter {
                self.answer_found(errand);
            }
            self.cancel_away(waiter, key.process_id, key.secret(), to);
        }
    }

    /// A client that was offered does not come: whoever has a cancel for it
    /// looks elsewhere.
    pub(super) fn stop_waiting_for(&mut self, id: ClientId, key: CancelKey) {
        self.undecided.closings.remove(&id);
        for waiter in self.undecided.cancels.remove(&id).unwrap_or_default() {
            match waiter {
                Waiter::Client(asking) => {
                    self.begin_cancel(asking, key.process_id, key.secret());
                }
                Waiter::Peer(errand) => self.answer_last(errand, &PeerAnswer::Unknown),
            }
        }
    }

    /// Sends a cancel after a session that has gone to another worker.
    pub(in crate::worker) fn cancel_away(
        &mut self,
        waiter: Waiter,
        process_id: u32,
        secret: &[u8],
        to: Place,
    ) {
        let path = peer_socket_path(&self.runtime_dir, to.slot, to.generation);
        self.ask_sibling(Search {
            waiter,
            process_id,
            secret: secret.into(),
            deadline: after(self.now, self.config.settings.cancel_wait_timeout),
            siblings: vec![path],
            then: None,
            guests: self.scoreboard.guests(),
        });
    }

    /// Carries out the cancels whose clients have had their turn.
    #[cold]
    pub(in crate::worker) fn cancel_after_turns(&mut self) {
        let stands_still = self.orders.state().is_suspended();
        for (id, waiter) in std::mem::take(&mut self.undecided.after_turn) {
            let client = self.clients.get(id);
            if client.is_some_and(|client| client.queued) && !stands_still {
                self.undecided.after_turn.push((id, waiter));
            } else {
                self.cancel_client(id, waiter);
            }
        }
    }

    /// Whether a client with this cancel key is another worker's still.
    pub(in crate::worker) fn is_coming(&self, id: ClientId) -> bool {
        self.clients
            .get(id)
            .is_some_and(|client| client.is_coming())
    }
}

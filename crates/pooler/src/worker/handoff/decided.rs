//! What becomes of the offer of a server, for those who have asked for it.

use pgskein_pool::slab::ServerId;

use super::super::Worker;
use super::{Place, Unmovable};

impl Worker {
    /// A server is going to be another worker's: what is known of it here is
    /// still there, and is forgotten next.
    pub(super) fn lent(&mut self, id: ServerId, to: Place) {
        if let Some(server) = self.servers.get(id) {
            log::debug!("s{}: moves to worker {to}", server.number);
        }
    }

    /// A server has come from that worker, with its lease.
    pub(super) fn received(&mut self, id: ServerId, from: Place) {
        if let Some(server) = self.servers.get(id) {
            log::debug!("s{}: comes from worker {from}", server.number);
        }
    }

    /// A server stays here after all, idle as before.
    pub(super) fn not_lent(&mut self, id: ServerId, why: Unmovable) {
        if let Some(server) = self.servers.get(id) {
            log::debug!("s{}: does not move: {}", server.number, why.word());
        }
    }

    /// Nothing more will come from that worker: all that it has offered was
    /// started or released.
    pub(super) fn handoffs_over(&mut self, from: Place) {
        log::debug!("no more handoffs from worker {from}");
    }
}

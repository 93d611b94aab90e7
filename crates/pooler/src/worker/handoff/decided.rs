//! What becomes of the offer of a server, for those who have asked for it.

use pgskein_pool::control::{HandoffReport, ToSupervisor};
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
        self.tell_lent(id, to);
    }

    /// A server has come from that worker, with its lease.
    pub(super) fn received(&mut self, id: ServerId, from: Place) {
        if let Some(server) = self.servers.get(id) {
            log::debug!("s{}: comes from worker {from}", server.number);
        }
        self.tell_received(id);
    }

    /// A server stays here after all, idle as before.
    pub(super) fn not_lent(&mut self, id: ServerId, why: Unmovable) {
        self.log_not_lent(id, why);
        self.close_recalled(id);
    }

    /// Notes in the log why a server is not another worker's.
    pub(in crate::worker) fn log_not_lent(&self, id: ServerId, why: Unmovable) {
        if let Some(server) = self.servers.get(id) {
            log::debug!("s{}: does not move: {}", server.number, why.word());
        }
    }

    /// Nothing more will come from that worker: all that it has offered was
    /// started or released. `pid` is its process.
    pub(super) fn handoffs_over(&mut self, from: Place, pid: i32) {
        log::debug!("no more handoffs from worker {from}");
        self.tell_supervisor(&ToSupervisor::Handoff(HandoffReport::Over {
            slot: from.slot,
            generation: from.generation,
            process: u32::try_from(pid).unwrap_or(0),
        }));
    }
}

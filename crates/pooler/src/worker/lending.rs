//! Lending: servers that the ledger wants back go to who wants them, alive.
//!
//! The ledger says who that is before it recalls. What cannot be handed over is
//! closed, and opened anew there.

use pgskein_pool::control::{HandoffReport, PoolKey, ToSupervisor};
use pgskein_pool::ledger::{Report, WorkerId};
use pgskein_pool::pools::GivenUp;
use pgskein_pool::slab::ServerId;

use super::Worker;
use super::handoff::{Cargo, Place};
use super::reason::ServerReason;
use super::server::ServerState;

impl Worker {
    /// These workers want the servers of a pool that are recalled.
    pub(super) fn on_lend(&mut self, key: &PoolKey, to: Vec<WorkerId>) {
        let pool = self.pools.lookup(key).and_then(|id| self.pools.get_mut(id));
        if let Some(pool) = pool {
            pool.on_lend(to);
        }
    }

    /// The ledger wants servers of a pool back.
    pub(super) fn on_recall(&mut self, key: &PoolKey, count: u32, unused: u32) {
        let now = self.now;
        let pool = self.pools.lookup(key).and_then(|id| self.pools.get_mut(id));
        if let Some(pool) = pool {
            let given = pool.on_recall(count, unused, now);
            self.give_up(given);
        }
    }

    /// Gives up idle servers.
    pub(super) fn give_up(&mut self, given: Vec<GivenUp>) {
        for GivenUp { server, to } in given {
            self.give_up_one(server, to);
        }
    }

    /// Hands an idle server over to this worker, or closes it.
    pub(super) fn give_up_one(&mut self, id: ServerId, to: Option<WorkerId>) {
        let to = to.map(|to| Place {
            slot: to.slot,
            generation: to.generation,
        });
        match to.map(|to| self.hand_over(Cargo::Server(id), to)) {
            Some(Ok(())) => {
                self.recalled.insert(id);
            }
            Some(Err(why)) => {
                self.log_not_lent(id, why);
                self.close_server(id, &ServerReason::Recalled);
            }
            None => self.close_server(id, &ServerReason::Recalled),
        }
    }

    /// A server that was to be lent has stayed: it is given up in the other way.
    pub(super) fn close_recalled(&mut self, id: ServerId) {
        if !self.recalled.remove(&id) {
            return;
        }
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if matches!(server.state, ServerState::Idle) {
            self.close_server(id, &ServerReason::Recalled);
        } else if let Some(pool) = self.pools.get_mut(server.pool) {
            // It is in use again, so the next one goes.
            pool.not_given_up(self.now);
        }
    }

    /// Tells the supervisor that a server goes to another worker for good.
    pub(super) fn tell_lent(&mut self, id: ServerId, to: Place) {
        self.recalled.remove(&id);
        let lease = self.servers.get(id).map(|server| server.lease);
        if let (Some(lease), Some(to)) = (lease, self.process_at(to)) {
            self.tell_supervisor(&ToSupervisor::Handoff(HandoffReport::Lent { lease, to }));
        }
    }

    /// Tells the supervisor that a server has come from another worker. It serves
    /// here for a while, whatever was recalled before.
    pub(super) fn tell_received(&mut self, id: ServerId) {
        let now = self.now;
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.lease = server.lease.handed_on();
        let (lease, dedicated) = (server.lease, server.owner.is_some());
        let held = server.reported();
        if let Some(pool) = self.pools.get_mut(server.pool) {
            pool.begin_quantum(now);
            let report = Report {
                lease,
                pool: pool.key.clone(),
                dedicated,
                server: held,
            };
            self.tell_supervisor(&ToSupervisor::Handoff(HandoffReport::Received(report)));
        }
    }
}

//! The death of a worker.

use mio::Token;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use pgskein_pool::ledger::WorkerId;

use super::tokens::deregister;
use super::{Supervisor, Worker};

impl Supervisor {
    /// Buries every worker that has died.
    pub(crate) fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.bury(pid, code == 0, &format!("exited with code {code}"));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.bury(pid, false, &format!("killed by {signal}"));
                }
                Err(Errno::EINTR) => {}
                Ok(WaitStatus::StillAlive) | Err(_) => break,
                Ok(_) => {}
            }
        }
    }

    fn bury(&mut self, pid: Pid, in_order: bool, how: &str) {
        let mut workers = self.workers.iter();
        let Some(token) = workers.find_map(|(token, worker)| (worker.pid == pid).then_some(*token))
        else {
            if !self.on_http_death(pid, how) && !self.on_check_ended(pid, in_order, how) {
                self.hangs.on_other_death(pid);
            }
            return;
        };
        // What it said before it died still holds.
        self.read_link(token);
        let Some(worker) = self.workers.remove(&token) else {
            return;
        };
        let WorkerId {
            slot, generation, ..
        } = worker.id;
        let orphans = self.ledger.held_by(worker.id);
        if worker.leaving {
            log::info!(
                "worker {slot} of generation {generation}: {how}, pid={pid} servers={orphans}"
            );
        } else if in_order && self.is_draining() {
            log::info!("worker {slot}: ended, pid={pid}");
        } else {
            log::warn!("worker {slot}: {how}, pid={pid} servers={orphans}");
        }
        self.forget(token, &worker);
        let served = self.vacate(token);
        self.hangs.on_death(token);
        if !self.takes_clients() || !served {
            // Its queue has been closed, or is in the hands of another.
            self.remove_peer_socket(slot, generation);
        }
        if self.is_successor(token) {
            self.on_successor_death(how);
        } else if served && self.takes_clients() && self.on_death_in_restart(slot) {
            self.remove_peer_socket(slot, generation);
        } else if served && self.takes_clients() {
            self.respawn_later(slot, worker.ready_since);
            self.respawn_due();
        }
        self.tell_backtrace(slot, pid, worker.foreign);
    }

    /// Drops what is kept for the worker, apart from its slot.
    pub(super) fn forget(&mut self, token: Token, worker: &Worker) {
        if let Some(link) = &worker.link {
            deregister(&self.poll, link);
        }
        self.scoreboard.bury(worker.cell);
        let linger = self.config.settings.lease_linger;
        self.ledger.worker_died(worker.id, linger, self.now);
        self.client_places.worker_died(worker.id);
        self.reloads.on_death(token);
        self.reporting.remove(&token);
        self.forget_orders(token, worker.id);
        self.welcomes.on_death(worker.id);
        self.statistics.book.worker_died(worker.id, self.now);
        self.drains.worker_died(worker.id);
        self.on_settled(token, false);
    }

    /// Takes note that the slots of a dead worker, its own and adopted ones,
    /// have no acceptor.
    ///
    /// True if it had a slot of its own.
    fn vacate(&mut self, token: Token) -> bool {
        let mut own = false;
        for place in self.places.values_mut() {
            if place.worker == Some(token) {
                own = true;
                place.worker = None;
                place.vacant_since.get_or_insert(self.now);
            }
            if place.adopter == Some(token) {
                place.adopter = None;
            }
        }
        own
    }
}

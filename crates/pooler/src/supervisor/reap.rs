//! The death of a worker.

use mio::Token;
use mio::unix::SourceFd;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::AsRawFd;

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
            return self.hangs.on_other_death(pid);
        };
        // What it said before it died still holds.
        self.read_link(token);
        let Some(worker) = self.workers.remove(&token) else {
            return;
        };
        let slot = worker.id.slot;
        if in_order && self.is_draining() {
            log::info!("worker {slot}: ended, pid={pid}");
        } else {
            let orphans = self.ledger.held_by(worker.id);
            log::warn!("worker {slot}: {how}, pid={pid} servers={orphans}");
        }
        self.forget(token, &worker);
        self.vacate(token);
        self.hangs.on_death(token);
        if !self.takes_clients() {
            // Its queue has been closed, or is in the hands of a sibling.
            self.remove_peer_socket(slot);
        } else {
            self.respawn_later(slot, worker.ready_since);
            self.respawn_due();
        }
        self.tell_backtrace(slot, pid);
    }

    /// Drops what is kept for the worker, apart from its slot.
    pub(super) fn forget(&mut self, token: Token, worker: &Worker) {
        if let Some(link) = &worker.link {
            let fd = link.as_raw_fd();
            let _closed_next = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
        self.scoreboard.bury(worker.cell);
        let linger = self.config.settings.lease_linger;
        self.ledger.worker_died(worker.id, linger, self.now);
        self.client_places.worker_died(worker.id);
        self.reloads.on_death(token);
        self.forget_orders(token, worker.id);
        self.welcomes.on_death(worker.id);
        self.statistics.book.worker_died(worker.id, self.now);
        self.drains.worker_died(worker.id);
        self.on_settled(token, false);
    }

    /// Takes note that the slots of a dead worker, its own and adopted ones,
    /// have no acceptor.
    fn vacate(&mut self, token: Token) {
        for place in self.places.values_mut() {
            if place.worker == Some(token) {
                place.worker = None;
                place.vacant_since.get_or_insert(self.now);
            }
            if place.adopter == Some(token) {
                place.adopter = None;
            }
        }
    }
}

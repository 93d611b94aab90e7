//! Adoption: a slot always has an acceptor.
//!
//! The kernel goes on handing connections to the listeners of a slot without
//! a worker. So when a slot is without one for more than a moment, its
//! listeners go to the ready worker with the fewest clients, which accepts
//! from them until the slot's own worker is ready again.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_pool::control::ToWorker;
use pgskein_protocol::key::Slot;

use super::{Place, Supervisor};

impl Supervisor {
    /// Finds an acceptor for every slot that has been without one for long
    /// enough.
    pub(crate) fn adopt_vacant(&mut self) {
        let due = self.places.iter().filter(|(_, place)| {
            let at = place.adoption_due_at();
            at.is_some_and(|at| at <= self.now)
        });
        let due: Vec<Slot> = due.map(|(slot, _)| *slot).collect();
        for slot in due {
            self.adopt(slot);
        }
    }

    /// Finds an acceptor for every slot without one, now.
    pub(crate) fn adopt_all_vacant(&mut self) {
        let vacant = self.places.iter().filter(|(_, place)| place.is_unserved());
        for slot in vacant.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.adopt(slot);
        }
    }

    pub(crate) fn has_ready_worker(&self) -> bool {
        self.least_loaded().is_some()
    }

    /// A worker is ready: it takes its slot back, and may adopt others.
    pub(crate) fn on_ready(&mut self, token: Token) {
        let Some(worker) = self.workers.get_mut(&token) else {
            return;
        };
        worker.ready_since = Some(self.now);
        let (slot, pid, id) = (worker.id.slot, worker.pid, worker.id);
        log::info!("worker {slot}: ready, pid={pid}");
        self.ledger.worker_ready(id);
        self.ledger.tell_of_failures(id, self.now);
        self.statistics.book.worker_ready(id);
        if self.is_successor(token) {
            return self.succeed(slot, token);
        }
        self.take_back(slot);
        if !self.ever_ready {
            self.ever_ready = true;
            if let Some(daemon) = self.daemon.take() {
                daemon.succeed();
            }
        }
        self.drain_elders();
    }

    /// The slot's own worker accepts, and nobody else has to.
    pub(crate) fn take_back(&mut self, slot: Slot) {
        if let Some(place) = self.places.get_mut(&slot) {
            place.vacant_since = None;
            if let Some(adopter) = place.adopter.take() {
                self.tell(adopter, &ToWorker::DropListener { slot });
            }
        }
    }

    pub(crate) fn adopt(&mut self, slot: Slot) {
        let (Some(token), Some(place)) = (self.least_loaded(), self.places.get_mut(&slot)) else {
            return;
        };
        let Some(worker) = self.workers.get_mut(&token) else {
            return;
        };
        let listeners: Vec<_> = place.listeners.iter().map(AsFd::as_fd).collect();
        log::debug!("slot {slot}: adopted by worker {}", worker.id.slot);
        if worker.tell(&ToWorker::Adopt { slot }, &listeners) {
            place.adopter = Some(token);
        }
    }

    /// Whether the slot of a worker is to have none.
    fn is_retiring(&self, token: Token) -> bool {
        let mut retired = self.places.values().filter(|place| place.retired);
        retired.any(|place| place.worker == Some(token))
    }

    /// The ready worker with the fewest clients.
    fn least_loaded(&self) -> Option<Token> {
        let ready = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.ready_since.is_some() && worker.link.is_some())
            .filter(|(token, worker)| {
                !worker.pulse.is_suspect() && !worker.leaving && !self.is_retiring(**token)
            });
        ready
            .min_by_key(|(_, worker)| worker.cell.clients())
            .map(|(token, _)| *token)
    }
}

impl Place {
    /// When the slot is to be adopted, if it is vacant.
    pub(crate) fn adoption_due_at(&self) -> Option<Instant> {
        let since = self.vacant_since.filter(|_| self.is_unserved())?;
        // A worker that will be started later only is not worth waiting for.
        let backs_off = self.worker.is_none() && self.respawn_at.is_some();
        Some(if backs_off { since } else { since + PATIENCE })
    }

    /// Connections come in and nobody accepts them.
    fn is_unserved(&self) -> bool {
        self.vacant_since.is_some() && self.adopter.is_none() && !self.listeners.is_empty()
    }
}

/// How long a slot waits for a worker that has been started.
const PATIENCE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn place() -> (Place, Instant) {
        let now = Instant::now();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        (Place::new(vec![listener], 1, now), now)
    }

    #[test]
    fn waits_a_moment_for_a_worker_that_was_started() {
        let (mut place, now) = place();
        (place.worker, place.respawn_at) = (Some(Token(2)), None);
        assert_eq!(place.adoption_due_at(), Some(now + PATIENCE));
    }

    #[test]
    fn does_not_wait_for_a_worker_that_is_yet_to_be_started() {
        let (place, now) = place();
        assert_eq!(place.adoption_due_at(), Some(now));
    }

    #[test]
    fn leaves_a_slot_that_is_served_adopted_or_closed() {
        let (mut place, _) = place();
        place.adopter = Some(Token(3));
        assert_eq!(place.adoption_due_at(), None);
        place.adopter = None;
        place.listeners.clear();
        assert_eq!(place.adoption_due_at(), None);
        let (mut place, _) = self::place();
        place.vacant_since = None;
        assert_eq!(place.adoption_due_at(), None);
    }
}

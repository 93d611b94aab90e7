//! Replace: every slot gets a worker of the next generation, one after the
//! other.
//!
//! ```text
//! waiting ──> successor started ── ready ──> it accepts, the worker before leaves
//!                  └── dies again and again, or is late ──> all stays as it is
//! ```
//!
//! Both generations accept from the same sockets for a moment and then only the
//! next one, so nobody who waits there is lost. A worker that leaves asks its
//! clients to go; it is waited for by nobody but the next restart. A slot that
//! is to have no worker keeps its listeners, which a sibling adopts.

mod steps;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain_order::{DrainKind, DrainOrder, DrainScope};
use pgskein_pool::legacy;
use pgskein_pool::moves::Succession;
use pgskein_protocol::key::Slot;

pub(crate) use self::steps::Replacement;
use self::steps::{Current, Purpose, Step};
use super::Supervisor;
use super::ask::Asker;
use crate::start::program::version;

impl Supervisor {
    /// Has every slot get what it is to get after a restart.
    pub(crate) fn replace_all(&mut self, restart: legacy::Restart, from: &str) {
        let asker = Asker::of_id(restart.asker);
        let slots: Vec<(Slot, bool)> = self
            .places
            .iter()
            .map(|(slot, place)| (*slot, place.worker.is_some()))
            .collect();
        let workers = restart.workers as usize;
        for (at, place) in self.places.values_mut().enumerate() {
            let retired = std::mem::replace(&mut place.retired, at >= workers);
            if retired && !place.retired {
                place.generation = place.generation.saturating_add(1);
                place.respawn_at = Some(self.now);
            }
            if place.retired {
                // Its worker may have died a moment ago.
                place.respawn_at = None;
            }
        }
        // Whoever has asked is answered before its worker leaves.
        let last = match asker {
            Asker::Worker { token, .. } => self.workers.get(&token),
            Asker::Signal => None,
        };
        let last = last.map(|worker| worker.id.slot);
        let drain = self.shutdown_order(DrainKind::WaitForClients).id;
        let purpose = Purpose::Restart {
            asker,
            drain,
            asked_at: self.now.checked_sub(restart.age).unwrap_or(self.now),
            from: from.to_owned(),
            notice: restart.notice,
        };
        self.replace(purpose, Replacement::steps(&slots, workers, last));
    }

    /// Whether an order is about the clients of a worker whose slot then goes to a
    /// successor, and which: those clients are not asked to go, they will move.
    /// Not if workers are being replaced already, one of an earlier generation
    /// is still there, or there is no worker that could go on until then.
    pub(crate) fn expect_successor(&mut self, goaway: &DrainOrder) -> Option<Slot> {
        let DrainScope::Worker(slot) = goaway.scope else {
            return None;
        };
        let mut workers = self.workers.values();
        let earlier = workers.any(|worker| worker.elder || worker.leaving);
        let served = self.places.get(&slot).and_then(|place| place.worker);
        let busy = self.is_restarting() || self.is_draining();
        match served {
            Some(token) if !earlier && !busy && self.not_ready().is_none() => {
                self.tell_succession(token, Succession::Expected);
                Some(slot)
            }
            _ => {
                log::info!("worker {slot} keeps its slot: others are being replaced");
                None
            }
        }
    }

    /// Gives the slot of a worker to a successor.
    pub(crate) fn hand_slot_over(&mut self, slot: Slot, goaway: &DrainOrder) {
        let purpose = Purpose::GoAway(goaway.clone());
        self.replace(purpose, [Step::Replace(slot)].into());
    }

    fn replace(&mut self, purpose: Purpose, waiting: VecDeque<Step>) {
        self.replacement = Some(Replacement {
            purpose,
            waiting,
            current: None,
            ready_by: None,
            deaths: 0,
        });
        self.expect_ready();
    }

    /// Goes on with the next step when the one before is done.
    pub(crate) fn replacement_due(&mut self) {
        if self.is_draining() {
            return self.stop_replacing("the group is shutting down");
        }
        while let Some(replacement) = &self.replacement
            && replacement.current.is_none()
        {
            // New slots and those whose worker has died are waited for at last.
            if replacement.waiting.len() <= 1
                && let Some(slot) = self.not_ready()
            {
                if replacement.ready_by.is_some_and(|at| at <= self.now) {
                    self.stop_replacing(&format!("worker {slot} is not ready in time"));
                }
                return;
            }
            let replacement = self.replacement.as_mut();
            match replacement.and_then(|all| all.waiting.pop_front()) {
                Some(Step::Replace(slot)) => self.start_successor(slot, 0),
                Some(Step::Retire(slot)) => self.retire(slot),
                None => self.all_replaced(),
            }
        }
    }

    /// When [`Supervisor::replacement_due`] has something to do, if ever.
    pub(crate) fn replacement_deadline(&self) -> Option<Instant> {
        let replacement = self.replacement.as_ref()?;
        let waits = replacement.current.is_none();
        replacement.ready_by.filter(|_| waits)
    }

    /// The slot that is waited for, if workers are being replaced.
    pub(crate) fn replacing(&self) -> Option<Slot> {
        let replacement = self.replacement.as_ref()?;
        let current = replacement.current.map(|current| match current {
            Current::Starting { slot, .. } | Current::Retiring { slot } => slot,
        });
        let next = replacement.waiting.front().map(|step| step.slot());
        current.or_else(|| self.not_ready()).or(next)
    }

    /// Whether another program is being checked, or workers get successors.
    pub(crate) fn is_restarting(&self) -> bool {
        self.check.is_some() || self.replacement.is_some()
    }

    /// Whether the worker of a slot has not got its successor yet.
    pub(crate) fn is_to_be_replaced(&self, slot: Slot) -> bool {
        let replacement = self.replacement.as_ref();
        replacement.is_some_and(|all| all.waiting.iter().any(|step| step.slot() == slot))
    }

    /// Whether a worker was started for a slot that has another one.
    pub(crate) fn is_successor(&self, token: Token) -> bool {
        let current = self.replacement.as_ref().and_then(|all| all.current);
        matches!(current, Some(Current::Starting { successor, .. }) if successor == token)
    }

    /// A successor is ready: the slot is its own from now on.
    pub(crate) fn succeed(&mut self, slot: Slot, successor: Token) {
        let before = self.give_slot(slot, successor);
        if let Some(place) = self.places.get_mut(&slot) {
            place.failures = 0;
        }
        self.take_back(slot);
        self.step_done(before);
    }

    /// A successor has died before it was ready.
    pub(crate) fn on_successor_death(&mut self, how: &str) {
        let current = self.replacement.as_mut().and_then(|all| all.current.take());
        if let Some(Current::Starting { slot, failures, .. }) = current {
            if failures < MOST_FAILURES && !self.is_draining() {
                self.start_successor(slot, failures + 1);
            } else {
                self.stop_replacing(&format!("the successor of worker {slot} {how}"));
            }
        }
    }

    /// A worker is not ready in time; if it is a successor, no other is tried.
    pub(crate) fn on_late(&mut self, token: Token) {
        if let Some(Replacement {
            current:
                Some(Current::Starting {
                    successor,
                    failures,
                    ..
                }),
            ..
        }) = &mut self.replacement
            && *successor == token
        {
            *failures = MOST_FAILURES;
        }
    }

    /// The worker of a slot has died. Its successor has the slot at once if it
    /// was started already, and true is returned. If that happens again and
    /// again in a restart, no more are replaced.
    pub(crate) fn on_death_in_restart(&mut self, slot: Slot) -> bool {
        let Some(replacement) = &mut self.replacement else {
            return false;
        };
        match replacement.current {
            Some(Current::Starting {
                slot: starting,
                successor,
                ..
            }) if starting == slot => {
                replacement.current = None;
                self.expect_ready();
                self.give_slot(slot, successor);
                true
            }
            _ => {
                replacement.deaths += 1;
                if replacement.deaths > MOST_FAILURES {
                    self.stop_replacing("workers die again and again");
                }
                false
            }
        }
    }

    /// Another worker accepts for a slot.
    pub(crate) fn on_adopted(&mut self, slot: Slot, adopter: Token) {
        let current = self.replacement.as_ref().and_then(|all| all.current);
        let place = self.places.get_mut(&slot);
        if current == Some(Current::Retiring { slot })
            && let Some(place) = place.filter(|place| place.adopter == Some(adopter))
        {
            let before = place.worker.take();
            self.step_done(before);
        }
    }

    fn start_successor(&mut self, slot: Slot, failures: u32) {
        let generation = self.places.get(&slot).map_or(0, |place| place.generation);
        match self.start_worker(slot, generation.saturating_add(1)) {
            Ok(successor) => {
                if let Some(replacement) = &mut self.replacement {
                    replacement.current = Some(Current::Starting {
                        slot,
                        successor,
                        failures,
                    });
                }
            }
            Err(error) => {
                let why = format!("the successor of worker {slot} cannot be started: {error}");
                self.stop_replacing(&why);
            }
        }
    }

    /// Gives the listeners of a slot to another worker, for good.
    fn retire(&mut self, slot: Slot) {
        if let Some(replacement) = &mut self.replacement {
            replacement.current = Some(Current::Retiring { slot });
        }
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        place.vacant_since.get_or_insert(self.now);
        if place.listeners.is_empty() || place.worker.is_none() {
            // Nobody has to adopt anything, or somebody has.
            let before = place.worker.take();
            self.step_done(before);
        } else {
            self.adopt(slot);
        }
    }

    /// Makes a successor the worker of its slot; gives the one before.
    fn give_slot(&mut self, slot: Slot, successor: Token) -> Option<Token> {
        let generation = self.workers.get(&successor)?.id.generation;
        let place = self.places.get_mut(&slot)?;
        place.generation = generation;
        place.respawn_at = None;
        place.worker.replace(successor)
    }

    /// A slot has what it was to get; `before` was its worker.
    fn step_done(&mut self, before: Option<Token>) {
        let order = self.order_to_leave();
        if let Some(replacement) = &mut self.replacement {
            replacement.current = None;
        }
        self.expect_ready();
        if let Some(worker) = before.and_then(|token| self.workers.get_mut(&token)) {
            worker.leaving = true;
        }
        // What is said to a worker before it leaves still reaches its clients.
        self.replacement_due();
        if let Some(token) = before {
            self.let_go(token, order);
        }
    }

    /// Has a worker leave its sockets to others, and ask its clients to go.
    fn let_go(&mut self, token: Token, order: DrainOrder) {
        let adopted = self.places.iter_mut().filter_map(|(slot, place)| {
            place.adopter.take_if(|adopter| *adopter == token)?;
            Some(*slot)
        });
        for slot in adopted.collect::<Vec<_>>() {
            self.adopt(slot);
        }
        if let Some(worker) = self.workers.get(&token) {
            let (slot, generation) = (worker.id.slot, worker.id.generation);
            let clients = worker.cell.clients();
            log::info!("worker {slot} of generation {generation}: leaving, clients={clients}");
        }
        let successor = self.successor_of(token);
        self.tell_succession(token, successor);
        self.drain_workers(&[token], order);
        self.tell(token, &ToWorker::HandOver);
    }

    /// What workers are told that leave: the same for all of one restart.
    fn order_to_leave(&self) -> DrainOrder {
        let limit = self.config.settings.restart_drain_timeout;
        let order = self.shutdown_order(DrainKind::WaitForClients);
        let (id, since) = match self.replacement.as_ref().map(|all| &all.purpose) {
            Some(Purpose::Restart {
                drain, asked_at, ..
            }) => (*drain, *asked_at),
            Some(Purpose::GoAway(goaway)) => {
                // As whoever has asked them to go has said.
                return DrainOrder {
                    rate: goaway.rate,
                    delay: Duration::ZERO,
                    timeout: goaway.timeout,
                    kill_timeout: goaway.kill_timeout,
                    ..order
                };
            }
            None => (order.id, self.now),
        };
        let order = DrainOrder {
            id,
            timeout: limit,
            kill_timeout: Duration::ZERO,
            ..order
        };
        order.left(since, self.now)
    }

    fn expect_ready(&mut self) {
        let limit = self.config.settings.worker_start_timeout;
        if let Some(replacement) = &mut self.replacement {
            replacement.ready_by = (!limit.is_zero()).then(|| self.now + limit);
        }
    }

    fn all_replaced(&mut self) {
        let Some(Replacement {
            purpose:
                Purpose::Restart {
                    asker,
                    asked_at,
                    from,
                    mut notice,
                    ..
                },
            ..
        }) = self.replacement.take()
        else {
            return;
        };
        let took = self.now.saturating_duration_since(asked_at);
        let leaving = self.workers.values().filter(|worker| worker.leaving);
        let clients: u32 = leaving.map(|worker| worker.cell.clients()).sum();
        log::info!(
            "restarted: version {from} -> {}, in {} ms, clients of the generation before: \
             {clients}",
            version(),
            took.as_millis()
        );
        if clients > 0 {
            if !notice.is_empty() {
                notice.push('\n');
            }
            notice.push_str(&format!(
                "{clients} clients of the generation before go over as each comes to rest, and those \
                 that cannot, as with TLS, are asked to go"
            ));
        }
        self.answer_console(asker, Ok(notice));
    }

    /// Replaces no more workers: those that are left go on.
    fn stop_replacing(&mut self, why: &str) {
        let current = self.replacement.as_ref().and_then(|all| all.current);
        if let Some(Current::Starting { successor, .. }) = current {
            // It may have said that it serves, and then the slot is its own.
            self.read_link(successor);
        }
        let Some(replacement) = self.replacement.take() else {
            return;
        };
        // One that starts while the group ends was told to end with it.
        if let Some(Current::Starting { successor, .. }) = replacement.current
            && !self.is_draining()
            && let Some(worker) = self.workers.get_mut(&successor)
        {
            worker.kill_at = Some(self.now);
        }
        for place in self.places.values_mut() {
            if place.worker.is_some() {
                place.retired = false;
            }
        }
        match replacement.purpose {
            Purpose::Restart { asker, .. } => {
                let why = format!("restart stopped: {why}");
                log::error!("{why}");
                self.answer_console(asker, Err(why));
            }
            Purpose::GoAway(goaway) => {
                log::error!("{} keeps its slot: {why}", goaway.scope);
                if let DrainScope::Worker(slot) = goaway.scope
                    && let Some(token) = self.places.get(&slot).and_then(|place| place.worker)
                {
                    self.tell_succession(token, Succession::Nobody);
                }
            }
        }
    }
}

/// How often a successor may die before the restart is stopped.
const MOST_FAILURES: u32 = 2;

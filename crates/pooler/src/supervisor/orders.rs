//! Orders of the console, and of signals, that every worker carries out.

use std::time::Instant;

use mio::Token;
use pgskein_config::{Config, is_reserved};
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain_order::DrainScope;
use pgskein_pool::ledger::WorkerId;
use pgskein_pool::runtime::{
    Activity, FromSupervisor, FromWorker, Known, Order, OrderError, Outcome, Scope,
};
use pgskein_protocol::key::Slot;

use super::Supervisor;
use super::ask::Asker;

impl Supervisor {
    /// Takes what a worker says about runtime state.
    pub(crate) fn hear_of_orders(&mut self, worker: WorkerId, message: FromWorker) {
        match message {
            FromWorker::Applied { version, found } => self.orders.applied(worker, version, found),
            // It is taken over while a worker joins, and at no other time.
            FromWorker::State { .. } => {}
        }
    }

    /// SIGUSR1 orders a pause.
    pub(crate) fn pause_by_signal(&mut self) {
        if self.orders.state().activity == Activity::Active {
            log::info!("got SIGUSR1, pausing all activity");
            self.order(&Order::Pause(Scope::All), Asker::Signal);
        } else {
            log::info!("got SIGUSR1, but already paused/suspended");
        }
    }

    /// SIGUSR2 takes it back.
    pub(crate) fn resume_by_signal(&mut self) {
        let from = match self.orders.state().activity {
            _ if self.shuts_servers() => {
                return log::info!("got SIGUSR2 while shutting down, ignoring");
            }
            Activity::Active => return log::info!("got SIGUSR2, but not paused/suspended"),
            Activity::Paused => "PAUSE",
            Activity::Suspended => "SUSPEND",
        };
        log::info!("got SIGUSR2, continuing from {from}");
        self.order(&Order::Resume(Scope::All), Asker::Signal);
    }

    /// Nothing stands still in a drain: clients could not leave.
    pub(crate) fn resume_for_drain(&mut self) {
        if self.orders.state().is_suspended() {
            self.order(&Order::Resume(Scope::All), Asker::Signal);
        }
    }

    /// A worker has died: it carries out nothing more, and nobody is left there
    /// who could be answered.
    pub(crate) fn forget_orders(&mut self, token: Token, worker: WorkerId) {
        self.orders.worker_died(worker);
        self.moves.worker_died(worker);
        self.askers_gone(
            |asker| matches!(asker, Asker::Worker { token: other, .. } if *other == token),
        );
    }

    /// Answers those whose orders have ended.
    pub(crate) fn orders_due(&mut self) {
        while let Some((asker, outcome)) = self.orders.poll_answer(self.now) {
            let outcome = match outcome {
                Outcome::Done { silent } => Ok(silence(&silent)),
                Outcome::Refused(error) => Err(error.to_string()),
            };
            self.answer(asker, outcome);
        }
    }

    /// Has every worker carry out an order, or refuses it.
    pub(crate) fn order(&mut self, order: &Order, asker: Asker) {
        let hopeless = match order {
            Order::Resume(_) => self.shuts_servers(),
            // Clients could not leave.
            Order::Suspend => self.is_draining(),
            _ => false,
        };
        if hopeless {
            return self.orders.refuse(asker, OrderError::ShuttingDown);
        }
        if let Order::GoAway(goaway) = order
            && let DrainScope::Worker(slot) = goaway.scope
            && !self.workers.values().any(|worker| worker.id.slot == slot)
        {
            return self.orders.refuse(asker, OrderError::NoSuchWorker(slot));
        }
        let workers = self.worker_ids();
        let deadline = self.patience_for(order);
        let config = &self.config;
        let known = |name: &str| known(config, name);
        if self.orders.give(order, asker, known, workers, deadline) {
            let message = FromSupervisor::Runtime {
                version: self.orders.version(),
                state: self.orders.state().clone(),
                order: order.clone(),
            };
            match order {
                Order::GoAway(goaway) => self.note_goaway(goaway),
                Order::GoAwayStop => self.note_goaway_stop(),
                _ => {}
            }
            let leaving = match order {
                Order::GoAway(goaway) => self.expect_successor(goaway),
                _ => None,
            };
            self.tell_all(&ToWorker::Runtime(message));
            self.renew_limits();
            if let (Some(slot), Order::GoAway(goaway)) = (leaving, order) {
                self.hand_slot_over(slot, goaway);
            }
        }
    }

    /// Those who have asked are no longer there; see [`Orders::askers_gone`].
    ///
    /// [`Orders::askers_gone`]: pgskein_pool::runtime::Orders::askers_gone
    pub(crate) fn askers_gone(&mut self, gone: impl Fn(&Asker) -> bool) {
        self.moves.askers_gone(&gone);
        if let Some(order) = self.orders.askers_gone(gone) {
            log::info!("admin disappeared when suspended, doing RESUME");
            self.order(&order, Asker::Signal);
        }
    }

    /// Until when workers are waited for.
    fn patience_for(&self, order: &Order) -> Option<Instant> {
        let settings = &self.config.settings;
        match order {
            _ if settings.console_timeout.is_zero() => None,
            Order::Suspend if !settings.suspend_timeout.is_zero() => {
                Some(self.now + settings.suspend_timeout + settings.console_timeout)
            }
            order if order.waits() => None,
            _ => Some(self.now + settings.console_timeout),
        }
    }
}

/// Says who has not answered, if there is anybody.
pub(crate) fn silence(silent: &[Slot]) -> String {
    let lines: Vec<String> = silent
        .iter()
        .map(|slot| format!("worker {slot} did not answer within console_timeout"))
        .collect();
    lines.join("\n")
}

fn known(config: &Config, name: &str) -> Known {
    if is_reserved(name) {
        Known::Console
    } else if config.database(name).is_some() {
        Known::Database
    } else {
        Known::Nothing
    }
}

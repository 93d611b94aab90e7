//! Draining the whole group, and ending it at once.
//!
//! An order comes by a signal or from a worker's console over
//! `supervisor.sock`. It is kept here as long as it is in force, passed on
//! over every control link and every peer socket, and obeyed by each process
//! when first seen.

use std::time::{Duration, Instant};

use pgskein_config::DrainListen;
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain_order::{DrainKind, DrainOrder};

use super::{LAST_WORDS, Supervisor};

/// The drain in force.
#[derive(Debug)]
pub(crate) struct Drain {
    pub order: DrainOrder,
    /// When the group stops to listen; `None` once it has.
    stop_at: Option<Instant>,
}

impl Drain {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.stop_at
    }
}

impl Supervisor {
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_some() || self.kill_at.is_some()
    }

    /// A signal orders a drain with the timeouts of the configuration.
    pub(crate) fn drain_by_signal(&mut self, kind: DrainKind) {
        let mut id = [0; 16];
        if let Err(error) = getrandom::fill(&mut id) {
            log::warn!("no random bytes for the drain: {error}");
        }
        let settings = &self.config.settings;
        self.drain(DrainOrder {
            id,
            kind,
            delay: settings.drain_delay,
            timeout: settings.drain_timeout,
            kill_timeout: settings.drain_kill_timeout,
        });
    }

    /// Obeys an order that was not seen before.
    pub(crate) fn drain(&mut self, order: DrainOrder) {
        let seen = self.drain.as_ref().map(|drain| drain.order.id);
        if seen == Some(order.id) || self.kill_at.is_some() {
            return;
        }
        if order.kind == DrainKind::Immediate {
            self.end_at_once();
            return;
        }
        self.resume_for_drain();
        log::info!(
            "draining: clients={} workers={} timeout={} kill_timeout={}",
            self.scoreboard.places_taken(),
            self.workers.len(),
            Limit(order.timeout),
            Limit(order.kill_timeout),
        );
        let stop_at = match &self.drain {
            Some(drain) => drain.stop_at,
            None => Some(self.now + order.delay),
        };
        self.drain = Some(Drain { order, stop_at });
        self.renew_limits();
        for place in self.places.values_mut() {
            place.respawn_at = None;
        }
        self.tell_all(&ToWorker::Drain(order));
        self.broadcast(order);
        self.drain_due();
    }

    /// Stops to listen when the delay is over.
    pub(crate) fn drain_due(&mut self) {
        let now = self.now;
        let drain = self.drain.as_mut();
        let due = drain.and_then(|drain| drain.stop_at.take_if(|at| *at <= now));
        if due.is_some() && self.config.settings.drain_listen == DrainListen::Close {
            self.stop_listening();
        }
    }

    /// Ends every worker, and then the group, without waiting for a client.
    pub(crate) fn end_at_once(&mut self) {
        for place in self.places.values_mut() {
            place.respawn_at = None;
        }
        self.tell_all(&ToWorker::Exit);
        self.kill_at = Some(self.now + LAST_WORDS);
    }

    /// Has the workers accept what is queued and close their listeners; ours
    /// are closed first, so that theirs are the last.
    fn stop_listening(&mut self) {
        self.adopt_all_vacant();
        for place in self.places.values_mut() {
            place.listeners.clear();
        }
        self.tell_all(&ToWorker::StopAccepting);
    }
}

/// A timeout for the log, where zero means none.
struct Limit(Duration);

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_zero() {
            f.write_str("never")
        } else {
            write!(f, "{}s", self.0.as_secs_f64())
        }
    }
}

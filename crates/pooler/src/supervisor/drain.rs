//! Draining clients, ending the whole group, and ending it at once.
//!
//! ```text
//! serving ──shutdown──> delayed ──delay over──> closed ──last worker──> ended
//!                          └──drain_listen = answer──> refusing ──^
//! ```
//!
//! An order comes by a signal or from a worker's console. It is kept here as
//! long as it is in force, passed on over every control link, a shutdown over
//! every peer socket as well, and obeyed by each process when first seen.
//! Whoever is started later begins with it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_config::DrainListen;
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain::{Line, Stage};
use pgskein_pool::drain_order::{DrainKind, DrainOrder, DrainScope};
use pgskein_pool::ledger::WorkerId;

use super::{LAST_WORDS, Supervisor};
use crate::worker::unix_milliseconds;

/// The end of the group, once it is ordered.
#[derive(Debug)]
pub(crate) struct Drain {
    /// What is waited for.
    kind: DrainKind,
    listening: Listening,
    /// Workers that have nobody left to be waited for.
    settled: BTreeSet<Token>,
}

/// What becomes of new clients.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Listening {
    /// They are served until then.
    Delayed { until: Instant },
    /// They are accepted, and new sessions are refused.
    Refusing,
    /// No listener is left.
    Closed,
}

impl Drain {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.listening {
            Listening::Delayed { until } => Some(until),
            Listening::Refusing | Listening::Closed => None,
        }
    }
}

impl Supervisor {
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_some() || self.kill_at.is_some()
    }

    /// Whether clients are still accepted, so that every slot needs a worker.
    pub(crate) fn takes_clients(&self) -> bool {
        let closed = |drain: &Drain| drain.listening == Listening::Closed;
        self.kill_at.is_none() && !self.drain.as_ref().is_some_and(closed)
    }

    /// Whether workers that are started now refuse new sessions.
    pub(crate) fn refuses_sessions(&self) -> bool {
        let refusing = |drain: &Drain| drain.listening == Listening::Refusing;
        self.drain.as_ref().is_some_and(refusing)
    }

    /// Whether the group ends without serving the clients that wait.
    pub(crate) fn shuts_servers(&self) -> bool {
        let kind = self.drain.as_ref().map(|drain| drain.kind);
        kind == Some(DrainKind::WaitForServers) || self.kill_at.is_some()
    }

    /// A signal orders a shutdown with the timeouts of the configuration.
    pub(crate) fn drain_by_signal(&mut self, kind: DrainKind) {
        let order = self.shutdown_order(kind);
        self.drain(order);
    }

    /// An order with the timeouts of the configuration.
    pub(crate) fn shutdown_order(&self, kind: DrainKind) -> DrainOrder {
        let mut id = [0; 16];
        if let Err(error) = getrandom::fill(&mut id) {
            log::warn!("no random bytes for the drain: {error}");
        }
        let settings = &self.config.settings;
        DrainOrder {
            id,
            kind,
            scope: DrainScope::All,
            given: unix_milliseconds(),
            rate: settings.goaway_rate,
            delay: settings.drain_delay,
            timeout: settings.drain_timeout,
            kill_timeout: settings.drain_kill_timeout,
        }
    }

    /// Obeys an order that was not seen before.
    pub(crate) fn drain(&mut self, order: DrainOrder) {
        if self.kill_at.is_some() {
            return;
        }
        if order.kind == DrainKind::Immediate {
            self.end_at_once();
            return;
        }
        let workers = self.worker_ids();
        if !self.drains.give(&order, workers, self.now) {
            return;
        }
        if order.kind.is_shutdown() {
            self.begin_to_end(&order);
        }
        self.tell_all(&ToWorker::Drain(order.clone()));
        self.broadcast(order);
        self.drain_due();
    }

    /// Has these workers alone drain; the group serves on.
    pub(crate) fn drain_workers(&mut self, tokens: &[Token], order: DrainOrder) {
        let workers = tokens.iter().filter_map(|token| self.workers.get(token));
        let workers: Vec<WorkerId> = workers.map(|worker| worker.id).collect();
        if self.drains.give_to(&order, workers, self.now) {
            for token in tokens {
                self.tell(*token, &ToWorker::Drain(order.clone()));
            }
        }
    }

    /// What is left of the orders in force.
    pub(crate) fn drains_in_force(&self) -> Vec<DrainOrder> {
        let orders = self.drains.in_force();
        let orders = orders.map(|(order, since)| order.left(since, self.now));
        orders.collect()
    }

    /// Tells a worker that was not there before what is in force.
    pub(crate) fn tell_drains(&mut self, token: Token) {
        for order in self.drains_in_force() {
            self.tell(token, &ToWorker::Drain(order));
        }
        if self.refuses_sessions() {
            self.tell(token, &ToWorker::RefuseSessions);
        }
        if !self.takes_clients() {
            self.tell(token, &ToWorker::StopAccepting);
        }
    }

    /// Keeps an order to go away that all workers are told.
    pub(crate) fn note_goaway(&mut self, order: &DrainOrder) {
        let workers = self.worker_ids();
        self.drains.give(order, workers, self.now);
    }

    /// Forgets the orders to go away that were withdrawn.
    pub(crate) fn note_goaway_stop(&mut self) {
        for line in self.drains.stop(self.now) {
            log_line(&line);
        }
    }

    /// A worker has nobody left to be waited for, or has again.
    pub(crate) fn on_settled(&mut self, token: Token, settled: bool) {
        if let Some(drain) = &mut self.drain {
            if settled {
                drain.settled.insert(token);
            } else {
                drain.settled.remove(&token);
            }
        }
    }

    /// Does what is due, and says how far orders have come.
    pub(crate) fn drain_due(&mut self) {
        let listening = self.drain.as_ref().map(|drain| drain.listening);
        match listening {
            Some(Listening::Delayed { until }) if until <= self.now => {
                match self.config.settings.drain_listen {
                    DrainListen::Close => self.stop_listening(),
                    DrainListen::Answer => self.refuse_sessions(),
                }
            }
            Some(Listening::Refusing) if self.all_settled() => self.stop_listening(),
            _ => {}
        }
        while let Some(line) = self.drains.poll_line(self.now) {
            log_line(&line);
        }
    }

    /// Says what has become of everybody, at the end of the group.
    pub(crate) fn log_end_of_drains(&self) {
        for line in self.drains.last_lines(self.now) {
            log_line(&line);
        }
    }

    /// Ends every worker, and then the group, without waiting for a client.
    pub(crate) fn end_at_once(&mut self) {
        self.scoreboard.begin_to_end();
        self.start_nobody();
        self.tell_all(&ToWorker::Exit);
        self.kill_at = Some(self.now + LAST_WORDS);
    }

    fn begin_to_end(&mut self, order: &DrainOrder) {
        self.scoreboard.begin_to_end();
        self.resume_for_drain();
        log::info!(
            "draining: clients={} workers={} timeout={} kill_timeout={}",
            self.scoreboard.places_taken(),
            self.workers.len(),
            Limit(order.timeout),
            Limit(order.kill_timeout),
        );
        let until = self.now + order.delay;
        match &mut self.drain {
            Some(drain) => {
                if let Listening::Delayed { until: before } = &mut drain.listening {
                    *before = until.min(*before);
                }
                if order.kind == DrainKind::WaitForServers {
                    drain.kind = order.kind;
                }
            }
            None => {
                self.drain = Some(Drain {
                    kind: order.kind,
                    listening: Listening::Delayed { until },
                    settled: BTreeSet::new(),
                });
            }
        }
        self.renew_limits();
    }

    /// Has the workers accept what is queued and close their listeners; ours
    /// are closed first, so that theirs are the last.
    fn stop_listening(&mut self) {
        self.adopt_all_vacant();
        self.start_nobody();
        for place in self.places.values_mut() {
            place.listeners.clear();
        }
        self.tell_all(&ToWorker::StopAccepting);
        self.enter(Listening::Closed);
    }

    /// Has the workers refuse new sessions behind those that are queued.
    fn refuse_sessions(&mut self) {
        self.tell_all(&ToWorker::RefuseSessions);
        self.enter(Listening::Refusing);
    }

    fn enter(&mut self, listening: Listening) {
        if let Some(drain) = &mut self.drain {
            drain.listening = listening;
        }
    }

    fn start_nobody(&mut self) {
        for place in self.places.values_mut() {
            place.respawn_at = None;
        }
    }

    /// Nobody is left to be waited for, and no worker is yet to be started.
    fn all_settled(&self) -> bool {
        let Some(drain) = &self.drain else {
            return false;
        };
        let starting = self.places.values().any(|place| place.respawn_at.is_some());
        !starting
            && self
                .workers
                .keys()
                .all(|token| drain.settled.contains(token))
    }

    /// The workers that can be told something.
    pub(crate) fn worker_ids(&self) -> Vec<WorkerId> {
        let workers = self.workers.values();
        let workers = workers.filter(|worker| worker.link.is_some());
        workers.map(|worker| worker.id).collect()
    }
}

fn log_line(line: &Line) {
    let Line {
        order,
        counts,
        left,
        stage,
    } = line;
    let doing = match (stage, order.kind.is_shutdown()) {
        (Stage::UnderWay, true) => "draining",
        (Stage::UnderWay, false) => "asking clients to go",
        (Stage::Ended, true) => "drained",
        (Stage::Ended, false) => "all who were asked to go have left",
        (Stage::Stopped, _) => "no longer asking clients to go",
    };
    let scope = &order.scope;
    match left {
        Some(left) if *stage == Stage::UnderWay => {
            log::info!("{doing}: {scope}: {counts} deadline={}s", left.as_secs());
        }
        _ => log::info!("{doing}: {scope}: {counts}"),
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

//! The supervisor's book: what is in force, and how far all workers have come.
//!
//! ```text
//! given ──every worker has reported, nobody remains──> ended, shown for a while
//!   └─────stopped──> (gone)
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Counts, MOST_SEEN, Report, SHOWN};
use crate::drain_order::DrainOrder;
use crate::ledger::WorkerId;

/// The drains of the group.
#[derive(Debug, Default)]
pub struct DrainBook {
    entries: Vec<Entry>,
    seen: VecDeque<[u8; 16]>,
}

/// A line for the log: how far an order has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The order.
    pub order: DrainOrder,
    /// What has become of its clients, in all workers.
    pub counts: Counts,
    /// Time until those are closed who are left, if they are to be.
    pub left: Option<Duration>,
    /// Where the order is in its life.
    pub stage: Stage,
}

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Clients of it are still there.
    UnderWay,
    /// The last of them has gone.
    Ended,
    /// It was withdrawn.
    Stopped,
}

#[derive(Debug)]
struct Entry {
    order: DrainOrder,
    /// The end of its delay.
    since: Instant,
    /// It is not for workers that come later.
    for_some: bool,
    /// Workers that have not reported yet.
    silent: BTreeSet<WorkerId>,
    reports: BTreeMap<WorkerId, Counts>,
    /// What workers have reported that are gone.
    gone: Counts,
    /// What was logged last, and when.
    logged: (Instant, Counts),
    /// Since when nobody is seen any more whom it covers.
    empty: Option<Instant>,
    ended: Option<Instant>,
}

impl DrainBook {
    /// Takes an order of everybody into force, unless it was seen before.
    /// `workers` are told.
    pub fn give(
        &mut self,
        order: &DrainOrder,
        workers: impl IntoIterator<Item = WorkerId>,
        now: Instant,
    ) -> bool {
        self.enter(order, workers, false, now)
    }

    /// The same for an order that only these workers get. Others may get it
    /// later.
    pub fn give_to(
        &mut self,
        order: &DrainOrder,
        workers: impl IntoIterator<Item = WorkerId>,
        now: Instant,
    ) -> bool {
        self.enter(order, workers, true, now)
    }

    /// What a worker begins with that is started now: the orders in force, and
    /// the end of the delay of each.
    pub fn in_force(&self) -> impl Iterator<Item = (&DrainOrder, Instant)> {
        let entries = self.entries.iter();
        let entries = entries.filter(|entry| !entry.for_some && entry.ended.is_none());
        entries.map(|entry| (&entry.order, entry.since))
    }

    /// A worker says how far it has come.
    pub fn on_report(&mut self, worker: WorkerId, report: &Report) {
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.order.id == report.id) {
            entry.silent.remove(&worker);
            entry.reports.insert(worker, report.counts);
        }
    }

    /// A worker has ended, and its clients are gone with it.
    pub fn worker_died(&mut self, worker: WorkerId) {
        for entry in &mut self.entries {
            entry.silent.remove(&worker);
            if let Some(counts) = entry.reports.remove(&worker) {
                entry.gone.add(&Counts {
                    remaining: 0,
                    ..counts
                });
            }
        }
    }

    /// Withdraws the orders to go away; gives their last lines.
    pub fn stop(&mut self, now: Instant) -> Vec<Line> {
        let stopped = self
            .entries
            .extract_if(.., |entry| !entry.order.kind.is_shutdown());
        let stopped = stopped.filter(|entry| entry.ended.is_none());
        let lines = stopped.map(|entry| entry.line(now, Stage::Stopped));
        lines.collect()
    }

    /// The next line for the log: every few seconds while something changes,
    /// now and then when nothing does, and at the end.
    pub fn poll_line(&mut self, now: Instant) -> Option<Line> {
        self.entries.retain(|entry| {
            let ended = entry.ended;
            ended.is_none_or(|at| now < at + SHOWN)
        });
        let mut entries = self.entries.iter_mut();
        entries.find_map(|entry| entry.poll_line(now))
    }

    /// When [`DrainBook::poll_line`] may have something to say.
    pub fn next_deadline(&self) -> Option<Instant> {
        let entries = self.entries.iter();
        entries.map(Entry::next_deadline).min()
    }

    /// Lines of what is still under way when the group ends.
    pub fn last_lines(&self, now: Instant) -> Vec<Line> {
        let entries = self.entries.iter().filter(|entry| entry.ended.is_none());
        let lines = entries.map(|entry| entry.line(now, Stage::Ended));
        lines.collect()
    }

    /// Every order that is shown, with the end of its delay and what workers
    /// have done for it that are gone.
    pub fn shown(&self) -> impl Iterator<Item = (&DrainOrder, Instant, Counts)> {
        let entries = self.entries.iter();
        entries.map(|entry| (&entry.order, entry.since, entry.gone))
    }

    fn enter(
        &mut self,
        order: &DrainOrder,
        workers: impl IntoIterator<Item = WorkerId>,
        for_some: bool,
        now: Instant,
    ) -> bool {
        let mut entries = self.entries.iter_mut();
        let own = |entry: &&mut Entry| entry.order.id == order.id && entry.for_some;
        if for_some && let Some(entry) = entries.find(own) {
            entry.silent.extend(workers);
            entry.ended = None;
            return true;
        }
        // Who gets it by name gets it however long ago the last one did.
        if !for_some && self.seen.contains(&order.id) {
            return false;
        }
        self.seen.push_back(order.id);
        if self.seen.len() > MOST_SEEN {
            self.seen.pop_front();
        }
        self.entries.push(Entry {
            order: order.clone(),
            since: now + order.delay,
            for_some,
            silent: workers.into_iter().collect(),
            reports: BTreeMap::new(),
            gone: Counts::default(),
            logged: (now, Counts::default()),
            empty: None,
            ended: None,
        });
        true
    }
}

impl Entry {
    fn counts(&self) -> Counts {
        let mut counts = self.gone;
        for theirs in self.reports.values() {
            counts.add(theirs);
        }
        counts
    }

    /// Nobody is left whom it covers, and nobody comes.
    fn is_over(&self, counts: &Counts) -> bool {
        // A shutdown ends with the group.
        let can_end = self.for_some || !self.order.kind.is_shutdown();
        can_end && self.silent.is_empty() && counts.remaining == 0
    }

    /// How long those who have moved may take to be seen where they are now.
    fn arrival_time(&self, counts: &Counts) -> Duration {
        if counts.moved == 0 || self.for_some {
            Duration::ZERO
        } else {
            ARRIVAL
        }
    }

    fn poll_line(&mut self, now: Instant) -> Option<Line> {
        let counts = self.counts();
        let (at, last) = self.logged;
        if self.ended.is_some() {
            return None;
        }
        if self.is_over(&counts) {
            self.empty.get_or_insert(now);
        } else {
            self.empty = None;
        }
        let stage = if self
            .empty
            .is_some_and(|at| now >= at + self.arrival_time(&counts))
        {
            self.ended = Some(now);
            Stage::Ended
        } else if now >= at + LINE_INTERVAL && counts != last || now >= at + QUIET_INTERVAL {
            Stage::UnderWay
        } else {
            return None;
        };
        self.logged = (now, counts);
        Some(self.line(now, stage))
    }

    fn next_deadline(&self) -> Instant {
        let (at, last) = self.logged;
        let counts = self.counts();
        match self.ended {
            Some(at) => at + SHOWN,
            None if self.is_over(&counts) => match self.empty {
                Some(empty) => empty + self.arrival_time(&counts),
                None => at,
            },
            None if counts != last => at + LINE_INTERVAL,
            None => at + QUIET_INTERVAL,
        }
    }

    fn line(&self, now: Instant, stage: Stage) -> Line {
        let timeout = self.order.timeout;
        let deadline = (!timeout.is_zero()).then(|| self.since + timeout);
        Line {
            order: self.order.clone(),
            counts: self.counts(),
            left: deadline.map(|at| at.saturating_duration_since(now)),
            stage,
        }
    }
}

/// How long it takes at most until workers have reported who has come from others.
const ARRIVAL: Duration = Duration::from_secs(3);

/// How often it is logged how far an order has come.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How often that is logged when nothing changes.
const QUIET_INTERVAL: Duration = Duration::from_secs(60);

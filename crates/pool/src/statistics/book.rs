//! The book of statistics: what the whole group has counted.
//!
//! The supervisor keeps it. Every worker reports what it has counted since its
//! start: of itself now and then, and when it is asked. What is shown is asked
//! for first, in a round in which every worker has its turn; so whatever
//! anybody was ever shown is in the book, and stays there when the worker that
//! had counted it is gone. A period ends with a round as well: what it counted
//! is the difference between two sums, and nothing is in two periods or none.

mod carry;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::averages::Averages;
use super::totals::{Report, Totals};
use crate::ledger::WorkerId;

/// What every worker has counted, and when.
#[derive(Debug)]
pub struct Book {
    workers: BTreeMap<WorkerId, Totals>,
    /// Those of another group that have not reported yet.
    elders: BTreeSet<WorkerId>,
    /// What workers have counted that are gone.
    gone: Totals,
    /// Those that are not complete, oldest first.
    rounds: VecDeque<Round>,
    last_round: u64,
    /// How long a period is.
    length: Duration,
    /// When the running period began.
    begun: Instant,
    /// What was counted before the last whole period, and with it.
    before: Mark,
    after: Mark,
    actions: VecDeque<BookAction>,
}

/// What the supervisor has to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BookAction {
    /// A worker is to be asked for its report.
    Ask {
        /// Whom.
        worker: WorkerId,
        /// Number that the report carries.
        round: u64,
        /// Whether a period has just ended.
        period: bool,
    },
    /// Who has asked for the group's statistics is to be told.
    Tell {
        /// The number from [`Book::ask`].
        round: u64,
        /// What all have counted; of a worker that has not reported in time,
        /// what it had reported before.
        group: Group,
    },
    /// A period is over.
    Period {
        /// What all have counted.
        group: Group,
    },
}

/// The statistics of a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// What was counted since the group was started.
    pub totals: Totals,
    /// What was counted in the last whole period, or before the end of the
    /// first one since the start.
    pub counted: Totals,
    /// How long that was.
    pub period: Duration,
}

#[derive(Debug)]
struct Round {
    number: u64,
    purpose: Purpose,
    waits_for: BTreeSet<WorkerId>,
    deadline: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    /// Somebody has asked.
    Tell,
    /// A period has ended at this time.
    Period(Instant),
}

/// What was counted at a time.
#[derive(Clone, Debug)]
struct Mark {
    at: Instant,
    totals: Totals,
}

impl Book {
    /// An empty book, with periods of a length.
    pub fn new(length: Duration, now: Instant) -> Self {
        let nothing = Mark {
            at: now,
            totals: Totals::default(),
        };
        Self {
            workers: BTreeMap::new(),
            elders: BTreeSet::new(),
            gone: Totals::default(),
            rounds: VecDeque::new(),
            last_round: 0,
            length: length.max(SHORTEST),
            begun: now,
            before: nothing.clone(),
            after: nothing,
            actions: VecDeque::new(),
        }
    }

    /// Periods are of another length, the running one as well.
    pub fn on_length(&mut self, length: Duration) {
        self.length = length.max(SHORTEST);
    }

    /// A worker can be asked from now on.
    pub fn worker_ready(&mut self, worker: WorkerId) {
        self.workers.entry(worker).or_default();
    }

    /// A worker of another group can be asked from now on. What it has counted
    /// there is part of the sums, and of no period.
    pub fn elder_joined(&mut self, worker: WorkerId) {
        self.worker_ready(worker);
        self.elders.insert(worker);
    }

    /// A worker has died; what it has counted stays.
    pub fn worker_died(&mut self, worker: WorkerId, now: Instant) {
        self.elders.remove(&worker);
        if let Some(totals) = self.workers.remove(&worker) {
            self.gone.add_all(&totals);
        }
        for round in &mut self.rounds {
            round.waits_for.remove(&worker);
        }
        self.complete(now);
    }

    /// A worker has reported.
    pub fn report(&mut self, worker: WorkerId, report: Report, now: Instant) {
        if self.elders.remove(&worker) {
            self.before.totals.add_all(&report.totals);
            self.after.totals.add_all(&report.totals);
        }
        self.workers.insert(worker, report.totals);
        for round in &mut self.rounds {
            // It has answered what it was asked before as well.
            if round.number <= report.round {
                round.waits_for.remove(&worker);
            }
        }
        self.complete(now);
    }

    /// Somebody wants to know; gives the number of the round after which he is
    /// told, at the latest after `patience`.
    pub fn ask(&mut self, patience: Duration, now: Instant) -> u64 {
        self.begin(Purpose::Tell, patience, now);
        let number = self.last_round;
        self.complete(now);
        number
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Instant) {
        if now >= self.begun + self.length {
            self.begun = now;
            self.begin(Purpose::Period(now), PATIENCE, now);
        }
        self.complete(now);
    }

    /// When [`Book::on_time`] has something to do.
    pub fn next_deadline(&self) -> Instant {
        let rounds = self.rounds.iter().map(|round| round.deadline);
        rounds.min().map_or(self.begun + self.length, |deadline| {
            deadline.min(self.begun + self.length)
        })
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<BookAction> {
        self.actions.pop_front()
    }

    fn begin(&mut self, purpose: Purpose, patience: Duration, now: Instant) {
        self.last_round += 1;
        let number = self.last_round;
        for worker in self.workers.keys().copied() {
            self.actions.push_back(BookAction::Ask {
                worker,
                round: number,
                period: purpose != Purpose::Tell,
            });
        }
        self.rounds.push_back(Round {
            number,
            purpose,
            waits_for: self.workers.keys().copied().collect(),
            deadline: now + patience,
        });
    }

    /// Ends the rounds in which nobody is waited for any more.
    fn complete(&mut self, now: Instant) {
        let over = |round: &Round| round.waits_for.is_empty() || now >= round.deadline;
        while let Some(at) = self.rounds.iter().position(over) {
            let Some(round) = self.rounds.remove(at) else {
                return;
            };
            let action = match round.purpose {
                Purpose::Tell => BookAction::Tell {
                    round: round.number,
                    group: self.group(now),
                },
                Purpose::Period(ended) => {
                    let totals = self.totals();
                    let after = Mark { at: ended, totals };
                    self.before = std::mem::replace(&mut self.after, after);
                    BookAction::Period {
                        group: self.group(now),
                    }
                }
            };
            self.actions.push_back(action);
        }
    }

    fn group(&self, now: Instant) -> Group {
        let totals = self.totals();
        // Before the first period is over, what has been is all there is.
        let whole = self.after.at > self.before.at;
        let (counted, until) = if whole {
            (self.after.totals.since(&self.before.totals), self.after.at)
        } else {
            (totals.since(&self.before.totals), now)
        };
        Group {
            totals,
            counted,
            period: until.saturating_duration_since(self.before.at),
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = self.gone.clone();
        for worker in self.workers.values() {
            totals.add_all(worker);
        }
        totals
    }
}

impl Group {
    /// The averages of a database.
    pub fn averages(&self, database: &str) -> Averages {
        Averages::over(self.period, &self.counted.counters(database))
    }

    /// The averages of all databases together.
    pub fn averages_of_all(&self) -> Averages {
        Averages::over(self.period, &self.counted.sum())
    }
}

/// The shortest period.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long a worker has to report at the end of a period before its last report
/// counts.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;

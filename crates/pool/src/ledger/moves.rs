//! Moves: leases whose servers go from one worker to another alive.
//!
//! ```text
//! held(from) ──Lent──> moving(from, to) ──Received──> held(to)
//!                           │
//!                           └─ to is dead, or has taken all that came ──> orphaned
//! ```
//!
//! Who gives says so right before it hands over for good, who takes as soon as
//! it has it. The two are heard over two links, in any order, and one of them
//! may die in between: what counts is the epoch of the lease, which is one more
//! in every next hand. A message of an earlier hand finds nothing, and who says
//! that it has the lease in a later one has it, whatever the book says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pgskein_protocol::key::Slot;

use super::book::Recall;
use super::carry::{Report, ReportedServer};
use super::lease::{Lease, LeaseState};
use super::{Ledger, Limits, WorkerId};
use crate::control::{LeaseId, PoolKey};

/// A worker that has given connections to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Giver {
    /// It lives.
    Living(WorkerId),
    /// It has died, and had this place.
    Dead {
        /// Its slot.
        slot: Slot,
        /// Its generation.
        generation: u32,
    },
}

/// Streams between workers that have ended while both lived, as far as is known:
/// who gives and who takes. What was given before may be heard of later.
#[derive(Debug, Default)]
pub(crate) struct EndedStreams(pub(crate) BTreeSet<(WorkerId, WorkerId)>);

impl Ledger {
    /// Takes note that `worker` is about to hand the lease's server over to
    /// another for good; `to` is missing if that has died.
    ///
    /// `linger` is how long a server may live on that is lost on the way.
    pub fn lent(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        to: Option<WorkerId>,
        linger: Duration,
        now: Instant,
    ) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        if !matches!(found.state, LeaseState::Held { .. }) {
            return;
        }
        let pool = found.pool.clone();
        let Some(to) = to else {
            return self.orphan(lease.id, now + linger, now);
        };
        let ended = self.ended.0.contains(&(worker, to));
        self.hand_on(lease.id, now, |lease| {
            let backend = lease.state.take_backend();
            lease.state = LeaseState::Moving {
                from: worker,
                to,
                backend,
                giver_died: false,
                until: ended.then(|| now + linger),
            };
        });
        self.needs_one_less(to, &pool);
    }

    /// Takes note that `worker` has the lease's server, which another has
    /// handed over to it.
    pub fn received(&mut self, worker: WorkerId, report: Report, limits: Limits, now: Instant) {
        let lease = report.lease;
        let pool = report.pool.clone();
        let known = match self.leases.get(&lease.id) {
            Some(found) if !lease.is_after(found.epoch) => return,
            Some(found) => matches!(found.state, LeaseState::Moving { to, .. } if to == worker),
            None if self.has_passed(lease) => return,
            None => false,
        };
        self.take_over(worker, report, limits, now);
        if !known {
            self.needs_one_less(worker, &pool);
        }
        if let Some(share) = self.book.share_mut(worker, &pool) {
            // It may have had no such pool when it was told.
            share.told = share.told.filter(|told| *told == Recall::default());
        }
    }

    /// Takes note that a stream of handoffs to `worker` is over, and that
    /// all that came was taken, or let go.
    pub fn handoffs_over(
        &mut self,
        worker: WorkerId,
        giver: Giver,
        linger: Duration,
        now: Instant,
    ) {
        if let Giver::Living(giver) = giver {
            self.ended.0.insert((giver, worker));
        }
        let lost = self.moving.iter().copied().filter(|id| {
            let state = self.leases.get(id).map(|lease| &lease.state);
            matches!(state, Some(LeaseState::Moving { from, to, giver_died, .. })
                if *to == worker && giver.is(*from, *giver_died))
        });
        for id in lost.collect::<Vec<_>>() {
            self.lose(id, now + linger, now);
        }
    }

    /// Makes a lease of the book, or one that is not in it, that of `worker`, in
    /// the state that it reports.
    pub(super) fn take_over(
        &mut self,
        worker: WorkerId,
        report: Report,
        limits: Limits,
        now: Instant,
    ) {
        let LeaseId { id, epoch } = report.lease;
        let dedicated = report.dedicated;
        let state = match report.server {
            ReportedServer::Opening => LeaseState::Opening {
                worker,
                since: now,
                ordered: false,
            },
            ReportedServer::Held(backend) => LeaseState::Held {
                worker,
                since: now,
                backend,
                leaving: false,
            },
            ReportedServer::Closing => LeaseState::Closing {
                worker,
                backend: None,
            },
        };
        if self.leases.contains_key(&id) {
            self.hand_on(id, now, |lease| {
                lease.epoch = epoch;
                lease.dedicated = dedicated;
                lease.state = state;
            });
        } else {
            self.book.enter(&report.pool, limits);
            let lease = Lease {
                epoch,
                pool: report.pool,
                state,
                dedicated,
            };
            self.note_place(&lease);
            self.insert(id, lease, now);
        }
    }

    /// Leases on their way to a worker that has died. Gives up those that are
    /// known to be lost when who gives them has.
    pub(super) fn lost_with(&mut self, dead: WorkerId, until: Instant, now: Instant) -> Vec<u64> {
        let (mut left, mut lost) = (Vec::new(), Vec::new());
        for id in &self.moving {
            let state = self.leases.get_mut(id).map(|lease| &mut lease.state);
            if let Some(LeaseState::Moving {
                from,
                to,
                giver_died,
                ..
            }) = state
            {
                *giver_died |= *from == dead;
                let ended = self.ended.0.contains(&(*from, *to));
                if *to == dead {
                    left.push(*id);
                } else if *giver_died && ended {
                    lost.push(*id);
                }
            }
        }
        self.ended.forget(dead);
        for id in lost {
            self.lose(id, until, now);
        }
        left
    }

    /// When moves are given up that may be lost.
    pub(super) fn moves_until(&self) -> impl Iterator<Item = Instant> {
        let moving = self.moving.iter().filter_map(|id| self.leases.get(id));
        moving.filter_map(|lease| match lease.state {
            LeaseState::Moving { until, .. } => until,
            _ => None,
        })
    }

    /// Gives up moves that are lost.
    pub(super) fn give_up_moves(&mut self, now: Instant) {
        let over = self.moving.iter().copied().filter(|id| {
            let state = self.leases.get(id).map(|lease| &lease.state);
            matches!(state, Some(LeaseState::Moving { until: Some(until), .. }) if *until <= now)
        });
        for id in over.collect::<Vec<_>>() {
            self.lose(id, now, now);
        }
    }

    /// Leases on their way to a worker, of which it has not spoken.
    pub(super) fn on_their_way(&self, worker: WorkerId, pool: &PoolKey) -> u32 {
        let moving = self.moving.iter().filter_map(|id| self.leases.get(id));
        let coming = moving.filter(|lease| {
            lease.pool == *pool
                && matches!(lease.state, LeaseState::Moving { to, .. } if to == worker)
        });
        u32::try_from(coming.count()).unwrap_or(u32::MAX)
    }

    /// Remembers a lease that has moved and is gone: what an earlier holder has
    /// said of it may come yet.
    pub(super) fn note_passed(&mut self, id: u64, epoch: u32) {
        if epoch != super::FIRST_EPOCH {
            self.passed.insert(id, epoch);
            if self.passed.len() > MOST_PASSED {
                self.passed.pop_first();
            }
        }
    }

    /// Takes note that a worker closes a server: if it was to lend one, others do
    /// not wait for that so soon again.
    pub(super) fn note_not_lent(&mut self, worker: WorkerId, pool: &PoolKey, now: Instant) {
        let share = self.book.share_mut(worker, pool);
        let asked = share.is_some_and(|share| {
            let recalls = share.told.is_some_and(|told| told.count > 0);
            recalls && !share.takers.is_empty()
        });
        if let Some(pool) = self.book.pools.get_mut(pool).filter(|_| asked) {
            pool.closed_at = Some(now);
        }
    }

    /// Whether that is an earlier hand of a lease that is gone.
    pub(super) fn has_passed(&self, lease: LeaseId) -> bool {
        let passed = self.passed.get(&lease.id);
        passed.is_some_and(|epoch| !lease.is_after(*epoch))
    }

    /// A lease does not come to the worker that it was on its way to.
    ///
    /// What is handed over is at rest, so that nothing is to be cancelled; and
    /// should it come after all, it is in use.
    fn lose(&mut self, id: u64, until: Instant, now: Instant) {
        let Some(lease) = self.leases.get(&id) else {
            return;
        };
        let (pool, sharer) = (lease.pool.clone(), lease.sharer());
        if let Some(share) = sharer.and_then(|to| self.book.share_mut(to, &pool)) {
            // It still wants what was to be met by this.
            share.wanted += 1;
            share.wanting_since.get_or_insert(now);
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.state.take_backend();
        }
        self.orphan(id, until, now);
    }

    /// What a worker gets from another it wants no more of the ledger.
    fn needs_one_less(&mut self, worker: WorkerId, pool: &PoolKey) {
        if let Some(share) = self.book.share_mut(worker, pool) {
            share.wanted = share.wanted.saturating_sub(1);
            if share.wanted == 0 {
                share.forget_demand();
            }
        }
    }
}

impl Giver {
    /// Whether that is this worker, which is dead or not.
    pub(crate) fn is(self, worker: WorkerId, dead: bool) -> bool {
        match self {
            Self::Living(giver) => giver == worker,
            Self::Dead { slot, generation } => {
                dead && worker.slot == slot && worker.generation == generation
            }
        }
    }
}

impl EndedStreams {
    /// A worker is gone, and what it has said was heard.
    pub(crate) fn forget(&mut self, dead: WorkerId) {
        self.0.retain(|(from, to)| *from != dead && *to != dead);
    }
}

/// So many leases that have moved and are gone are remembered.
const MOST_PASSED: usize = 1024;

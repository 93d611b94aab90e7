//! Orphans: leases of workers that have died, or lost between two workers.
//!
//! PostgreSQL ends a connection whose client is gone once its query has ended.
//! So a living worker is asked to cancel what the servers of the dead one still
//! run, with the keys that are in the book; a moment after that the leases
//! return. Where that is not possible they linger.
//!
//! Source: PostgreSQL documentation, "Canceling Requests in Progress".

use std::time::{Duration, Instant};

use super::lease::LeaseState;
use super::{Ledger, LedgerAction, WorkerId};
use crate::control::LeaseId;

impl Ledger {
    /// Takes note that a worker is gone with all its connections.
    ///
    /// Its leases return when their servers are known to have ended, or after
    /// `linger`: PostgreSQL may need that long to notice.
    pub fn worker_died(&mut self, worker: WorkerId, linger: Duration, now: Instant) {
        self.workers.remove(&worker);
        self.awaited.remove(&worker);
        self.actions.retain(|action| action.worker() != worker);
        let pools = self.book.pools.iter_mut();
        let lost = pools.filter_map(|(key, pool)| {
            pool.shares.remove(&worker)?;
            Some(key.clone())
        });
        let lost = lost.collect::<Vec<_>>();
        self.orphan_leases(worker, now + linger, now);
        for key in lost {
            self.forget_unused(&key);
            self.stale.insert(key);
        }
    }

    /// Makes orphans of the leases of a dead worker, whose shares are gone.
    fn orphan_leases(&mut self, dead: WorkerId, until: Instant, now: Instant) {
        let mut left = Vec::new();
        for (id, lease) in &mut self.leases {
            if let LeaseState::Orphaned { asked, .. } = &mut lease.state {
                asked.take_if(|asked| *asked == dead);
            }
            if lease.state.worker() == Some(dead) {
                left.push(*id);
            }
        }
        left.extend(self.lost_with(dead, until, now));
        for id in left {
            self.try_over(id, now);
            self.orphan(id, until, now);
        }
    }

    /// Makes an orphan of a lease.
    pub(super) fn orphan(&mut self, id: u64, until: Instant, now: Instant) {
        self.hand_on(id, now, |lease| {
            let backend = lease.state.take_backend();
            lease.state = LeaseState::Orphaned {
                until,
                backend,
                asked: None,
            };
        });
    }

    /// Takes note that what an orphan ran is cancelled.
    pub fn orphan_cancelled(&mut self, worker: WorkerId, lease: LeaseId, now: Instant) {
        if let Some(found) = self.leases.get_mut(&lease.id)
            && let LeaseState::Orphaned { until, asked, .. } = &mut found.state
            && *asked == Some(worker)
        {
            *until = (now + LAST_BREATH).min(*until);
        }
    }

    /// When orphans return, at the latest.
    pub(super) fn orphans_until(&self) -> impl Iterator<Item = Instant> {
        let orphans = self.orphans.iter().filter_map(|id| self.leases.get(id));
        orphans.filter_map(|lease| match lease.state {
            LeaseState::Orphaned { until, .. } => Some(until),
            _ => None,
        })
    }

    /// Takes back the orphans whose time is over.
    pub(super) fn return_orphans(&mut self, now: Instant) {
        let over = self.orphans.iter().filter_map(|id| {
            let lease = self.leases.get(id)?;
            match lease.state {
                LeaseState::Orphaned { until, .. } if until <= now => Some((*id, &lease.pool)),
                _ => None,
            }
        });
        for (id, pool) in over
            .map(|(id, pool)| (id, pool.clone()))
            .collect::<Vec<_>>()
        {
            self.remove(id);
            self.forget_unused(&pool);
        }
    }

    /// Asks living workers to cancel what orphans run, a few at a time.
    pub(super) fn ask_for_cancels(&mut self) {
        let Some(last) = self.workers.last().copied() else {
            return;
        };
        let mut asked_now = 0;
        let mut next = self.workers.iter().copied().cycle();
        for id in &self.orphans {
            let Some(lease) = self.leases.get_mut(id) else {
                continue;
            };
            let LeaseState::Orphaned { backend, asked, .. } = &mut lease.state else {
                continue;
            };
            if asked.is_none()
                && asked_now < CANCELS_AT_ONCE
                && let Some(backend) = backend.clone()
            {
                let worker = next.next().unwrap_or(last);
                *asked = Some(worker);
                let lease = LeaseId {
                    id: *id,
                    epoch: lease.epoch,
                };
                self.actions.push_back(LedgerAction::CancelOrphan {
                    worker,
                    lease,
                    backend,
                });
            }
            asked_now += usize::from(asked.is_some());
        }
    }
}

/// How long a server may live on after its query was cancelled.
const LAST_BREATH: Duration = Duration::from_millis(50);

/// Cancel requests under way for orphans: each is a connection.
const CANCELS_AT_ONCE: usize = 16;

//! Counts: what the leases come to, under every limit and in every share.
//!
//! What one lease adds is said by [`Lease::counts`] and [`Lease::sharer`], and
//! nowhere else. It goes in when the lease is entered, is exchanged when the
//! lease changes, and goes out when it is struck out.

use std::collections::BTreeMap;
use std::time::Instant;

use super::book::{Count, Recall};
use super::lease::{Lease, LeaseState};
use super::{Ledger, WorkerId};
use crate::control::PoolKey;

impl Ledger {
    /// Enters a lease into the book.
    pub(super) fn insert(&mut self, id: u64, lease: Lease, now: Instant) {
        match lease.state {
            LeaseState::Orphaned { .. } => self.orphans.insert(id),
            LeaseState::Moving { .. } => self.moving.insert(id),
            _ => true,
        };
        if let Some(pool) = self.book.pools.get_mut(&lease.pool) {
            pool.leases.insert(id);
            if let Some(worker) = lease.sharer() {
                pool.share(worker, now).leases += 1;
            }
        }
        self.book
            .count(&lease.pool, |count| *count += lease.counts());
        self.last_id = self.last_id.max(id);
        self.stale.insert(lease.pool.clone());
        self.leases.insert(id, lease);
    }

    /// Changes a lease, and with it the counts and the share that it is in.
    ///
    /// It may leave a share, but comes into none.
    pub(super) fn change(&mut self, id: u64, change: impl FnOnce(&mut Lease)) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        let (before, sharer) = (lease.counts(), lease.sharer());
        change(lease);
        let (after, stays) = (lease.counts(), lease.sharer().is_some());
        let pool = lease.pool.clone();
        self.book.count(&pool, |count| {
            *count -= before;
            *count += after;
        });
        if let Some(worker) = sharer.filter(|_| !stays) {
            self.gave_up(worker, &pool);
        }
    }

    /// Changes a lease, and whose share it is in.
    pub(super) fn hand_on(&mut self, id: u64, now: Instant, change: impl FnOnce(&mut Lease)) {
        let Some(lease) = self.leases.get_mut(&id) else {
            return;
        };
        let (before, giver) = (lease.counts(), lease.sharer());
        change(lease);
        let (after, taker) = (lease.counts(), lease.sharer());
        let pool = lease.pool.clone();
        let (moves, orphaned) = (
            lease.is_moving(),
            matches!(lease.state, LeaseState::Orphaned { .. }),
        );
        self.book.count(&pool, |count| {
            *count -= before;
            *count += after;
        });
        for (is_one, ids) in [(moves, &mut self.moving), (orphaned, &mut self.orphans)] {
            if is_one {
                ids.insert(id);
            } else {
                ids.remove(&id);
            }
        }
        if giver != taker {
            if let (Some(taker), Some(pool)) = (taker, self.book.pools.get_mut(&pool)) {
                pool.share(taker, now).leases += 1;
            }
            if let Some(giver) = giver {
                self.gave_up(giver, &pool);
            }
        }
        self.stale.insert(pool);
    }

    /// Strikes a lease out.
    pub(super) fn remove(&mut self, id: u64) {
        self.orphans.remove(&id);
        self.moving.remove(&id);
        let Some(lease) = self.leases.remove(&id) else {
            return;
        };
        self.note_passed(id, lease.epoch);
        if let Some(pool) = self.book.pools.get_mut(&lease.pool) {
            pool.leases.remove(&id);
        }
        self.book
            .count(&lease.pool, |count| *count -= lease.counts());
        if let Some(worker) = lease.sharer() {
            self.gave_up(worker, &lease.pool);
        }
        self.stale.insert(lease.pool);
    }

    /// One lease less is in the hands of `worker`, if it lives: who has died
    /// has no share, and has released nothing.
    fn gave_up(&mut self, worker: WorkerId, pool: &PoolKey) {
        let Some(share) = self.book.share_mut(worker, pool) else {
            return;
        };
        share.leases -= 1;
        // Whether this was an answer to the recall is not known here, so
        // what is left of it has to be said again.
        share.told = share.told.filter(|told| *told == Recall::default());
        for key in self.book.together(pool) {
            if let Some(pool) = self.book.pools.get_mut(&key) {
                pool.released = true;
            }
        }
        self.stale.insert(pool.clone());
    }

    /// Checks in debug builds that the counts are those of the leases.
    pub(super) fn check(&self) {
        if cfg!(debug_assertions) {
            let mut all = Count::default();
            let mut databases = BTreeMap::<&str, Count>::new();
            let mut users = BTreeMap::<&str, Count>::new();
            for key in self.book.pools.keys() {
                let count = self.check_pool(key);
                all += count;
                *databases.entry(&key.database).or_default() += count;
                *users.entry(key.login()).or_default() += count;
            }
            debug_assert_eq!(all.used as usize, self.leases.len(), "count of all pools");
            for (groups, counts) in [(&self.book.databases, databases), (&self.book.users, users)] {
                let groups = groups.iter().map(|(name, group)| (&**name, group.count));
                debug_assert_eq!(groups.collect::<BTreeMap<_, _>>(), counts, "groups");
            }
        }
    }

    /// Checks one pool; gives what its leases come to.
    fn check_pool(&self, key: &PoolKey) -> Count {
        let mut count = Count::default();
        let mut shares = BTreeMap::<WorkerId, u32>::new();
        let Some(pool) = self.book.pools.get(key) else {
            return count;
        };
        for lease in pool.leases.iter().filter_map(|id| self.leases.get(id)) {
            count += lease.counts();
            if let Some(worker) = lease.sharer() {
                *shares.entry(worker).or_default() += 1;
            }
        }
        debug_assert_eq!(pool.leases.len(), count.used as usize, "leases of {key}");
        debug_assert_eq!(pool.count, count, "counts of {key}");
        let held = pool.shares.iter().filter(|(_, share)| share.leases > 0);
        let held = held.map(|(worker, share)| (*worker, share.leases));
        debug_assert_eq!(held.collect::<BTreeMap<_, _>>(), shares, "shares of {key}");
        count
    }
}

//! Counts: what the leases come to, under every limit and in every share.

use std::time::Instant;

use super::book::Recall;
use super::lease::Lease;
use super::{Ledger, WorkerId};
use crate::control::PoolKey;

impl Ledger {
    /// Enters a lease into the book.
    pub(super) fn insert(&mut self, id: u64, lease: Lease, now: Instant) {
        let closing = lease.is_closing();
        let owner = lease.state.worker();
        if owner.is_none() {
            self.orphans.insert(id);
        }
        let shared = owner.filter(|_| !closing && !lease.dedicated);
        if let Some(pool) = self.book.pools.get_mut(&lease.pool) {
            pool.leases.insert(id);
            if let Some(worker) = shared {
                pool.share(worker, now).leases += 1;
            }
        }
        self.book.count(&lease.pool, |count| {
            count.used += 1;
            count.closing += u32::from(closing);
            count.apart += u32::from(!closing && shared.is_none());
        });
        self.last_id = self.last_id.max(id);
        self.stale.insert(lease.pool.clone());
        self.leases.insert(id, lease);
    }

    /// Strikes a lease out; the counts are the caller's to change.
    pub(super) fn remove(&mut self, id: u64) {
        self.orphans.remove(&id);
        if let Some(lease) = self.leases.remove(&id) {
            if let Some(pool) = self.book.pools.get_mut(&lease.pool) {
                pool.leases.remove(&id);
            }
            self.stale.insert(lease.pool);
        }
    }

    /// One lease less is in the hands of `worker`.
    pub(super) fn gave_up(&mut self, worker: WorkerId, pool: &PoolKey) {
        if let Some(share) = self.book.share_mut(worker, pool) {
            share.leases -= 1;
            // Whether this was an answer to the recall is not known here, so
            // what is left of it has to be said again.
            share.told = share.told.filter(|told| *told == Recall::default());
        }
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
            for (key, pool) in &self.book.pools {
                debug_assert_eq!(
                    pool.leases.len(),
                    pool.count.used as usize,
                    "count of {key}"
                );
                let shares: u32 = pool.shares.values().map(|share| share.leases).sum();
                let others = pool.count.closing + pool.count.apart;
                debug_assert_eq!(shares + others, pool.count.used, "shares of {key}");
            }
            let groups = self.book.databases.values();
            let used: u32 = groups.map(|group| group.count.used).sum();
            debug_assert_eq!(used as usize, self.leases.len(), "count of all databases");
        }
    }
}

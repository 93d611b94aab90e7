//! The minimum: servers that a pool keeps open though nobody needs them.
//!
//! They are opened by workers that have few, for pools that have a client or a
//! user of their own. A server that nobody uses is closed only when the ledger
//! lets it go, so that two workers do not close the last two of them.

use std::time::Instant;

use super::lease::LeaseState;
use super::{Ledger, LedgerAction, Limits, WorkerId};
use crate::control::{LeaseId, PoolKey};

impl Ledger {
    /// Takes note of whether the pool has clients at `worker`.
    ///
    /// It matters only where `limits` have a minimum.
    pub fn in_use(
        &mut self,
        worker: WorkerId,
        pool: &PoolKey,
        in_use: bool,
        limits: Limits,
        now: Instant,
    ) {
        if in_use || self.book.pools.contains_key(pool) {
            let share = self.book.enter(pool, limits).share(worker, now);
            share.in_use = in_use && limits.min_pool_size > 0;
            self.forget_unused(pool);
            self.stale.insert(pool.clone());
        }
    }

    /// Replaces the pools that have their minimum even without a client.
    pub fn keep(&mut self, pools: impl IntoIterator<Item = (PoolKey, Limits)>) {
        for (key, pool) in &mut self.book.pools {
            pool.kept = false;
            self.stale.insert(key.clone());
        }
        for (key, limits) in pools {
            self.book.enter(&key, limits).kept = true;
            self.stale.insert(key);
        }
        for key in self.book.pools.keys().cloned().collect::<Vec<_>>() {
            self.forget_unused(&key);
        }
    }

    /// A worker asks to close a server that nobody has used for long; it is
    /// told only if it may.
    pub fn may_close(&mut self, worker: WorkerId, lease: LeaseId) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        let key = found.pool.clone();
        let pool = self.book.pools.get(&key);
        let minimum = pool.map_or(0, |pool| pool.limits.min_pool_size);
        if pool.is_none_or(|pool| pool.staying(&self.leases) <= minimum) {
            return;
        }
        if let Some(found) = self.find(worker, lease)
            && let LeaseState::Held { leaving, .. } = &mut found.state
        {
            *leaving = true;
            self.actions
                .push_back(LedgerAction::LetGo { worker, lease });
            self.stale.insert(key);
        }
    }

    /// Takes note that a worker has found use for a server that it might have
    /// closed.
    pub fn kept(&mut self, worker: WorkerId, lease: LeaseId) {
        if let Some(found) = self.find(worker, lease)
            && let LeaseState::Held { leaving, .. } = &mut found.state
        {
            *leaving = false;
            let pool = found.pool.clone();
            self.stale.insert(pool);
        }
    }

    /// Has a server opened that nobody waits for, by this worker or by one that
    /// has few.
    pub(super) fn order(&mut self, key: &PoolKey, worker: Option<WorkerId>, now: Instant) {
        if let Some(worker) = worker {
            return self.grant(worker, key, true, now);
        }
        let Some(pool) = self.book.pools.get(key) else {
            return;
        };
        let has = |worker: &WorkerId| {
            let share = pool.shares.get(worker);
            let leases = share.map_or(0, |share| share.leases);
            (leases, self.held_by(*worker), *worker)
        };
        if let Some(worker) = self.workers.iter().copied().min_by_key(has) {
            self.grant(worker, key, true, now);
        }
    }

    /// A server could not be opened: the next one that nobody waits for comes
    /// later.
    pub(super) fn order_later(&mut self, key: &PoolKey, now: Instant) {
        if let Some(pool) = self.book.pools.get_mut(key) {
            pool.order_at = Some(now + pool.limits.login_retry);
        }
    }
}

//! The ledger: who in the group may hold which server connection.
//!
//! A worker opens a server connection only with a lease for it. A lease counts
//! towards every limit that covers it from the moment it is granted until it
//! has returned, so the limits hold for the whole group at any step:
//!
//! ```text
//! granted ──> opening ──> held ──> closing ──> returned
//!                │        │ ↑ │       │
//!                │      moving│       │
//!                └──────────┴─────────┴─ worker died ──> orphaned ──> returned
//! ```
//!
//! What the workers say goes in, with the time; what they are to be told comes
//! out of [`Ledger::poll_action`]. Who gets what, and who is asked to give up
//! servers, is worked out in `plan.rs`.

mod action;
mod book;
mod carry;
mod counts;
mod failures;
mod host_turn;
mod hosts;
mod lease;
mod minimum;
mod moves;
mod orphans;
mod overview;
mod plan;
mod refusals;
mod replacements;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use pgskein_protocol::key::Slot;

pub use self::action::LedgerAction;
use self::book::{Book, Recall};
pub use self::carry::{CarryError, Report, ReportedServer};
pub(crate) use self::carry::{put_worker, worker};
use self::failures::Failures;
pub use self::hosts::{HostNews, Unreachable};
use self::lease::{Lease, LeaseState};
pub(crate) use self::moves::EndedStreams;
pub use self::moves::Giver;
pub use self::overview::PoolShare;
use self::plan::Plan;
use crate::control::{Backend, Demand, LeaseId, PoolKey};

/// One process that works, apart from all that had its slot before.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct WorkerId {
    /// Its place in the group.
    pub slot: Slot,
    /// Its generation.
    pub generation: u32,
    /// Counts the processes of the group, or is the process id.
    pub incarnation: u32,
}

/// How many servers may be open at once, for the whole group, and how many
/// should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Servers of the pool.
    pub pool_size: u32,
    /// Servers of the pool that are kept open; not more than `pool_size`.
    pub min_pool_size: u32,
    /// More servers of the pool, for clients that have waited for
    /// `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// How long a client has to wait for a server of the reserve.
    pub reserve_pool_timeout: Duration,
    /// Servers of all pools of the database; 0 means unlimited.
    pub max_db_connections: u32,
    /// Servers of all pools of the user; 0 means unlimited.
    pub max_user_connections: u32,
    /// How long to wait after a failure before a server is opened that nobody
    /// waits for.
    pub login_retry: Duration,
}

/// The book of all leases of the group.
///
/// Always true: no limit is exceeded by a grant, and the counts of a pool,
/// database or user are those of its leases.
#[derive(Debug, Default)]
pub struct Ledger {
    leases: BTreeMap<u64, Lease>,
    /// Leases of dead workers.
    orphans: BTreeSet<u64>,
    /// Leases that are on their way from one worker to another.
    moving: BTreeSet<u64>,
    /// Leases that have moved and are gone, with their last epoch.
    passed: BTreeMap<u64, u32>,
    ended: EndedStreams,
    book: Book,
    failures: Failures,
    /// Those that can be told something.
    workers: BTreeSet<WorkerId>,
    /// Those that are to report first what they hold.
    awaited: BTreeSet<WorkerId>,
    last_id: u64,
    actions: VecDeque<LedgerAction>,
    /// Pools in which something changed since they were planned.
    stale: BTreeSet<PoolKey>,
    /// When pools are to be planned again in any case.
    again: BTreeMap<PoolKey, Instant>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note that a worker serves: from now on it can be asked to do
    /// something of which it has not spoken itself.
    pub fn worker_ready(&mut self, worker: WorkerId) {
        if self.awaited.contains(&worker) {
            return;
        }
        self.workers.insert(worker);
        let pools = self.book.pools.iter();
        let concerned = pools
            .filter(|(_, pool)| pool.limits.min_pool_size > 0 || pool.shares.contains_key(&worker));
        self.stale.extend(concerned.map(|(key, _)| key.clone()));
        self.tell_of_hosts(worker);
    }

    /// Takes note of what `worker` wants in `pool`; replaces what it wanted
    /// before. `limits` are those in effect for the pool.
    pub fn wanted(
        &mut self,
        worker: WorkerId,
        pool: &PoolKey,
        demand: Demand,
        limits: Limits,
        now: Instant,
    ) {
        let under_way = self.under_way(worker, pool, demand.last_lease);
        let wanted = demand.wanted.saturating_sub(under_way);
        if wanted == 0 && !self.book.pools.contains_key(pool) {
            return;
        }
        let aged =
            limits.reserve_pool_size > 0 && demand.oldest_wait >= limits.reserve_pool_timeout;
        let share = self.book.enter(pool, limits).share(worker, now);
        share.wanted = wanted;
        share.oldest_wait = demand.oldest_wait;
        share.told_at = now;
        share.aged = wanted > 0 && aged;
        if wanted == 0 {
            share.wanting_since = None;
        } else {
            share.wanting_since.get_or_insert(now);
        }
        self.forget_unused(pool);
        self.stale.insert(pool.clone());
    }

    /// Takes note that the lease's server has logged in, and of how it is
    /// cancelled, if it has said so; gives what that says of its host.
    pub fn held(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        backend: Option<Backend>,
        now: Instant,
    ) -> Option<HostNews> {
        let found = self.find(worker, lease)?;
        if let LeaseState::Opening { since, .. } = found.state {
            let host = backend.as_ref().map(|backend| backend.target.clone());
            found.state = LeaseState::Held {
                worker,
                since: now,
                backend,
                leaving: false,
            };
            let pool = found.pool.clone();
            if let Some(pool) = self.book.pools.get_mut(&pool) {
                pool.opened_in(now.saturating_duration_since(since));
                pool.accepted(&self.leases, now);
            }
            self.stale.insert(pool.clone());
            return self.host_serves(&pool, lease.id, host, now);
        }
        None
    }

    /// Takes note that the lease's server belongs to one client for good: it
    /// is in no share from now on, and is never recalled.
    pub fn dedicated(&mut self, worker: WorkerId, lease: LeaseId) {
        if let Some(found) = self.find(worker, lease)
            && !found.is_closing()
            && !found.dedicated
        {
            let pool = found.pool.clone();
            self.change(lease.id, |lease| lease.dedicated = true);
            self.forget_unused(&pool);
        }
    }

    /// Takes note that the lease's server was told to go.
    pub fn closing(&mut self, worker: WorkerId, lease: LeaseId, now: Instant) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        if !found.is_closing() {
            let pool = found.pool.clone();
            self.note_not_lent(worker, &pool, now);
            self.change(lease.id, |lease| {
                let backend = lease.state.take_backend();
                lease.state = LeaseState::Closing { worker, backend };
            });
            self.stale.insert(pool);
        }
    }

    /// Takes back a lease whose server is gone.
    pub fn returned(&mut self, worker: WorkerId, lease: LeaseId, now: Instant) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        let pool = found.pool.clone();
        let failed = matches!(found.state, LeaseState::Opening { ordered: true, .. });
        if failed && !self.book.waits_for_host(&pool) {
            self.order_later(&pool, now);
        }
        self.remove(lease.id);
        self.try_over(lease.id, now);
        self.forget_unused(&pool);
    }

    /// Puts the limits of a new configuration into effect.
    ///
    /// Where more is open than is allowed now, the rest is recalled.
    pub fn on_limits(&mut self, limits: impl Fn(&PoolKey) -> Limits) {
        for (key, pool) in &mut self.book.pools {
            pool.limits = limits(key);
            self.stale.insert(key.clone());
        }
    }

    /// When [`Ledger::on_time`] has something to do, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let again = self.again.values().copied();
        let orphans = self.orphans_until().chain(self.moves_until());
        again.chain(orphans).min()
    }

    /// Takes back the leases of dead workers that have lingered long enough,
    /// and looks for what may be done by now.
    pub fn on_time(&mut self, now: Instant) {
        let stale = &mut self.stale;
        self.again.retain(|key, at| {
            let due = *at <= now;
            if due {
                stale.insert(key.clone());
            }
            !due
        });
        self.give_up_moves(now);
        self.return_orphans(now);
    }

    /// The next thing to tell a worker.
    pub fn poll_action(&mut self, now: Instant) -> Option<LedgerAction> {
        while let Some(key) = self.stale.pop_first() {
            let mut keys = self.book.together(&key);
            self.forget_refusals(&mut keys, now);
            self.stale.retain(|key| !keys.contains(key));
            self.again.retain(|key, _| !keys.contains(key));
            let plan = Plan::new(&self.book, &self.leases, &self.workers, &keys, now);
            let again = plan.again;
            self.carry_out(plan, &keys, now);
            if let (Some(at), Some(key)) = (again, keys.into_iter().next()) {
                self.again.insert(key, at);
            }
            self.check();
        }
        self.ask_for_cancels();
        self.actions.pop_front()
    }

    /// Leases of the pool that have not returned.
    pub fn used(&self, pool: &PoolKey) -> u32 {
        self.book.pools.get(pool).map_or(0, |pool| pool.count.used)
    }

    /// Leases that `worker` holds, closing ones included.
    pub fn held_by(&self, worker: WorkerId) -> usize {
        let leases = self.leases.values();
        leases
            .filter(|lease| lease.state.worker() == Some(worker))
            .count()
    }

    /// Does what was planned for these pools.
    fn carry_out(&mut self, plan: Plan, keys: &BTreeSet<PoolKey>, now: Instant) {
        for at in &plan.grants {
            if let Some(share) = plan.shares.get(*at) {
                self.grant(share.worker, &share.pool, false, now);
            }
        }
        for key in keys {
            if let Some(pool) = self.book.pools.get_mut(key) {
                let released = std::mem::take(&mut pool.released);
                if !plan.recalling.contains(key) {
                    pool.recalling_since = None;
                } else if released || pool.recalling_since.is_none() {
                    pool.recalling_since = Some(now);
                }
                if plan.holding.contains(key) {
                    pool.holding_since.get_or_insert(now);
                } else {
                    pool.holding_since = None;
                }
            }
        }
        for share in plan.shares {
            self.tell(share.worker, &share.pool, share.recall, share.takers);
        }
        for order in &plan.orders {
            self.order(&order.pool, order.worker, now);
        }
    }

    fn tell(&mut self, worker: WorkerId, pool: &PoolKey, recall: Recall, to: Vec<WorkerId>) {
        let Some(share) = self.book.share_mut(worker, pool) else {
            return;
        };
        let before = share.told.replace(recall);
        // What is left there of those that it was told is not known then.
        let known = before.is_some() || (to.is_empty() && share.takers.is_empty());
        if recall == Recall::default() {
            // With a recall the worker forgets for whom it was.
            share.takers.clear();
        } else if !known || share.takers != to {
            share.takers.clone_from(&to);
            let pool = pool.clone();
            self.actions
                .push_back(LedgerAction::Lend { worker, pool, to });
        }
        if before != Some(recall) {
            let Recall { count, unused } = recall;
            self.forget_unused(pool);
            self.actions.push_back(LedgerAction::Recall {
                worker,
                pool: pool.clone(),
                count,
                unused,
            });
        }
    }

    /// Gives a worker a lease; `ordered` if nobody waits for it.
    fn grant(&mut self, worker: WorkerId, key: &PoolKey, ordered: bool, now: Instant) {
        let Some(pool) = self.book.pools.get_mut(key) else {
            return;
        };
        let share = pool.share(worker, now);
        if !ordered {
            share.wanted = share.wanted.saturating_sub(1);
        }
        share.owed = share.owed.saturating_sub(1);
        if share.wanted == 0 {
            share.forget_demand();
        }
        self.last_id += 1;
        let lease = LeaseId {
            id: self.last_id,
            epoch: FIRST_EPOCH,
        };
        let entry = Lease {
            epoch: lease.epoch,
            pool: key.clone(),
            state: LeaseState::Opening {
                worker,
                since: now,
                ordered,
            },
            dedicated: false,
        };
        self.insert(lease.id, entry, now);
        self.book.note_try(key, lease.id);
        let pool = key.clone();
        self.actions.push_back(if ordered {
            LedgerAction::Open {
                worker,
                lease,
                pool,
            }
        } else {
            LedgerAction::Grant {
                worker,
                lease,
                pool,
            }
        });
    }

    /// Grants that a worker did not know of when it knew of this lease, and
    /// servers that others are giving it.
    fn under_way(&self, worker: WorkerId, pool_key: &PoolKey, last_lease: u64) -> u32 {
        let Some(pool) = self.book.pools.get(pool_key) else {
            return 0;
        };
        let later = pool.leases.range(last_lease.saturating_add(1)..);
        let later = later.filter_map(|id| self.leases.get(id));
        let granted = later.filter(|lease| match lease.state {
            LeaseState::Opening {
                worker: owner,
                ordered: false,
                ..
            } => owner == worker,
            _ => false,
        });
        let granted = u32::try_from(granted.count()).unwrap_or(u32::MAX);
        granted.saturating_add(self.on_their_way(worker, pool_key))
    }

    fn find(&mut self, worker: WorkerId, lease: LeaseId) -> Option<&mut Lease> {
        self.leases
            .get_mut(&lease.id)
            .filter(|found| found.epoch == lease.epoch && found.state.worker() == Some(worker))
    }

    /// Drops what says nothing any more of a pool.
    fn forget_unused(&mut self, key: &PoolKey) {
        self.stale.extend(self.book.forget_unused(key));
    }
}

/// A lease has the next epoch in every next hand.
const FIRST_EPOCH: u32 = 1;

//! The ledger: who in the group may hold which server connection.
//!
//! A worker opens a server connection only with a lease for it. A lease counts
//! towards every limit that covers it from the moment it is granted until it
//! has returned, so the limits hold for the whole group at any step:
//!
//! ```text
//! granted ──> opening ──> held ──> closing ──> returned
//!                │          │         │
//!                └──────────┴─────────┴─ worker died ──> lingering ──> returned
//! ```
//!
//! What the workers say goes in, with the time; what they are to be told comes
//! out of [`Ledger::poll_action`]. Where a limit is in the way of waiting
//! clients, servers are recalled as `recall.rs` says.

mod lease;
mod recall;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pgskein_protocol::key::Slot;

use self::lease::{Lease, LeaseState};
use crate::control::{LeaseId, PoolKey};

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

/// Most servers that may be open at once, for the whole group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Servers of the pool.
    pub pool_size: u32,
    /// Servers of all pools of the database; 0 means unlimited.
    pub max_db_connections: u32,
    /// Servers of all pools of the user; 0 means unlimited.
    pub max_user_connections: u32,
}

/// What a worker is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LedgerAction {
    /// It may open one server connection.
    Grant {
        /// Who.
        worker: WorkerId,
        /// With which lease.
        lease: LeaseId,
        /// In which pool.
        pool: PoolKey,
    },
    /// It is to give up servers; replaces what it was told before.
    Recall {
        /// Who.
        worker: WorkerId,
        /// Of which pool.
        pool: PoolKey,
        /// How many, those in use as well.
        count: u32,
        /// How many more, but only unused ones.
        unused: u32,
    },
}

/// The book of all leases of the group.
///
/// Always true: no limit is exceeded by a grant, and the counts of a pool,
/// database or user are those of its leases.
#[derive(Debug, Default)]
pub struct Ledger {
    leases: BTreeMap<u64, Lease>,
    pools: BTreeMap<PoolKey, Pool>,
    databases: BTreeMap<String, Count>,
    users: BTreeMap<String, Count>,
    last_id: u64,
    actions: VecDeque<LedgerAction>,
    /// Something changed since the actions were worked out.
    stale: bool,
    /// When more can be recalled for somebody who waits.
    more_at: Option<Instant>,
}

/// Leases that count towards one limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Count {
    /// All of them.
    used: u32,
    /// Those among them that are closing, and so return in a moment.
    closing: u32,
}

#[derive(Debug)]
struct Pool {
    limits: Limits,
    count: Count,
    shares: BTreeMap<WorkerId, Share>,
}

/// What one worker has of one pool.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Leases opening or held, without dedicated ones.
    leases: u32,
    /// Leases wanted beyond those.
    wanted: u32,
    /// Since when the oldest client waits, if any are wanted.
    since: Instant,
    /// When leases were wanted last.
    wanted_at: Instant,
    /// The last recall, unless the worker may have answered it since.
    told: Option<Recall>,
}

/// How many servers to give up: in any case, and if they are unused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Recall {
    count: u32,
    unused: u32,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of how many more leases `worker` wants in `pool`; replaces
    /// what it wanted before.
    ///
    /// `oldest_wait` is how long its oldest client waits already, `limits` are
    /// those in effect for the pool.
    pub fn wanted(
        &mut self,
        worker: WorkerId,
        pool: &PoolKey,
        wanted: u32,
        oldest_wait: Duration,
        limits: Limits,
        now: Instant,
    ) {
        if wanted == 0 && !self.pools.contains_key(pool) {
            return;
        }
        let entry = self.pools.entry(pool.clone()).or_insert_with(|| Pool {
            limits,
            count: Count::default(),
            shares: BTreeMap::new(),
        });
        entry.limits = limits;
        let share = entry.shares.entry(worker).or_insert_with(|| Share {
            leases: 0,
            wanted: 0,
            since: now,
            wanted_at: now,
            told: Some(Recall::default()),
        });
        if share.wanted.max(wanted) > 0 {
            share.wanted_at = now;
        }
        share.wanted = wanted;
        share.since = now.checked_sub(oldest_wait).unwrap_or(now);
        self.forget_unused(pool);
        self.stale = true;
    }

    /// Takes note that the lease's server has logged in, with its cancel key.
    pub fn held(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        process_id: u32,
        secret: &[u8],
        now: Instant,
    ) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        if matches!(found.state, LeaseState::Opening { .. }) {
            found.state = LeaseState::Held {
                worker,
                since: now,
                process_id,
                secret: secret.into(),
            };
            self.stale = true;
        }
    }

    /// Takes note that the lease's server belongs to one client for good: it
    /// is in no share from now on, and is never recalled.
    pub fn dedicated(&mut self, worker: WorkerId, lease: LeaseId) {
        if let Some(found) = self.find(worker, lease)
            && !found.is_closing()
            && !std::mem::replace(&mut found.dedicated, true)
        {
            let pool = found.pool.clone();
            self.gave_up(worker, &pool);
            self.forget_unused(&pool);
        }
    }

    /// Takes note that the lease's server was told to go.
    pub fn closing(&mut self, worker: WorkerId, lease: LeaseId) {
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        if !found.is_closing() {
            found.state = LeaseState::Closing { worker };
            let (pool, dedicated) = (found.pool.clone(), found.dedicated);
            if !dedicated {
                self.gave_up(worker, &pool);
            }
            self.count(&pool, |count| count.closing += 1);
            self.stale = true;
        }
    }

    /// Takes back a lease whose server is gone.
    pub fn returned(&mut self, worker: WorkerId, lease: LeaseId) {
        if let Some(found) = self.find(worker, lease) {
            let (pool, closing) = (found.pool.clone(), found.is_closing());
            let in_share = !closing && !found.dedicated;
            self.leases.remove(&lease.id);
            if in_share {
                self.gave_up(worker, &pool);
            }
            self.uncount(&pool, closing);
        }
    }

    /// Takes note that a worker is gone with all its connections.
    ///
    /// Its leases return after `linger`: PostgreSQL may need that long to
    /// notice.
    pub fn worker_died(&mut self, worker: WorkerId, linger: Duration, now: Instant) {
        let until = now + linger;
        let mut no_longer_closing = Vec::new();
        for lease in self.leases.values_mut() {
            if lease.state.worker() == Some(worker) {
                if lease.is_closing() {
                    no_longer_closing.push(lease.pool.clone());
                }
                lease.state = LeaseState::Lingering { until };
            }
        }
        for pool in no_longer_closing {
            self.count(&pool, |count| count.closing -= 1);
        }
        for pool in self.pools.values_mut() {
            pool.shares.remove(&worker);
        }
        self.pools.retain(|_, pool| !pool.is_unused());
        self.actions.retain(|action| action.worker() != worker);
        self.stale = true;
    }

    /// Puts the limits of a new configuration into effect.
    ///
    /// Where more is open than is allowed now, the rest is recalled.
    pub fn on_limits(&mut self, limits: impl Fn(&PoolKey) -> Limits) {
        for (key, pool) in &mut self.pools {
            pool.limits = limits(key);
        }
        self.stale = true;
    }

    /// When [`Ledger::on_time`] has something to do, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.leases.values().filter_map(|lease| match lease.state {
            LeaseState::Lingering { until } => Some(until),
            _ => None,
        });
        deadlines.chain(self.more_at).min()
    }

    /// Takes back the leases of dead workers that have lingered long enough,
    /// and looks for what may be recalled by now.
    pub fn on_time(&mut self, now: Instant) {
        self.stale |= self.more_at.is_some_and(|at| at <= now);
        let mut returned = Vec::new();
        self.leases.retain(|_, lease| match lease.state {
            LeaseState::Lingering { until } if until <= now => {
                returned.push(lease.pool.clone());
                false
            }
            _ => true,
        });
        for pool in returned {
            self.uncount(&pool, false);
        }
    }

    /// The next thing to tell a worker.
    pub fn poll_action(&mut self, now: Instant) -> Option<LedgerAction> {
        if std::mem::take(&mut self.stale) {
            while self.grant_one() {}
            self.recall(now);
            self.check();
        }
        self.actions.pop_front()
    }

    /// Leases of the pool that have not returned.
    pub fn used(&self, pool: &PoolKey) -> u32 {
        self.pools.get(pool).map_or(0, |pool| pool.count.used)
    }

    /// Cancel keys of the servers that `worker` holds, process id and secret.
    pub fn keys(&self, worker: WorkerId) -> impl Iterator<Item = (u32, &[u8])> {
        let leases = self.leases.values();
        leases.filter_map(move |lease| match &lease.state {
            LeaseState::Held {
                worker: holder,
                process_id,
                secret,
                ..
            } if *holder == worker => Some((*process_id, secret.as_ref())),
            _ => None,
        })
    }

    /// Grants a lease to whoever has the fewest of those who can get one, and
    /// of several such to whoever waits longest.
    fn grant_one(&mut self) -> bool {
        let candidates = self.pools.iter().filter(|(key, _)| self.has_room(key));
        let best = candidates
            .flat_map(|(key, pool)| pool.shares.iter().map(move |share| (key, share)))
            .filter(|(_, (_, share))| share.wanted > 0)
            .min_by_key(|(_, (worker, share))| (share.leases, share.since, **worker));
        let Some((pool, (&worker, _))) = best else {
            return false;
        };
        let pool = pool.clone();
        self.last_id += 1;
        let lease = LeaseId {
            id: self.last_id,
            epoch: FIRST_EPOCH,
        };
        self.count(&pool, |count| count.used += 1);
        if let Some(share) = self.share_mut(worker, &pool) {
            share.wanted -= 1;
            share.leases += 1;
        }
        let entry = Lease {
            epoch: lease.epoch,
            pool: pool.clone(),
            state: LeaseState::Opening { worker },
            dedicated: false,
        };
        self.leases.insert(lease.id, entry);
        self.actions.push_back(LedgerAction::Grant {
            worker,
            lease,
            pool,
        });
        true
    }

    fn has_room(&self, key: &PoolKey) -> bool {
        let Some(pool) = self.pools.get(key) else {
            return false;
        };
        let used = |counts: &BTreeMap<String, Count>, name: &str| {
            counts.get(name).map_or(0, |count| count.used)
        };
        let Limits {
            pool_size,
            max_db_connections,
            max_user_connections,
        } = pool.limits;
        pool.count.used < pool_size
            && used(&self.databases, &key.database) < unlimited_if_0(max_db_connections)
            && used(&self.users, &key.user) < unlimited_if_0(max_user_connections)
    }

    fn find(&mut self, worker: WorkerId, lease: LeaseId) -> Option<&mut Lease> {
        self.leases
            .get_mut(&lease.id)
            .filter(|found| found.epoch == lease.epoch && found.state.worker() == Some(worker))
    }

    fn share_mut(&mut self, worker: WorkerId, pool: &PoolKey) -> Option<&mut Share> {
        self.pools.get_mut(pool)?.shares.get_mut(&worker)
    }

    /// One lease less is in the hands of `worker`.
    fn gave_up(&mut self, worker: WorkerId, pool: &PoolKey) {
        if let Some(share) = self.share_mut(worker, pool) {
            share.leases -= 1;
            // Whether this was an answer to the recall is not known here, so
            // what is left of it has to be said again.
            share.told = share.told.filter(|told| *told == Recall::default());
        }
        self.stale = true;
    }

    fn count(&mut self, pool: &PoolKey, change: impl Fn(&mut Count)) {
        if let Some(pool) = self.pools.get_mut(pool) {
            change(&mut pool.count);
        }
        change(self.databases.entry(pool.database.clone()).or_default());
        change(self.users.entry(pool.user.clone()).or_default());
    }

    fn uncount(&mut self, pool: &PoolKey, closing: bool) {
        self.count(pool, |count| {
            count.used -= 1;
            count.closing -= u32::from(closing);
        });
        self.databases.retain(|_, count| count.used > 0);
        self.users.retain(|_, count| count.used > 0);
        self.forget_unused(pool);
        self.stale = true;
    }

    /// Drops what says nothing any more.
    fn forget_unused(&mut self, key: &PoolKey) {
        if let Some(pool) = self.pools.get_mut(key) {
            pool.shares.retain(|_, share| {
                share.leases > 0 || share.wanted > 0 || share.told != Some(Recall::default())
            });
            if pool.is_unused() {
                self.pools.remove(key);
            }
        }
    }

    /// Checks in debug builds that the counts are those of the leases.
    fn check(&self) {
        if cfg!(debug_assertions) {
            for (key, pool) in &self.pools {
                let leases = self.leases.values().filter(|lease| lease.pool == *key);
                let used = leases.count();
                debug_assert_eq!(used, pool.count.used as usize, "count of {key}");
            }
            let used: u32 = self.databases.values().map(|count| count.used).sum();
            debug_assert_eq!(used as usize, self.leases.len(), "count of all databases");
        }
    }
}

impl Pool {
    fn is_unused(&self) -> bool {
        self.count.used == 0 && self.shares.is_empty()
    }
}

impl LedgerAction {
    /// Who is to be told.
    pub fn worker(&self) -> WorkerId {
        match self {
            Self::Grant { worker, .. } | Self::Recall { worker, .. } => *worker,
        }
    }
}

fn unlimited_if_0(limit: u32) -> u32 {
    if limit == 0 { u32::MAX } else { limit }
}

/// A lease changes its epoch when it is handed over alive.
const FIRST_EPOCH: u32 = 1;

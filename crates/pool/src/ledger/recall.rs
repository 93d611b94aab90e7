//! Recalls: who is asked to give up servers, and how many.
//!
//! They are worked out anew from the state of the book whenever it changed,
//! and a worker is told when its part differs from what it was told last. So
//! a recall is withdrawn as soon as the demand for it is gone or enough
//! servers are on their way back.
//!
//! A share is what one worker has of one pool. For each lease that a share
//! wants and a limit forbids, the largest share under that limit gives one
//! up, in use or not, if it has at least two more; a share that has nothing
//! may also get another's last one, so that nobody starves. A lease is ripe
//! for that when its server has been open for a quantum. Otherwise the calm
//! shares under the limit, which have wanted nothing for a while, are asked
//! for servers that nobody uses: in a busy one, a server is unused for moments
//! only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::lease::Lease;
use super::{Count, Ledger, LedgerAction, Limits, PoolKey, Recall, WorkerId, unlimited_if_0};

/// The recalls that follow from one state of the book.
struct Plan<'a> {
    shares: Vec<Planned<'a>>,
    /// What is free below each limit once all that is closing has returned;
    /// negative where more is open than allowed.
    spare: BTreeMap<Scope<'a>, i64>,
}

/// One share and what it is to give up.
struct Planned<'a> {
    pool: &'a PoolKey,
    worker: WorkerId,
    leases: u32,
    /// Those among them that may be recalled for others.
    ripe: u32,
    wanted: u32,
    since: Instant,
    /// When it counts as calm, if nothing is wanted until then.
    calm_at: Instant,
    recall: Recall,
}

/// What one limit covers.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Scope<'a> {
    Pool(&'a PoolKey),
    Database(&'a str),
    User(&'a str),
}

impl Ledger {
    /// Works out the recalls and tells the workers what is new in them.
    pub(super) fn recall(&mut self, now: Instant) {
        let mut plan = Plan::new(self, now);
        plan.recall_excess();
        let all_met = plan.recall_for_demands(now);
        let holders = plan.shares.iter().filter(|share| share.leases > 0);
        let calm = holders.map(|share| share.calm_at);
        let ripe = self.leases.values().filter_map(Lease::ripe_at);
        let later = calm.chain(ripe.map(|(_, at)| at)).filter(|at| *at > now);
        let more_at = if all_met { None } else { later.min() };
        let recalls: Vec<_> = plan
            .shares
            .iter()
            .map(|share| (share.pool.clone(), share.worker, share.recall))
            .collect();
        for (pool, worker, recall) in recalls {
            self.tell(worker, pool, recall);
        }
        self.more_at = more_at;
    }

    fn tell(&mut self, worker: WorkerId, pool: PoolKey, recall: Recall) {
        let Some(share) = self.share_mut(worker, &pool) else {
            return;
        };
        if share.told.replace(recall) != Some(recall) {
            let Recall { count, unused } = recall;
            self.forget_unused(&pool);
            self.actions.push_back(LedgerAction::Recall {
                worker,
                pool,
                count,
                unused,
            });
        }
    }
}

impl<'a> Plan<'a> {
    fn new(ledger: &'a Ledger, now: Instant) -> Self {
        let mut plan = Self {
            shares: Vec::new(),
            spare: BTreeMap::new(),
        };
        for (key, pool) in &ledger.pools {
            let Limits {
                pool_size,
                max_db_connections,
                max_user_connections,
            } = pool.limits;
            let of = |counts: &BTreeMap<String, Count>, name: &str| {
                counts.get(name).copied().unwrap_or_default()
            };
            for (scope, limit, count) in [
                (Scope::Pool(key), pool_size, pool.count),
                (
                    Scope::Database(&key.database),
                    unlimited_if_0(max_db_connections),
                    of(&ledger.databases, &key.database),
                ),
                (
                    Scope::User(&key.user),
                    unlimited_if_0(max_user_connections),
                    of(&ledger.users, &key.user),
                ),
            ] {
                let used = i64::from(count.used) - i64::from(count.closing);
                plan.spare.insert(scope, i64::from(limit) - used);
            }
            for (&worker, share) in &pool.shares {
                plan.shares.push(Planned {
                    pool: key,
                    worker,
                    leases: share.leases,
                    ripe: 0,
                    wanted: share.wanted.min(pool_size),
                    since: share.since,
                    calm_at: share.wanted_at + CALM,
                    recall: Recall::default(),
                });
            }
        }
        plan.count_ripe(ledger, now);
        plan
    }

    fn count_ripe(&mut self, ledger: &Ledger, now: Instant) {
        let mut ripe = BTreeMap::<(&PoolKey, WorkerId), u32>::new();
        for lease in ledger.leases.values() {
            if let Some((worker, at)) = lease.ripe_at()
                && at <= now
            {
                *ripe.entry((&lease.pool, worker)).or_default() += 1;
            }
        }
        for share in &mut self.shares {
            let count = ripe.get(&(share.pool, share.worker));
            share.ripe = count.copied().unwrap_or(0);
        }
    }

    /// Asks for what is open beyond a limit that became smaller.
    fn recall_excess(&mut self) {
        let exceeded: Vec<_> = self
            .spare
            .iter()
            .filter(|(_, spare)| **spare < 0)
            .map(|(scope, _)| *scope)
            .collect();
        for scope in exceeded {
            while self.spare(scope) < 0 {
                let Some(victim) = self.largest(scope, |_, _| true, &[]) else {
                    break;
                };
                self.take_from(victim);
            }
        }
    }

    /// Finds a lease for every wanted one; true when there is one for each.
    fn recall_for_demands(&mut self, now: Instant) -> bool {
        let mut all_met = true;
        let mut demands: Vec<usize> = (0..self.shares.len()).collect();
        demands.retain(|at| self.share(*at).is_some_and(|share| share.wanted > 0));
        demands.sort_by_key(|at| self.share(*at).map(|share| (share.leases, share.since)));
        for at in demands {
            let Some((pool, leases, wanted)) = self
                .share(at)
                .map(|share| (share.pool, share.leases, share.wanted))
            else {
                continue;
            };
            let unmet = (0..wanted).find(|met| !self.meet(at, pool, leases + met));
            if let Some(met) = unmet {
                self.ask_for_unused(at, pool, wanted - met, now);
                all_met = false;
            }
        }
        all_met
    }

    /// Finds a lease for a share that will have `have` by then; true when all
    /// limits will have room for it.
    fn meet(&mut self, at: usize, pool: &'a PoolKey, have: u32) -> bool {
        let mut victims = Vec::new();
        for scope in scopes(pool) {
            let relief = victims
                .iter()
                .filter(|victim| self.is_in(**victim, scope))
                .count();
            if self.spare(scope) + i64::try_from(relief).unwrap_or(0) > 0 {
                continue;
            }
            let ripe = |other, share: &Planned<'_>| {
                let taken = victims.iter().filter(|taken| **taken == other).count();
                other != at && share.ripe as usize > share.recall.count as usize + taken
            };
            match self.largest(scope, ripe, &victims) {
                Some(victim) if self.left(victim, &victims) >= least_to_take_from(have) => {
                    victims.push(victim);
                }
                _ => return false,
            }
        }
        for victim in victims {
            self.take_from(victim);
        }
        for scope in scopes(pool) {
            *self.spare.entry(scope).or_default() -= 1;
        }
        true
    }

    /// Asks every calm share under a limit that is in the way for unused
    /// servers.
    fn ask_for_unused(&mut self, at: usize, pool: &'a PoolKey, missing: u32, now: Instant) {
        let full: Vec<_> = scopes(pool)
            .into_iter()
            .filter(|scope| self.spare(*scope) <= 0)
            .collect();
        for (other, share) in self.shares.iter_mut().enumerate() {
            let calm = share.wanted == 0 && share.calm_at <= now;
            if other != at && calm && full.iter().any(|scope| scopes(share.pool).contains(scope)) {
                let left = share.leases - share.recall.count;
                share.recall.unused = share.recall.unused.saturating_add(missing).min(left);
            }
        }
    }

    /// The share with most left under a limit, of those that `may` give.
    fn largest(
        &self,
        scope: Scope<'a>,
        may: impl Fn(usize, &Planned<'a>) -> bool,
        taken: &[usize],
    ) -> Option<usize> {
        (0..self.shares.len())
            .filter(|at| self.is_in(*at, scope))
            .filter(|at| self.share(*at).is_some_and(|share| may(*at, share)))
            .max_by_key(|at| self.left(*at, taken))
            .filter(|at| self.left(*at, taken) > 0)
    }

    /// What a share keeps when it has given up what is planned and what was
    /// `taken`.
    fn left(&self, at: usize, taken: &[usize]) -> u32 {
        let taken = taken.iter().filter(|taken| **taken == at).count();
        self.share(at).map_or(0, |share| {
            (share.leases - share.recall.count)
                .saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
        })
    }

    fn take_from(&mut self, victim: usize) {
        if let Some(share) = self.shares.get_mut(victim) {
            share.recall.count += 1;
            let left = share.leases - share.recall.count;
            share.recall.unused = share.recall.unused.min(left);
            for scope in scopes(share.pool) {
                *self.spare.entry(scope).or_default() += 1;
            }
        }
    }

    fn share(&self, at: usize) -> Option<&Planned<'a>> {
        self.shares.get(at)
    }

    fn spare(&self, scope: Scope<'a>) -> i64 {
        self.spare.get(&scope).copied().unwrap_or(0)
    }

    fn is_in(&self, at: usize, scope: Scope<'a>) -> bool {
        self.share(at)
            .is_some_and(|share| scopes(share.pool).contains(&scope))
    }
}

/// Every limit that covers a pool.
fn scopes(pool: &PoolKey) -> [Scope<'_>; 3] {
    [
        Scope::Pool(pool),
        Scope::Database(&pool.database),
        Scope::User(&pool.user),
    ]
}

/// How much a share must have left for one that has `have` to get some of it.
fn least_to_take_from(have: u32) -> u32 {
    if have == 0 { 1 } else { have.saturating_add(2) }
}

/// How long a share must have wanted nothing.
const CALM: Duration = Duration::from_secs(1);

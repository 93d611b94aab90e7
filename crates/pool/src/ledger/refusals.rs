//! Refusals: PostgreSQL takes no more connections for now.
//!
//! Clients wait, and what it took before is divided among the workers. Beyond
//! that one server at a time is tried for the whole group, after a pause that
//! grows, until PostgreSQL takes more. A pool remembers its refusal though
//! nobody has or wants a server at the moment.
//!
//! Source: PostgreSQL documentation, "Connection Settings" (max_connections)
//! and "CREATE ROLE" (CONNECTION LIMIT).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::book::Pool;
use super::lease::Lease;
use super::{Ledger, WorkerId};
use crate::control::{LeaseId, PoolKey};

/// PostgreSQL takes no more servers of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    /// Servers of the pool that it had taken when it refused one.
    takes: u32,
    /// No more than these are tried before.
    pub until: Instant,
    pause: Duration,
}

/// Tries of all pools that PostgreSQL has refused a server.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// When those that are due by now have had their turn.
    busy_until: Option<Instant>,
}

impl Ledger {
    /// Takes note that PostgreSQL has refused the lease's server because it has
    /// too many connections; gives the pool, whose clients may be told one day.
    pub fn too_many(&mut self, worker: WorkerId, lease: LeaseId, now: Instant) -> Option<&PoolKey> {
        let key = self.find(worker, lease)?.pool.clone();
        let pool = self.book.pools.get_mut(&key)?;
        pool.refused(&self.leases, &mut self.book.tries, lease.id, now);
        self.stale.insert(key);
        self.leases.get(&lease.id).map(|lease| &lease.pool)
    }

    /// Forgets the refusals of pools in which nobody has wanted a server since,
    /// and takes those out of `keys` that are not in the book any more.
    pub(super) fn forget_refusals(&mut self, keys: &mut BTreeSet<PoolKey>, now: Instant) {
        for key in keys.iter() {
            if let Some(pool) = self.book.pools.get_mut(key)
                && pool.forget_refusal(now)
            {
                self.forget_unused(key);
            }
        }
        keys.retain(|key| self.book.pools.contains_key(key));
    }
}

impl Pool {
    /// PostgreSQL has refused a server. `seed` is another number each time.
    fn refused(
        &mut self,
        leases: &BTreeMap<u64, Lease>,
        tries: &mut Tries,
        seed: u64,
        now: Instant,
    ) {
        let taken = self.taken(leases);
        let pause = match &mut self.refusal {
            None => PAUSE_MIN,
            // One of several that were tried at once.
            Some(refusal) if now < refusal.until => {
                refusal.takes = refusal.takes.min(taken);
                return;
            }
            Some(refusal) => (refusal.pause * 2).min(PAUSE_MAX),
        };
        self.refusal = Some(Refusal {
            takes: taken,
            until: now + spread(pause, seed).max(tries.delay(now)),
            pause,
        });
    }

    /// PostgreSQL has taken a server.
    pub(super) fn accepted(&mut self, leases: &BTreeMap<u64, Lease>, now: Instant) {
        let taken = self.taken(leases);
        if let Some(refusal) = &mut self.refusal
            && taken > refusal.takes
        {
            *refusal = Refusal {
                takes: taken,
                until: now,
                pause: PAUSE_MIN / 2,
            };
        }
        let most = self.limits.pool_size + self.limits.reserve_pool_size;
        self.refusal.take_if(|refusal| refusal.takes >= most);
    }

    /// Forgets a refusal if nobody has wanted a server for a while; says whether
    /// there was one to forget.
    fn forget_refusal(&mut self, now: Instant) -> bool {
        let wanted = self.shares.values().any(|share| share.wanted > 0);
        let over = |refusal: &mut Refusal| !wanted && refusal.until + PAUSE_MAX <= now;
        self.refusal.take_if(over).is_some()
    }

    /// How many servers may be open, and how many more of the reserve: what the
    /// settings say, or what PostgreSQL takes and perhaps one more.
    pub(super) fn limit(&self, leases: &BTreeMap<u64, Lease>, now: Instant) -> (u32, u32) {
        let (size, reserve) = (self.limits.pool_size, self.limits.reserve_pool_size);
        let Some(refusal) = self.refusal else {
            return (size, reserve);
        };
        let mut opening = self.leases.iter().filter_map(|id| leases.get(id));
        let tries = opening.any(Lease::is_opening);
        let more = u32::from(refusal.until <= now && !tries);
        let takes = refusal.takes.max(self.count.used) + more;
        (size.min(takes), reserve.min(takes.saturating_sub(size)))
    }

    /// When the refusal of a pool is to be looked at again.
    pub(super) fn refusal_until(&self, now: Instant) -> Option<Instant> {
        let until = self.refusal?.until;
        Some(if until > now {
            until
        } else {
            until + PAUSE_MAX
        })
    }

    /// Servers that PostgreSQL has taken and that have not gone.
    fn taken(&self, leases: &BTreeMap<u64, Lease>) -> u32 {
        let leases = self.leases.iter().filter_map(|id| leases.get(id));
        let taken = leases.filter(|lease| !lease.is_opening()).count();
        u32::try_from(taken).unwrap_or(u32::MAX)
    }
}

impl Tries {
    /// How long the next one has to wait because of the others.
    fn delay(&mut self, now: Instant) -> Duration {
        let busy_until = self.busy_until.map_or(now, |at| at.max(now)) + TRY_INTERVAL;
        self.busy_until = Some(busy_until);
        busy_until - now
    }
}

/// A pause between three and five quarters of this one, so that pools that were
/// refused together do not try together for ever.
fn spread(pause: Duration, seed: u64) -> Duration {
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55;
    let mixed = u32::try_from(mixed).unwrap_or(0);
    pause * 3 / 4 + pause * mixed / 1024
}

/// How long no server is tried after PostgreSQL has refused one, at first and
/// at most.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The group tries no more often than this, however many pools it has.
const TRY_INTERVAL: Duration = Duration::from_millis(20);

//! The book: what is open under each limit, and who has and wants it.
//!
//! A share is what one worker has of one pool. Pools that compete for a limit,
//! and those that compete with these for another, are planned together:
//! [`Book::together`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, SubAssign};
use std::time::{Duration, Instant};

use super::hosts::Hosts;
use super::lease::Lease;
use super::refusals::{Refusal, Tries};
use super::{Limits, WorkerId};
use crate::control::PoolKey;
use crate::pools::QUANTUM;

/// All pools, and the counts that limits are compared with.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub pools: BTreeMap<PoolKey, Pool>,
    pub databases: BTreeMap<String, Group>,
    pub users: BTreeMap<String, Group>,
    /// Servers that are tried though PostgreSQL has refused others.
    pub tries: Tries,
    /// What is known of where servers are.
    pub hosts: Hosts,
}

/// Leases that count towards one limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Count {
    /// All of them.
    pub used: u32,
    /// Those among them that are closing, and so return in a moment.
    pub closing: u32,
    /// Those among them that are in nobody's share, because their worker is
    /// dead or their server is one client's.
    pub apart: u32,
}

/// The pools of one database, or of one user.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub count: Count,
    pub pools: BTreeSet<PoolKey>,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub limits: Limits,
    pub count: Count,
    pub leases: BTreeSet<u64>,
    pub shares: BTreeMap<WorkerId, Share>,
    /// Its `min_pool_size` holds even without a client.
    pub kept: bool,
    /// When servers may be opened again without need, after a failure.
    pub order_at: Option<Instant>,
    /// Where its last server was, if one has logged in.
    pub host: Option<String>,
    /// PostgreSQL takes no more servers of it for now.
    pub refusal: Option<Refusal>,
    /// How long it takes to open a server, if that is known.
    pub opening: Option<Duration>,
    /// Since when servers in use are asked back for it, and none has come.
    pub recalling_since: Option<Instant>,
    /// Since when something free is held for it, because it needs more.
    pub holding_since: Option<Instant>,
    /// A server was given up since that was looked at.
    pub released: bool,
    /// When a server that was to be lent was closed instead.
    pub closed_at: Option<Instant>,
}

/// What one worker has of one pool.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Leases opening or held, without dedicated ones.
    pub leases: u32,
    /// Leases wanted beyond those.
    pub wanted: u32,
    /// How long the oldest client had waited when that was said, if any are
    /// wanted.
    pub oldest_wait: Duration,
    /// When that was said.
    pub told_at: Instant,
    /// Since when more have been wanted all the time.
    pub wanting_since: Option<Instant>,
    /// Its oldest client has waited long enough for the reserve.
    pub aged: bool,
    /// It has clients; known only where `min_pool_size` is set.
    pub in_use: bool,
    /// Servers that are to be opened in place of others.
    pub owed: u32,
    /// The last recall, unless the worker may have answered it since.
    pub told: Option<Recall>,
    /// Who it was told to lend them to.
    pub takers: Vec<WorkerId>,
}

/// How many servers to give up: in any case, and if they are unused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Recall {
    pub count: u32,
    pub unused: u32,
}

impl Book {
    /// The pool of this name, made if there is none; its limits are these.
    pub(super) fn enter(&mut self, key: &PoolKey, limits: Limits) -> &mut Pool {
        if !self.pools.contains_key(key) {
            for group in [
                self.databases.entry(key.database.clone()).or_default(),
                self.users.entry(key.login().to_owned()).or_default(),
            ] {
                group.pools.insert(key.clone());
            }
        }
        let pool = self.pools.entry(key.clone()).or_insert_with(|| Pool {
            limits,
            count: Count::default(),
            leases: BTreeSet::new(),
            shares: BTreeMap::new(),
            kept: false,
            order_at: None,
            host: None,
            refusal: None,
            opening: None,
            recalling_since: None,
            holding_since: None,
            released: false,
            closed_at: None,
        });
        pool.limits = limits;
        pool
    }

    /// Changes every count that covers a pool.
    pub(super) fn count(&mut self, key: &PoolKey, change: impl Fn(&mut Count)) {
        if let Some(pool) = self.pools.get_mut(key) {
            change(&mut pool.count);
        }
        if let Some(group) = self.databases.get_mut(&key.database) {
            change(&mut group.count);
        }
        if let Some(group) = self.users.get_mut(key.login()) {
            change(&mut group.count);
        }
    }

    /// Drops what says nothing any more. If that is the pool itself, gives the
    /// pools that have competed with it.
    pub(super) fn forget_unused(&mut self, key: &PoolKey) -> BTreeSet<PoolKey> {
        let mut left = BTreeSet::new();
        let Some(pool) = self.pools.get_mut(key) else {
            return left;
        };
        pool.shares.retain(|_, share| !share.is_unused());
        if pool.count.used > 0
            || !pool.shares.is_empty()
            || pool.kept
            // Whoever comes next must not try it at once.
            || pool.refusal.is_some()
            || self.hosts.may_hold(pool)
        {
            return left;
        }
        self.pools.remove(key);
        for (groups, name) in [
            (&mut self.databases, key.database.as_str()),
            (&mut self.users, key.login()),
        ] {
            if let Some(group) = groups.get_mut(name) {
                group.pools.remove(key);
                left.extend(group.pools.iter().cloned());
                if group.pools.is_empty() {
                    groups.remove(name);
                }
            }
        }
        left
    }

    pub(super) fn share_mut(&mut self, worker: WorkerId, pool: &PoolKey) -> Option<&mut Share> {
        self.pools.get_mut(pool)?.shares.get_mut(&worker)
    }

    /// The pools that have to be planned together with this one, itself
    /// included.
    pub(super) fn together(&self, key: &PoolKey) -> BTreeSet<PoolKey> {
        let mut found = BTreeSet::new();
        let mut next = vec![key];
        while let Some(key) = next.pop() {
            let Some(pool) = self.pools.get(key) else {
                continue;
            };
            if !found.insert(key.clone()) {
                continue;
            }
            let database = self.databases.get(&key.database);
            let database = database.filter(|_| pool.limits.max_db_connections > 0);
            let user = self.users.get(key.login());
            let user = user.filter(|_| pool.limits.max_user_connections > 0);
            for group in database.into_iter().chain(user) {
                next.extend(group.pools.iter().filter(|other| !found.contains(*other)));
            }
        }
        found
    }
}

impl Pool {
    /// The share of a worker, made if there is none.
    pub(super) fn share(&mut self, worker: WorkerId, now: Instant) -> &mut Share {
        self.shares.entry(worker).or_insert(Share {
            leases: 0,
            wanted: 0,
            oldest_wait: Duration::ZERO,
            told_at: now,
            wanting_since: None,
            aged: false,
            in_use: false,
            owed: 0,
            told: Some(Recall::default()),
            takers: Vec::new(),
        })
    }

    /// Servers to be opened without need, so that the pool has its minimum.
    pub(super) fn missing(&self, leases: &BTreeMap<u64, Lease>) -> u32 {
        if self.kept || self.shares.values().any(|share| share.in_use) {
            self.limits
                .min_pool_size
                .saturating_sub(self.staying(leases))
        } else {
            0
        }
    }

    /// Servers that nobody is about to close.
    pub(super) fn staying(&self, leases: &BTreeMap<u64, Lease>) -> u32 {
        let leases = self.leases.iter().filter_map(|id| leases.get(id));
        let staying = leases.filter(|lease| lease.is_staying()).count();
        u32::try_from(staying).unwrap_or(u32::MAX)
    }

    /// How long a server is used before another worker may get it.
    pub(super) fn lending_turn(&self, now: Instant) -> Duration {
        if self.closed_at.is_some_and(|at| now < at + UNLENT) {
            self.turn()
        } else {
            QUANTUM
        }
    }

    /// How long a server is used before it is closed and another worker may get
    /// its lease, however many wait for it: a part of the time goes to opening.
    pub(super) fn turn(&self) -> Duration {
        self.opening.map_or(TURN, |opening| {
            (opening * OPENINGS_A_TURN).clamp(TURN_MIN, TURN_MAX)
        })
    }

    /// Takes note of how long it took to open a server.
    pub(super) fn opened_in(&mut self, duration: Duration) {
        self.opening = Some(match self.opening {
            Some(before) => (before * 3 + duration) / 4,
            None => duration,
        });
    }
}

impl Share {
    /// How long the oldest client waits by now.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let more = if self.leases == 0 {
            now.saturating_duration_since(self.told_at)
        } else {
            // While clients are served, each next one has waited about as long.
            Duration::ZERO
        };
        self.oldest_wait + more
    }

    pub(super) fn forget_demand(&mut self) {
        self.wanted = 0;
        self.wanting_since = None;
        self.aged = false;
    }

    fn is_unused(&self) -> bool {
        self.leases == 0
            && self.wanted == 0
            && !self.in_use
            && self.owed == 0
            && self.told == Some(Recall::default())
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.used += other.used;
        self.closing += other.closing;
        self.apart += other.apart;
    }
}

impl SubAssign for Count {
    fn sub_assign(&mut self, other: Self) {
        self.used -= other.used;
        self.closing -= other.closing;
        self.apart -= other.apart;
    }
}

/// The turn of a server while nobody knows how long opening takes.
pub(super) const TURN: Duration = Duration::from_millis(25);
const TURN_MIN: Duration = Duration::from_millis(25);
const TURN_MAX: Duration = Duration::from_millis(250);

/// How long servers are not expected to be lent, after one was not.
const UNLENT: Duration = Duration::from_secs(1);

/// `whole · numerator / denominator`, rounded down.
pub(super) fn part(whole: u64, numerator: u64, denominator: u64) -> u64 {
    let part = u128::from(whole) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Shares are counted in parts of this.
pub(super) const ONE: u64 = 1 << 16;

/// So many times the opening of a server is a turn.
const OPENINGS_A_TURN: u32 = 10;

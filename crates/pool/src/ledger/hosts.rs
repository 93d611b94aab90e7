//! Hosts: where PostgreSQL is, and whether it leaves.
//!
//! ```text
//!       a server says that it goes, another is refused
//! here ────────────────────────────────────────────────> leaving
//!   ^──────────────── a server logs in ─────────────────────┘
//! ```
//!
//! A planned end of a host begins with a word: a server asks to be left, or ends
//! with it, or refuses others with it. If then no other can be opened, clients
//! wait for the host, and one server at a time is tried for the whole group. What
//! cannot be reached and has said nothing is down, which is no matter of the
//! ledger, nor is a host that has let nobody in before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::book::{Book, Pool};
use super::host_turn::Turn;
use super::lease::{Lease, LeaseState};
use super::{Ledger, LedgerAction, Limits, WorkerId};
use crate::control::{HostNotice, LeaseId, PoolKey};

/// What is known of hosts, by their address.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, Host>);

/// A host that has let us in.
#[derive(Debug, Default)]
struct Host {
    /// When a server has last said that it goes, if none has logged in since.
    said: Option<Instant>,
    leaving: Option<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    since: Instant,
    /// What it says.
    message: String,
    /// No server is tried before.
    until: Instant,
    pause: Duration,
    /// The lease of the server that is tried.
    tried: Option<u64>,
}

/// Why a server could not be opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreachable {
    /// Address of its host.
    pub host: String,
    /// The host itself says that it shuts down or starts.
    pub says: bool,
    /// What was said, or has failed.
    pub message: String,
}

/// What has become of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostNews {
    /// It leaves.
    Leaves {
        /// Its address.
        host: String,
        /// What was said, or has failed.
        message: String,
    },
    /// It lets us in again.
    Back {
        /// Its address.
        host: String,
        /// For how long it did not.
        after: Duration,
    },
}

/// What was known of a host that lets a server in.
enum Was {
    Here,
    /// A server had said that it goes.
    Going,
    LeavingSince(Instant),
}

impl Ledger {
    /// Takes note that the lease's server has ended the connection because it
    /// shuts down.
    pub fn said_farewell(&mut self, worker: WorkerId, lease: LeaseId, host: &str, now: Instant) {
        if self.find(worker, lease).is_some() {
            self.book.hosts.says(host, now);
            self.host_fails(host, now);
        }
    }

    /// Takes note of why the lease's server could not be opened; the worker is
    /// told what that is. `random` spreads the next attempts.
    pub fn unreachable(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        why: Unreachable,
        random: u64,
        now: Instant,
    ) -> Option<HostNews> {
        let key = self.find(worker, lease)?.pool.clone();
        let book = &mut self.book;
        let pool = book.pools.get_mut(&key)?;
        // Whoever waits for one host may have tried others, and found none.
        let waits = pool
            .host
            .as_ref()
            .filter(|host| book.hosts.holds(pool) || book.hosts.has_said(host, now));
        let host = waits.unwrap_or(&why.host).clone();
        let Some(begins) = book.hosts.refuses(&host, lease.id, &why, random, now) else {
            let notice = HostNotice::Fails { pool: key };
            self.actions
                .push_back(LedgerAction::Host { worker, notice });
            return None;
        };
        let moves = pool.host.as_ref() != Some(&host);
        pool.host = Some(host.clone());
        let all = self.book.at(&host);
        self.stale.extend(all.iter().cloned());
        let concerned = if begins { all } else { BTreeSet::from([key]) };
        for key in concerned {
            let notice = HostNotice::Leaves {
                pool: key,
                host: host.clone(),
                message: why.message.clone(),
            };
            if begins || moves {
                self.tell_all_of(&notice, Some(worker));
            }
            // It waits for an answer.
            self.actions
                .push_back(LedgerAction::Host { worker, notice });
        }
        let message = why.message;
        begins.then_some(HostNews::Leaves { host, message })
    }

    /// Takes note that the lease's server could not be opened, for a reason that
    /// only a host gives that serves: it does not leave any more.
    pub fn answered(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        host: String,
        now: Instant,
    ) -> Option<HostNews> {
        let key = self.find(worker, lease)?.pool.clone();
        if !self.book.waits_for_host(&key) {
            return None;
        }
        self.host_serves(&key, lease.id, Some(host), now)
    }

    /// Takes over from another supervisor that the host of this pool leaves.
    pub fn inherit_leaving(
        &mut self,
        key: &PoolKey,
        why: Unreachable,
        limits: Limits,
        now: Instant,
    ) {
        let Unreachable { host, message, .. } = why;
        self.book.enter(key, limits).host = Some(host.clone());
        self.book.hosts.leaves(&host, &message, now);
        let pool = key.clone();
        let notice = HostNotice::Leaves {
            pool,
            host,
            message,
        };
        self.tell_all_of(&notice, None);
        self.stale.insert(key.clone());
    }

    /// Forgets where pools are, since a new configuration may lead elsewhere.
    pub fn forget_places(&mut self) {
        let held = self.book.pools.iter_mut();
        let held = held.filter_map(|(key, pool)| {
            let held = self.book.hosts.holds(pool);
            pool.host = None;
            held.then(|| key.clone())
        });
        self.failures.forget();
        for key in held.collect::<Vec<_>>() {
            self.tell_back(&key);
        }
    }

    /// A lease is read from the book of another supervisor: its server tells
    /// where its pool is.
    pub(super) fn note_place(&mut self, lease: &Lease) {
        if let LeaseState::Held {
            backend: Some(backend),
            ..
        } = &lease.state
            && let Some(pool) = self.book.pools.get_mut(&lease.pool)
        {
            pool.host = Some(backend.target.clone());
            self.book.hosts.serves(&backend.target);
        }
    }

    /// A server has logged in.
    pub(super) fn host_serves(
        &mut self,
        key: &PoolKey,
        lease: u64,
        host: Option<String>,
        now: Instant,
    ) -> Option<HostNews> {
        let pool = self.book.pools.get_mut(key)?;
        let host = host.or_else(|| pool.host.clone())?;
        if pool.host.as_ref() != Some(&host) {
            let held = self.book.hosts.holds(pool);
            let left = pool.host.replace(host.clone());
            if held {
                self.try_over(lease, now);
                self.tell_back(key);
                if let Some(left) = left {
                    // What has helped here may help the others that wait for it.
                    self.book.hosts.try_now(&left, now);
                    self.stale.extend(self.book.at(&left));
                }
            }
        }
        self.host_fails_no_more(&host, now);
        let since = match self.book.hosts.serves(&host) {
            Was::Here => return None,
            Was::Going => {
                for key in self.book.at(&host) {
                    self.forget_unused(&key);
                }
                return None;
            }
            Was::LeavingSince(since) => since,
        };
        for key in self.book.at(&host) {
            self.tell_back(&key);
        }
        let after = now.saturating_duration_since(since);
        Some(HostNews::Back { host, after })
    }

    /// The lease of a server that was tried has returned.
    pub(super) fn try_over(&mut self, lease: u64, now: Instant) {
        if let Some(host) = self.book.hosts.try_over(lease, now) {
            self.stale.extend(self.book.at(&host));
        }
    }

    /// Tells a worker which hosts leave.
    pub(super) fn tell_of_hosts(&mut self, worker: WorkerId) {
        for (key, pool) in &self.book.pools {
            if let Some((host, leaving)) = self.book.hosts.leaving(pool) {
                let notice = HostNotice::Leaves {
                    pool: key.clone(),
                    host: host.to_owned(),
                    message: leaving.message.clone(),
                };
                self.actions
                    .push_back(LedgerAction::Host { worker, notice });
            }
        }
    }

    fn tell_back(&mut self, key: &PoolKey) {
        let pool = key.clone();
        self.tell_all_of(&HostNotice::Back { pool }, None);
        self.stale.insert(key.clone());
        self.forget_unused(key);
    }

    pub(super) fn tell_all_of(&mut self, notice: &HostNotice, except: Option<WorkerId>) {
        let workers = self.workers.iter().copied();
        for worker in workers.filter(|worker| Some(*worker) != except) {
            let notice = notice.clone();
            self.actions
                .push_back(LedgerAction::Host { worker, notice });
        }
    }
}

impl Book {
    /// What a pool may open now, because of its host.
    pub(super) fn turn(
        &self,
        key: &PoolKey,
        pool: &Pool,
        leases: &BTreeMap<u64, Lease>,
        workers: &BTreeSet<WorkerId>,
        now: Instant,
    ) -> Turn {
        let Some((host, leaving)) = self.hosts.leaving(pool) else {
            return Turn::Free;
        };
        if leaving.tried.is_some() {
            return Turn::Wait(None);
        }
        if leaving.until > now {
            return Turn::Wait(Some(leaving.until));
        }
        match self.next_try(host, leases, workers, now) {
            Some((next, worker)) if next == key => Turn::Try(worker),
            _ => Turn::Wait(None),
        }
    }

    /// Whether a pool waits for its host.
    pub(super) fn waits_for_host(&self, key: &PoolKey) -> bool {
        self.pools
            .get(key)
            .is_some_and(|pool| self.hosts.holds(pool))
    }

    /// Takes note that a server of a pool is tried, if its host leaves.
    pub(super) fn note_try(&mut self, key: &PoolKey, lease: u64) {
        let host = self.pools.get(key).and_then(|pool| pool.host.as_ref());
        let host = host.and_then(|host| self.hosts.0.get_mut(host));
        if let Some(leaving) = host.and_then(|host| host.leaving.as_mut()) {
            leaving.tried = Some(lease);
        }
    }

    /// For whom a server is tried at a host: whose client has waited longest,
    /// then where one is missing.
    fn next_try(
        &self,
        host: &str,
        leases: &BTreeMap<u64, Lease>,
        workers: &BTreeSet<WorkerId>,
        now: Instant,
    ) -> Option<(&PoolKey, Option<WorkerId>)> {
        let pools = self.pools.iter();
        let with_room: Vec<_> = pools
            .filter(|(_, pool)| pool.host.as_deref() == Some(host))
            .filter(|(_, pool)| pool.count.used < pool.limits.pool_size)
            .collect();
        let shares = with_room.iter().flat_map(|(key, pool)| {
            let wanting = pool.shares.iter().filter(|(_, share)| share.wanted > 0);
            wanting.map(|(worker, share)| (share.age(now), *worker, *key))
        });
        let living = shares.filter(|(_, worker, _)| workers.contains(worker));
        if let Some((_, worker, key)) = living.max() {
            return Some((key, Some(worker)));
        }
        let missing = with_room.iter().find(|(key, pool)| {
            let due = pool.order_at.is_none_or(|at| at <= now);
            due && pool.orders(key, leases).next().is_some()
        });
        missing.map(|(key, _)| (*key, None))
    }

    /// The pools of a host.
    fn at(&self, host: &str) -> BTreeSet<PoolKey> {
        let pools = self.pools.iter();
        let here = pools.filter(|(_, pool)| pool.host.as_deref() == Some(host));
        here.map(|(key, _)| key.clone()).collect()
    }
}

impl Hosts {
    /// A server of a host says that it goes.
    pub(super) fn says(&mut self, host: &str, now: Instant) {
        if let Some(host) = self.0.get_mut(host) {
            host.said = Some(now);
        }
    }

    /// Whether a server of a host has said lately that it goes.
    fn has_said(&self, host: &str, now: Instant) -> bool {
        let said = self.0.get(host).and_then(|host| host.said);
        said.is_some_and(|said| now.saturating_duration_since(said) < SAID_FOR)
    }

    /// Whether a pool waits for its host.
    pub(super) fn holds(&self, pool: &Pool) -> bool {
        self.leaving(pool).is_some()
    }

    /// Whether a pool waits for its host, or may have to soon.
    pub(super) fn may_hold(&self, pool: &Pool) -> bool {
        let host = pool.host.as_ref().and_then(|host| self.0.get(host));
        host.is_some_and(|host| host.leaving.is_some() || host.said.is_some())
    }

    fn leaving<'a>(&'a self, pool: &'a Pool) -> Option<(&'a str, &'a Leaving)> {
        let host = pool.host.as_deref()?;
        Some((host, self.0.get(host)?.leaving.as_ref()?))
    }

    /// A host has let a server in; gives how it was before.
    fn serves(&mut self, host: &str) -> Was {
        if self.0.len() >= MOST && !self.0.contains_key(host) {
            // Addresses that came and went.
            self.0.retain(|_, host| host.leaving.is_some());
        }
        let host = self.0.entry(host.to_owned()).or_default();
        match (host.leaving.take(), host.said.take()) {
            (Some(leaving), _) => Was::LeavingSince(leaving.since),
            (None, Some(_)) => Was::Going,
            (None, None) => Was::Here,
        }
    }

    /// A host has not let the lease's server in: whether that begins its
    /// leaving; `None` if it is only down.
    fn refuses(
        &mut self,
        host: &str,
        lease: u64,
        why: &Unreachable,
        random: u64,
        now: Instant,
    ) -> Option<bool> {
        let known = self.0.get_mut(host)?;
        if let Some(leaving) = &mut known.leaving {
            // Others were on their way when it began.
            if leaving.tried.take_if(|tried| *tried == lease).is_some() {
                leaving.pause = (leaving.pause * 2).min(PAUSE_MAX);
                leaving.until = now + spread(leaving.pause, random);
            }
            return Some(false);
        }
        if !why.says && !self.has_said(host, now) {
            return None;
        }
        self.leaves(host, &why.message, now);
        if let Some(leaving) = self.0.get_mut(host).and_then(|host| host.leaving.as_mut()) {
            leaving.until = now + spread(PAUSE_MIN, random);
        }
        Some(true)
    }

    fn leaves(&mut self, host: &str, message: &str, now: Instant) {
        let host = self.0.entry(host.to_owned()).or_default();
        host.leaving.get_or_insert_with(|| Leaving {
            since: now,
            message: message.to_owned(),
            until: now,
            pause: PAUSE_MIN,
            tried: None,
        });
    }

    /// The next server is tried at once.
    fn try_now(&mut self, host: &str, now: Instant) {
        let host = self.0.get_mut(host);
        if let Some(leaving) = host.and_then(|host| host.leaving.as_mut()) {
            leaving.until = now;
            leaving.pause = PAUSE_MIN;
        }
    }

    /// A server that was tried is none any more; gives its host.
    fn try_over(&mut self, lease: u64, now: Instant) -> Option<String> {
        let mut hosts = self.0.iter_mut();
        hosts.find_map(|(host, state)| {
            let leaving = state.leaving.as_mut()?;
            leaving.tried.take_if(|tried| *tried == lease)?;
            leaving.until = leaving.until.max(now + leaving.pause);
            Some(host.clone())
        })
    }
}

/// A pause between three and five quarters of this one, so that the poolers of a
/// host do not all try at once.
fn spread(pause: Duration, random: u64) -> Duration {
    let part = u32::try_from(random & 0x1ff).unwrap_or(0);
    pause * 3 / 4 + pause * part / 1024
}

/// How long no server is tried at a host that leaves, at first and at most.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What a server has said this long ago does not explain that there is no other.
pub(super) const SAID_FOR: Duration = Duration::from_secs(60);

/// Most hosts that are remembered.
const MOST: usize = 1000;

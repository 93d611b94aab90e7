//! Plan: who gets what is free, and who is asked to give up servers.
//!
//! It is worked out anew whenever something has changed in pools that compete
//! with each other, so a recall is withdrawn as soon as the demand for it is
//! gone or enough servers are on their way back.
//!
//! Every client, served or waiting, has the same right to a server: the fair
//! share of a worker in a pool is its part of the pool's clients, and never
//! more than it has use for. A limit of a database or of a user is divided
//! among the shares of all its pools in the same way, after each pool was
//! bounded by its own limit.
//!
//! Demands are met one after the other as `demands.rs` says. Then, in
//! `recalls.rs`, everybody is asked where the few that were asked do not
//! answer, and servers that nobody uses are asked for. What is still free opens
//! the servers that pools keep without need.

mod demands;
mod recalls;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

#[cfg(test)]
pub(super) use self::demands::PATIENCE;
#[cfg(test)]
pub(super) use self::recalls::{LASTING, WIDEN};
use super::WorkerId;
use super::book::{Book, Count, ONE, Pool, Recall, part};
use super::host_turn::Turn;
use super::lease::Lease;
use crate::control::PoolKey;

/// What follows from the state of pools that compete.
#[derive(Debug)]
pub(super) struct Plan {
    /// The shares, with what they are to give up.
    pub shares: Vec<Planned>,
    /// Positions of the shares that get a lease, once for each.
    pub grants: Vec<usize>,
    /// Servers that are opened without need.
    pub orders: Vec<Order>,
    /// Pools for which servers in use are recalled.
    pub recalling: BTreeSet<PoolKey>,
    /// Pools for which something free is held until the rest is there.
    pub holding: BTreeSet<PoolKey>,
    /// When to look again, though nothing may have happened until then.
    pub again: Option<Instant>,
    rooms: Vec<Room>,
    now: Instant,
}

/// A server that is opened though nobody waits for it.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub pool: PoolKey,
    /// Who opens it, if it is not the same.
    pub worker: Option<WorkerId>,
}

/// Servers that are to be opened though nobody waits for them.
#[derive(Debug)]
struct Missing {
    order: Order,
    count: u32,
    /// The limits that cover them.
    rooms: Vec<usize>,
}

/// One share, and what becomes of it.
#[derive(Debug)]
pub(super) struct Planned {
    pub pool: PoolKey,
    pub worker: WorkerId,
    pub recall: Recall,
    /// Workers that want what it gives up, and have the same pool.
    pub takers: Vec<WorkerId>,
    /// The limits that cover it, that of its pool first.
    rooms: Vec<usize>,
    /// Leases that it has, was granted or is to get.
    leases: u32,
    wanted: u32,
    /// Nothing more can be done for it.
    settled: bool,
    /// How long its oldest client waits.
    age: Duration,
    wanting_since: Option<Instant>,
    /// When it has last said what it wants.
    told_at: Instant,
    aged: bool,
    /// Since when each of its leases is used that may be recalled, in order.
    held: Vec<Instant>,
    /// How long they are used before they are lent, or closed, for others.
    turns: [Duration; 2],
    /// How many leases it should have, in parts of [`ONE`].
    fair: u64,
}

/// What is open under one limit, and what may be.
#[derive(Debug)]
struct Room {
    limit: i64,
    /// How many more, for clients that have waited for long.
    reserve: i64,
    /// There are such clients.
    aged: bool,
    count: Count,
    /// What may be opened now, without the reserve; less what is held for
    /// somebody.
    free: i64,
    /// What will be free once all that is closing or recalled has returned;
    /// negative where more is open than the limit without the reserve.
    spare: i64,
    /// Somebody holds other room until there is some here.
    awaited: bool,
    /// Shares for which servers in use are recalled under this limit, once for
    /// each server.
    moves: Vec<usize>,
    /// How far above its fair share a holder is that gives one up for them.
    least_over: u64,
}

impl Plan {
    /// Works out what is to be done about these pools.
    pub(super) fn new(
        book: &Book,
        leases: &BTreeMap<u64, Lease>,
        workers: &BTreeSet<WorkerId>,
        keys: &BTreeSet<PoolKey>,
        now: Instant,
    ) -> Self {
        let mut plan = Self {
            shares: Vec::new(),
            grants: Vec::new(),
            orders: Vec::new(),
            recalling: BTreeSet::new(),
            holding: BTreeSet::new(),
            again: None,
            rooms: Vec::new(),
            now,
        };
        let missing = plan.take_in(book, leases, workers, keys);
        // Who has not said yet what it holds gets nothing.
        for share in &mut plan.shares {
            share.settled |= !workers.contains(&share.worker);
        }
        plan.divide();
        plan.recall_excess();
        plan.meet_demands(book);
        plan.widen(book);
        plan.ask_for_unused();
        plan.order(missing);
        plan
    }

    /// Takes the state in; gives what pools are missing that they should have
    /// without need.
    fn take_in(
        &mut self,
        book: &Book,
        leases: &BTreeMap<u64, Lease>,
        workers: &BTreeSet<WorkerId>,
        keys: &BTreeSet<PoolKey>,
    ) -> Vec<Missing> {
        let mut known = BTreeMap::new();
        let mut missing = Vec::new();
        for (key, pool) in keys.iter().filter_map(|key| book.pools.get_key_value(key)) {
            let limits = pool.limits;
            let (limit, reserve) = pool.limit(leases, self.now);
            let own = self.add_room(limit, pool.count);
            self.look_again(pool.refusal_until(self.now));
            if let Some(room) = self.rooms.get_mut(own) {
                room.reserve = reserve.into();
                room.aged = pool.shares.values().any(|share| share.aged);
            }
            let mut rooms = vec![own];
            for (kind, name, limit, groups) in [
                (
                    0,
                    key.database.as_str(),
                    limits.max_db_connections,
                    &book.databases,
                ),
                (1, key.login(), limits.max_user_connections, &book.users),
            ] {
                if limit > 0 {
                    let count = groups.get(name).map(|group| group.count);
                    let room = known.entry((kind, name));
                    rooms.push(
                        *room.or_insert_with(|| self.add_room(limit, count.unwrap_or_default())),
                    );
                }
            }
            let turn = book.turn(key, pool, leases, workers, self.now);
            self.take_in_shares(key, pool, leases, &rooms, turn);
            if let Turn::Wait(until) = turn {
                self.look_again(until);
            }
            match pool.order_at.filter(|at| *at > self.now) {
                None => {
                    let orders = pool.orders(key, leases);
                    let orders = orders.take(turn.orders()).map(|(order, count)| Missing {
                        order,
                        count: count.min(turn.most()),
                        rooms: rooms.clone(),
                    });
                    missing.extend(orders);
                }
                later => self.look_again(later),
            }
        }
        missing
    }

    fn take_in_shares(
        &mut self,
        key: &PoolKey,
        pool: &Pool,
        leases: &BTreeMap<u64, Lease>,
        rooms: &[usize],
        host: Turn,
    ) {
        let turns = [pool.lending_turn(self.now), pool.turn()];
        let mut held = BTreeMap::<WorkerId, Vec<Instant>>::new();
        for lease in pool.leases.iter().filter_map(|id| leases.get(id)) {
            if let Some((worker, since)) = lease.held_since() {
                held.entry(worker).or_default().push(since);
            }
        }
        for (&worker, share) in &pool.shares {
            let mut held = held.remove(&worker).unwrap_or_default();
            held.sort_unstable();
            let wanted = share.wanted.min(host.wanted(worker));
            self.shares.push(Planned {
                pool: key.clone(),
                worker,
                recall: Recall::default(),
                takers: Vec::new(),
                rooms: rooms.to_vec(),
                leases: share.leases,
                wanted,
                settled: wanted == 0,
                age: share.age(self.now),
                wanting_since: share.wanting_since,
                told_at: share.told_at,
                aged: share.aged,
                held,
                turns,
                fair: (u64::from(share.leases) + u64::from(wanted)) * ONE,
            });
        }
    }

    fn add_room(&mut self, limit: u32, count: Count) -> usize {
        let free = i64::from(limit) - i64::from(count.used);
        self.rooms.push(Room {
            limit: limit.into(),
            reserve: 0,
            aged: false,
            count,
            free,
            spare: free + i64::from(count.closing),
            awaited: false,
            moves: Vec::new(),
            least_over: u64::MAX,
        });
        self.rooms.len() - 1
    }

    /// Divides every limit among the shares under it, those of pools first.
    fn divide(&mut self) {
        for nth in 0..MOST_ROOMS {
            let mut claims = BTreeMap::<usize, u64>::new();
            for share in &self.shares {
                if let Some(room) = share.rooms.get(nth) {
                    *claims.entry(*room).or_default() += share.fair;
                }
            }
            for share in &mut self.shares {
                let Some(at) = share.rooms.get(nth) else {
                    continue;
                };
                let claimed = claims.get(at).copied().unwrap_or(0);
                let there = self.rooms.get(*at).map_or(0, Room::divisible);
                if claimed > there {
                    share.fair = part(share.fair, there, claimed);
                }
            }
        }
    }

    /// Uses what is left free for the servers that pools keep without need.
    fn order(&mut self, missing: Vec<Missing>) {
        for Missing {
            order,
            count,
            rooms,
        } in missing
        {
            for _ in 0..count {
                if rooms
                    .iter()
                    .any(|at| self.rooms.get(*at).is_none_or(|room| room.free <= 0))
                {
                    break;
                }
                for at in &rooms {
                    if let Some(room) = self.rooms.get_mut(*at) {
                        room.free -= 1;
                    }
                }
                self.orders.push(order.clone());
            }
        }
    }

    fn under(&self, room: usize) -> impl Iterator<Item = (usize, &Planned)> {
        let shares = self.shares.iter().enumerate();
        shares.filter(move |(_, share)| share.rooms.contains(&room))
    }

    /// Has a share give up a server, to the one at `taker` if that has the same
    /// pool.
    fn take_from(&mut self, victim: usize, taker: Option<usize>) {
        let taker = taker.and_then(|taker| self.shares.get(taker));
        let taker = taker.map(|taker| (taker.pool.clone(), taker.worker));
        let Some(share) = self.shares.get_mut(victim) else {
            return;
        };
        share.recall.count += 1;
        let lent = taker.filter(|(pool, _)| share.pool == *pool);
        share.takers.extend(lent.map(|(_, worker)| worker));
        for room in &share.rooms {
            if let Some(room) = self.rooms.get_mut(*room) {
                room.spare += 1;
            }
        }
    }

    fn look_again(&mut self, at: Option<Instant>) {
        self.again = earliest(self.again, at.filter(|at| *at > self.now));
    }
}

impl Planned {
    /// Who is served first: of those below their fair share who waits longest,
    /// then of the others.
    fn order(&self) -> (bool, Reverse<Duration>, WorkerId) {
        let below = u64::from(self.leases) * ONE < self.fair;
        (!below, Reverse(self.age), self.worker)
    }

    /// What it keeps when it has given up what is planned.
    fn left(&self) -> u32 {
        self.leases.saturating_sub(self.recall.count)
    }

    /// How much that is beyond its fair share, in parts of [`ONE`].
    fn over(&self) -> u64 {
        (u64::from(self.left()) * ONE).saturating_sub(self.fair)
    }

    /// Whether one more of its leases may be recalled, for a share of this pool.
    fn next_ripe(&self, pool: &PoolKey, now: Instant) -> Ripe {
        let [lent, closed] = self.turns;
        let turn = if self.pool == *pool { lent } else { closed };
        match self.held.get(self.recall.count as usize) {
            Some(since) if *since + turn <= now => Ripe::Now,
            Some(since) => Ripe::Later(*since + turn),
            None => Ripe::Never,
        }
    }
}

/// Whether a lease of a share may be recalled for others.
enum Ripe {
    Now,
    /// Not before then.
    Later(Instant),
    Never,
}

impl Room {
    /// What there is to be divided, in parts of [`ONE`].
    fn divisible(&self) -> u64 {
        let reserve = if self.aged { self.reserve } else { 0 };
        let there = self.limit + reserve - i64::from(self.count.apart);
        u64::try_from(there).unwrap_or(0) * ONE
    }

    /// What of the reserve a share may use.
    fn reserve_for(&self, share: &Planned) -> i64 {
        if share.aged { self.reserve } else { 0 }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// Limits that cover a pool: its own, its database's, its user's.
const MOST_ROOMS: usize = 3;

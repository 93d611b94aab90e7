//! What must be true of the group after every step, and in the end.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::super::WorkerId;
use super::process::{ClientState, Down, ServerState, Up};
use super::setup::ms;
use super::world::World;
use crate::control::{PoolKey, ToSupervisor, ToWorker};

/// Most that may be open under each limit: the limit, or what was open when it
/// became smaller and has not been closed since.
#[derive(Debug, Default)]
pub(super) struct Ceilings(BTreeMap<Scope, u32>);

/// When PostgreSQL has refused and taken connections, not longer ago than
/// [`LATELY`].
#[derive(Debug, Default)]
pub(super) struct Lately {
    pub refused: VecDeque<Instant>,
    pub accepted: VecDeque<Instant>,
}

/// What one limit covers.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Scope {
    Pool(usize),
    Database(usize),
    User(usize),
}

impl World {
    /// Never above a limit; no lease lost or doubled; nothing lingers for ever.
    pub(super) fn check(&mut self) {
        let places = self.leases();
        for (lease, count) in &places {
            assert_eq!(*count, 1, "lease {lease} is in {count} places");
        }
        let book: Vec<u64> = self.ledger.leases.keys().copied().collect();
        let there: Vec<u64> = places.into_keys().collect();
        assert_eq!(book, there, "the book, and the leases that there are");
        self.check_limits();
        for since in self.orphans.values() {
            let most = self.setup.linger + Duration::from_millis(1);
            assert!(self.now - *since <= most, "an orphan never returns");
        }
        for since in self.lost.values() {
            let most = self.setup.linger * 2 + ms(1000);
            assert!(self.now - *since <= most, "a lost lease never returns");
        }
    }

    /// Where every lease is: how many places there are for each.
    fn leases(&mut self) -> BTreeMap<u64, u32> {
        let mut places = BTreeMap::new();
        let mut add = |lease: u64| *places.entry(lease).or_insert(0) += 1;
        for process in self.processes.values() {
            for message in process.down.messages() {
                if let Down::Says(ToWorker::Grant { lease, .. } | ToWorker::Open { lease, .. }) =
                    message
                {
                    add(lease.id);
                }
            }
            for (_, server) in process.servers.iter() {
                add(server.lease.id);
            }
            for message in process.up.messages() {
                if let Up::Says(ToSupervisor::Returned { lease }) = message {
                    add(lease.id);
                }
            }
        }
        for lease in self.under_way.keys() {
            add(lease.id);
        }
        let leases = &self.ledger.leases;
        self.lost.retain(|lease, _| leases.contains_key(lease));
        for lease in self.lost.keys() {
            add(*lease);
        }
        let lost = &self.lost;
        self.orphans
            .retain(|lease, _| leases.contains_key(lease) && !lost.contains_key(lease));
        for lease in self.orphans.keys() {
            add(*lease);
        }
        places
    }

    /// Connections that are open or about to be opened, and those of dead
    /// workers as long as they count, are never more than a limit.
    fn check_limits(&mut self) {
        let mut open = vec![0_u32; self.setup.pools.len()];
        for process in self.processes.values() {
            for (_, server) in process.servers.iter() {
                open[self.index(process.key(server.pool))] += 1;
            }
            for message in process.down.messages() {
                if let Down::Says(ToWorker::Grant { pool, .. } | ToWorker::Open { pool, .. }) =
                    message
                {
                    open[self.index(pool)] += 1;
                }
            }
        }
        for lease in self.under_way.keys() {
            open[self.index(&self.ledger.leases[&lease.id].pool)] += 1;
        }
        for lease in self.orphans.keys().chain(self.lost.keys()) {
            open[self.index(&self.ledger.leases[lease].pool)] += 1;
        }
        let pools = &self.setup.pools;
        for (at, pool) in pools.iter().enumerate() {
            let sum = |covers: &dyn Fn(&PoolKey) -> bool| {
                let covered = pools
                    .iter()
                    .zip(&open)
                    .filter(|(pool, _)| covers(&pool.key));
                covered.map(|(_, open)| open).sum::<u32>()
            };
            let limits = pool.limits;
            for (scope, limit, open) in [
                (
                    Scope::Pool(at),
                    limits.pool_size + limits.reserve_pool_size,
                    open[at],
                ),
                (
                    Scope::Database(at),
                    limits.max_db_connections,
                    sum(&|key| key.database == pool.key.database),
                ),
                (
                    Scope::User(at),
                    limits.max_user_connections,
                    sum(&|key| key.user == pool.key.user),
                ),
            ] {
                let limit = if limit == 0 { u32::MAX } else { limit };
                let ceiling = self.ceilings.0.entry(scope).or_insert(limit);
                *ceiling = (*ceiling).max(limit);
                assert!(open <= *ceiling, "{open} open under {scope:?} of {limit}");
                *ceiling = open.max(limit);
            }
        }
    }

    /// A PostgreSQL that has too many connections is not asked all the time.
    pub(super) fn check_tries(&mut self) {
        let Lately { refused, accepted } = &mut self.lately;
        refused.push_back(self.now);
        for times in [&mut *refused, accepted] {
            times.retain(|at| self.now - *at < LATELY);
        }
        let most = self.setup.pools.iter().map(|pool| {
            let at_once = pool.limits.pool_size.max(MOST_SIZE) + pool.limits.reserve_pool_size;
            (TRIES + at_once) as usize
        });
        let most = most.sum::<usize>() + accepted.len();
        let count = refused.len();
        assert!(
            count <= most,
            "{count} connects were refused within a second"
        );
    }

    /// Nobody waits for long while a connection could be his.
    pub(super) fn check_patience(&mut self) {
        if self.setup.max_connections < usize::MAX {
            return;
        }
        for process in self.processes.values().filter(|process| process.lives()) {
            for (_, client) in process.clients.iter() {
                let (ClientState::Waiting(since) | ClientState::Greeting(since)) = client.state
                else {
                    continue;
                };
                let setup = &self.setup.pools[client.pool];
                let pool = process.pools.lookup(&setup.key).unwrap();
                let pool = process.pools.get(pool).unwrap();
                let failed = pool.failure(self.setup.login_retry * 2, self.now).is_some();
                if self.now - since < PATIENCE || failed || client.dedicated {
                    continue;
                }
                let spare_since = self.spare_since[client.pool];
                assert!(
                    spare_since.is_none_or(|since| self.now - since < PATIENCE),
                    "a client of {} waits at {:?} since {:?}, but a connection could be his\n{}",
                    setup.key,
                    process.id,
                    self.now - since,
                    self.describe()
                );
            }
        }
    }

    /// Takes note of which pools could have one more connection.
    pub(super) fn watch_spare(&mut self) {
        for at in 0..self.setup.pools.len() {
            let spare = self.has_spare(&self.setup.pools[at].key);
            let since = &mut self.spare_since[at];
            *since = spare.then(|| since.unwrap_or(self.now));
        }
    }

    /// Whether a pool could have one more connection: there is room, or one
    /// that nobody has used for long is in the way.
    fn has_spare(&self, key: &PoolKey) -> bool {
        let limits = self.limits(key);
        let scopes: [(u32, Covers<'_>); 3] = [
            (limits.pool_size, &|other| other == key),
            (limits.max_db_connections, &|other| {
                other.database == key.database
            }),
            (limits.max_user_connections, &|other| other.user == key.user),
        ];
        scopes.iter().all(|(limit, covers)| {
            let leases = self.ledger.leases.values();
            let used = leases.filter(|lease| covers(&lease.pool)).count();
            *limit == 0 || used < *limit as usize || self.has_idle(covers)
        })
    }

    fn has_idle(&self, covers: Covers<'_>) -> bool {
        let long_ago = self.now - PATIENCE;
        let mut living = self.processes.values().filter(|process| process.lives());
        living.any(|process| {
            process.servers.iter().any(|(_, server)| {
                let idle = matches!(server.state, ServerState::Idle(at) if at < long_ago);
                // It may be about to make way for a client of its own pool.
                let claimed = process.pools.get(server.pool).unwrap().suitors() > 0;
                idle && !claimed && covers(process.key(server.pool))
            })
        })
    }

    /// In the end only what is to be kept is open.
    pub(super) fn check_rest(&self) {
        assert!(self.orphans.is_empty(), "orphans are left");
        assert!(self.lost.is_empty(), "lost leases are left");
        for setup in &self.setup.pools {
            let (used, limits) = (self.ledger.used(&setup.key), setup.limits);
            assert!(
                used <= limits.pool_size,
                "{}: the reserve is open",
                setup.key
            );
            let clients = self.processes.values().flat_map(|p| p.clients.iter());
            let mut clients = clients.map(|(_, client)| &self.setup.pools[client.pool].key);
            let has_use = setup.kept || clients.any(|key| *key == setup.key);
            let free = self.setup.max_connections == usize::MAX
                && limits.max_db_connections == 0
                && limits.max_user_connections == 0;
            if free && has_use {
                assert_eq!(used, limits.min_pool_size, "the minimum of {}", setup.key);
            }
            assert!(
                used <= limits.min_pool_size,
                "{}: {used} left open",
                setup.key
            );
        }
    }

    pub(super) fn somebody_waits(&self) -> bool {
        let clients = self.processes.values().flat_map(|p| p.clients.iter());
        let mut states = clients.map(|(_, client)| client.state);
        states.any(|state| {
            matches!(
                state,
                ClientState::Waiting(_) | ClientState::Greeting(_) | ClientState::Linked
            )
        })
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for process in self.processes.values() {
            let clients = process.clients.iter().map(|(_, client)| client);
            let servers = process.servers.iter().map(|(_, server)| server);
            text += &format!(
                "{:?} {:?}: {:?} {:?}\n",
                process.id,
                process.life,
                clients.collect::<Vec<_>>(),
                servers.collect::<Vec<_>>()
            );
        }
        text + &format!("{:#?}", self.ledger)
    }

    pub(super) fn leases_of(&self, worker: WorkerId) -> Vec<u64> {
        let leases = self.ledger.leases.iter();
        let held = leases.filter(|(_, lease)| lease.state.worker() == Some(worker));
        held.map(|(id, _)| *id).collect()
    }

    fn index(&self, key: &PoolKey) -> usize {
        let mut pools = self.setup.pools.iter();
        pools.position(|pool| pool.key == *key).unwrap()
    }
}

/// Which pools a limit covers.
type Covers<'a> = &'a dyn Fn(&PoolKey) -> bool;

/// How long a client may wait for a connection that could be his.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many connects of a pool may be refused within so long, beside those that
/// were tried at once before the first refusal.
const TRIES: u32 = 20;
const LATELY: Duration = Duration::from_secs(1);

/// Largest size that a pool may have had before a reload.
const MOST_SIZE: u32 = 6;

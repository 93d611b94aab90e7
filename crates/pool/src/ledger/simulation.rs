//! The ledger with workers that do anything at any time.
//!
//! Beside the ledger runs a count of our own of what is open at PostgreSQL. It
//! must never exceed a limit, whatever happens, and in the end everybody must
//! have been served.

use proptest::prelude::*;

use super::*;

/// One thing that happens. The numbers choose worker, pool and lease.
#[derive(Clone, Debug)]
enum Event {
    Want(u8, u8, u8),
    Hold(u8),
    Dedicate(u8),
    Close(u8),
    Return(u8),
    Die(u8),
    Wait(u8),
    Limit(u8),
}

/// A lease as its worker sees it.
#[derive(Debug)]
struct Open {
    worker: WorkerId,
    pool: PoolKey,
    /// When it no longer counts, once its worker is dead.
    until: Option<Instant>,
}

struct World {
    ledger: Ledger,
    now: Instant,
    open: BTreeMap<LeaseId, Open>,
    recalls: BTreeMap<(WorkerId, PoolKey), (u32, u32)>,
    workers: Vec<WorkerId>,
    limits: Limits,
}

impl World {
    fn new(limits: Limits) -> Self {
        let workers = (1..=3).map(|slot| WorkerId {
            slot: Slot::new(slot).unwrap(),
            generation: 1,
            incarnation: 0,
        });
        Self {
            ledger: Ledger::new(),
            now: Instant::now() + LINGER,
            open: BTreeMap::new(),
            recalls: BTreeMap::new(),
            workers: workers.collect(),
            limits,
        }
    }

    fn on_event(&mut self, event: &Event) {
        match *event {
            Event::Want(worker, pool, wanted) => {
                let worker = self.worker(worker);
                self.want(worker, &pool_of(pool), u32::from(wanted % 6));
            }
            Event::Hold(at) => {
                if let Some(lease) = self.lease(at) {
                    self.hold(lease);
                }
            }
            Event::Dedicate(at) => {
                if let Some(lease) = self.lease(at) {
                    self.ledger.dedicated(self.open[&lease].worker, lease);
                }
            }
            Event::Close(at) => {
                if let Some(lease) = self.lease(at) {
                    self.ledger.closing(self.open[&lease].worker, lease);
                }
            }
            Event::Return(at) => {
                if let Some(lease) = self.lease(at) {
                    self.give_back(lease);
                }
            }
            Event::Die(worker) => self.die(usize::from(worker) % self.workers.len()),
            Event::Wait(tenths) => {
                self.now += Duration::from_millis(100) * u32::from(tenths);
                let now = self.now;
                self.open
                    .retain(|_, open| open.until.is_none_or(|until| until > now));
                self.ledger.on_time(now);
            }
            // Smaller limits are not kept until servers have left, so only
            // larger ones can be checked against.
            Event::Limit(more) => {
                self.limits.pool_size += u32::from(more % 2);
                let limits = self.limits;
                self.ledger.on_limits(|_| limits);
            }
        }
        self.take_actions();
    }

    fn hold(&mut self, lease: LeaseId) {
        let worker = self.open[&lease].worker;
        self.ledger.held(worker, lease, 1, b"1", self.now);
    }

    fn want(&mut self, worker: WorkerId, pool: &PoolKey, wanted: u32) {
        let (limits, now) = (self.limits, self.now);
        self.ledger
            .wanted(worker, pool, wanted, Duration::ZERO, limits, now);
    }

    fn give_back(&mut self, lease: LeaseId) {
        let open = self.open.remove(&lease).unwrap();
        self.ledger.returned(open.worker, lease);
        // What is told twice must not count twice.
        self.ledger.returned(open.worker, lease);
    }

    fn die(&mut self, at: usize) {
        let dead = self.workers[at];
        self.workers[at].incarnation += 1;
        let until = Some(self.now + LINGER);
        for open in self.open.values_mut() {
            if open.worker == dead && open.until.is_none() {
                open.until = until;
            }
        }
        self.recalls.retain(|(worker, _), _| *worker != dead);
        self.ledger.worker_died(dead, LINGER, self.now);
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.ledger.poll_action(self.now) {
            assert!(self.workers.contains(&action.worker()), "told the dead");
            match action {
                LedgerAction::Grant {
                    worker,
                    lease,
                    pool,
                } => {
                    let open = Open {
                        worker,
                        pool,
                        until: None,
                    };
                    let twice = self.open.insert(lease, open);
                    assert!(twice.is_none(), "{lease:?} granted twice");
                }
                LedgerAction::Recall {
                    worker,
                    pool,
                    count,
                    unused,
                } => {
                    self.recalls.insert((worker, pool), (count, unused));
                }
            }
        }
        self.check();
    }

    /// Never above a limit; no lease lost or doubled.
    fn check(&self) {
        let count = |covers: &dyn Fn(&PoolKey) -> bool| {
            let covered = self.open.values().filter(|open| covers(&open.pool));
            u32::try_from(covered.count()).unwrap()
        };
        for number in 0..POOLS {
            let pool = pool_of(number);
            let used = count(&|other| *other == pool);
            assert!(used <= self.limits.pool_size, "{used} open in {pool}");
            assert_eq!(used, self.ledger.used(&pool), "book of {pool}");
            let used = count(&|other| other.database == pool.database);
            let limit = unlimited_if_0(self.limits.max_db_connections);
            assert!(used <= limit, "{used} open in {}", pool.database);
            let used = count(&|other| other.user == pool.user);
            let limit = unlimited_if_0(self.limits.max_user_connections);
            assert!(used <= limit, "{used} open for {}", pool.user);
        }
    }

    /// Every worker has clients in every pool, serves one with each of its
    /// leases in a round and does what recalls ask for.
    fn serve_everybody(&mut self) {
        self.on_event(&Event::Wait(60));
        for lease in self.open.keys().copied().collect::<Vec<_>>() {
            self.give_back(lease);
        }
        self.take_actions();
        let mut clients = BTreeMap::new();
        for worker in self.workers.clone() {
            for number in 0..POOLS {
                clients.insert((worker, pool_of(number)), 4_u32);
            }
        }
        for _round in 0..ROUNDS {
            for ((worker, pool), waiting) in &mut clients {
                let mine: Vec<_> = self
                    .open
                    .iter()
                    .filter(|(_, open)| open.worker == *worker && open.pool == *pool)
                    .map(|(lease, _)| *lease)
                    .collect();
                let served = u32::try_from(mine.len()).unwrap().min(*waiting);
                *waiting -= served;
                let unused = u32::try_from(mine.len()).unwrap() - served;
                let key = (*worker, pool.clone());
                let (count, more) = self.recalls.remove(&key).unwrap_or_default();
                let give = count.max(unused.min(count + more));
                for lease in mine.iter().take(give as usize) {
                    self.give_back(*lease);
                }
                for lease in mine.iter().skip(give as usize) {
                    self.hold(*lease);
                }
                let left = u32::try_from(mine.len()).unwrap().saturating_sub(give);
                self.want(*worker, pool, waiting.saturating_sub(left));
                self.now += Duration::from_millis(10);
                self.ledger.on_time(self.now);
                self.take_actions();
            }
            if clients.values().all(|waiting| *waiting == 0) {
                return;
            }
        }
        panic!("not served: {clients:?}");
    }

    fn worker(&self, number: u8) -> WorkerId {
        self.workers[usize::from(number) % self.workers.len()]
    }

    /// Some lease of a living worker.
    fn lease(&self, number: u8) -> Option<LeaseId> {
        let living = self.open.iter().filter(|(_, open)| open.until.is_none());
        let leases: Vec<_> = living.map(|(lease, _)| *lease).collect();
        leases
            .get(usize::from(number).checked_rem(leases.len())?)
            .copied()
    }
}

fn pool_of(number: u8) -> PoolKey {
    let (database, user) = [("a", "x"), ("a", "y"), ("b", "x")][usize::from(number % POOLS)];
    PoolKey {
        database: database.to_owned(),
        user: user.to_owned(),
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => any::<(u8, u8, u8)>().prop_map(|(a, b, c)| Event::Want(a, b, c)),
        3 => any::<u8>().prop_map(Event::Hold),
        1 => any::<u8>().prop_map(Event::Dedicate),
        2 => any::<u8>().prop_map(Event::Close),
        4 => any::<u8>().prop_map(Event::Return),
        1 => any::<u8>().prop_map(Event::Die),
        1 => any::<u8>().prop_map(Event::Wait),
        1 => any::<u8>().prop_map(Event::Limit),
    ];
    prop::collection::vec(event, 0..60)
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..5_u32, 0..6_u32, 0..6_u32).prop_map(|(pool_size, database, user)| Limits {
        pool_size,
        max_db_connections: database,
        max_user_connections: user,
    })
}

const POOLS: u8 = 3;
const ROUNDS: usize = 400;
const LINGER: Duration = Duration::from_secs(5);

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn keeps_every_limit_and_serves_everybody(limits in limits(), events in events()) {
        let mut world = World::new(limits);
        for event in &events {
            world.on_event(event);
        }
        world.serve_everybody();
    }
}

//! What the ledger does in situations that have a name.

mod failures;
mod hosts;
mod minimum;
mod moves;
mod orphans;
mod overview;
mod recalls;
mod refusals;
mod replacements;

use self::failures::failed;
use super::book::TURN;
use super::*;

const FOREVER: Duration = Duration::from_secs(3600);
const LINGER: Duration = Duration::from_secs(5);

/// A ledger with a clock that the test moves.
struct Fixture {
    ledger: Ledger,
    now: Instant,
    limits: Limits,
}

impl Fixture {
    fn new(pool_size: u32) -> Self {
        let mut ledger = Ledger::new();
        for who in 1..=3 {
            ledger.worker_ready(worker(who));
        }
        Self {
            ledger,
            now: Instant::now() + FOREVER,
            limits: Limits {
                pool_size,
                min_pool_size: 0,
                reserve_pool_size: 0,
                reserve_pool_timeout: Duration::from_secs(5),
                max_db_connections: 0,
                max_user_connections: 0,
                login_retry: Duration::from_secs(15),
            },
        }
    }

    fn want(&mut self, who: u8, pool: &PoolKey, wanted: u32) {
        self.want_for_long(who, pool, wanted, Duration::ZERO);
    }

    /// As [`Fixture::want`], by a client that waits already.
    fn want_for_long(&mut self, who: u8, pool: &PoolKey, wanted: u32, wait: Duration) {
        let limits = self.limits;
        self.now += Duration::from_millis(1);
        let demand = Demand {
            wanted,
            oldest_wait: wait,
            last_lease: u64::MAX,
        };
        self.ledger
            .wanted(worker(who), pool, demand, limits, self.now);
    }

    /// What workers are told, but for hosts that have failed.
    fn actions(&mut self) -> Vec<LedgerAction> {
        let all = std::iter::from_fn(|| self.ledger.poll_action(self.now));
        all.filter(|action| failed(action).is_none()).collect()
    }

    /// The workers and leases of new grants, in order.
    fn grants(&mut self) -> Vec<(u8, LeaseId)> {
        let actions = self.actions().into_iter();
        let grants = actions.filter_map(|action| match action {
            LedgerAction::Grant { worker, lease, .. } => Some((worker.slot.get(), lease)),
            _ => None,
        });
        grants.collect()
    }

    /// Opens a server with every new lease and lets a turn pass.
    fn use_grants(&mut self) -> Vec<(u8, LeaseId)> {
        let grants = self.grants();
        for (slot, lease) in &grants {
            self.ledger
                .held(worker(*slot), *lease, backend(7), self.now);
        }
        // Opening takes a moment, which makes a turn known.
        self.now += TURN;
        grants
    }

    /// Lets time pass, and the ledger take note of it.
    fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.ledger.on_time(self.now);
    }

    /// The workers of new recalls, in order, with both counts.
    fn recalls(&mut self) -> Vec<(u8, u32, u32)> {
        let actions = self.actions().into_iter();
        let recalls = actions.filter_map(|action| match action {
            LedgerAction::Recall {
                worker,
                count,
                unused,
                ..
            } => Some((worker.slot.get(), count, unused)),
            _ => None,
        });
        recalls.collect()
    }
}

fn worker(slot: u8) -> WorkerId {
    WorkerId {
        slot: Slot::new(slot).unwrap(),
        generation: 1,
        incarnation: 1,
    }
}

fn backend(process_id: u32) -> Option<Backend> {
    Some(Backend {
        target: "/s".to_owned(),
        process_id,
        secret: b"1234".to_vec(),
    })
}

fn pool(database: &str, user: &str) -> PoolKey {
    PoolKey {
        database: database.to_owned(),
        user: user.to_owned(),
    }
}

#[test]
fn grants_up_to_the_pool_size_to_whoever_waits_longest() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 5);
    fixture.want(2, &shop, 5);
    let workers: Vec<u8> = fixture.grants().iter().map(|(worker, _)| *worker).collect();
    assert_eq!(workers, [1, 1, 2]);
    assert_eq!(fixture.ledger.used(&shop), 3);
}

#[test]
fn counts_a_closing_server_until_it_is_gone() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture
        .ledger
        .held(worker(1), lease, backend(7), fixture.now);
    assert_eq!(fixture.ledger.held_by(worker(1)), 1);
    fixture.want(2, &shop, 1);
    fixture.ledger.closing(worker(1), lease, fixture.now);
    assert_eq!(fixture.grants(), []);
    fixture.ledger.returned(worker(1), lease, fixture.now);
    assert_eq!(fixture.grants()[0].0, 2);
}

#[test]
fn does_not_grant_again_what_a_worker_has_not_heard_of_yet() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    let (limits, now) = (fixture.limits, fixture.now);
    for (last_lease, granted) in [(lease.id - 1, 0), (lease.id, 1)] {
        let demand = Demand {
            wanted: 1,
            oldest_wait: Duration::ZERO,
            last_lease,
        };
        fixture.ledger.wanted(worker(1), &shop, demand, limits, now);
        assert_eq!(fixture.grants().len(), granted);
    }
}

#[test]
fn ignores_late_and_repeated_messages() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    let leases = fixture.grants();
    let (_, lease) = leases[0];
    let stale = LeaseId {
        epoch: 9,
        ..leases[1].1
    };
    fixture.ledger.returned(worker(2), lease, fixture.now);
    fixture.ledger.returned(worker(1), stale, fixture.now);
    assert_eq!(fixture.ledger.used(&shop), 2);
    fixture.ledger.returned(worker(1), lease, fixture.now);
    fixture.ledger.returned(worker(1), lease, fixture.now);
    fixture.ledger.closing(worker(1), lease, fixture.now);
    assert_eq!(fixture.ledger.used(&shop), 1);
}

#[test]
fn keeps_the_limits_of_a_database_and_a_user_over_all_their_pools() {
    let mut fixture = Fixture::new(10);
    fixture.limits.max_db_connections = 4;
    fixture.limits.max_user_connections = 3;
    for (database, user) in [("a", "x"), ("a", "y"), ("b", "x")] {
        fixture.want(1, &pool(database, user), 10);
    }
    assert!(fixture.grants().len() >= 5);
    let used = |database, user| fixture.ledger.used(&pool(database, user));
    assert!(used("a", "x") + used("a", "y") <= 4);
    assert!(used("a", "x") + used("b", "x") <= 3);
}

#[test]
fn forgets_pools_that_nobody_uses_or_wants() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.ledger.returned(worker(1), lease, fixture.now);
    fixture.grants();
    assert!(fixture.ledger.book.pools.is_empty());
    assert!(fixture.ledger.book.databases.is_empty());
    assert!(fixture.ledger.book.users.is_empty());
}

#[test]
fn counts_a_dedicated_server_until_it_is_gone() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.use_grants()[0];
    fixture.ledger.dedicated(worker(1), lease);
    fixture.want(1, &shop, 1);
    fixture.ledger.closing(worker(1), lease, fixture.now);
    assert_eq!(fixture.actions(), []);
    fixture.ledger.returned(worker(1), lease, fixture.now);
    assert_eq!(fixture.grants().len(), 1);
}

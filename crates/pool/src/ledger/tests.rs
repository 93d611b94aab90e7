//! What the ledger does in situations that have a name.

use super::lease::QUANTUM;
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
        Self {
            ledger: Ledger::new(),
            now: Instant::now() + FOREVER,
            limits: Limits {
                pool_size,
                max_db_connections: 0,
                max_user_connections: 0,
            },
        }
    }

    fn want(&mut self, who: u8, pool: &PoolKey, wanted: u32) {
        let limits = self.limits;
        self.now += Duration::from_millis(1);
        let wait = Duration::ZERO;
        self.ledger
            .wanted(worker(who), pool, wanted, wait, limits, self.now);
    }

    fn actions(&mut self) -> Vec<LedgerAction> {
        std::iter::from_fn(|| self.ledger.poll_action(self.now)).collect()
    }

    /// The workers and leases of new grants, in order.
    fn grants(&mut self) -> Vec<(u8, LeaseId)> {
        let actions = self.actions().into_iter();
        let grants = actions.filter_map(|action| match action {
            LedgerAction::Grant { worker, lease, .. } => Some((worker.slot.get(), lease)),
            LedgerAction::Recall { .. } => None,
        });
        grants.collect()
    }

    /// Opens a server with every new lease and lets the quantum pass.
    fn use_grants(&mut self) -> Vec<(u8, LeaseId)> {
        let grants = self.grants();
        for (slot, lease) in &grants {
            self.ledger
                .held(worker(*slot), *lease, 7, b"1234", self.now);
        }
        self.now += QUANTUM;
        grants
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
            LedgerAction::Grant { .. } => None,
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

fn pool(database: &str, user: &str) -> PoolKey {
    PoolKey {
        database: database.to_owned(),
        user: user.to_owned(),
    }
}

#[test]
fn grants_up_to_the_pool_size_in_turns() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 5);
    fixture.want(2, &shop, 5);
    let workers: Vec<u8> = fixture.grants().iter().map(|(worker, _)| *worker).collect();
    assert_eq!(workers, [1, 2, 1]);
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
        .held(worker(1), lease, 7, b"1234", fixture.now);
    assert_eq!(
        fixture.ledger.keys(worker(1)).next(),
        Some((7, &b"1234"[..]))
    );
    fixture.want(2, &shop, 1);
    fixture.ledger.closing(worker(1), lease);
    assert_eq!(fixture.grants(), []);
    fixture.ledger.returned(worker(1), lease);
    assert_eq!(fixture.grants()[0].0, 2);
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
    fixture.ledger.returned(worker(2), lease);
    fixture.ledger.returned(worker(1), stale);
    assert_eq!(fixture.ledger.used(&shop), 2);
    fixture.ledger.returned(worker(1), lease);
    fixture.ledger.returned(worker(1), lease);
    fixture.ledger.closing(worker(1), lease);
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
    assert_eq!(fixture.grants().len(), 5);
    let used = |database, user| fixture.ledger.used(&pool(database, user));
    assert!(used("a", "x") + used("a", "y") <= 4);
    assert!(used("a", "x") + used("b", "x") <= 3);
}

#[test]
fn takes_the_last_server_of_one_for_another_that_has_none() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.use_grants();
    fixture.want(2, &shop, 3);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
}

#[test]
fn recalls_nothing_before_it_was_used_for_a_quantum() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.recalls(), []);
    let held = fixture.now;
    fixture.ledger.held(worker(1), lease, 7, b"1234", held);
    assert_eq!(fixture.recalls(), []);
    assert_eq!(fixture.ledger.next_deadline(), Some(held + QUANTUM));
    fixture.now = held + QUANTUM;
    fixture.ledger.on_time(fixture.now);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
}

#[test]
fn takes_from_the_largest_share_until_all_are_equal() {
    let mut fixture = Fixture::new(6);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 6);
    fixture.use_grants();
    fixture.want(2, &shop, 6);
    assert_eq!(fixture.recalls(), [(1, 3, 0)]);
}

#[test]
fn asks_calm_equals_for_unused_servers_only() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.want(2, &shop, 1);
    fixture.use_grants();
    fixture.want(2, &shop, 4);
    assert_eq!(fixture.recalls(), []);
    // By then it has shown that it needs no more.
    fixture.now += Duration::from_secs(1);
    fixture.ledger.on_time(fixture.now);
    assert_eq!(fixture.recalls(), [(1, 0, 1)]);
}

#[test]
fn withdraws_a_recall_when_the_demand_is_gone() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.use_grants();
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.want(2, &shop, 0);
    assert_eq!(fixture.recalls(), [(1, 0, 0)]);
}

#[test]
fn repeats_what_is_left_of_a_recall_after_an_answer() {
    let mut fixture = Fixture::new(6);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 6);
    let leases = fixture.use_grants();
    fixture.want(2, &shop, 2);
    assert_eq!(fixture.recalls(), [(1, 2, 0)]);
    fixture.ledger.closing(worker(1), leases[0].1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.ledger.closing(worker(1), leases[1].1);
    assert_eq!(fixture.recalls(), [(1, 0, 0)]);
}

#[test]
fn recalls_from_another_pool_under_the_limit_of_a_database() {
    let mut fixture = Fixture::new(10);
    fixture.limits.max_db_connections = 2;
    fixture.want(1, &pool("shop", "bob"), 2);
    fixture.use_grants();
    fixture.want(1, &pool("shop", "eve"), 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
}

#[test]
fn gives_back_the_leases_of_a_dead_worker_after_the_linger() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    fixture.grants();
    fixture.want(2, &shop, 2);
    let died = fixture.now;
    fixture.ledger.worker_died(worker(1), LINGER, died);
    assert_eq!(fixture.grants(), []);
    assert_eq!(fixture.ledger.next_deadline(), Some(died + LINGER));
    fixture.ledger.on_time(died + LINGER);
    assert_eq!(fixture.grants().len(), 2);
    assert_eq!(fixture.ledger.next_deadline(), None);
}

#[test]
fn does_not_wait_for_leases_of_the_dead() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    fixture.want(2, &shop, 1);
    fixture.use_grants();
    fixture.ledger.worker_died(worker(1), LINGER, fixture.now);
    fixture.want(3, &shop, 1);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
}

#[test]
fn recalls_what_is_over_a_smaller_limit() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 5);
    fixture.grants();
    let smaller = Limits {
        pool_size: 2,
        ..fixture.limits
    };
    fixture.ledger.on_limits(|_| smaller);
    assert_eq!(fixture.recalls(), [(1, 3, 0)]);
}

#[test]
fn forgets_pools_that_nobody_uses_or_wants() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.ledger.returned(worker(1), lease);
    fixture.grants();
    assert!(fixture.ledger.pools.is_empty());
    assert!(fixture.ledger.databases.is_empty());
    assert!(fixture.ledger.users.is_empty());
}

#[test]
fn asks_others_where_the_largest_holder_has_dedicated_servers_only() {
    let mut fixture = Fixture::new(4);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 3);
    for (_, lease) in fixture.use_grants() {
        fixture.ledger.dedicated(worker(1), lease);
        fixture.ledger.dedicated(worker(1), lease);
    }
    fixture.want(2, &shop, 1);
    fixture.use_grants();
    fixture.want(3, &shop, 1);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
    assert_eq!(fixture.ledger.used(&shop), 4);
}

#[test]
fn gives_a_worker_with_dedicated_servers_its_share_of_the_others() {
    let mut fixture = Fixture::new(4);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    for (_, lease) in fixture.use_grants() {
        fixture.ledger.dedicated(worker(1), lease);
    }
    fixture.want(2, &shop, 2);
    fixture.use_grants();
    fixture.want(1, &shop, 1);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
}

#[test]
fn counts_a_dedicated_server_until_it_is_gone() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.use_grants()[0];
    fixture.ledger.dedicated(worker(1), lease);
    fixture.want(1, &shop, 1);
    fixture.ledger.closing(worker(1), lease);
    assert_eq!(fixture.actions(), []);
    fixture.ledger.returned(worker(1), lease);
    assert_eq!(fixture.grants().len(), 1);
}

//! Servers in place of those that ask to be left.

use super::*;

const HOST: &str = "/s";
const OLD: Duration = Duration::from_secs(2);

/// A pool with one server of worker 2 that is there for a while.
fn one(pool_size: u32) -> (Fixture, PoolKey, LeaseId) {
    let mut fixture = Fixture::new(pool_size);
    let shop = pool("shop", "bob");
    fixture.want(2, &shop, 1);
    let (_, lease) = fixture.use_grants()[0];
    fixture.pass(OLD);
    (fixture, shop, lease)
}

#[test]
fn opens_another_by_the_same_worker_at_once() {
    let (mut fixture, _, lease) = one(5);
    fixture
        .ledger
        .asked_to_go(worker(2), lease, HOST, fixture.now);
    let workers: Vec<u8> = fixture.orders().iter().map(|(who, _)| *who).collect();
    assert_eq!(workers, [2]);
    fixture.ledger.returned(worker(2), lease, fixture.now);
    assert_eq!(fixture.orders(), []);
}

#[test]
fn waits_for_room_under_the_limit() {
    let (mut fixture, _, lease) = one(1);
    fixture
        .ledger
        .asked_to_go(worker(2), lease, HOST, fixture.now);
    fixture.ledger.closing(worker(2), lease, fixture.now);
    assert_eq!(fixture.orders(), []);
    fixture.ledger.returned(worker(2), lease, fixture.now);
    assert_eq!(fixture.orders().len(), 1);
    assert_eq!(fixture.orders(), []);
}

#[test]
fn is_none_beside_one_that_somebody_waits_for() {
    let (mut fixture, shop, lease) = one(1);
    fixture
        .ledger
        .asked_to_go(worker(2), lease, HOST, fixture.now);
    fixture.want(2, &shop, 1);
    fixture.ledger.returned(worker(2), lease, fixture.now);
    let actions = fixture.actions();
    assert!(
        matches!(actions[..], [LedgerAction::Grant { .. }]),
        "{actions:?}"
    );
}

#[test]
fn comes_not_in_place_of_one_that_has_just_logged_in() {
    let (mut fixture, shop, _) = one(5);
    fixture.limits.min_pool_size = 2;
    fixture
        .ledger
        .in_use(worker(2), &shop, true, fixture.limits, fixture.now);
    let (who, young) = fixture.orders()[0];
    let now = fixture.now;
    fixture.ledger.held(worker(who), young, None, now);
    fixture.ledger.asked_to_go(worker(who), young, HOST, now);
    fixture.ledger.returned(worker(who), young, now);
    assert_eq!(fixture.orders(), [], "it would ask the same");
    fixture.pass(fixture.limits.login_retry);
    assert_eq!(fixture.orders().len(), 1);
    assert_eq!(fixture.ledger.used(&shop), 2);
}

#[test]
fn is_not_owed_by_a_dead_worker() {
    let (mut fixture, _, lease) = one(1);
    fixture
        .ledger
        .asked_to_go(worker(2), lease, HOST, fixture.now);
    fixture.ledger.worker_died(worker(2), LINGER, fixture.now);
    fixture.pass(LINGER);
    assert_eq!(fixture.orders(), []);
}

//! What becomes of the leases of a worker that has died.

use super::*;

#[test]
fn gives_back_the_leases_of_a_dead_worker_after_the_linger() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    fixture.grants();
    fixture.want(2, &shop, 2);
    let died = fixture.now;
    fixture.ledger.worker_died(worker(1), LINGER, died);
    fixture.pass(LINGER - Duration::from_millis(1));
    assert_eq!(fixture.grants(), []);
    assert_eq!(fixture.ledger.next_deadline(), Some(died + LINGER));
    fixture.pass(Duration::from_millis(1));
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

/// Three workers, of which the first held two servers and has just died.
fn bereaved() -> (Fixture, PoolKey, Vec<(u8, LeaseId)>) {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    let leases = fixture.use_grants();
    fixture.want(2, &shop, 2);
    fixture.actions();
    fixture.ledger.worker_died(worker(1), LINGER, fixture.now);
    (fixture, shop, leases)
}

fn cancels(actions: &[LedgerAction]) -> Vec<(WorkerId, LeaseId)> {
    let cancels = actions.iter().filter_map(|action| match action {
        LedgerAction::CancelOrphan { worker, lease, .. } => Some((*worker, *lease)),
        _ => None,
    });
    cancels.collect()
}

#[test]
fn returns_an_orphan_a_moment_after_it_was_cancelled() {
    let (mut fixture, shop, leases) = bereaved();
    let asked = cancels(&fixture.actions());
    assert_eq!(asked, [(worker(2), leases[0].1), (worker(3), leases[1].1)]);
    let (who, lease) = asked[0];
    // Who was not asked knows nothing of it.
    fixture
        .ledger
        .orphan_cancelled(worker(3), lease, fixture.now);
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.ledger.used(&shop), 2);
    fixture.ledger.orphan_cancelled(who, lease, fixture.now);
    assert_eq!(fixture.ledger.used(&shop), 2);
    fixture.pass(Duration::from_millis(50));
    assert_eq!(fixture.ledger.used(&shop), 1);
    assert_eq!(fixture.grants().len(), 1);
}

#[test]
fn asks_another_when_who_was_asked_dies_too() {
    let (mut fixture, _, leases) = bereaved();
    fixture.actions();
    fixture.ledger.worker_died(worker(2), LINGER, fixture.now);
    assert_eq!(cancels(&fixture.actions()), [(worker(3), leases[0].1)]);
}

#[test]
fn waits_for_somebody_to_ask() {
    let (mut fixture, _, _) = bereaved();
    fixture.ledger.worker_died(worker(2), LINGER, fixture.now);
    fixture.ledger.worker_died(worker(3), LINGER, fixture.now);
    assert_eq!(fixture.actions(), []);
    fixture.ledger.worker_ready(worker(4));
    let asked = cancels(&fixture.actions());
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(who, _)| *who == worker(4)));
}

#[test]
fn cancels_a_few_orphans_at_a_time() {
    let mut fixture = Fixture::new(100);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 100);
    fixture.use_grants();
    fixture.ledger.worker_died(worker(1), LINGER, fixture.now);
    let first = cancels(&fixture.actions());
    assert_eq!(first.len(), 16);
    for (who, lease) in &first {
        fixture.ledger.orphan_cancelled(*who, *lease, fixture.now);
    }
    fixture.pass(Duration::from_millis(50));
    assert_eq!(cancels(&fixture.actions()).len(), 16);
}

//! What an operator gets to see.

use super::*;

#[test]
fn shows_what_each_worker_has_wants_and_gives_up() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    let leases = fixture.use_grants();
    fixture.ledger.dedicated(worker(1), leases[0].1);
    fixture.want(2, &shop, 1);

    let shares = fixture.ledger.overview();
    let counts = |share: &PoolShare| (share.worker, share.held, share.dedicated, share.wanted);
    let slot = |number| Some(worker(number).slot);
    let expected = [(slot(1), 2, 1, 0), (slot(2), 0, 0, 1)];
    assert_eq!(shares.iter().map(counts).collect::<Vec<_>>(), expected);
    assert!(shares.iter().all(|share| share.limits.pool_size == 2));

    // What a dead worker leaves is nobody's until it has returned.
    fixture.ledger.worker_died(worker(1), LINGER, fixture.now);
    let shares = fixture.ledger.overview();
    assert_eq!((shares[0].worker, shares[0].orphaned), (None, 2));
}

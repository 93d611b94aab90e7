//! Servers that a pool keeps though nobody needs them.

use super::*;

/// Three workers, and a pool that keeps two servers for its client.
fn kept() -> (Fixture, PoolKey) {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.limits.min_pool_size = 2;
    fixture.use_it(1, &shop, true);
    (fixture, shop)
}

impl Fixture {
    fn use_it(&mut self, who: u8, pool: &PoolKey, in_use: bool) {
        self.ledger
            .in_use(worker(who), pool, in_use, self.limits, self.now);
    }

    /// The workers and leases of servers that are to be opened without need.
    pub(super) fn orders(&mut self) -> Vec<(u8, LeaseId)> {
        let orders = self
            .actions()
            .into_iter()
            .filter_map(|action| match action {
                LedgerAction::Open { worker, lease, .. } => Some((worker.slot.get(), lease)),
                _ => None,
            });
        orders.collect()
    }

    fn open(&mut self) -> Vec<(u8, LeaseId)> {
        let orders = self.orders();
        for (who, lease) in &orders {
            self.ledger.held(worker(*who), *lease, None, self.now);
        }
        orders
    }

    fn let_go(&mut self) -> Vec<LeaseId> {
        let actions = self
            .actions()
            .into_iter()
            .filter_map(|action| match action {
                LedgerAction::LetGo { lease, .. } => Some(lease),
                _ => None,
            });
        actions.collect()
    }
}

#[test]
fn spreads_the_minimum_over_the_workers() {
    let (mut fixture, _) = kept();
    let workers: Vec<u8> = fixture.orders().iter().map(|(who, _)| *who).collect();
    assert_eq!(workers, [1, 2]);
}

#[test]
fn opens_nothing_without_a_client_unless_the_pool_is_kept() {
    let (mut fixture, shop) = kept();
    let spare = pool("spare", "bob");
    fixture.use_it(1, &shop, false);
    assert_eq!(fixture.orders(), []);
    let limits = fixture.limits;
    fixture.ledger.keep([(spare.clone(), limits)]);
    assert_eq!(fixture.orders().len(), 2);
    assert_eq!(fixture.ledger.used(&spare), 2);
    assert_eq!(fixture.ledger.used(&shop), 0);
}

#[test]
fn opens_no_more_than_other_limits_leave() {
    let (mut fixture, _) = kept();
    fixture.limits.max_db_connections = 1;
    fixture.use_it(1, &pool("shop", "eve"), true);
    let limits = fixture.limits;
    fixture.ledger.on_limits(|_| limits);
    assert_eq!(fixture.orders().len(), 1);
}

#[test]
fn replaces_a_server_that_is_gone_and_takes_its_time_after_a_failure() {
    let (mut fixture, _) = kept();
    let (who, lease) = fixture.open()[0];
    fixture.ledger.returned(worker(who), lease, fixture.now);
    let (who, lease) = fixture.orders()[0];
    fixture.ledger.returned(worker(who), lease, fixture.now);
    assert_eq!(fixture.orders(), []);
    let retry = fixture.limits.login_retry;
    assert_eq!(fixture.ledger.next_deadline(), Some(fixture.now + retry));
    fixture.pass(retry);
    assert_eq!(fixture.orders().len(), 1);
}

#[test]
fn lets_go_of_all_but_the_minimum() {
    let (mut fixture, shop) = kept();
    let mut leases = fixture.open();
    fixture.want(1, &shop, 1);
    leases.extend(fixture.use_grants());
    for (who, lease) in &leases {
        fixture.ledger.may_close(worker(*who), *lease);
    }
    assert_eq!(fixture.let_go(), [leases[0].1]);
    // It was of use after all, so another may go.
    fixture.ledger.kept(worker(leases[0].0), leases[0].1);
    for (who, lease) in &leases[1..] {
        fixture.ledger.may_close(worker(*who), *lease);
    }
    assert_eq!(fixture.let_go(), [leases[1].1]);
}

#[test]
fn orders_nothing_of_the_dead() {
    let (mut fixture, _) = kept();
    fixture.ledger.worker_died(worker(2), LINGER, fixture.now);
    let workers: Vec<u8> = fixture.orders().iter().map(|(who, _)| *who).collect();
    assert_eq!(workers, [1, 3]);
}

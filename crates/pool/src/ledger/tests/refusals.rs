//! What becomes of pools whose servers PostgreSQL refuses.

use super::*;
use crate::ledger::refusals::{PAUSE_MAX, PAUSE_MIN};

impl Fixture {
    /// PostgreSQL refuses a server; its worker goes on wanting as many.
    fn refuse(&mut self, who: u8, lease: LeaseId, pool: &PoolKey, wanted: u32) {
        let now = self.now;
        let told = self.ledger.too_many(worker(who), lease, now).cloned();
        assert_eq!(told.as_ref(), Some(pool));
        self.ledger.returned(worker(who), lease, now);
        self.want(who, pool, wanted);
    }

    /// The time until the next grant, which is the only one.
    fn until_grant(&mut self) -> (Duration, LeaseId) {
        let since = self.now;
        loop {
            match self.grants().as_slice() {
                [] => self.pass(MOMENT),
                [(_, lease)] => return (self.now - since, *lease),
                several => panic!("{several:?} at once"),
            }
        }
    }
}

#[test]
fn tries_one_server_at_a_time_after_growing_pauses() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    // Nothing else is there that would keep the pool in the book.
    fixture.want(1, &shop, 3);
    for (_, lease) in fixture.grants() {
        fixture.refuse(1, lease, &shop, 3);
    }
    let mut expected = PAUSE_MIN;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let (pause, lease) = fixture.until_grant();
        assert!(
            pause >= expected * 5 / 8 && pause <= expected * 11 / 8,
            "{pause:?}"
        );
        pauses.push(pause);
        fixture.refuse(1, lease, &shop, 3);
        expected = (expected * 2).min(PAUSE_MAX);
    }
    assert_ne!(pauses[6], pauses[7], "they are spread");
}

#[test]
fn opens_all_that_is_wanted_once_postgresql_takes_more() {
    let mut fixture = Fixture::new(4);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 4);
    for (_, lease) in fixture.grants() {
        fixture.refuse(1, lease, &shop, 4);
    }
    let (_, lease) = fixture.until_grant();
    let mut held = vec![lease];
    for _ in 0..3 {
        let lease = held.last().copied().unwrap();
        fixture.ledger.held(worker(1), lease, None, fixture.now);
        let grants = fixture.grants();
        assert_eq!(grants.len(), 1, "one after the other, at once");
        held.push(grants[0].1);
    }
    assert_eq!(fixture.ledger.used(&shop), 4);
}

#[test]
fn divides_what_is_there_when_postgresql_takes_no_more() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let first = fixture.use_grants()[0].1;
    fixture.want(2, &shop, 1);
    let lease = fixture.grants()[0].1;
    fixture.refuse(2, lease, &shop, 1);
    // It has nothing, so it gets a turn with what the first has.
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.ledger.closing(worker(1), first, fixture.now);
    fixture.ledger.returned(worker(1), first, fixture.now);
    let grants = fixture.grants();
    assert_eq!(grants.len(), 1, "its place is there without a pause");
    assert_eq!(grants[0].0, 2);
}

#[test]
fn takes_less_for_granted_when_others_have_taken_a_place() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 3);
    let leases = fixture.grants();
    for (_, lease) in &leases[..2] {
        fixture.ledger.held(worker(1), *lease, None, fixture.now);
    }
    fixture.refuse(1, leases[2].1, &shop, 1);
    // Another program takes the place of the one that is closed now.
    fixture.ledger.closing(worker(1), leases[1].1, fixture.now);
    fixture.ledger.returned(worker(1), leases[1].1, fixture.now);
    let lease = fixture.grants()[0].1;
    fixture.refuse(1, lease, &shop, 1);
    assert_eq!(fixture.grants(), []);
    assert_eq!(fixture.ledger.used(&shop), 1);
}

#[test]
fn bounds_how_often_many_pools_try() {
    let mut fixture = Fixture::new(1);
    let pools: Vec<PoolKey> = (0..200).map(|n| pool("shop", &n.to_string())).collect();
    let limits = fixture.limits;
    let demand = Demand {
        wanted: 1,
        oldest_wait: Duration::ZERO,
        last_lease: u64::MAX,
    };
    for pool in &pools {
        let now = fixture.now;
        fixture.ledger.wanted(worker(1), pool, demand, limits, now);
    }
    let mut tries = 0;
    let end = fixture.now + Duration::from_secs(60);
    while fixture.now < end {
        for action in fixture.actions() {
            if let LedgerAction::Grant { lease, pool, .. } = action {
                tries += 1;
                let now = fixture.now;
                fixture.ledger.too_many(worker(1), lease, now);
                fixture.ledger.returned(worker(1), lease, now);
                fixture.ledger.wanted(worker(1), &pool, demand, limits, now);
            }
        }
        fixture.pass(MOMENT);
    }
    assert!(tries <= 200 + 60 * 50, "{tries} in a minute");
    assert!(tries >= 60 * 25, "{tries} in a minute");
}

#[test]
fn forgets_a_refusal_that_nobody_has_cared_about_for_a_while() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    for (_, lease) in fixture.grants() {
        fixture.refuse(1, lease, &shop, 0);
    }
    fixture.grants();
    fixture.pass(PAUSE_MAX);
    fixture.grants();
    assert_eq!(fixture.ledger.book.pools.len(), 1);
    fixture.pass(PAUSE_MAX);
    fixture.grants();
    assert_eq!(fixture.ledger.book.pools.len(), 0);
    assert_eq!(fixture.ledger.next_deadline(), None);
}

const MOMENT: Duration = Duration::from_millis(1);

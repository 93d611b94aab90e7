//! Who is asked to give up servers, and when.

use super::*;
use crate::ledger::plan::{LASTING, PATIENCE, WIDEN};
use crate::pools::QUANTUM;

#[test]
fn recalls_nothing_before_it_was_used_for_a_quantum() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.recalls(), []);
    let held = fixture.now;
    fixture.ledger.held(worker(1), lease, backend(7), held);
    assert_eq!(fixture.recalls(), []);
    assert_eq!(fixture.ledger.next_deadline(), Some(held + QUANTUM));
    fixture.pass(QUANTUM);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
}

#[test]
fn lets_servers_that_take_long_to_open_serve_longer_before_they_are_closed() {
    let mut fixture = Fixture::new(5);
    fixture.limits.max_db_connections = 1;
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.now += TURN;
    fixture
        .ledger
        .held(worker(1), lease, backend(7), fixture.now);
    fixture.want(2, &pool("shop", "eve"), 1);
    fixture.pass(TURN * 9);
    assert_eq!(fixture.recalls(), []);
    fixture.pass(TURN);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
}

#[test]
fn lets_servers_serve_longer_where_they_were_closed_instead_of_lent() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.use_grants()[0];
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.ledger.closing(worker(1), lease, fixture.now);
    fixture.ledger.returned(worker(1), lease, fixture.now);
    let (_, lease) = fixture.grants()[0];
    fixture
        .ledger
        .held(worker(2), lease, backend(7), fixture.now);
    fixture.want(1, &shop, 1);
    fixture.pass(TURN - Duration::from_millis(2));
    assert_eq!(fixture.recalls(), []);
    fixture.pass(TURN);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
}

#[test]
fn takes_one_for_who_has_nothing_and_what_is_fair_a_little_later() {
    let mut fixture = Fixture::new(6);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 6);
    fixture.use_grants();
    fixture.want(2, &shop, 6);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.pass(PATIENCE);
    assert_eq!(fixture.recalls(), [(1, 3, 0)]);
}

#[test]
fn divides_a_pool_by_the_clients_of_each_worker() {
    let mut fixture = Fixture::new(8);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 8);
    fixture.use_grants();
    fixture.want(1, &shop, 4);
    fixture.want(2, &shop, 4);
    fixture.pass(PATIENCE);
    assert_eq!(fixture.recalls(), [(1, 2, 0)]);
}

#[test]
fn leaves_alone_who_has_no_more_than_is_fair() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.want(2, &shop, 1);
    fixture.use_grants();
    fixture.want(1, &shop, 4);
    fixture.want(2, &shop, 4);
    fixture.pass(PATIENCE);
    assert_eq!(fixture.recalls(), []);
}

#[test]
fn takes_turns_where_there_are_more_workers_than_servers() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let mut lease = fixture.use_grants()[0].1;
    for who in [2, 3, 1] {
        fixture.want(who, &shop, 1);
    }
    let mut holder = 1;
    for next in [2, 3, 1, 2] {
        assert_eq!(fixture.recalls(), [(holder, 1, 0)]);
        fixture.ledger.closing(worker(holder), lease, fixture.now);
        fixture.ledger.returned(worker(holder), lease, fixture.now);
        fixture.want(holder, &shop, 1);
        let grants = fixture.use_grants();
        assert_eq!(grants.len(), 1);
        assert_eq!(grants[0].0, next);
        (holder, lease) = grants[0];
        fixture.pass(TURN);
    }
}

#[test]
fn asks_everybody_when_the_largest_holder_does_not_answer() {
    let mut fixture = Fixture::new(5);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 3);
    fixture.want(2, &shop, 2);
    let leases = fixture.use_grants();
    fixture.want(3, &shop, 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.pass(WIDEN);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
    let of_2 = leases.iter().find(|(who, _)| *who == 2).unwrap();
    fixture.ledger.closing(worker(2), of_2.1, fixture.now);
    assert_eq!(fixture.recalls(), [(1, 0, 0), (2, 0, 0)]);
}

#[test]
fn asks_those_later_whose_servers_have_only_just_been_opened() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.use_grants();
    fixture.want(2, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    fixture.want(3, &shop, 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.pass(WIDEN - Duration::from_millis(1));
    let held = fixture.now;
    fixture.ledger.held(worker(2), lease, backend(8), held);
    fixture.pass(Duration::from_millis(1));
    assert_eq!(fixture.recalls(), []);
    assert_eq!(fixture.ledger.next_deadline(), Some(held + QUANTUM));
    fixture.pass(QUANTUM);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
}

#[test]
fn asks_those_who_want_nothing_for_unused_servers_when_a_demand_lasts() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    fixture.want(2, &shop, 1);
    fixture.use_grants();
    fixture.want(2, &shop, 1);
    fixture.pass(PATIENCE);
    assert_eq!(fixture.recalls(), []);
    fixture.pass(LASTING);
    assert_eq!(fixture.recalls(), [(1, 0, 1)]);
}

#[test]
fn repeats_what_is_left_of_a_recall_after_an_answer() {
    let mut fixture = Fixture::new(6);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 6);
    let leases = fixture.use_grants();
    fixture.want(2, &shop, 2);
    fixture.pass(PATIENCE);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.ledger.closing(worker(1), leases[0].1, fixture.now);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
    fixture.ledger.closing(worker(1), leases[1].1, fixture.now);
    assert_eq!(fixture.recalls(), [(1, 0, 0)]);
}

#[test]
fn opens_the_reserve_for_who_has_waited_for_long_and_no_further() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.limits.reserve_pool_size = 1;
    fixture.want(1, &shop, 1);
    fixture.use_grants();
    fixture.want(1, &shop, 3);
    let timeout = fixture.limits.reserve_pool_timeout;
    fixture.want_for_long(1, &shop, 3, timeout - Duration::from_millis(1));
    assert_eq!(fixture.grants(), []);
    fixture.want_for_long(1, &shop, 3, timeout);
    assert_eq!(fixture.grants().len(), 1);
    assert_eq!(fixture.ledger.used(&shop), 2);
}

#[test]
fn asks_for_the_reserve_back_when_nobody_waits_for_long() {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.limits.reserve_pool_size = 1;
    let timeout = fixture.limits.reserve_pool_timeout;
    fixture.want(1, &shop, 1);
    fixture.use_grants();
    fixture.want_for_long(2, &shop, 1, timeout);
    // Nobody waits any more, and the first has been calm for longer.
    assert_eq!(fixture.recalls(), [(1, 0, 1)]);
    assert_eq!(fixture.ledger.used(&shop), 2);
}

#[test]
fn holds_room_for_who_needs_more_of_it_but_not_for_ever() {
    let mut fixture = Fixture::new(5);
    fixture.limits.max_db_connections = 1;
    fixture.limits.max_user_connections = 1;
    fixture.want(1, &pool("a", "y"), 1);
    let (_, of_a) = fixture.grants()[0];
    fixture.want(1, &pool("b", "x"), 1);
    let (_, of_b) = fixture.grants()[0];
    // It needs the room of both.
    fixture.want(2, &pool("a", "x"), 1);
    assert_eq!(fixture.grants(), []);
    fixture.ledger.returned(worker(1), of_b, fixture.now);
    fixture.want(3, &pool("b", "x"), 1);
    assert_eq!(fixture.grants(), []);
    fixture.pass(Duration::from_secs(1));
    let later = fixture.grants();
    assert_eq!(later.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [3]);
    fixture.ledger.returned(worker(3), later[0].1, fixture.now);
    fixture.ledger.returned(worker(1), of_a, fixture.now);
    assert_eq!(fixture.grants()[0].0, 2);
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
fn recalls_from_another_pool_under_the_limit_of_a_database() {
    let mut fixture = Fixture::new(10);
    fixture.limits.max_db_connections = 2;
    fixture.want(1, &pool("shop", "bob"), 2);
    fixture.use_grants();
    fixture.want(1, &pool("shop", "eve"), 1);
    assert_eq!(fixture.recalls(), [(1, 1, 0)]);
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
fn three_pools_come_to_fair_shares_of_a_database_and_stay_there() {
    let mut fixture = Fixture::new(10);
    fixture.limits.max_db_connections = 6;
    let pools = ["alice", "bob", "carol"].map(|user| pool("shop", user));
    let demands = [6, 1, 9];
    // A worker for each pool; the first has all servers when the others come.
    let mut held: [Vec<LeaseId>; 3] = [const { Vec::new() }; 3];
    fixture.want(1, &pools[0], demands[0]);
    held[0].extend(fixture.use_grants().iter().map(|(_, lease)| *lease));
    assert_eq!(held[0].len(), 6);
    let mut shares = Vec::new();
    for _ in 0..20 {
        for ((who, pool), (demand, held)) in (1..).zip(&pools).zip(demands.iter().zip(&held)) {
            let wanted = demand - u32::try_from(held.len()).unwrap();
            fixture.want(who, pool, wanted);
        }
        fixture.pass(PATIENCE);
        // Every grant is used, and every recall is obeyed.
        for action in fixture.actions() {
            match action {
                LedgerAction::Grant { worker, lease, .. } => {
                    fixture.ledger.held(worker, lease, backend(7), fixture.now);
                    held[usize::from(worker.slot.get()) - 1].push(lease);
                }
                LedgerAction::Recall { worker, count, .. } => {
                    for _ in 0..count {
                        let lease = held[usize::from(worker.slot.get()) - 1].remove(0);
                        fixture.ledger.closing(worker, lease, fixture.now);
                        fixture.ledger.returned(worker, lease, fixture.now);
                    }
                }
                _ => {}
            }
        }
        let used = pools.each_ref().map(|pool| fixture.ledger.used(pool));
        assert!(used.iter().sum::<u32>() <= 6, "{used:?}");
        shares.push(held.each_ref().map(Vec::len));
    }
    for share in &shares[10..] {
        let [alice, bob, carol] = *share;
        let fair = (2..=3).contains(&alice) && bob == 1 && (2..=3).contains(&carol);
        assert!(fair && alice + carol == 5, "{shares:?}");
    }
}

//! Leases whose servers go from one worker to another.

use super::*;
use crate::ledger::{Giver, Report, ReportedServer};
use crate::pools::QUANTUM;

impl Fixture {
    fn lend(&mut self, from: u8, lease: LeaseId, to: u8) {
        let (to, now) = (Some(worker(to)), self.now);
        self.ledger.lent(worker(from), lease, to, LINGER, now);
    }

    fn receive(&mut self, who: u8, lease: LeaseId) {
        let report = Report {
            lease,
            pool: pool("shop", "bob"),
            dedicated: false,
            server: ReportedServer::Held(backend(7)),
        };
        let (limits, now) = (self.limits, self.now);
        self.ledger.received(worker(who), report, limits, now);
    }

    fn over(&mut self, who: u8, giver: Giver) {
        self.ledger
            .handoffs_over(worker(who), giver, LINGER, self.now);
    }

    fn die(&mut self, who: u8) {
        self.ledger.worker_died(worker(who), LINGER, self.now);
    }

    /// Who holds the one lease.
    fn holder(&self) -> Option<u8> {
        let (_, lease) = self.ledger.leases.first_key_value()?;
        Some(lease.state.worker()?.slot.get())
    }
}

fn dead(who: u8) -> Giver {
    Giver::Dead {
        slot: worker(who).slot,
        generation: 1,
    }
}

/// A pool of one server, which worker 1 has, and worker 2 wants.
fn fixture() -> (Fixture, PoolKey, LeaseId) {
    let mut fixture = Fixture::new(1);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 1);
    let (_, lease) = fixture.use_grants()[0];
    fixture.want(2, &shop, 1);
    (fixture, shop, lease)
}

#[test]
fn says_who_wants_a_server_before_it_is_recalled_and_asks_no_more_when_it_goes() {
    let (mut fixture, shop, lease) = fixture();
    let told = |count, to: Option<u8>| {
        let lend = to.map(|to| LedgerAction::Lend {
            worker: worker(1),
            pool: shop.clone(),
            to: vec![worker(to)],
        });
        let recall = LedgerAction::Recall {
            worker: worker(1),
            pool: shop.clone(),
            count,
            unused: 0,
        };
        lend.into_iter().chain([recall]).collect::<Vec<_>>()
    };
    assert_eq!(fixture.actions(), told(1, Some(2)));
    fixture.lend(1, lease, 2);
    assert_eq!(fixture.actions(), told(0, None));
    assert_eq!((fixture.holder(), fixture.ledger.used(&shop)), (None, 1));
    fixture.receive(2, lease.handed_on());
    assert_eq!(fixture.holder(), Some(2));
    // Worker 2 wants no more; the next one gets it after a quantum.
    fixture.want(3, &shop, 1);
    assert_eq!(fixture.actions(), []);
    fixture.pass(QUANTUM);
    assert_eq!(fixture.recalls(), [(2, 1, 0)]);
}

#[test]
fn believes_the_later_hand_whoever_is_heard_first() {
    let (mut fixture, shop, first) = fixture();
    let second = first.handed_on();
    let third = second.handed_on();
    // Worker 1 has it again before it is heard that it was elsewhere.
    fixture.receive(1, third);
    fixture.lend(1, first, 2);
    fixture.receive(2, second);
    fixture.lend(2, second, 1);
    assert_eq!(fixture.holder(), Some(1));
    fixture.ledger.returned(worker(1), second, fixture.now);
    assert_eq!(fixture.ledger.used(&shop), 1);
    // Nor does it come back when it is gone.
    fixture.ledger.returned(worker(1), third, fixture.now);
    assert_eq!(fixture.ledger.used(&shop), 0);
    fixture.receive(2, second);
    assert_eq!(fixture.ledger.used(&shop), 0);
}

#[test]
fn waits_for_what_a_dead_worker_has_given_until_its_stream_is_over() {
    let (mut fixture, shop, lease) = fixture();
    fixture.lend(1, lease, 2);
    fixture.die(1);
    fixture.pass(LINGER * 10);
    assert_eq!(fixture.ledger.used(&shop), 1);
    fixture.over(3, dead(1));
    fixture.over(2, dead(3));
    fixture.pass(LINGER);
    assert_eq!(fixture.ledger.used(&shop), 1);
    fixture.over(2, dead(1));
    assert_eq!(fixture.grants(), []);
    // Then it is lost, and who wanted it gets another.
    fixture.pass(LINGER);
    assert_eq!(fixture.grants()[0].0, 2);
}

#[test]
fn takes_what_comes_though_it_was_given_up() {
    let (mut fixture, _, lease) = fixture();
    fixture.lend(1, lease, 2);
    fixture.die(1);
    fixture.over(2, dead(1));
    assert!(fixture.ledger.next_deadline().is_some());
    fixture.receive(2, lease.handed_on());
    fixture.pass(LINGER * 2);
    assert_eq!(fixture.holder(), Some(2));
}

#[test]
fn gives_up_what_was_lent_on_a_stream_that_had_ended() {
    let (mut fixture, shop, lease) = fixture();
    fixture.over(2, Giver::Living(worker(1)));
    fixture.lend(1, lease, 2);
    fixture.pass(LINGER - Duration::from_millis(1));
    assert_eq!(fixture.ledger.used(&shop), 1);
    fixture.pass(Duration::from_millis(1));
    assert_eq!(fixture.ledger.used(&shop), 0);
    assert_eq!(fixture.grants()[0].0, 2);
}

#[test]
fn cancels_what_a_dead_worker_may_run_that_had_been_given_it() {
    for heard_before in [true, false] {
        let (mut fixture, shop, lease) = fixture();
        fixture.actions();
        if heard_before {
            fixture.lend(1, lease, 2);
            fixture.die(2);
        } else {
            fixture.die(2);
            let now = fixture.now;
            fixture.ledger.lent(worker(1), lease, None, LINGER, now);
        }
        let actions = fixture.actions();
        let cancels = actions
            .iter()
            .filter(|action| matches!(action, LedgerAction::CancelOrphan { .. }));
        assert_eq!(cancels.count(), 1);
        fixture.pass(LINGER);
        assert_eq!(fixture.ledger.used(&shop), 0);
    }
}

#[test]
fn lends_to_nobody_in_another_pool() {
    let mut fixture = Fixture::new(10);
    fixture.limits.max_db_connections = 1;
    fixture.want(1, &pool("shop", "bob"), 1);
    fixture.use_grants();
    fixture.want(2, &pool("shop", "eve"), 1);
    let actions = fixture.actions();
    assert!(
        matches!(actions[..], [LedgerAction::Recall { count: 1, .. }]),
        "{actions:?}"
    );
}

#[test]
fn does_not_grant_what_is_on_its_way_already() {
    let (mut fixture, shop, lease) = fixture();
    fixture.limits.pool_size = 2;
    fixture.lend(1, lease, 2);
    // It does not know of it yet.
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.grants(), []);
    fixture.receive(2, lease.handed_on());
    fixture.want(2, &shop, 1);
    assert_eq!(fixture.grants()[0].0, 2);
}

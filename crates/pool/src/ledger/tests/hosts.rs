//! What becomes of pools whose host leaves.

use super::*;
use crate::control::HostNotice;
use crate::ledger::hosts::{PAUSE_MAX, PAUSE_MIN, SAID_FOR};

const HOST: &str = "/s";
const MOMENT: Duration = Duration::from_millis(1);

/// What workers are told, and who.
type Notices = Vec<(u8, HostNotice)>;

/// What workers get, and who.
type Leases = Vec<(u8, LeaseId)>;

impl Fixture {
    /// The host does not let a server in; `says` that it goes, or says nothing.
    fn fail(&mut self, who: u8, lease: LeaseId, says: bool) -> Option<HostNews> {
        let why = Unreachable {
            host: HOST.to_owned(),
            says,
            message: "no".to_owned(),
        };
        let now = self.now;
        let news = self.ledger.unreachable(worker(who), lease, why, 7, now);
        self.ledger.returned(worker(who), lease, now);
        news
    }

    /// The notices that workers get, and the grants and orders that are beside.
    fn told(&mut self) -> (Notices, Leases) {
        let (mut notices, mut leases) = (Vec::new(), Vec::new());
        for action in self.actions() {
            match action {
                LedgerAction::Host { worker, notice } => notices.push((worker.slot.get(), notice)),
                LedgerAction::Grant { worker, lease, .. }
                | LedgerAction::Open { worker, lease, .. } => {
                    leases.push((worker.slot.get(), lease));
                }
                other => panic!("{other:?}"),
            }
        }
        (notices, leases)
    }

    /// The time until the next lease, which is the only one.
    fn until_try(&mut self) -> (Duration, u8, LeaseId) {
        let since = self.now;
        loop {
            match self.told().1.as_slice() {
                [] => self.pass(MOMENT),
                [(who, lease)] => return (self.now - since, *who, *lease),
                several => panic!("{several:?} at once"),
            }
            assert!(self.now - since < FOREVER, "nothing is tried");
        }
    }
}

/// Two pools of one host whose servers have all ended with a farewell, and
/// clients of three workers that wait; the first try has failed.
fn leaving() -> (Fixture, [PoolKey; 2]) {
    let mut fixture = Fixture::new(3);
    let pools = [pool("shop", "bob"), pool("shop", "eve")];
    let mut served = Vec::new();
    for pool in &pools {
        fixture.want(1, pool, 1);
        served.extend(fixture.use_grants());
    }
    for (who, lease) in served {
        let now = fixture.now;
        fixture.ledger.said_farewell(worker(who), lease, HOST, now);
        fixture.ledger.returned(worker(who), lease, now);
    }
    fixture.want(1, &pools[0], 1);
    let (_, lease) = fixture.grants()[0];
    assert!(matches!(
        fixture.fail(1, lease, false),
        Some(HostNews::Leaves { .. })
    ));
    for who in 1..=3 {
        fixture.want(who, &pools[0], 2);
        fixture.want(who, &pools[1], 2);
    }
    (fixture, pools)
}

#[test]
fn tries_one_server_for_the_whole_group_after_growing_pauses() {
    let (mut fixture, _) = leaving();
    let mut expected = PAUSE_MIN;
    for _ in 0..8 {
        let (pause, who, lease) = fixture.until_try();
        let short = pause + 10 * MOMENT >= expected * 3 / 4;
        assert!(short && pause <= expected * 5 / 4, "{pause:?}");
        fixture.pass(PAUSE_MAX * 2);
        assert_eq!(fixture.told().1, [], "beside the one that is tried");
        assert_eq!(fixture.fail(who, lease, false), None);
        expected = (expected * 2).min(PAUSE_MAX);
    }
}

#[test]
fn opens_what_is_wanted_once_a_server_has_logged_in() {
    let (mut fixture, _) = leaving();
    let (_, who, lease) = fixture.until_try();
    let news = fixture
        .ledger
        .held(worker(who), lease, backend(7), fixture.now);
    assert!(matches!(news, Some(HostNews::Back { .. })), "{news:?}");
    let (notices, leases) = fixture.told();
    assert_eq!(leases.len(), 3 + 3 - 1, "up to the limits of both pools");
    let back = |(_, notice): &(u8, HostNotice)| matches!(notice, HostNotice::Back { .. });
    assert!(notices.iter().all(back));
    assert_eq!(notices.len(), 3 * 2, "every worker, of both pools");
}

#[test]
fn tells_every_worker_of_every_pool_once() {
    let (mut fixture, pools) = leaving();
    let (notices, _) = fixture.told();
    let mut told: Vec<_> = notices
        .into_iter()
        .map(|(who, notice)| match notice {
            HostNotice::Leaves { pool, .. } => (who, pool.user),
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort();
    let all = (1..=3).flat_map(|who| pools.iter().map(move |pool| (who, pool.user.clone())));
    assert_eq!(told, all.collect::<Vec<_>>());
    // One that comes later begins with it.
    fixture.ledger.worker_ready(worker(4));
    assert_eq!(fixture.told().0.len(), 2);
}

#[test]
fn takes_a_host_for_down_that_has_said_nothing() {
    for says_at_first in [false, true] {
        let mut fixture = Fixture::new(3);
        let shop = pool("shop", "bob");
        if !says_at_first {
            // It has let a server in, and ended it without a word.
            fixture.want(1, &shop, 1);
            let (_, lease) = fixture.use_grants()[0];
            fixture.ledger.returned(worker(1), lease, fixture.now);
        }
        fixture.want(1, &shop, 1);
        let (_, lease) = fixture.grants()[0];
        // Who has let nobody in does not leave, whatever it says.
        assert_eq!(fixture.fail(1, lease, says_at_first), None);
        let fails = HostNotice::Fails { pool: shop.clone() };
        assert_eq!(fixture.told(), (vec![(1, fails)], vec![]));
        fixture.want(2, &shop, 1);
        assert_eq!(fixture.grants().len(), 1, "it is the worker's to wait");
    }
}

#[test]
fn word_holds_until_a_login_or_for_a_while() {
    for (logs_in, time, leaves) in [
        (false, SAID_FOR - 10 * MOMENT, true),
        (false, SAID_FOR, false),
        (true, MOMENT, false),
    ] {
        let mut fixture = Fixture::new(3);
        let shop = pool("shop", "bob");
        fixture.want(1, &shop, 2);
        let grants = fixture.grants();
        let now = fixture.now;
        fixture.ledger.held(worker(1), grants[0].1, backend(7), now);
        fixture
            .ledger
            .asked_to_go(worker(1), grants[0].1, HOST, now);
        if logs_in {
            fixture.ledger.held(worker(1), grants[1].1, backend(8), now);
        }
        fixture.want(1, &shop, 1);
        let (_, lease) = *fixture.grants().last().unwrap();
        fixture.pass(time);
        assert_eq!(fixture.fail(1, lease, false).is_some(), leaves, "{time:?}");
    }
}

#[test]
fn goes_on_trying_when_the_worker_with_the_try_dies_or_does_nothing() {
    let (mut fixture, pools) = leaving();
    let (_, who, _) = fixture.until_try();
    fixture.ledger.worker_died(worker(who), LINGER, fixture.now);
    let (_, other, lease) = fixture.until_try();
    assert_ne!(other, who);
    // Such as one whose pool is paused.
    fixture.ledger.returned(worker(other), lease, fixture.now);
    fixture.want(other, &pools[0], 0);
    fixture.want(other, &pools[1], 0);
    let (pause, ..) = fixture.until_try();
    assert!(pause >= PAUSE_MIN - 10 * MOMENT, "{pause:?}");
}

#[test]
fn asks_nobody_for_servers_that_cannot_be_opened_elsewhere() {
    let mut fixture = Fixture::new(2);
    let shop = pool("shop", "bob");
    fixture.want(1, &shop, 2);
    fixture.use_grants();
    fixture.pass(Duration::from_secs(5));
    fixture.limits.pool_size = 3;
    fixture.want(2, &shop, 1);
    let (_, lease) = fixture.grants()[0];
    assert!(fixture.fail(2, lease, true).is_some());
    fixture.limits.pool_size = 2;
    fixture.want(2, &shop, 5);
    fixture.pass(Duration::from_secs(5));
    assert_eq!(fixture.told().1, []);
}

#[test]
fn tries_for_a_minimum_without_waiting_for_login_retry() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    fixture.limits.min_pool_size = 1;
    let (limits, now) = (fixture.limits, fixture.now);
    fixture.ledger.in_use(worker(1), &shop, true, limits, now);
    let (_, lease) = fixture.told().1[0];
    fixture.ledger.held(worker(1), lease, backend(7), now);
    fixture.ledger.said_farewell(worker(1), lease, HOST, now);
    fixture.ledger.returned(worker(1), lease, now);
    for _ in 0..3 {
        let (pause, who, lease) = fixture.until_try();
        assert!(pause <= PAUSE_MAX, "{pause:?}");
        fixture.fail(who, lease, false);
    }
}

#[test]
fn goes_on_waiting_under_the_next_supervisor() {
    let mut fixture = Fixture::new(3);
    let shop = pool("shop", "bob");
    let why = Unreachable {
        host: HOST.to_owned(),
        says: false,
        message: "no".to_owned(),
    };
    let (limits, now) = (fixture.limits, fixture.now);
    fixture.ledger.inherit_leaving(&shop, why, limits, now);
    assert_eq!(fixture.told().0.len(), 3);
    for who in 1..=3 {
        fixture.want(who, &shop, 1);
    }
    let (_, who, lease) = fixture.until_try();
    assert_eq!(fixture.fail(who, lease, false), None);
    let (_, who, lease) = fixture.until_try();
    let now = fixture.now;
    assert!(
        fixture
            .ledger
            .held(worker(who), lease, backend(7), now)
            .is_some()
    );
    assert_eq!(fixture.told().1.len(), 1, "for who has not failed");
}

#[test]
fn new_configuration_may_lead_elsewhere() {
    let (mut fixture, _) = leaving();
    fixture.told();
    fixture.ledger.forget_places();
    let (notices, leases) = fixture.told();
    assert_eq!((notices.len(), leases.len()), (3 * 2, 3 + 3));
}

#[test]
fn leaves_no_more_when_it_answers_whoever_it_does_not_let_in() {
    let (mut fixture, pools) = leaving();
    let (_, who, lease) = fixture.until_try();
    let now = fixture.now;
    let answered = |fixture: &mut Fixture| {
        let host = HOST.to_owned();
        fixture.ledger.answered(worker(who), lease, host, now)
    };
    let news = answered(&mut fixture);
    assert!(matches!(news, Some(HostNews::Back { .. })), "{news:?}");
    let (notices, _) = fixture.told();
    for pool in pools {
        let back = HostNotice::Back { pool };
        assert!(notices.contains(&(who, back)), "{notices:?}");
    }
    assert_eq!(answered(&mut fixture), None);
}

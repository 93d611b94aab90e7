//! A recorded book of every version, and what its successor makes of it.

use std::time::Duration;

use super::*;
use crate::control::Demand;
use crate::ledger::Giver;

const AGO: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(5);

fn worker(slot: u8) -> WorkerId {
    WorkerId {
        slot: Slot::new(slot).unwrap(),
        generation: 1,
        incarnation: 7,
    }
}

fn pool() -> PoolKey {
    PoolKey {
        database: "a".to_owned(),
        user: "x".to_owned(),
    }
}

fn limits() -> Limits {
    Limits {
        pool_size: 4,
        min_pool_size: 0,
        reserve_pool_size: 1,
        reserve_pool_timeout: Duration::from_secs(5),
        max_db_connections: 9,
        max_user_connections: 0,
        login_retry: Duration::from_secs(15),
    }
}

fn backend() -> Option<Backend> {
    Some(Backend {
        target: "/s".to_owned(),
        process_id: 4711,
        secret: b"\x01\x02\x03\x04".to_vec(),
    })
}

fn lease(id: u64) -> LeaseId {
    LeaseId { id, epoch: 1 }
}

fn now() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// A book with a lease in every state: 1 closing, 2 held, 3 opening and, of a
/// dead worker, 4.
fn book(now: Instant) -> Ledger {
    let mut ledger = Ledger::new();
    let ago = now - AGO;
    for (who, wanted) in [(1, 3), (2, 1)] {
        let demand = Demand {
            wanted,
            oldest_wait: Duration::ZERO,
            last_lease: 0,
        };
        ledger.worker_ready(worker(who));
        ledger.wanted(worker(who), &pool(), demand, limits(), ago);
        while ledger.poll_action(ago).is_some() {}
    }
    for (who, id) in [(1, 1), (1, 2), (2, 4)] {
        ledger.held(worker(who), lease(id), backend(), ago);
    }
    ledger.dedicated(worker(1), lease(2));
    ledger.closing(worker(1), lease(1), now);
    ledger.worker_died(worker(2), LINGER, now);
    while ledger.poll_action(now).is_some() {}
    ledger
}

fn encoded(now: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    book(now).encode(now, &mut bytes);
    bytes
}

/// Version 1 as it was first written; it never changes.
const SAMPLE: &[u8] = b"\x01\0\0\0\0\0\0\0\x04\0\0\0\x01\
    \0\0\0\x01a\0\0\0\x01x\
    \0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\x09\0\0\0\0\
    \0\0\0\0\0\x4c\x4b\x40\0\0\0\0\0\xe4\xe1\xc0\
    \0\x01\0\0\0\0\0\0\0\0\
    \0\0\0\x04\
    \0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\0\
    \x03\x01\0\0\0\x01\0\0\0\x07\
    \x01\0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04\
    \0\0\0\0\0\0\0\x02\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\x01\
    \x02\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\x1e\x84\x80\0\
    \x01\0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04\
    \0\0\0\0\0\0\0\x03\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\0\
    \x01\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\x1e\x84\x80\0\
    \0\0\0\0\0\0\0\x04\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\0\
    \x04\0\0\0\0\0\x4c\x4b\x40\
    \x01\0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04";

#[test]
fn writes_the_recorded_sample_of_version_1() {
    assert_eq!(encoded(now()), SAMPLE);
}

#[test]
fn accepts_the_recorded_sample_of_version_1() {
    let now = now();
    let ledger = Ledger::decode(SAMPLE, [], now).unwrap();
    let mut again = Vec::new();
    ledger.encode(now, &mut again);
    assert_eq!(again, SAMPLE);
}

#[test]
fn rejects_every_prefix_unknown_versions_and_strange_leases() {
    for end in 0..SAMPLE.len() {
        let prefix = Ledger::decode(&SAMPLE[..end], [], now());
        assert_eq!(prefix.err(), Some(CarryError::Malformed), "{end} bytes");
    }
    let mut later = SAMPLE.to_vec();
    later[0] = 3;
    let error = Ledger::decode(&later, [], now()).err();
    assert_eq!(error, Some(CarryError::Version(3)));
    // The last lease is said to be 3, but there is a fourth.
    let mut strange = SAMPLE.to_vec();
    strange[8] = 3;
    let error = Ledger::decode(&strange, [], now()).err();
    assert_eq!(error, Some(CarryError::Malformed));
}

/// Version 2 as it was first written; it never changes: lease 1 is on its way
/// from worker 1 to worker 2, over a stream that had ended.
const MOVING_SAMPLE: &[u8] = b"\x02\0\0\0\0\0\0\0\x01\0\0\0\x01\
    \0\0\0\x01a\0\0\0\x01x\
    \0\0\0\x04\0\0\0\0\0\0\0\x01\0\0\0\x09\0\0\0\0\
    \0\0\0\0\0\x4c\x4b\x40\0\0\0\0\0\xe4\xe1\xc0\
    \0\x01\0\0\0\0\0\0\0\0\
    \0\0\0\x01\
    \0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\0\
    \x05\x01\0\0\0\x01\0\0\0\x07\x02\0\0\0\x01\0\0\0\x07\0\
    \x01\0\0\0\0\0\x4c\x4b\x40\
    \x01\0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04\
    \0\0\0\x01\x01\0\0\0\x01\0\0\0\x07\x02\0\0\0\x01\0\0\0\x07";

#[test]
fn writes_and_accepts_the_recorded_sample_of_version_2() {
    let now = now();
    let mut ledger = Ledger::new();
    let demand = Demand {
        wanted: 1,
        oldest_wait: Duration::ZERO,
        last_lease: 0,
    };
    ledger.worker_ready(worker(1));
    ledger.wanted(worker(1), &pool(), demand, limits(), now);
    while ledger.poll_action(now).is_some() {}
    ledger.held(worker(1), lease(1), backend(), now);
    ledger.handoffs_over(worker(2), Giver::Living(worker(1)), LINGER, now);
    ledger.lent(worker(1), lease(1), Some(worker(2)), LINGER, now);
    while ledger.poll_action(now).is_some() {}
    let mut bytes = Vec::new();
    ledger.encode(now, &mut bytes);
    assert_eq!(bytes, MOVING_SAMPLE);
    let mut again = Ledger::decode(&bytes, [worker(2)], now).unwrap();
    again.adopt(worker(2), Vec::new(), |_| limits(), now);
    assert_eq!(again.used(&pool()), 1);
    again.on_time(now + LINGER);
    assert_eq!(again.used(&pool()), 0);
}

#[test]
fn takes_over_what_has_moved_before_its_giver_is_heard() {
    let now = now();
    let mut ledger = Ledger::decode(SAMPLE, [worker(1), worker(3)], now).unwrap();
    let moved = |id| Report {
        lease: lease(id).handed_on(),
        ..report(id)
    };
    // The book says that worker 1 has 2 and 3.
    ledger.adopt(worker(3), vec![moved(2), moved(3)], |_| limits(), now);
    ledger.adopt(worker(1), vec![report(2)], |_| limits(), now);
    assert_eq!(ledger.held_by(worker(3)), 2);
    assert_eq!(ledger.held_by(worker(1)), 0);
    ledger.lent(worker(1), lease(2), Some(worker(3)), LINGER, now);
    assert_eq!(ledger.held_by(worker(3)), 2);
}

#[test]
fn believes_a_report_more_than_the_book() {
    let now = now();
    let mut ledger = Ledger::decode(SAMPLE, [worker(1)], now).unwrap();
    let report = |id, server| Report {
        lease: lease(id),
        pool: pool(),
        dedicated: false,
        server,
    };
    // 1 is gone, 2 is closing, 3 has logged in, and 9 is in no book.
    let reports = vec![
        report(2, ReportedServer::Closing),
        report(3, ReportedServer::Held(backend())),
        report(9, ReportedServer::Opening),
    ];
    ledger.adopt(worker(1), reports, |_| limits(), now);
    let states: Vec<_> = ledger
        .leases
        .iter()
        .map(|(id, lease)| (*id, &lease.state))
        .collect();
    assert!(
        matches!(
            states[..],
            [
                (2, LeaseState::Closing { .. }),
                (3, LeaseState::Held { .. }),
                (4, LeaseState::Orphaned { .. }),
                (9, LeaseState::Opening { .. }),
            ]
        ),
        "{states:?}"
    );
    assert_eq!(ledger.used(&pool()), 4);
    assert_eq!(ledger.last_id, 9);
}

#[test]
fn grants_nothing_to_a_worker_before_its_report_and_asks_for_no_second_one() {
    let now = now();
    let mut ledger = Ledger::decode(SAMPLE, [worker(1)], now).unwrap();
    let demand = Demand {
        wanted: 5,
        oldest_wait: Duration::ZERO,
        last_lease: 3,
    };
    ledger.worker_ready(worker(1));
    ledger.wanted(worker(1), &pool(), demand, limits(), now);
    assert_eq!(ledger.poll_action(now), None);
    ledger.adopt(worker(1), Vec::new(), |_| limits(), now);
    // What it wanted before it was asked has to be said again.
    let cancel = ledger.poll_action(now);
    assert!(matches!(
        cancel,
        Some(super::super::LedgerAction::CancelOrphan { .. })
    ));
    assert_eq!(ledger.poll_action(now), None);
    ledger.wanted(worker(1), &pool(), demand, limits(), now);
    assert!(ledger.poll_action(now).is_some());
    let used = ledger.used(&pool());
    ledger.adopt(worker(1), Vec::new(), |_| limits(), now);
    assert_eq!(ledger.used(&pool()), used);
}

#[test]
fn returns_orphans_when_their_time_is_over() {
    let now = now();
    let mut ledger = Ledger::decode(SAMPLE, [], now).unwrap();
    ledger.on_time(now + LINGER - Duration::from_millis(1));
    assert_eq!(ledger.used(&pool()), 4);
    ledger.on_time(now + LINGER);
    assert_eq!(ledger.used(&pool()), 3);
}

fn report(id: u64) -> Report {
    Report {
        lease: lease(id),
        pool: pool(),
        dedicated: false,
        server: ReportedServer::Held(backend()),
    }
}

#[test]
fn counts_what_a_worker_of_another_supervisor_brings_along() {
    let now = now();
    let mut ledger = Ledger::new();
    ledger.join(worker(1), 9);
    ledger.adopt(worker(1), vec![report(5), report(7)], |_| limits(), now);
    assert_eq!(ledger.used(&pool()), 2);
    // Nobody gets a lease of a number that it may still hear of.
    ledger.worker_ready(worker(2));
    let demand = Demand {
        wanted: 3,
        oldest_wait: Duration::ZERO,
        last_lease: 0,
    };
    ledger.wanted(worker(2), &pool(), demand, limits(), now);
    let actions: Vec<_> = std::iter::from_fn(|| ledger.poll_action(now)).collect();
    let granted = actions.iter().filter_map(|action| match action {
        crate::ledger::LedgerAction::Grant { lease, .. } => Some(lease.id),
        _ => None,
    });
    assert_eq!(granted.collect::<Vec<_>>(), [10, 11]);
    ledger.returned(worker(1), lease(5), now);
    assert_eq!(ledger.used(&pool()), 3);
}

#[test]
fn ignores_a_lease_that_somebody_else_has() {
    let now = now();
    let mut ledger = Ledger::new();
    for slot in [1, 2] {
        ledger.join(worker(slot), 7);
        ledger.adopt(worker(slot), vec![report(7)], |_| limits(), now);
    }
    assert_eq!(ledger.used(&pool()), 1);
    ledger.returned(worker(2), lease(7), now);
    assert_eq!(ledger.used(&pool()), 1);
}

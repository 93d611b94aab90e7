//! Recorded frames of every version, and what is refused.

use std::time::Duration;

use super::*;
use crate::drain_order::{DrainKind, DrainOrder, DrainScope};
use crate::ledger::{Report as Holding, ReportedServer};
use crate::prepared::StatementKey;
use crate::runtime::{FromSupervisor, FromWorker, Order, RuntimeState, Scope};
use crate::statistics::{Counters, Report, Totals};

fn pool() -> PoolKey {
    PoolKey {
        database: "shop".to_owned(),
        user: "bob".to_owned(),
    }
}

fn backend() -> Backend {
    Backend {
        target: "/s".to_owned(),
        process_id: 4711,
        secret: b"\x01\x02\x03\x04".to_vec(),
    }
}

fn report() -> Report {
    let mut totals = Totals::default();
    totals.add(
        "shop",
        &Counters::from_array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    );
    Report { round: 258, totals }
}

const LEASE: LeaseId = LeaseId { id: 7, epoch: 2 };

/// Version 1 as it was first written; it never changes.
fn to_supervisor() -> Vec<(ToSupervisor, &'static [u8])> {
    vec![
        (ToSupervisor::Ready, b"\0\0\0\x03\x01\x01\0"),
        (
            ToSupervisor::Wanted {
                pool: pool(),
                demand: Demand {
                    wanted: 3,
                    oldest_wait: Duration::from_micros(258),
                    last_lease: 9,
                },
            },
            b"\0\0\0\x26\x01\x12\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x03\
              \0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x09",
        ),
        (
            ToSupervisor::Held {
                lease: LEASE,
                backend: Some(backend()),
            },
            b"\0\0\0\x22\x01\x0d\0\0\0\0\0\0\0\0\x07\0\0\0\x02\x01\
              \0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04",
        ),
        (
            ToSupervisor::Held {
                lease: LEASE,
                backend: None,
            },
            b"\0\0\0\x10\x01\x0d\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0",
        ),
        (
            ToSupervisor::InUse {
                pool: pool(),
                in_use: true,
            },
            b"\0\0\0\x13\x01\x0e\0\0\0\0\x04shop\0\0\0\x03bob\x01",
        ),
        (
            ToSupervisor::MayClose { lease: LEASE },
            b"\0\0\0\x0f\x01\x0f\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::Kept { lease: LEASE },
            b"\0\0\0\x0f\x01\x10\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::TooMany {
                lease: LEASE,
                message: "no".to_owned(),
            },
            b"\0\0\0\x15\x01\x2d\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02no",
        ),
        (
            ToSupervisor::Unused { pool: pool() },
            b"\0\0\0\x12\x01\x2e\0\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToSupervisor::Claim {
                client: 258,
                database: "shop".to_owned(),
                user: "bob".to_owned(),
            },
            b"\0\0\0\x1a\x01\x16\0\0\0\0\0\0\0\x01\x02\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToSupervisor::Present {
                client: 258,
                database: "shop".to_owned(),
                user: "bob".to_owned(),
            },
            b"\0\0\0\x1a\x01\x17\0\0\0\0\0\0\0\x01\x02\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToSupervisor::Show {
                request: 258,
                topic: Topic::Pools,
            },
            b"\0\0\0\x0c\x01\x1a\0\0\0\0\0\0\0\x01\x02\x03",
        ),
        (
            ToSupervisor::Lease(Holding {
                lease: LEASE,
                pool: pool(),
                dedicated: true,
                server: ReportedServer::Held(Some(backend())),
            }),
            b"\0\0\0\x32\x01\x32\0\0\0\0\0\0\0\0\x07\0\0\0\x02\
              \0\0\0\x04shop\0\0\0\x03bob\x01\x04\
              \0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04",
        ),
        (
            ToSupervisor::Lease(Holding {
                lease: LEASE,
                pool: pool(),
                dedicated: false,
                server: ReportedServer::Opening,
            }),
            b"\0\0\0\x20\x01\x32\0\0\0\0\0\0\0\0\x07\0\0\0\x02\
              \0\0\0\x04shop\0\0\0\x03bob\0\x01",
        ),
        (
            ToSupervisor::Reported {
                last_id: 258,
                last_lease: 7,
                statement_key: StatementKey(*b"0123456789abcdef"),
            },
            b"\0\0\0\x23\x01\x33\0\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x07\
              0123456789abcdef",
        ),
        (
            ToSupervisor::Left { client: 258 },
            b"\0\0\0\x0b\x01\x18\0\0\0\0\0\0\0\x01\x02",
        ),
        (
            ToSupervisor::OrphanCancelled { lease: LEASE },
            b"\0\0\0\x0f\x01\x11\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::Closing { lease: LEASE },
            b"\0\0\0\x0f\x01\x04\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::Returned { lease: LEASE },
            b"\0\0\0\x0f\x01\x05\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::Prepared { version: 9 },
            b"\0\0\0\x0b\x01\x06\0\0\0\0\0\0\0\0\x09",
        ),
        (
            ToSupervisor::Refused {
                version: 9,
                reason: "no".to_owned(),
            },
            b"\0\0\0\x11\x01\x07\0\0\0\0\0\0\0\0\x09\0\0\0\x02no",
        ),
        (
            ToSupervisor::Committed { version: 9 },
            b"\0\0\0\x0b\x01\x22\0\0\0\0\0\0\0\0\x09",
        ),
        (
            ToSupervisor::Adopted { slot: slot(3) },
            b"\0\0\0\x04\x01\x09\0\x03",
        ),
        (
            ToSupervisor::DroppedListener { slot: slot(3) },
            b"\0\0\0\x04\x01\x0a\0\x03",
        ),
        (
            ToSupervisor::AskWelcome { pool: pool() },
            b"\0\0\0\x12\x01\x14\0\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToSupervisor::Welcome {
                version: 9,
                pool: pool(),
                burst: b"S".to_vec(),
            },
            b"\0\0\0\x1f\x01\x15\0\0\0\0\0\0\0\0\x09\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x01S",
        ),
        (
            ToSupervisor::OldHost {
                version: 9,
                host: "h:1".to_owned(),
            },
            b"\0\0\0\x12\x01\x0b\0\0\0\0\0\0\0\0\x09\0\0\0\x03h:1",
        ),
        (
            ToSupervisor::Dedicated { lease: LEASE },
            b"\0\0\0\x0f\x01\x0c\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToSupervisor::Settled { settled: true },
            b"\0\0\0\x04\x01\x39\0\x01",
        ),
        (
            ToSupervisor::Counted(report()),
            b"\0\0\0\x77\x01\x28\0\0\0\0\0\0\0\x01\x02\0\0\0\x01\0\0\0\x04shop\
              \0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\
              \0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x06\
              \0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x09\
              \0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x0b\0\0\0\0\0\0\0\x0c",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Reload,
            },
            b"\0\0\0\x0c\x01\x24\0\0\0\0\0\0\0\0\x01\x01",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Set {
                    name: "a".to_owned(),
                    value: "b".to_owned(),
                },
            },
            b"\0\0\0\x16\x01\x24\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x01a\0\0\0\x01b",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Order(Order::Pause(Scope::Database("a".to_owned()))),
            },
            b"\0\0\0\x13\x01\x24\0\0\0\0\0\0\0\0\x01\x03\x01\x01\0\0\0\x01a",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Order(Order::KillClient(2)),
            },
            b"\0\0\0\x15\x01\x24\0\0\0\0\0\0\0\0\x01\x03\x08\0\0\0\0\0\0\0\x02",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Move {
                    client: 258,
                    to: slot(3),
                },
            },
            b"\0\0\0\x15\x01\x24\0\0\0\0\0\0\0\0\x01\x05\0\0\0\0\0\0\x01\x02\x03",
        ),
        (
            ToSupervisor::Ask {
                request: 1,
                asked: Asked::Balance,
            },
            b"\0\0\0\x0c\x01\x24\0\0\0\0\0\0\0\0\x01\x06",
        ),
        (
            ToSupervisor::Gone { request: 1 },
            b"\0\0\0\x0b\x01\x20\0\0\0\0\0\0\0\0\x01",
        ),
        (
            ToSupervisor::Runtime(FromWorker::Applied {
                version: 9,
                found: true,
            }),
            b"\0\0\0\x0c\x01\x21\0\0\0\0\0\0\0\0\x09\x01",
        ),
        (
            ToSupervisor::Runtime(FromWorker::State {
                version: 9,
                state: RuntimeState::default(),
            }),
            b"\0\0\0\x16\x01\x23\0\0\0\0\0\0\0\0\x09\x01\0\0\0\0\0\0\0\0\0\0",
        ),
    ]
}

/// Version 1 as it was first written; it never changes.
fn to_worker() -> Vec<(ToWorker, &'static [u8])> {
    vec![
        (
            ToWorker::Grant {
                lease: LEASE,
                pool: pool(),
            },
            b"\0\0\0\x1e\x01\x41\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToWorker::Open {
                lease: LEASE,
                pool: pool(),
            },
            b"\0\0\0\x1e\x01\x4e\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x04shop\0\0\0\x03bob",
        ),
        (
            ToWorker::Claimed {
                client: 258,
                answer: ClaimAnswer::UserFull,
            },
            b"\0\0\0\x0c\x01\x51\0\0\0\0\0\0\0\x01\x02\x02",
        ),
        (
            ToWorker::TooMany {
                pool: pool(),
                message: "no".to_owned(),
            },
            b"\0\0\0\x18\x01\x6e\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x02no",
        ),
        (
            ToWorker::LetGo { lease: LEASE },
            b"\0\0\0\x0f\x01\x4f\0\0\0\0\0\0\0\0\x07\0\0\0\x02",
        ),
        (
            ToWorker::CancelOrphan {
                lease: LEASE,
                backend: backend(),
            },
            b"\0\0\0\x21\x01\x50\0\0\0\0\0\0\0\0\x07\0\0\0\x02\
              \0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04",
        ),
        (
            ToWorker::Recall {
                pool: pool(),
                count: 2,
                unused: 1,
            },
            b"\0\0\0\x1a\x01\x42\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x02\0\0\0\x01",
        ),
        (
            ToWorker::Prepare {
                version: 9,
                sources: b"xyz".to_vec(),
            },
            b"\0\0\0\x12\x01\x43\0\0\0\0\0\0\0\0\x09\0\0\0\x03xyz",
        ),
        (
            ToWorker::Commit { version: 9 },
            b"\0\0\0\x0b\x01\x44\0\0\0\0\0\0\0\0\x09",
        ),
        (
            ToWorker::Abandon { version: 9 },
            b"\0\0\0\x0b\x01\x45\0\0\0\0\0\0\0\0\x09",
        ),
        (
            ToWorker::Adopt { slot: slot(2) },
            b"\0\0\0\x04\x01\x46\0\x02",
        ),
        (
            ToWorker::DropListener { slot: slot(2) },
            b"\0\0\0\x04\x01\x47\0\x02",
        ),
        (
            ToWorker::Drain(DrainOrder {
                id: *b"0123456789abcdef",
                kind: DrainKind::Immediate,
                scope: DrainScope::All,
                given: 3,
                rate: 4,
                delay: Duration::ZERO,
                timeout: Duration::from_micros(1),
                kill_timeout: Duration::from_micros(2),
            }),
            b"\0\0\0\x39\x01\x78\x000123456789abcdef\x03\0\
              \0\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0\0\0\0\0\0\
              \0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02",
        ),
        (ToWorker::RefuseSessions, b"\0\0\0\x03\x01\x79\0"),
        (ToWorker::Board, b"\0\0\0\x03\x01\x73\0"),
        (ToWorker::StopAccepting, b"\0\0\0\x03\x01\x49\0"),
        (ToWorker::Exit, b"\0\0\0\x03\x01\x4a\0"),
        (ToWorker::ReopenLog, b"\0\0\0\x03\x01\x4c\0"),
        (
            ToWorker::Welcome {
                pool: pool(),
                burst: b"S".to_vec(),
            },
            b"\0\0\0\x17\x01\x55\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x01S",
        ),
        (
            ToWorker::Shown {
                request: 258,
                rows: b"rows".to_vec(),
            },
            b"\0\0\0\x13\x01\x5a\0\0\0\0\0\0\0\x01\x02\0\0\0\x04rows",
        ),
        (
            ToWorker::OldHost {
                host: "h:1".to_owned(),
            },
            b"\0\0\0\x0a\x01\x4d\0\0\0\0\x03h:1",
        ),
        (
            ToWorker::Answered {
                request: 1,
                outcome: Err("bad".to_owned()),
            },
            b"\0\0\0\x13\x01\x60\0\0\0\0\0\0\0\0\x01\0\0\0\0\x03bad",
        ),
        (
            ToWorker::Answered {
                request: 1,
                outcome: Ok(String::new()),
            },
            b"\0\0\0\x10\x01\x60\0\0\0\0\0\0\0\0\x01\x01\0\0\0\0",
        ),
        (
            ToWorker::Count {
                round: 258,
                period: true,
            },
            b"\0\0\0\x0c\x01\x69\0\0\0\0\0\0\0\x01\x02\x01",
        ),
        (
            ToWorker::Runtime(FromSupervisor::Runtime {
                version: 9,
                state: RuntimeState::default(),
                order: Order::Suspend,
            }),
            b"\0\0\0\x17\x01\x5f\0\0\0\0\0\0\0\0\x09\x01\0\0\0\0\0\0\0\0\0\0\x03",
        ),
    ]
}

fn slot(number: u8) -> Slot {
    Slot::new(number).unwrap()
}

#[test]
fn writes_and_accepts_the_recorded_frames_to_the_supervisor() {
    for (message, bytes) in to_supervisor() {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{message:?}");
        assert_eq!(ToSupervisor::decode(bytes), Ok(message));
    }
}

#[test]
fn writes_and_accepts_the_recorded_frames_to_a_worker() {
    for (message, bytes) in to_worker() {
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{message:?}");
        assert_eq!(ToWorker::decode(bytes), Ok(message));
    }
}

#[test]
fn rejects_unknown_kinds_and_versions_with_their_number() {
    assert_eq!(
        ToWorker::decode(b"\0\0\0\x03\x01\xc8\0"),
        Err(ControlError::Kind(200))
    );
    assert_eq!(
        ToWorker::decode(b"\0\0\0\x03\x02\x4a\0"),
        Err(ControlError::Version(2))
    );
    assert_eq!(
        ToSupervisor::decode(b"\0\0\0\x03\x01\x4a\0"),
        Err(ControlError::Kind(74))
    );
}

#[test]
fn rejects_bodies_that_are_short_or_long() {
    for (_, bytes) in to_worker() {
        for change in [-1_isize, 1] {
            let mut frame = bytes.to_vec();
            frame.resize(bytes.len().checked_add_signed(change).unwrap(), 0);
            let length = u32::try_from(frame.len() - 4).unwrap();
            frame[..4].copy_from_slice(&length.to_be_bytes());
            let error = ToWorker::decode(&frame).unwrap_err();
            assert!(
                matches!(error, ControlError::Body(_) | ControlError::Length),
                "{error:?}"
            );
        }
    }
}

#[test]
fn rejects_slot_zero() {
    assert_eq!(
        ToWorker::decode(b"\0\0\0\x04\x01\x46\0\0"),
        Err(ControlError::Body(70))
    );
}

//! Drains of clients that move, and the recorded bytes of reports.

use super::*;
use crate::moves::Refused;

#[test]
fn accepts_the_recorded_report_from_before_clients_moved() {
    let counts = Counts {
        told: 1,
        left: 2,
        moved: 3,
        closed_idle: 4,
        closed_in_transaction: 5,
        remaining: 258,
        refused: Refused::default(),
    };
    let message = ToSupervisor::Drain(Report {
        id: *b"0123456789abcdef",
        counts,
    });
    let bytes = b"\0\0\0\x2b\x01\x38\x000123456789abcdef\0\0\0\x01\0\0\0\x02\0\0\0\x03\
        \0\0\0\x04\0\0\0\x05\0\0\x01\x02";
    assert_eq!(ToSupervisor::decode(bytes), Ok(message));
}

#[test]
fn writes_and_accepts_the_recorded_report() {
    let counts = Counts {
        told: 1,
        moved: 3,
        remaining: 258,
        refused: Refused {
            tls: 6,
            replication: 7,
            too_large: 8,
            full: 9,
            unknown: 10,
            other: 11,
        },
        ..Counts::default()
    };
    let message = ToSupervisor::Drain(Report {
        id: *b"0123456789abcdef",
        counts,
    });
    let bytes = b"\0\0\0\x43\x01\x46\x000123456789abcdef\0\0\0\x01\0\0\0\0\0\0\0\x03\
        \0\0\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x06\0\0\0\x07\0\0\0\x08\
        \0\0\0\x09\0\0\0\x0a\0\0\0\x0b";
    let mut out = Vec::new();
    message.encode(&mut out);
    assert_eq!(out, bytes);
    assert_eq!(ToSupervisor::decode(bytes), Ok(message));
    assert_eq!(counts.refused.total(), 51);
    assert!(counts.to_string().ends_with("remaining=258 refused=51"));
}

#[test]
fn goes_on_with_orders_about_clients_that_come_from_a_sibling() {
    let now = Instant::now();
    let mut drains = Drains::default();
    let given = |id, scope| DrainOrder {
        given: 100,
        ..order(id, DrainKind::GoAway, scope)
    };
    let worker = DrainScope::Worker(Slot::new(1).unwrap());
    drains.obey(given(1, DrainScope::All), now, [], now);
    drains.obey(given(2, DrainScope::Client(8)), now, [], now);
    drains.obey(given(3, worker), now, [], now);
    drains.obey(shutdown(4), now, [], now);
    let known = Member {
        told: true,
        ..member(1)
    };
    drains.on_arrival(&known, 99, now);
    drains.on_arrival(&member(2), 100, now);
    drains.on_arrival(&member(3), 101, now);
    let remaining = [1, 2, 3, 4].map(|id| counts(&drains, id).remaining);
    assert_eq!(remaining, [2, 0, 0, 3]);
    assert_eq!(tell(&mut drains, now, |_| true), [2, 2, 3]);
    assert_eq!(counts(&drains, 1).told, 1, "that of the other was counted");
}

#[test]
fn counts_by_its_reason_who_could_not_move() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(shutdown(1), now, members(2), now);
    drains.on_refused(client(1), Stay::Replication);
    drains.on_refused(client(7), Stay::Replication);
    let refused = counts(&drains, 1).refused;
    assert_eq!((refused.replication, refused.total()), (1, 1));
}

#[test]
fn knows_who_is_told_for_a_reason_of_its_own() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(shutdown(1), now, members(2), now);
    drains.ask_due(now, || 0, |_| true);
    assert!(drains.is_due(client(1)) && !drains.is_asked(client(1)));
    drains.ask(client(1));
    assert!(drains.is_asked(client(1)) && !drains.is_asked(client(2)));
    drains.on_told(client(1));
    assert!(!drains.is_asked(client(1)));
    drains.ask(client(2));
    drains.on_left(client(2), Leaving::Moved);
    assert!(!drains.is_asked(client(2)) && !drains.has_due());
}

#[test]
fn keeps_who_is_told_for_a_reason_of_its_own_when_orders_are_withdrawn() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(2), now);
    drains.ask_due(now, || 0, |_| true);
    drains.ask(client(2));
    drains.stop();
    assert_eq!(drains.due(), [client(2)]);
}

#[test]
fn waits_in_the_book_for_those_who_move_to_be_seen_where_they_are() {
    let now = Instant::now();
    let mut book = DrainBook::default();
    book.give(&goaway(1), [1, 2].map(worker), now);
    let counted = |moved, remaining| Report {
        id: [1; 16],
        counts: Counts {
            moved,
            remaining,
            ..Counts::default()
        },
    };
    book.on_report(worker(1), &counted(1, 0));
    book.on_report(worker(2), &counted(0, 0));
    assert_eq!(book.poll_line(now), None);
    assert!(book.next_deadline().unwrap() > now);
    book.on_report(worker(2), &counted(0, 1));
    assert_eq!(book.poll_line(now + 4 * SECOND), None);
    book.on_report(worker(2), &counted(0, 0));
    assert_eq!(book.poll_line(now + 4 * SECOND), None);
    let line = book.poll_line(now + 8 * SECOND).unwrap();
    assert_eq!(line.stage, Stage::Ended);
}

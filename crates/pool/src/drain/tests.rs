//! Drains in virtual time, the supervisor's book, and recorded bytes.

mod moved;

use pgskein_protocol::key::Slot;

use super::*;
use crate::control::ToSupervisor;
use crate::ledger::WorkerId;
use crate::octets::Octets;
use crate::runtime::{Known, Order, RuntimeState};
use crate::slab::Id;

const SECOND: Duration = Duration::from_secs(1);

fn order(id: u8, kind: DrainKind, scope: DrainScope) -> DrainOrder {
    DrainOrder {
        id: [id; 16],
        kind,
        scope,
        given: 0,
        rate: 0,
        delay: Duration::ZERO,
        timeout: Duration::ZERO,
        kill_timeout: Duration::ZERO,
    }
}

fn goaway(id: u8) -> DrainOrder {
    order(id, DrainKind::GoAway, DrainScope::All)
}

fn shutdown(id: u8) -> DrainOrder {
    order(id, DrainKind::WaitForClients, DrainScope::All)
}

fn client(number: u32) -> ClientId {
    ClientId::new(number, 0)
}

/// Odd clients are of alice and the shop, even ones of bob and the bank.
fn member(number: u32) -> Member<'static> {
    let (database, user) = match number % 2 {
        0 => ("bank", "bob"),
        _ => ("shop", "alice"),
    };
    Member {
        id: client(number),
        number: number.into(),
        database,
        user,
        told: false,
    }
}

fn members(count: u32) -> impl Iterator<Item = Member<'static>> {
    (1..=count).map(member)
}

/// Everybody whose turn comes now is told.
fn tell(drains: &mut Drains, now: Instant, idle: impl Fn(ClientId) -> bool) -> Vec<u32> {
    let asked = drains.ask_due(now, || 1 << 31, idle);
    for id in &asked {
        drains.on_told(*id);
    }
    asked.into_iter().map(ClientId::index).collect()
}

fn counts(drains: &Drains, id: u8) -> Counts {
    let mut progress = drains.progress();
    progress
        .find_map(|(order, _, counts)| (order.id == [id; 16]).then_some(counts))
        .unwrap()
}

#[test]
fn covers_one_client_a_database_a_user_or_all() {
    let now = Instant::now();
    for (scope, expected) in [
        (DrainScope::All, vec![1, 2, 3]),
        (DrainScope::Client(3), vec![3]),
        (DrainScope::Database("shop".to_owned()), vec![1, 3]),
        (DrainScope::User("bob".to_owned()), vec![2]),
        (DrainScope::User("nobody".to_owned()), vec![]),
    ] {
        let mut drains = Drains::default();
        let given = order(1, DrainKind::GoAway, scope);
        let covered = drains.obey(given.clone(), now, members(3), now);
        assert_eq!(covered, u32::try_from(expected.len()).ok());
        assert_eq!(tell(&mut drains, now, |_| true), expected);
        assert_eq!(drains.obey(given, now, members(3), now), None, "once");
        assert_eq!(tell(&mut drains, now, |_| true), []);
    }
}

#[test]
fn asks_idle_clients_first_at_the_rate_and_not_in_one_rush_after_a_pause() {
    let now = Instant::now();
    let mut drains = Drains::default();
    let given = DrainOrder {
        rate: 10,
        ..goaway(1)
    };
    drains.obey(given, now, members(40), now);
    let idle = |id: ClientId| ClientId::index(id) > 30;
    let mut told = Vec::new();
    for step in 0..=100 {
        let turn = tell(&mut drains, now + step * SECOND / 100, idle);
        assert!(turn.len() <= 1, "{turn:?}");
        told.extend(turn);
    }
    // The first after a half of the interval, then one in each.
    assert_eq!(told, (31..=40).collect::<Vec<_>>());
    let later = tell(&mut drains, now + 10 * SECOND, idle);
    assert!((2..=4).contains(&later.len()), "{later:?}");
    assert!(drains.next_deadline(now + 10 * SECOND).is_some());
}

#[test]
fn spreads_turns_by_the_random_bits_around_the_rate() {
    let now = Instant::now();
    for (bits, fewest, most) in [(0, 19, 21), (u32::MAX, 5, 7)] {
        let mut drains = Drains::default();
        let given = DrainOrder {
            rate: 10,
            ..goaway(1)
        };
        drains.obey(given, now, members(40), now);
        let mut told = 0;
        for step in 0..=100 {
            told += drains
                .ask_due(now + step * SECOND / 100, || bits, |_| true)
                .len();
        }
        assert!((fewest..=most).contains(&told), "{told} with {bits:#x}");
    }
}

#[test]
fn asks_nobody_before_the_delay_is_over() {
    let now = Instant::now();
    let mut drains = Drains::default();
    let given = DrainOrder {
        timeout: SECOND,
        ..shutdown(1)
    };
    let since = now + 5 * SECOND;
    drains.obey(given, since, members(2), now);
    drains.on_login(&member(3), now + SECOND);
    assert_eq!(tell(&mut drains, now + 4 * SECOND, |_| true), []);
    assert_eq!(drains.next_deadline(now), Some(since));
    assert_eq!(drains.stops_at(), Some(since));
    assert_eq!(tell(&mut drains, since, |_| true), [1, 2, 3]);
    assert_eq!(drains.overdue(since), []);
    assert_eq!(drains.overdue(since + SECOND).len(), 3);
}

#[test]
fn waits_with_those_who_are_not_at_rest() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(2), now);
    let asked = drains.ask_due(now, || 0, |_| true);
    assert_eq!(asked, [client(1), client(2)]);
    drains.on_told(client(1));
    assert!(drains.has_due() && drains.is_due(client(2)) && !drains.is_due(client(1)));
    drains.on_silent(client(2));
    assert!(!drains.has_due());
    let told = Counts {
        told: 1,
        remaining: 2,
        ..Counts::default()
    };
    assert_eq!(counts(&drains, 1), told);
}

#[test]
fn covers_later_logins_by_a_shutdown_alone() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(1), now);
    drains.obey(shutdown(2), now, [], now);
    drains.on_login(&member(7), now);
    assert_eq!(counts(&drains, 1).remaining, 1);
    assert_eq!(counts(&drains, 2).remaining, 1);
    assert!(drains.is_shutdown());
}

#[test]
fn tells_a_client_once_whoever_covers_it() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(2), now);
    assert_eq!(tell(&mut drains, now, |_| true), [1, 2]);
    let known = members(3).map(|member| Member {
        told: member.number < 3,
        ..member
    });
    drains.obey(shutdown(2), now, known, now);
    assert_eq!(tell(&mut drains, now, |_| true), [3]);
    assert_eq!(counts(&drains, 2).told, 3);
}

#[test]
fn closes_by_the_earliest_deadline_that_covers_a_client() {
    let now = Instant::now();
    let mut drains = Drains::default();
    let soon = DrainOrder {
        timeout: SECOND,
        kill_timeout: 3 * SECOND,
        ..order(2, DrainKind::GoAway, DrainScope::Client(1))
    };
    let late = DrainOrder {
        timeout: 2 * SECOND,
        ..shutdown(1)
    };
    drains.obey(late, now, members(2), now);
    drains.obey(soon, now, members(2), now);
    let first = Overdue {
        client: client(1),
        at_once: false,
        shutdown: false,
    };
    assert_eq!(drains.overdue(now + SECOND / 2), []);
    assert_eq!(drains.overdue(now + SECOND), [first]);
    let both = drains.overdue(now + 3 * SECOND);
    let first = Overdue {
        at_once: true,
        shutdown: true,
        ..first
    };
    let second = Overdue {
        client: client(2),
        at_once: false,
        shutdown: true,
    };
    assert_eq!(both, [first, second]);
    assert!(!drains.ends_logins(now + 3 * SECOND));
}

#[test]
fn withdraws_what_was_not_done_and_keeps_a_shutdown() {
    let now = Instant::now();
    let mut drains = Drains::default();
    let given = DrainOrder {
        timeout: SECOND,
        ..goaway(1)
    };
    drains.obey(given.clone(), now, members(3), now);
    drains.ask_due(now, || 0, |_| true);
    drains.on_told(client(1));
    drains.stop();
    assert!(drains.is_empty() && !drains.has_due());
    assert_eq!(drains.overdue(now + 2 * SECOND), []);
    // A repeat of what was withdrawn changes nothing.
    assert_eq!(drains.obey(given, now, members(3), now), None);
    drains.obey(shutdown(2), now, members(3), now);
    drains.ask_due(now, || 0, |_| true);
    drains.stop();
    assert!(drains.is_due(client(3)));
}

#[test]
fn counts_how_clients_have_gone() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(5), now);
    tell(&mut drains, now, |_| true);
    for (number, how) in [
        (1, Leaving::ByItself),
        (2, Leaving::Moved),
        (3, Leaving::ClosedIdle),
        (4, Leaving::ClosedInTransaction),
        (4, Leaving::ByItself),
    ] {
        drains.on_left(client(number), how);
    }
    let expected = "told=5 left=1 moved=1 closed_idle=1 closed_in_transaction=1 remaining=1";
    assert_eq!(counts(&drains, 1).to_string(), expected);
}

#[test]
fn shows_an_order_for_a_while_after_its_end() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(1), now);
    drains.on_left(client(1), Leaving::ByItself);
    drains.forget_ended(now);
    assert!(!drains.is_busy());
    assert_eq!(counts(&drains, 1).left, 1);
    drains.forget_ended(now + SHOWN);
    assert!(drains.is_empty());
}

#[test]
fn reports_changes_once_a_second_and_the_end_at_once() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, members(3), now);
    assert_eq!(drains.poll_report(now).unwrap().counts.remaining, 3);
    drains.on_left(client(1), Leaving::ByItself);
    assert_eq!(drains.poll_report(now + SECOND / 2), None);
    assert_eq!(
        drains.poll_report(now + SECOND).unwrap().counts.remaining,
        2
    );
    drains.on_left(client(2), Leaving::ByItself);
    drains.on_left(client(3), Leaving::ByItself);
    assert_eq!(
        drains.poll_report(now + SECOND).unwrap().counts.remaining,
        0
    );
    assert_eq!(drains.poll_report(now + 9 * SECOND), None);
}

#[test]
fn reports_anew_to_whoever_knows_nothing_also_of_what_was_forgotten() {
    let now = Instant::now();
    let mut drains = Drains::default();
    drains.obey(goaway(1), now, [], now);
    drains.obey(goaway(2), now, members(1), now);
    while drains.poll_report(now).is_some() {}
    assert_eq!(drains.report_anew(), []);
    let mut again: Vec<Report> = Vec::new();
    again.extend(std::iter::from_fn(|| drains.poll_report(now)));
    assert_eq!(again, [report(1, 0, 0), report(2, 0, 1)]);
    drains.forget_ended(now);
    drains.forget_ended(now + SHOWN);
    assert_eq!(drains.report_anew(), [report(1, 0, 0)]);
    assert_eq!(drains.poll_report(now), Some(report(2, 0, 1)));
    assert_eq!(drains.poll_report(now), None);
}

fn worker(number: u8) -> WorkerId {
    WorkerId {
        slot: Slot::new(number).unwrap(),
        generation: 1,
        incarnation: number.into(),
    }
}

fn report(id: u8, told: u32, remaining: u32) -> Report {
    let counts = Counts {
        told,
        remaining,
        ..Counts::default()
    };
    Report {
        id: [id; 16],
        counts,
    }
}

#[test]
fn logs_what_has_changed_every_few_seconds_and_the_end() {
    let now = Instant::now();
    let mut book = DrainBook::default();
    let given = DrainOrder {
        timeout: 20 * SECOND,
        ..goaway(1)
    };
    assert!(book.give(&given, [worker(1), worker(2)], now));
    assert!(!book.give(&given, [worker(1)], now), "once");
    assert_eq!(book.poll_line(now), None);
    book.on_report(worker(1), &report(1, 2, 2));
    assert_eq!(book.poll_line(now + SECOND), None);
    let line = book.poll_line(now + 5 * SECOND).unwrap();
    assert_eq!((line.counts.told, line.stage), (2, Stage::UnderWay));
    assert_eq!(line.left, Some(15 * SECOND));
    assert_eq!(book.poll_line(now + 30 * SECOND), None, "nothing new");
    assert!(book.poll_line(now + 65 * SECOND).is_some());
    book.on_report(worker(1), &report(1, 2, 0));
    assert_eq!(book.poll_line(now + 66 * SECOND), None, "one is silent");
    assert_eq!(book.in_force().count(), 1);
    book.worker_died(worker(2));
    let line = book.poll_line(now + 66 * SECOND).unwrap();
    assert_eq!(line.stage, Stage::Ended);
    assert_eq!(book.in_force().count(), 0);
    assert_eq!(book.shown().count(), 1);
    assert_eq!(book.poll_line(now + 66 * SECOND + SHOWN), None);
    assert_eq!(book.shown().count(), 0);
}

#[test]
fn keeps_what_a_dead_worker_has_done_but_not_who_was_left_there() {
    let now = Instant::now();
    let mut book = DrainBook::default();
    book.give(&shutdown(1), [worker(1), worker(2)], now);
    book.on_report(worker(1), &report(1, 5, 3));
    book.worker_died(worker(1));
    let (_, _, gone) = book.shown().next().unwrap();
    assert_eq!((gone.told, gone.remaining), (5, 0));
    book.on_report(worker(2), &report(1, 1, 0));
    assert_eq!(book.poll_line(now + SECOND), None, "it ends with the group");
    let last = book.last_lines(now);
    assert_eq!(last[0].counts.told, 6);
}

#[test]
fn gives_newcomers_what_is_in_force_for_all() {
    let now = Instant::now();
    let mut book = DrainBook::default();
    let delayed = DrainOrder {
        delay: SECOND,
        ..goaway(1)
    };
    book.give(&delayed, [worker(1)], now);
    book.give_to(&shutdown(2), [worker(1)], now);
    let in_force: Vec<_> = book.in_force().collect();
    assert_eq!(in_force, [(&delayed, now + SECOND)]);
    let stopped = book.stop(now);
    assert_eq!(stopped[0].stage, Stage::Stopped);
    assert_eq!(book.in_force().count(), 0);
    book.worker_died(worker(1));
    let line = book.poll_line(now).unwrap();
    assert_eq!(line.order.id, [2; 16]);
    assert_eq!(line.stage, Stage::Ended);
}

#[test]
fn gives_an_order_to_one_worker_after_another_however_late() {
    let now = Instant::now();
    let mut book = DrainBook::default();
    for (number, at) in [(1, now), (2, now + SHOWN), (3, now + 3 * SHOWN)] {
        assert!(book.give_to(&shutdown(1), [worker(number)], at));
        book.on_report(worker(number), &report(1, 1, 0));
        assert!(book.poll_line(at).is_some());
    }
    assert_eq!(book.in_force().count(), 0);
}

#[test]
fn accepts_orders_to_go_away_and_rejects_others_in_their_place() {
    let known = |name: &str| match name {
        "shop" => Known::Database,
        _ => Known::Nothing,
    };
    let state = RuntimeState::default();
    for (scope, ok) in [("shop", true), ("gone", false)] {
        let given = order(1, DrainKind::GoAway, DrainScope::Database(scope.to_owned()));
        let given = Order::GoAway(given);
        assert_eq!(state.after(&given, known).is_ok(), ok, "{scope}");
        let mut out = Vec::new();
        given.encode(&mut out);
        assert_eq!(Order::take(&mut Octets(&out)), Ok(given));
        out[17] = 1;
        assert!(Order::take(&mut Octets(&out)).is_err(), "a shutdown");
    }
    let mut out = Vec::new();
    Order::GoAwayStop.encode(&mut out);
    assert_eq!(out, [11]);
    assert_eq!(Order::take(&mut Octets(&out)), Ok(Order::GoAwayStop));
}

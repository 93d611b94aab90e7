//! What orders change, who is answered when, and recorded bytes.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::ledger::WorkerId;
use pgskein_protocol::key::Slot;

fn known(name: &str) -> Known {
    match name {
        "pgskein" => Known::Console,
        "gone" => Known::Nothing,
        _ => Known::Database,
    }
}

fn database(name: &str) -> Scope {
    Scope::Database(name.to_owned())
}

/// The state after these orders.
fn state(orders: &[Order]) -> RuntimeState {
    orders.iter().fold(RuntimeState::default(), |state, order| {
        state.after(order, known).unwrap()
    })
}

fn error(orders: &[Order], last: &Order) -> String {
    let error = state(orders).after(last, known).unwrap_err();
    error.to_string()
}

fn worker(number: u8) -> WorkerId {
    WorkerId {
        slot: Slot::new(number).unwrap(),
        generation: 1,
        incarnation: number.into(),
    }
}

fn give(orders: &mut Orders<u8>, order: &Order, asker: u8, deadline: Option<Instant>) -> bool {
    orders.give(order, asker, known, [worker(1), worker(2)], deadline)
}

fn done() -> Outcome {
    Outcome::Done { silent: Vec::new() }
}

const PAUSE: Order = Order::Pause(Scope::All);
const RESUME: Order = Order::Resume(Scope::All);

/// Version 1 as it was first written; it never changes.
const SAMPLE: &[u8] = b"\x01\x01\x01\0\0\0\x01\0\0\0\x01b\0\0\0\x02\0\0\0\x01x\0\0\0\x02yz";

fn sample() -> RuntimeState {
    let mut paused = Databases::all();
    paused.remove("b");
    RuntimeState {
        activity: Activity::Paused,
        paused,
        disabled: ["x", "yz"].map(str::to_owned).into(),
    }
}

#[test]
fn writes_and_accepts_the_recorded_state_of_version_1() {
    let mut out = Vec::new();
    sample().encode(&mut out);
    assert_eq!(out, SAMPLE);
    assert_eq!(RuntimeState::decode(SAMPLE), Some(sample()));
    for end in 0..SAMPLE.len() {
        let prefix = RuntimeState::decode(SAMPLE.get(..end).unwrap());
        assert_eq!(prefix, None, "prefix of {end} bytes");
    }
    assert_eq!(RuntimeState::decode(b"\x02\0\0\0\0\0\0\0\0\0\0"), None);
}

#[test]
fn pauses_one_database_or_everything() {
    let some = state(&[Order::Pause(database("a"))]);
    assert!(some.is_paused("a") && !some.is_paused("b"));
    let all = state(&[Order::Pause(database("a")), PAUSE]);
    assert!(all.is_paused("b"));
    let rest = all.after(&RESUME, known).unwrap();
    assert!(rest.is_paused("a") && !rest.is_paused("b"));
    let none = rest.after(&Order::Resume(database("a")), known).unwrap();
    assert_eq!(none, RuntimeState::default());
}

#[test]
fn resumes_killed_databases_one_by_one_or_all() {
    let killed = state(&[Order::Kill(Scope::All)]);
    assert!(killed.is_paused("a"));
    let one = killed.after(&Order::Resume(database("a")), known).unwrap();
    assert!(!one.is_paused("a") && one.is_paused("b"));
    assert_eq!(one.after(&RESUME, known).unwrap(), RuntimeState::default());
}

#[test]
fn refuses_with_the_words_of_pgbouncer() {
    let suspend = Order::Suspend;
    let one = Order::Pause(database("a"));
    for (before, order, expected) in [
        (vec![PAUSE], PAUSE, "already suspended/paused"),
        (vec![PAUSE], one.clone(), "already suspended/paused"),
        (vec![PAUSE], suspend.clone(), "already suspended/paused"),
        (
            vec![suspend.clone()],
            Order::Kill(Scope::All),
            "already suspended/paused",
        ),
        (
            vec![one.clone()],
            suspend,
            "cannot suspend with paused databases",
        ),
        (vec![one], RESUME, "pooler is not paused/suspended"),
        (
            vec![PAUSE],
            Order::Resume(database("a")),
            "database a is not paused",
        ),
        (
            vec![],
            Order::Resume(database("gone")),
            "no such database: gone",
        ),
        (
            vec![],
            Order::Kill(database("gone")),
            "no such database: gone",
        ),
        (
            vec![],
            Order::Pause(database("pgskein")),
            "cannot pause admin db: pgskein",
        ),
        (
            vec![],
            Order::Enable("pgskein".to_owned()),
            "cannot enable admin db: pgskein",
        ),
    ] {
        assert_eq!(error(&before, &order), expected, "{order}");
    }
}

#[test]
fn enables_and_resumes_what_is_no_longer_configured() {
    let mut before = state(&[]);
    before.disabled.insert("gone".to_owned());
    before.paused.insert("gone");
    let enabled = before.after(&Order::Enable("gone".to_owned()), known);
    let resumed = enabled
        .unwrap()
        .after(&Order::Resume(database("gone")), known);
    assert_eq!(resumed, Ok(RuntimeState::default()));
}

#[test]
fn answers_when_every_living_worker_has_obeyed() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    assert!(give(&mut orders, &PAUSE, 7, None));
    let version = orders.version();
    orders.applied(worker(1), version, false);
    orders.applied(worker(1), version, false);
    assert_eq!(orders.poll_answer(now), None);
    orders.worker_died(worker(2));
    assert_eq!(orders.poll_answer(now), Some((7, done())));
    assert_eq!(orders.poll_answer(now), None);
}

#[test]
fn names_who_has_not_answered_in_time() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    let deadline = now + Duration::from_secs(5);
    assert!(give(
        &mut orders,
        &Order::Disable("a".to_owned()),
        7,
        Some(deadline)
    ));
    orders.applied(worker(1), 1, false);
    assert_eq!(orders.next_deadline(), Some(deadline));
    assert_eq!(orders.poll_answer(now), None);
    let silent = vec![worker(2).slot];
    let answer = orders.poll_answer(deadline);
    assert_eq!(answer, Some((7, Outcome::Done { silent })));
}

#[test]
fn ends_a_pause_that_another_console_takes_back() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    assert!(give(&mut orders, &PAUSE, 7, None));
    assert!(give(&mut orders, &RESUME, 8, None));
    let refused = Outcome::Refused(OrderError::NotPaused);
    assert_eq!(orders.poll_answer(now), Some((7, refused)));
    orders.applied(worker(1), 1, false);
    orders.applied(worker(2), 1, false);
    assert_eq!(orders.poll_answer(now), None, "of the first nobody asks");
    orders.applied(worker(1), 2, false);
    orders.applied(worker(2), 2, false);
    assert_eq!(orders.poll_answer(now), Some((8, done())));
}

#[test]
fn keeps_a_pause_of_one_database_in_force_that_another_lifts() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    assert!(give(&mut orders, &Order::Pause(database("a")), 7, None));
    assert!(give(&mut orders, &Order::Pause(database("b")), 8, None));
    assert!(give(&mut orders, &Order::Resume(database("b")), 9, None));
    let refused = Outcome::Refused(OrderError::DatabaseNotPaused("b".to_owned()));
    assert_eq!(orders.poll_answer(now), Some((8, refused)));
    assert_eq!(orders.poll_answer(now), None);
}

#[test]
fn finds_a_client_at_any_worker_or_says_that_there_is_none() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    for (found, expected) in [
        (true, done()),
        (false, Outcome::Refused(OrderError::NoSuchClient)),
    ] {
        assert!(give(&mut orders, &Order::KillClient(3), 7, None));
        let version = orders.version();
        orders.applied(worker(1), version, found);
        orders.applied(worker(2), version, false);
        assert_eq!(orders.poll_answer(now), Some((7, expected)));
    }
}

#[test]
fn lets_the_group_go_on_when_who_suspended_it_is_gone() {
    let mut orders = Orders::default();
    assert!(give(&mut orders, &Order::Suspend, 7, None));
    assert_eq!(orders.askers_gone(|asker| *asker == 8), None);
    assert_eq!(orders.askers_gone(|asker| *asker == 7), Some(RESUME));
    assert_eq!(orders.askers_gone(|asker| *asker == 7), None);
    assert!(give(&mut orders, &RESUME, 0, None));
    assert!(give(&mut orders, &PAUSE, 7, None));
    assert_eq!(orders.askers_gone(|asker| *asker == 7), None);
    assert!(orders.state().is_paused("a"), "PAUSE stays");
}

#[test]
fn takes_over_the_newest_state_and_nothing_that_stands_still() {
    let mut orders = Orders::<u8>::default();
    orders.inherit(3, state(&[PAUSE]));
    orders.inherit(2, RuntimeState::default());
    assert!(orders.state().is_paused("a"));
    assert_eq!(orders.version(), 3);
    orders.inherit(4, state(&[Order::Disable("a".to_owned()), Order::Suspend]));
    assert!(orders.state().is_disabled("a") && !orders.state().is_suspended());
}

#[test]
fn refuses_without_telling_the_workers() {
    let (mut orders, now) = (Orders::default(), Instant::now());
    assert!(!give(&mut orders, &RESUME, 7, None));
    assert_eq!(orders.version(), 0);
    let refused = Outcome::Refused(OrderError::NotPaused);
    assert_eq!(orders.poll_answer(now), Some((7, refused)));
}

proptest! {
    /// Whatever is ordered, done and lost, everybody who asks and stays is
    /// answered once.
    #[test]
    fn answers_everybody_once(steps in proptest::collection::vec((0..9_u8, 0..4_u8), 1..60)) {
        let (mut orders, now) = (Orders::default(), Instant::now());
        let (mut asked, mut gone, mut answered) = (0, BTreeSet::new(), Vec::new());
        let names = ["a", "b"];
        for (step, choice) in steps {
            let name = names[usize::from(choice) % 2];
            let scope = if choice < 2 { Scope::All } else { database(name) };
            let order = match step {
                0 => Order::Pause(scope),
                1 => Order::Resume(scope),
                2 => Order::Kill(scope),
                3 => Order::Suspend,
                4 => Order::WaitClose(scope),
                5 => Order::KillClient(1),
                6 => {
                    for version in 0..=orders.version() {
                        orders.applied(worker(choice % 2 + 1), version, true);
                    }
                    continue;
                }
                7 => {
                    orders.worker_died(worker(choice % 2 + 1));
                    continue;
                }
                _ => {
                    let leaver = asked / 2;
                    if let Some(next) = orders.askers_gone(|asker| *asker == leaver) {
                        give(&mut orders, &next, u8::MAX, None);
                    }
                    gone.insert(leaver);
                    continue;
                }
            };
            give(&mut orders, &order, asked, None);
            asked += 1;
            let state = orders.state().clone();
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            prop_assert_eq!(RuntimeState::decode(&bytes), Some(state));
            answered.extend(std::iter::from_fn(|| orders.poll_answer(now)));
        }
        orders.worker_died(worker(1));
        orders.worker_died(worker(2));
        answered.extend(std::iter::from_fn(|| orders.poll_answer(now)));
        for asker in 0..asked {
            let answers = answered.iter().filter(|(whom, _)| *whom == asker).count();
            prop_assert!(answers == 1 || answers == 0 && gone.contains(&asker), "{asker}: {answers}");
        }
    }
}

//! Moves in virtual time, and recorded bytes.

use super::*;
use crate::control;
use crate::slab::Id;

const SECOND: Duration = Duration::from_secs(1);

fn place(number: u8) -> Place {
    Place {
        slot: Slot::new(number).unwrap(),
        generation: 2,
    }
}

fn client(number: u32) -> ClientId {
    ClientId::new(number, 0)
}

/// A worker that leaves with so many clients.
fn leaving(count: u32) -> Moves {
    let mut moves = Moves::default();
    moves.succeed(Succession::To(place(1)));
    for number in 0..count {
        moves.join(client(number));
    }
    moves
}

fn offer_all(moves: &mut Moves) -> Vec<ClientId> {
    let mut offered = Vec::new();
    while let Some((id, _)) = moves.poll() {
        moves.on_offered(id);
        offered.push(id);
    }
    offered
}

#[test]
fn offers_no_more_at_once_than_agreed_and_the_next_when_one_is_decided() {
    let mut moves = leaving(MOST_IN_FLIGHT + 2);
    let offered = offer_all(&mut moves);
    assert_eq!(offered.len(), MOST_IN_FLIGHT as usize);
    assert!(!moves.has_turn() && moves.is_in_flight(offered[0]));
    moves.on_moved(offered[0]);
    assert!(moves.has_turn());
    assert_eq!(offer_all(&mut moves).len(), 1);
    assert_eq!(moves.counts().0, 1);
    assert!(!moves.is_settled());
}

#[test]
fn tries_a_busy_client_again_when_it_is_at_rest_or_seen_so() {
    let now = Instant::now();
    let mut moves = leaving(1);
    let id = client(0);
    assert_eq!(moves.poll(), Some((id, place(1))));
    assert_eq!(moves.on_stayed(id, Stay::Busy, now), Fate::Waits);
    assert!(moves.has_busy() && !moves.has_turn() && moves.is_settled());
    assert_eq!(moves.poll(), None);
    moves.on_rest(id);
    moves.on_rest(id);
    assert_eq!((moves.poll(), moves.poll()), (Some((id, place(1))), None));
    moves.on_stayed(id, Stay::Busy, now);
    moves.look_again(now);
    assert_eq!(moves.poll(), Some((id, place(1))));
    // However long that takes, it is not given up.
    assert_eq!(
        moves.on_stayed(id, Stay::Busy, now + 3600 * SECOND),
        Fate::Waits
    );
    assert!(moves.spares(id));
}

#[test]
fn offers_again_after_a_pause_what_was_refused_for_want_of_room() {
    let now = Instant::now();
    let mut moves = leaving(1);
    let id = client(0);
    for step in 0..50 {
        let now = now + step * PAUSE;
        moves.look_again(now);
        assert_eq!(moves.poll(), Some((id, place(1))), "step {step}");
        moves.on_offered(id);
        assert_eq!(moves.on_stayed(id, Stay::Full, now), Fate::Waits);
        assert_eq!(moves.next_deadline(), Some(now + PAUSE));
    }
    let now = now + PATIENCE;
    moves.look_again(now);
    moves.poll();
    assert_eq!(moves.on_stayed(id, Stay::Full, now), Fate::GivenUp);
    assert!(!moves.spares(id) && moves.is_settled());
    assert_eq!(moves.counts().1.full, 1);
    moves.join(id);
    assert!(!moves.is_wanted(id), "once and for good");
}

#[test]
fn gives_up_at_once_what_can_never_be_moved() {
    let now = Instant::now();
    let mut moves = leaving(3);
    for (number, why) in [(0, Stay::Tls), (1, Stay::Replication), (2, Stay::TooLarge)] {
        assert!(moves.spares(client(number)));
        assert_eq!(moves.on_stayed(client(number), why, now), Fate::GivenUp);
        assert!(!moves.spares(client(number)));
    }
    assert_eq!(moves.counts().1.total(), 3);
    assert_eq!(moves.poll(), None);
    assert!(moves.is_empty());
}

#[test]
fn spares_everybody_while_a_successor_is_expected_and_nobody_without_one() {
    let mut moves = Moves::default();
    let id = client(1);
    assert!(!moves.spares(id));
    moves.succeed(Succession::Expected);
    moves.join(id);
    assert!(moves.spares(id) && moves.is_empty());
    moves.succeed(Succession::To(place(2)));
    moves.join(id);
    assert!(moves.has_turn());
    moves.succeed(Succession::Nobody);
    assert!(moves.is_empty() && !moves.has_turn() && !moves.spares(id));
}

#[test]
fn answers_a_console_when_its_client_is_moved_or_stays_or_leaves() {
    let now = Instant::now();
    for (how, answer) in [
        (None, MoveAnswer::Moved(1)),
        (Some(Stay::Tls), MoveAnswer::Stayed(Stay::Tls)),
        (Some(Stay::Left), MoveAnswer::Stayed(Stay::Left)),
    ] {
        let mut moves = Moves::default();
        let id = client(5);
        moves.ask(9, id, place(2));
        assert_eq!(moves.poll_answer(), Some((9, MoveAnswer::Here)));
        assert_eq!(moves.poll(), Some((id, place(2))));
        moves.on_offered(id);
        assert_eq!(moves.poll_answer(), None);
        moves.ask(10, id, place(3));
        let twice = MoveAnswer::Stayed(Stay::Moving);
        assert_eq!(moves.poll_answer(), Some((10, twice)));
        match how {
            None => moves.on_moved(id),
            Some(Stay::Left) => moves.on_left(id),
            Some(why) => assert_eq!(moves.on_stayed(id, why, now), Fate::GivenUp),
        }
        assert_eq!(moves.poll_answer(), Some((9, answer)));
        assert_eq!((moves.poll_answer(), moves.is_empty()), (None, true));
        assert_eq!(moves.counts(), (0, Refused::default()), "nobody has left");
    }
}

#[test]
fn moves_a_client_to_the_successor_that_cannot_go_where_a_console_wants_it() {
    let now = Instant::now();
    let mut moves = leaving(1);
    moves.ask(9, client(0), place(7));
    assert_eq!(moves.poll(), Some((client(0), place(7))));
    moves.on_stayed(client(0), Stay::Other, now);
    assert_eq!(moves.poll(), Some((client(0), place(1))));
}

#[test]
fn gives_so_many_as_can_be_moved_in_time() {
    let now = Instant::now();
    let mut moves = Moves::default();
    moves.give(9, place(2), [1, 2].map(client), now + SECOND);
    moves.give(9, place(3), [3, 3].map(client), now + SECOND);
    assert_eq!(moves.poll_answer(), None);
    assert_eq!(offer_all(&mut moves).len(), 3);
    moves.on_moved(client(1));
    moves.on_moved(client(3));
    moves.on_stayed(client(2), Stay::Busy, now);
    assert_eq!(moves.poll_answer(), None);
    assert_eq!(moves.next_deadline(), Some(now + SECOND));
    moves.look_again(now + SECOND);
    assert_eq!(moves.poll_answer(), Some((9, MoveAnswer::Moved(2))));
    assert!(moves.is_empty() && !moves.has_busy());
    moves.give(10, place(2), [], now);
    assert_eq!(moves.poll_answer(), Some((10, MoveAnswer::Moved(0))));
}

#[test]
fn writes_and_accepts_the_recorded_frames_of_moves() {
    let to_worker: [(ToWorker, &[u8]); 5] = [
        (
            ToWorker::Succession(Succession::Nobody),
            b"\0\0\0\x04\x01\x91\0\0",
        ),
        (
            ToWorker::Succession(Succession::Expected),
            b"\0\0\0\x04\x01\x91\0\x01",
        ),
        (
            ToWorker::Succession(Succession::To(place(3))),
            b"\0\0\0\x09\x01\x91\0\x02\x03\0\0\0\x02",
        ),
        (
            ToWorker::Client {
                number: 1,
                client: 258,
                to: place(3),
            },
            b"\0\0\0\x18\x01\x92\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\x03\0\0\0\x02",
        ),
        (
            ToWorker::Give {
                number: 1,
                gifts: vec![(place(3), 5)],
            },
            b"\0\0\0\x18\x01\x93\0\0\0\0\0\0\0\0\x01\0\0\0\x01\x03\0\0\0\x02\0\0\0\x05",
        ),
    ];
    for (message, bytes) in to_worker {
        let message = control::ToWorker::Move(message);
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{message:?}");
        assert_eq!(control::ToWorker::decode(bytes), Ok(message));
    }
    let answers: [(MoveAnswer, &[u8]); 4] = [
        (
            MoveAnswer::NotHere,
            b"\0\0\0\x0c\x01\x47\0\0\0\0\0\0\0\0\x01\0",
        ),
        (
            MoveAnswer::Here,
            b"\0\0\0\x0c\x01\x47\0\0\0\0\0\0\0\0\x01\x01",
        ),
        (
            MoveAnswer::Moved(5),
            b"\0\0\0\x10\x01\x47\0\0\0\0\0\0\0\0\x01\x02\0\0\0\x05",
        ),
        (
            MoveAnswer::Stayed(Stay::TooLarge),
            b"\0\0\0\x0d\x01\x47\0\0\0\0\0\0\0\0\x01\x03\x04",
        ),
    ];
    for (answer, bytes) in answers {
        let message = control::ToSupervisor::Move(FromWorker::Answer { number: 1, answer });
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{message:?}");
        assert_eq!(control::ToSupervisor::decode(bytes), Ok(message));
    }
}

#[test]
fn keeps_every_reason_by_its_code_and_takes_new_ones_for_others() {
    for code in 1..=10 {
        assert_eq!(Stay::of_code(code).code(), code);
    }
    assert_eq!(Stay::of_code(99), Stay::Other);
}

use std::time::Duration;

use super::host::{MOST_OF_ONE_SOURCE, MOST_WAITING, PATIENCE};
use super::*;

/// Peers 2 and 3 of host 1; peer 2 may be sent `pool_size` requests at once.
fn peers(pool_size: u32) -> Peers<u32> {
    let mut peers = Peers::new(Identity::new(Some(1)));
    let gone = peers.configure(Some(1), [(2, pool_size), (3, 1)].into_iter());
    assert_eq!(gone, []);
    peers
}

fn request(waiter: u32, source: [u8; 4], now: Instant) -> Request<u32> {
    Request {
        process_id: 0x0102_0009,
        secret: vec![1, 2, 3, 0xff],
        source: Some(source.into()),
        deadline: now + Duration::from_secs(10),
        looked_up: false,
        waiter,
    }
}

fn start(peers: &mut Peers<u32>) -> Option<(Ticket, u32)> {
    let (ticket, request) = peers.poll_start(2, 1)?;
    Some((ticket, request.waiter))
}

const A: [u8; 4] = [10, 0, 0, 1];
const B: [u8; 4] = [10, 0, 0, 2];

#[test]
fn counts_a_hop_for_each_request_and_refuses_those_that_have_none_left() {
    let now = Instant::now();
    let mut peers = peers(9);
    for (before, after) in [(0xff, 0xfe), (0xfe, 0xfd), (0x01, 0x00)] {
        let mut request = request(1, A, now);
        request.secret = vec![7, 7, 7, before];
        assert_eq!(peers.submit(2, request), Ok(()));
        let (_, sent) = peers.poll_start(2, 1).unwrap();
        assert_eq!(sent.secret, [7, 7, 7, after]);
    }
    let mut used_up = request(4, A, now);
    used_up.secret = vec![7, 7, 7, 0xfc];
    assert_eq!(peers.submit(2, used_up), Err((Refused::HopsUsedUp, 4)));
}

#[test]
fn keeps_secrets_of_any_length_whole() {
    let now = Instant::now();
    let mut peers = peers(1);
    let mut long = request(1, A, now);
    long.secret = vec![0xff; 256];
    peers.submit(2, long).unwrap();
    let (_, sent) = peers.poll_start(2, 1).unwrap();
    assert_eq!(sent.secret[..255], [0xff; 255]);
    assert_eq!(sent.secret[255], 0xfe);
}

#[test]
fn has_as_many_on_their_way_as_there_are_places() {
    let now = Instant::now();
    let mut peers = peers(2);
    for waiter in 0..3 {
        peers.submit(2, request(waiter, A, now)).unwrap();
    }
    let (first, _) = start(&mut peers).unwrap();
    assert!(start(&mut peers).is_some());
    assert_eq!(start(&mut peers), None);
    peers.on_sent(2, first, now);
    peers.on_ended(2, first, None, now);
    assert_eq!(start(&mut peers).unwrap().1, 2);
    let host = peers.host(2).unwrap();
    assert_eq!((host.waiting(), host.under_way()), (0, (2, 0)));
    assert_eq!(host.counts(), Counts { sent: 1, failed: 0 });
    assert_eq!(host.succeeded(), Some(now));
}

#[test]
fn shares_the_places_with_the_other_workers_and_keeps_one() {
    let now = Instant::now();
    for (pool_size, sharers, places) in [(20, 4, 5), (3, 2, 1), (1, 8, 1)] {
        let mut peers = peers(pool_size);
        for waiter in 0..9 {
            peers.submit(2, request(waiter, A, now)).unwrap();
        }
        let started = (0..9).filter(|_| peers.poll_start(2, sharers).is_some());
        assert_eq!(started.count(), places, "{pool_size} for {sharers}");
    }
}

#[test]
fn serves_sources_in_turn_however_many_one_of_them_sends() {
    let now = Instant::now();
    let mut peers = peers(2);
    for waiter in 0..100 {
        peers.submit(2, request(waiter, A, now)).unwrap();
    }
    let (ticket, first) = start(&mut peers).unwrap();
    let (_, second) = start(&mut peers).unwrap();
    assert_eq!((first, second), (0, 1));
    peers.submit(2, request(500, B, now)).unwrap();
    peers.on_ended(2, ticket, None, now);
    assert_eq!(start(&mut peers).unwrap().1, 500);
}

#[test]
fn refuses_more_than_may_wait() {
    let now = Instant::now();
    let mut peers = peers(1);
    for waiter in (0..).take(MOST_OF_ONE_SOURCE) {
        peers.submit(2, request(waiter, A, now)).unwrap();
    }
    let crowded = peers.submit(2, request(9, A, now));
    assert_eq!(crowded, Err((Refused::Crowded, 9)));
    for waiter in (600..).take(MOST_WAITING - MOST_OF_ONE_SOURCE) {
        peers.submit(2, request(waiter, B, now)).unwrap();
    }
    assert_eq!(peers.submit(3, request(9, A, now)), Ok(()));
    assert_eq!(
        peers.submit(4, request(9, A, now)),
        Err((Refused::NoPeer, 9))
    );
}

#[test]
fn refuses_those_of_whom_most_wait_when_there_is_no_room() {
    let now = Instant::now();
    let mut peers = peers(1);
    let each = u32::try_from(MOST_WAITING / 2).unwrap();
    for waiter in 0..each {
        peers.submit(2, request(waiter, A, now)).unwrap();
    }
    for waiter in each..2 * each - 1 {
        peers.submit(2, request(waiter, B, now)).unwrap();
    }
    const C: [u8; 4] = [10, 0, 0, 3];
    peers.submit(2, request(5000, C, now)).unwrap();
    // The newest of A, of which there are more, make room.
    for (waiter, refused) in [(5001, each - 1), (5002, 2 * each - 2), (5003, each - 2)] {
        let crowded = peers.submit(2, request(waiter, C, now));
        assert_eq!(crowded, Err((Refused::Crowded, refused)));
    }
    assert_eq!(peers.host(2).unwrap().waiting(), MOST_WAITING);
    assert_eq!(peers.host(2).unwrap().counts().failed, 3);
    let (_, first) = start(&mut peers).unwrap();
    let (second, third) = {
        let host = peers.hosts.get_mut(&2).unwrap();
        host.pool_size = 3;
        (start(&mut peers).unwrap().1, start(&mut peers).unwrap().1)
    };
    assert_eq!((first, second, third), (0, each, 5000));
}

#[test]
fn takes_no_secret_that_no_key_can_have() {
    let now = Instant::now();
    let mut peers = peers(1);
    for length in 0..4 {
        let mut short = request(1, A, now);
        short.secret = vec![0xff; length];
        assert_eq!(peers.submit(2, short), Err((Refused::NoSecret, 1)));
    }
    let host = peers.host(2).unwrap();
    assert_eq!((host.waiting(), host.counts().failed), (0, 0));
    assert!(!host.is_failing());
}

#[test]
fn gives_the_place_of_one_without_an_answer_to_one_that_waits() {
    let now = Instant::now();
    let mut peers = peers(1);
    peers.submit(2, request(1, A, now)).unwrap();
    let (ticket, _) = start(&mut peers).unwrap();
    peers.on_sent(2, ticket, now);
    let later = now + PATIENCE;
    assert_eq!(peers.poll_yield(2, 1, later), None, "nobody waits");
    peers.submit(2, request(2, A, now)).unwrap();
    assert_eq!(peers.poll_yield(2, 1, now), None, "it was sent just now");
    assert_eq!(peers.poll_yield(2, 1, later), Some(ticket));
    peers.on_ended(2, ticket, Some("no answer".to_owned()), later);
    assert_eq!(start(&mut peers).unwrap().1, 2);
}

#[test]
fn forgets_those_who_wait_too_long_and_says_so() {
    let now = Instant::now();
    let mut peers = peers(1);
    peers.submit(2, request(1, A, now)).unwrap();
    let _under_way = start(&mut peers).unwrap();
    peers.submit(2, request(2, A, now)).unwrap();
    assert_eq!(peers.expire(now), []);
    assert_eq!(peers.waited_for(), [2]);
    let late = now + Duration::from_secs(10);
    assert_eq!(peers.expire(late), [2]);
    assert_eq!(peers.waited_for(), []);
    let failed = peers.host(2).unwrap().failed().unwrap();
    assert_eq!(failed.at, late);
}

#[test]
fn begins_with_another_address_after_a_failure_and_tries_each_request_anew() {
    let now = Instant::now();
    let mut peers = peers(1);
    let order = |peers: &Peers<u32>| peers.host(2).unwrap().in_turn(&["a", "b", "c"]);
    assert_eq!(order(&peers), ["a", "b", "c"]);
    peers.submit(2, request(1, A, now)).unwrap();
    let (ticket, _) = start(&mut peers).unwrap();
    peers.on_ended(2, ticket, Some("connection refused".to_owned()), now);
    assert_eq!(order(&peers), ["b", "c", "a"]);
    assert_eq!(peers.host(2).unwrap().in_turn::<u8>(&[]), [0_u8; 0]);
    peers.submit(2, request(2, A, now)).unwrap();
    assert_eq!(start(&mut peers).unwrap().1, 2);
}

#[test]
fn begins_with_the_address_that_could_be_reached_last() {
    let now = Instant::now();
    let mut peers = peers(2);
    let order = |peers: &Peers<u32>| peers.host(2).unwrap().in_turn(&["dead", "alive"]);
    for waiter in 0..3 {
        peers.submit(2, request(waiter, A, now)).unwrap();
    }
    // Two find out at the same time.
    let both = [(); 2].map(|()| start(&mut peers).unwrap().0);
    for ticket in both {
        peers.on_unreachable(2, ticket);
        assert_eq!(order(&peers), ["alive", "dead"]);
    }
    for ticket in both {
        peers.on_ended(2, ticket, None, now);
    }
    assert_eq!(order(&peers), ["alive", "dead"]);
    let (ticket, _) = start(&mut peers).unwrap();
    peers.on_unreachable(2, ticket);
    assert_eq!(order(&peers), ["dead", "alive"]);
}

#[test]
fn puts_one_back_before_the_others() {
    let now = Instant::now();
    let mut peers = peers(1);
    peers.submit(2, request(1, A, now)).unwrap();
    peers.submit(2, request(2, A, now)).unwrap();
    let (ticket, first) = peers.poll_start(2, 1).unwrap();
    assert_eq!(peers.put_back(2, ticket, first.clone()), Ok(()));
    let (_, again) = peers.poll_start(2, 1).unwrap();
    assert_eq!(again, first);
    assert_eq!(peers.put_back(4, ticket, first), Err(1));
}

#[test]
fn keeps_what_it_knows_of_a_peer_over_a_reload() {
    let now = Instant::now();
    let mut peers = peers(1);
    for (id, waiter) in [(2, 1), (3, 2)] {
        peers.submit(id, request(waiter, A, now)).unwrap();
    }
    let gone = peers.configure(Some(1), [(2, 7), (4, 1)].into_iter());
    assert_eq!(gone, [2]);
    assert_eq!(peers.host(2).unwrap().waiting(), 1);
    assert_eq!(peers.fail_waiting(2, "no address", now), [1]);
    assert!(peers.host(3).is_none());
    assert_eq!(peers.route(0x0104_0000), Route::Peer(4));
}

#[test]
fn counts_what_others_have_forwarded() {
    let mut peers = peers(1);
    peers.on_received(Some(2));
    peers.on_received(None);
    peers.on_received(None);
    assert_eq!((peers.received(Some(2)), peers.received(None)), (1, 2));
    assert_eq!(peers.received(Some(3)), 0);
}

use super::recall::{QUANTUM_TRANSACTIONS, UNUSED};
use pgskein_protocol::key::Slot;

use super::*;
use crate::slab::Id;

fn pool() -> Pool {
    let config = pgskein_config::Config::default();
    Pool::new(
        PoolKey {
            database: "shop".to_owned(),
            user: "alice".to_owned(),
        },
        config.pool("shop", "alice"),
    )
}

fn client(number: u32) -> ClientId {
    ClientId::new(number, 0)
}

fn server(number: u32) -> ServerId {
    ServerId::new(number, 0)
}

#[test]
fn lends_the_server_that_was_released_last() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.free(server(1), now);
    pool.free(server(2), now);
    assert_eq!(
        pool.request(client(1), false, None, now),
        Request::Link(server(2))
    );
    assert_eq!(
        pool.request(client(2), true, None, now),
        Request::Link(server(1))
    );
    assert_eq!(pool.request(client(3), false, None, now), Request::Wait);
}

#[test]
fn serves_the_client_that_waited_longest() {
    let (mut pool, now) = (pool(), Instant::now());
    for number in 1..=3 {
        assert_eq!(
            pool.request(client(number), false, None, now),
            Request::Wait
        );
    }
    pool.forget_client(client(1));
    assert_eq!(pool.free(server(1), now), Free::Link(client(2)));
    assert_eq!(pool.free(server(1), now), Free::Link(client(3)));
    assert_eq!(pool.free(server(1), now), Free::Idle);
}

#[test]
fn tests_a_server_that_was_idle_for_long() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.free(server(1), now);
    let later = now + Duration::from_secs(31);
    let stale = Some(now + Duration::from_secs(1));
    assert_eq!(
        pool.request(client(1), false, stale, later),
        Request::Test(server(1))
    );
    pool.on_opened();
    assert_eq!(pool.free(server(1), later), Free::Link(client(1)));
}

#[test]
fn asks_for_as_many_servers_as_clients_wait_for() {
    let (mut pool, now) = (pool(), Instant::now());
    let retry = Duration::from_secs(15);
    for number in 0..3 {
        pool.request(client(number), false, None, now);
    }
    assert_eq!(pool.poll_wanted(retry, now), Some((3, Duration::ZERO)));
    assert_eq!(pool.poll_wanted(retry, now), None);
    assert!(pool.on_grant());
    assert_eq!(pool.poll_wanted(retry, now), None);
}

#[test]
fn tells_how_many_wait_whatever_the_pool_may_have() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.settings.pool_size = 2;
    for number in 0..9 {
        pool.request(client(number), false, None, now);
    }
    assert_eq!(
        pool.poll_wanted(Duration::ZERO, now),
        Some((9, Duration::ZERO))
    );
}

#[test]
fn tells_of_changes_that_matter_and_of_no_others() {
    let (mut pool, mut now) = (pool(), Instant::now());
    for number in 0..8 {
        pool.request(client(number), false, None, now);
    }
    pool.on_ordered();
    pool.on_opened();
    assert_eq!(
        pool.poll_wanted(Duration::ZERO, now).map(|told| told.0),
        Some(8)
    );
    now += Duration::from_millis(9);
    for number in 8..10 {
        pool.request(client(number), false, None, now);
    }
    assert!(!pool.unreported(Duration::ZERO, now));
    let later = now + Duration::from_millis(2);
    assert!(pool.unreported(Duration::ZERO, later), "the wait matters");
    pool.request(client(10), false, None, now);
    assert_eq!(
        pool.poll_wanted(Duration::ZERO, now).map(|told| told.0),
        Some(11)
    );
}

#[test]
fn tells_at_once_since_when_its_clients_wait_when_it_has_no_server_left() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.on_ordered();
    pool.on_opened();
    pool.request(client(0), false, None, now);
    let soon = now + Duration::from_millis(1);
    for number in 1..4 {
        pool.request(client(number), false, None, soon);
    }
    pool.poll_wanted(Duration::ZERO, soon);
    let later = soon + Duration::from_millis(3);
    pool.request(client(4), false, None, later);
    assert_eq!(pool.free(server(1), later), Free::Link(client(0)));
    assert_eq!(pool.poll_wanted(Duration::ZERO, later), None);
    pool.on_returned();
    assert_eq!(
        pool.poll_wanted(Duration::ZERO, later),
        Some((4, Duration::from_millis(3)))
    );
}

#[test]
fn tells_when_its_oldest_client_has_waited_for_the_reserve() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.settings.reserve_pool_size = 1;
    pool.on_ordered();
    pool.on_opened();
    pool.greet_later(client(1), now);
    pool.poll_wanted(Duration::ZERO, now);
    let timeout = pool.settings.reserve_pool_timeout;
    let soon = timeout - Duration::from_millis(10);
    let told = pool.poll_wanted(Duration::ZERO, now + soon);
    assert_eq!(told, Some((1, soon)));
    let still = timeout - Duration::from_millis(1);
    assert_eq!(pool.poll_wanted(Duration::ZERO, now + still), None);
    let told = pool.poll_wanted(Duration::ZERO, now + timeout);
    assert_eq!(told, Some((1, timeout)));
}

#[test]
fn goes_on_asking_when_postgresql_has_too_many_connections() {
    let (mut pool, now) = (pool(), Instant::now());
    let retry = Duration::from_secs(15);
    pool.request(client(1), false, None, now);
    pool.poll_wanted(retry, now);
    assert!(pool.on_grant());
    pool.on_refused();
    pool.on_returned();
    assert!(pool.failure(retry, now).is_none());
    assert_eq!(pool.poll_wanted(retry, now), Some((1, Duration::ZERO)));
}

#[test]
fn remembers_what_went_wrong_while_somebody_waits() {
    let (mut pool, now) = (pool(), Instant::now());
    let [failed, refused] = ["08006", "53300"].map(|sqlstate| Failure {
        sqlstate: sqlstate.to_owned(),
        message: "not now".to_owned(),
    });
    pool.on_open_failed(Some(failed.clone()), now);
    assert_eq!(pool.trouble_since(now), Some(&failed));
    let later = now + Duration::from_millis(1);
    assert_eq!(pool.trouble_since(later), None);
    pool.on_too_many(refused.clone(), later);
    assert_eq!(pool.trouble_since(now), Some(&refused));
    pool.on_opened();
    assert_eq!(pool.trouble_since(now), None);
}

#[test]
fn says_whether_it_has_clients_where_that_matters() {
    let mut pool = pool();
    assert_eq!(pool.poll_in_use(true), None);
    pool.settings.min_pool_size = 1;
    assert_eq!(pool.poll_in_use(true), Some(true));
    assert_eq!(pool.poll_in_use(true), None);
    assert_eq!(pool.poll_in_use(false), Some(false));
}

#[test]
fn gives_back_a_lease_that_nobody_waits_for() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.request(client(1), false, None, now);
    pool.poll_wanted(Duration::ZERO, now);
    pool.forget_client(client(1));
    assert!(!pool.on_grant());
    assert_eq!(pool.held, 0);
}

#[test]
fn asks_for_nothing_while_a_failure_is_fresh() {
    let (mut pool, now) = (pool(), Instant::now());
    let retry = Duration::from_secs(15);
    pool.request(client(1), false, None, now);
    pool.poll_wanted(retry, now);
    pool.on_grant();
    let failure = Failure {
        sqlstate: "08006".to_owned(),
        message: "connect failed".to_owned(),
    };
    pool.on_open_failed(Some(failure), now);
    pool.on_returned();
    assert_eq!(pool.poll_wanted(retry, now), None);
    assert!(pool.failure(retry, now).is_some());
    let later = now + retry;
    assert_eq!(
        pool.poll_wanted(retry, later).map(|(wanted, _)| wanted),
        Some(1)
    );
}

fn closed(number: u32) -> GivenUp {
    GivenUp {
        server: server(number),
        to: None,
    }
}

#[test]
fn gives_servers_to_those_who_want_them_in_order_and_to_nobody_after_the_recall() {
    let (mut pool, now) = (pool(), Instant::now());
    let worker = |incarnation| WorkerId {
        slot: Slot::new(1).unwrap(),
        generation: 1,
        incarnation,
    };
    pool.free(server(1), now);
    pool.on_lend([1, 2, 3].map(worker).to_vec());
    let given = pool.on_recall(3, 0, now);
    assert_eq!(given.len(), 1);
    assert_eq!(given[0].to, Some(worker(1)));
    assert_eq!(pool.free(server(2), now), Free::GiveUp(Some(worker(2))));
    // One that has come serves who waits for it before it is given up.
    pool.request(client(1), false, None, now);
    pool.on_taken();
    assert_eq!(pool.free_new(server(3), now), Free::Link(client(1)));
    pool.on_taken();
    assert_eq!(pool.free_new(server(4), now), Free::GiveUp(Some(worker(3))));
    assert_eq!(pool.free(server(5), now), Free::Idle);
    pool.on_lend([1, 2].map(worker).to_vec());
    pool.on_recall(0, 0, now);
    assert_eq!(pool.on_recall(1, 0, now), [closed(5)]);
}

#[test]
fn gives_up_idle_servers_at_once_and_busy_ones_after_a_quantum() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.free(server(1), now);
    assert_eq!(pool.on_recall(2, 0, now), [closed(1)]);
    for number in 0..20 {
        pool.request(client(number), false, None, now);
    }
    for _ in 0..QUANTUM_TRANSACTIONS {
        assert!(matches!(pool.free(server(2), now), Free::Link(_)));
    }
    assert_eq!(pool.free(server(2), now), Free::GiveUp(None));
    assert!(matches!(pool.free(server(3), now), Free::Link(_)));
}

#[test]
fn keeps_its_servers_when_a_recall_is_withdrawn() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.on_recall(1, 0, now);
    pool.on_recall(0, 0, now);
    assert_eq!(pool.free(server(1), now), Free::Idle);
}

#[test]
fn gives_up_servers_that_were_unused_for_long() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.free(server(1), now);
    let later = now + UNUSED;
    pool.free(server(2), later);
    assert_eq!(pool.on_recall(0, 2, later), [closed(1)]);
    assert_eq!(pool.poll_unused(later), []);
    assert_eq!(pool.free(server(3), later), Free::Idle);
    let late = later + UNUSED;
    assert_eq!(pool.poll_unused(late), [closed(2)]);
    assert_eq!(pool.poll_unused(late), [], "two were enough");
}

#[test]
fn goes_on_with_a_quantum_when_a_recall_is_repeated() {
    let (mut pool, now) = (pool(), Instant::now());
    pool.on_recall(1, 0, now);
    for number in 0..20 {
        pool.request(client(number), false, None, now);
    }
    for _ in 0..QUANTUM_TRANSACTIONS {
        pool.on_recall(2, 0, now);
        assert!(matches!(pool.free(server(2), now), Free::Link(_)));
    }
    assert_eq!(pool.free(server(2), now), Free::GiveUp(None));
}

#[test]
fn retires_old_servers_one_after_the_other() {
    let (mut pool, now) = (pool(), Instant::now());
    assert!(pool.may_retire(now));
    assert!(!pool.may_retire(now));
    let spread = pool.settings.server_lifetime / pool.settings.pool_size;
    assert!(pool.may_retire(now + spread));
}

//! Few connections and many who want them: everybody gets a turn.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stop, wait_for, within};

/// Connections of the pooler, for a sampler.
const OPEN: &str = "select count(*) from pg_stat_activity \
                    where backend_type = 'client backend' and application_name <> 'direct'";

#[test]
fn one_connection_serves_32_clients_of_four_workers_alike() {
    let postgres = Postgres::start();
    let settings = "workers = 4\npool_mode = transaction\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let logins: Vec<Login> = (0..32).map(|_| Login::new()).collect();
    let served = served_within(&postgres, &pooler, &logins, Duration::from_secs(8), 1);
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    println!("served in 8 s, by one connection: {least} to {most} of each of 32 clients");
    assert!(*least > 0, "somebody starved: {served:?}");
}

#[test]
fn three_pools_share_the_connections_of_a_database() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 4\n\
                    max_db_connections = 4";
    let pooler = Pooler::start(&postgres, settings);
    let users = [("alice", 12), ("bob", 6), ("carol", 2)];
    let logins = users.iter().flat_map(|(user, count)| {
        let login = Login::new().user(user);
        (0..*count).map(move |_| login.clone())
    });
    let logins: Vec<Login> = logins.collect();
    let served = served_within(&postgres, &pooler, &logins, Duration::from_secs(5), 4);
    println!("served in 5 s, by four connections: {served:?}");
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
}

#[test]
fn idle_connection_of_another_pool_gives_way() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nmax_db_connections = 1";
    let pooler = Pooler::start(&postgres, settings);
    let alice = pooler.connect_as(&Login::new().user("alice"));
    alice.value("select 1");
    let started = Instant::now();
    let bob = pooler.connect_as(&Login::new().user("bob"));
    assert_eq!(bob.value("select current_user"), "bob");
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!(alice.value("select current_user"), "alice");
}

#[test]
fn connections_of_a_killed_worker_are_cancelled_by_a_sibling_and_come_back_soon() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 2\n\
                    lease_linger = 25";
    let pooler = Pooler::start(&postgres, settings);
    let victims = [pooler.connect_to_worker(1), pooler.connect_to_worker(1)];
    let other = pooler.connect_to_worker(2);
    let never_answered = victims.each_ref().map(|victim| victim.start_long_query());
    assert_eq!(postgres.busy_connections(), 2);
    let killed = Instant::now();
    pooler.worker(1).signal(Signal::SIGKILL);
    // The whole pool can be used again long before the linger is over.
    let third = pooler.connect_to_worker(2);
    assert_eq!(other.query("begin"), Ok(Vec::new()));
    assert_eq!(third.query("begin"), Ok(Vec::new()));
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(postgres.busy_connections(), 0, "the queries go on");
    for query in never_answered {
        assert_eq!(query.wait(), Err(SqlState::CLOSED));
    }
}

#[test]
fn reserve_opens_for_who_waits_long_and_closes_again() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 1\n\
                    reserve_pool_size = 1\nreserve_pool_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    let clients = [1, 2, 1].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin").unwrap();
    let asked = Instant::now();
    assert_eq!(clients[1].value("select 'reserve'"), "reserve");
    let waited = asked.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    // Two are all there are.
    clients[1].query("begin").unwrap();
    assert_eq!(postgres.connections(), 2);
    let third = clients[2].start_query("select 'third'");
    pooler.wait_waiting_clients(1);
    let more = || postgres.connections() > 2;
    assert!(
        !within(Duration::from_secs(2), more),
        "the reserve is larger"
    );
    clients[0].query("commit").unwrap();
    assert_eq!(third.wait(), Ok(vec!["third".to_owned()]));
    clients[1].query("commit").unwrap();
    wait_for("the reserve to close", PATIENCE, || {
        postgres.connections() == 1
    });
}

#[test]
fn minimum_stays_open_over_all_workers_when_nobody_needs_it() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nmin_pool_size = 3\n\
                    server_idle_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<_> = (0..6).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.query("begin").unwrap();
    }
    // What was opened for the minimum may be at a worker that needs less.
    assert!(postgres.connections() >= 6);
    for client in &clients {
        client.query("commit").unwrap();
    }
    wait_for("the rest to close", PATIENCE, || {
        postgres.connections() == 3
    });
    let fewer = || postgres.connections() < 3;
    assert!(!within(Duration::from_secs(4), fewer), "the minimum closed");
}

#[test]
fn minimum_of_a_forced_user_opens_without_a_client_and_again_when_it_is_lost() {
    let postgres = Postgres::start();
    let databases = format!(
        "shop = {} dbname=postgres user=alice min_pool_size=2",
        postgres.address()
    );
    let _pooler = Pooler::start_for(&databases, "workers = 2");
    let pids = || postgres.query("select pid from pg_stat_activity where usename = 'alice'");
    wait_for("the minimum", PATIENCE, || pids().len() == 2);
    let before = pids();
    postgres
        .query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'");
    wait_for("others instead", PATIENCE, || {
        let now = pids();
        now.len() == 2 && !now.iter().any(|pid| before.contains(pid))
    });
}

/// How many transactions each of these clients was served in this time, while
/// there were never more than `limit` connections.
fn served_within(
    postgres: &Postgres,
    pooler: &Pooler,
    logins: &[Login],
    time: Duration,
    limit: i64,
) -> Vec<u32> {
    let stop = Stop::default();
    let served: Vec<AtomicU32> = logins.iter().map(|_| AtomicU32::new(0)).collect();
    let direct = postgres.connect();
    let mut over = 0;
    let most = thread::scope(|scope| {
        let _guard = stop.guard();
        for (login, served) in logins.iter().zip(&served) {
            let stop = &stop;
            scope.spawn(move || {
                let client = pooler.connect_as(login);
                while !stop.is_set() {
                    client.query("select pg_sleep(0.002)").unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut most = 0;
        let begun = Instant::now();
        while begun.elapsed() < time {
            let open: i64 = direct.value(OPEN).parse().unwrap();
            most = most.max(open);
            over += u32::from(open > limit);
        }
        stop.set();
        most
    });
    assert!(
        most <= limit,
        "{most} connections, {over} times over {limit}"
    );
    served.into_iter().map(AtomicU32::into_inner).collect()
}

//! Clients that leave, or are late, at the worst moment.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Descriptor, Gate, Login, PATIENCE, Pooler, Postgres, Process, Signal, SqlState,
    Stopped, Ticker, Wire, wait_for,
};

#[test]
fn clients_that_query_and_reset_by_the_hundred_keep_no_server() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 5";
    let pooler = Pooler::start(&postgres, settings);
    let queries = [
        "select 1",
        "select repeat('x', 1000) from generate_series(1, 1000)",
        "begin",
        "copy t from stdin",
        "select pg_sleep(0.002)",
        "select 1/0",
    ];
    thread::scope(|scope| {
        for caller in 0..6 {
            let pooler = &pooler;
            scope.spawn(move || {
                // The name makes a SET go before most of the queries.
                let name = format!("caller {caller}");
                let login = Login::new().parameter("application_name", &name);
                for sql in queries.iter().cycle().take(100) {
                    let client = pooler.connect_as(&login);
                    client.send_message(b'Q', format!("{sql}\0").as_bytes());
                    client.reset();
                }
            });
        }
    });

    assert_next_is_served(&pooler);
    wait_for("all servers to be idle", PATIENCE, || {
        postgres.number("select count(*) from pg_stat_activity where state <> 'idle'") == 1
    });
    wait_for("nobody to wait", PATIENCE, || {
        Counts::of(&pooler).waiting == 0
    });
    let counts = Counts::of(&pooler);
    assert!(counts.servers <= 5, "{counts:?}");
    // Each of the five can be lent.
    let clients: Vec<Client> = (0..5).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.query("begin").unwrap();
    }
    assert_eq!(postgres.connections(), 5);
}

#[test]
fn slow_reader_that_leaves_frees_its_server_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    for by_reset in [true, false] {
        let mut wire = pooler.wire();
        wire.send(&Login::new().packet());
        while wire.read_message().expect("a login").tag != b'Z' {}
        // 30 MB, of which the sockets take a part.
        wire.send_message(
            b'Q',
            b"select repeat('x', 10000) from generate_series(1, 3000)\0",
        );
        wait_for("PostgreSQL to be stopped", PATIENCE, || {
            postgres
                .number("select count(*) from pg_stat_activity where wait_event = 'ClientWrite'")
                == 1
        });
        if by_reset {
            wire.reset();
        } else {
            drop(wire);
        }
        assert_next_is_served(&pooler);
    }
}

#[test]
fn set_and_query_answered_together_after_their_client_has_left_free_the_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let worker = pooler.worker(1);
    let direct = postgres.connect();
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    let backend = pooler.connect().value(BACKEND);
    for round in 0..12 {
        let name = format!("leaving {round}");
        let login = Login::new().parameter("application_name", &name);
        let leaving = pooler.connect_as(&login);
        // PostgreSQL answers nothing before the client is gone ...
        let server = Stopped::new(Process(backend.parse().unwrap()));
        let _unread = leaving.start_query(&format!("select 'round {round}'"));
        drop(leaving);
        wait_for("the pooler to see it leave", PATIENCE, || {
            Counts::seen_by(&console).clients == 0
        });
        // ... and the pooler reads nothing before all is answered.
        let stopped_worker = Stopped::new(worker);
        drop(server);
        let answered = format!(
            "select count(*) from pg_stat_activity where pid = {backend} and state = 'idle' \
             and query like '%round {round}%'"
        );
        wait_for("the query to be answered", PATIENCE, || {
            direct.value(&answered) == "1"
        });
        drop(stopped_worker);
        assert_next_is_served(&pooler);
        assert_eq!(
            pooler.connect().value(BACKEND),
            backend,
            "the connection was kept, in round {round}"
        );
        wait_for("the next clients to leave", PATIENCE, || {
            Counts::seen_by(&console).clients == 0
        });
    }
}

#[test]
fn query_timeout_does_not_count_the_time_before_a_query() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{ONE_SERVER}\nquery_timeout = 2"));
    let named = |name| pooler.connect_as(&Login::new().parameter("application_name", name));
    let (idle, other) = (named("idle"), named("other"));
    idle.value("select 1");
    wait_elapsed(
        "the client to be idle for long",
        Duration::from_millis(2500),
    );
    // The server has the other's name, so a SET goes before the query.
    other.value("select 1");
    assert_eq!(idle.query("select pg_sleep(0.5)"), Ok(vec![String::new()]));
    assert_eq!(idle.value("show application_name"), "idle");
}

#[test]
fn transaction_timeout_does_not_count_the_age_of_a_session() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = session\ntransaction_timeout = 2";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect();
    client.value("select 1");
    wait_elapsed("the session to be old", Duration::from_millis(2500));
    client.query("begin").unwrap();
    client.query("select pg_sleep(0.5)").unwrap();
    assert_eq!(client.value("select 1"), "1");
    client.query("commit").unwrap();
    assert_eq!(client.status(), 'I');
}

#[test]
fn timeouts_of_0_for_connects_and_cancels_are_none() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 2\n\
                    server_connect_timeout = 0\ncancel_wait_timeout = 0";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect_to_worker(1);
    let backend = client.value(BACKEND);
    for worker in [1, 2] {
        pooler.learn(worker, 2);
    }

    // A connect takes as long as PostgreSQL likes: alice's server is not there yet.
    let mut alice = pooler.wire_to_worker(1);
    let stopped = Stopped::new(postmaster_of(&backend));
    alice.send(&Login::new().user("alice").packet());
    assert_silent(&mut alice, Duration::from_secs(1));
    drop(stopped);
    while alice.read_message().expect("a login").tag != b'Z' {}
    assert!(!pooler.log_contains("connect timeout"));

    // And so does a cancel, here or in a sibling.
    for through in [1, 2] {
        let query = client.start_long_query();
        let stopped = Stopped::new(postmaster_of(&backend));
        let mut request = client.start_cancel_through_worker(through);
        assert_silent(&mut request, Duration::from_secs(1));
        drop(stopped);
        assert_eq!(query.wait(), Err(SqlState("57014")));
        assert_eq!(request.read_to_end(), []);
        assert_eq!(client.value(BACKEND), backend);
    }
}

#[test]
fn worker_without_its_supervisor_replaces_a_server_that_was_terminated() {
    let postgres = Postgres::start();
    let settings = format!("{ONE_SERVER}\nserver_idle_timeout = 1");
    let pooler = Pooler::start(&postgres, &settings);
    let worker = pooler.worker(1);
    let client = pooler.connect();
    let backend = client.value(BACKEND);
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);

    // Nobody could grant a lease for another, so that the idle one stays.
    wait_elapsed("the server to be idle for long", Duration::from_secs(2));
    assert_eq!(client.value(BACKEND), backend);

    // The lease of one that is lost is still there.
    for _ in 0..3 {
        let backend = client.value(BACKEND);
        postgres.query(&format!("select pg_terminate_backend({backend})"));
        wait_for("the worker to lose its server", PATIENCE, || {
            outgoing(&pooler, worker) == 0
        });
        assert_ne!(client.value(BACKEND), backend);
    }
}

#[test]
fn cancels_that_race_with_the_end_of_a_session_hit_neither_its_reset_nor_the_next() {
    let postgres = Postgres::start();
    let pooler = start_with_reset(&postgres, "select pg_sleep(0.02)");
    for round in 0..50 {
        let target = pooler.connect();
        assert_eq!(target.value("select 'linked'"), "linked");
        let query = target.start_query("select pg_sleep(0.003)");
        // The request comes before, at and after the end of the query.
        let mut beat = Ticker::every(Duration::from_micros(1000 + round * 50));
        beat.tick();
        beat.tick();
        let mut request = pooler.wire();
        request.send(&target.cancel_packet());
        let outcome = query.wait();
        assert!(
            matches!(outcome, Ok(_) | Err(SqlState("57014"))),
            "{outcome:?} in round {round}"
        );
        target.close();
        let next = pooler.connect();
        assert_eq!(
            next.query("select pg_sleep(0.002)"),
            Ok(vec![String::new()]),
            "round {round}"
        );
        next.close();
        assert_eq!(request.read_to_end(), []);
    }
    assert!(!pooler.log_contains(RESET_FAILED));
}

#[test]
fn cancel_that_is_still_on_its_way_at_the_end_of_a_session_spares_the_reset() {
    let postgres = Postgres::start();
    let pooler = start_with_reset(&postgres, "select pg_sleep(0.5)");
    let worker = pooler.worker(1);
    let client = pooler.connect();
    let backend = client.value(BACKEND);
    let gate = Gate::close(&postgres);
    let query = client.start_query(&Gate::query());
    gate.wait_queue(1);

    // PostgreSQL takes the request and does not read it.
    let stopped = Stopped::new(postmaster_of(&backend));
    let mut request = pooler.wire();
    request.send(&client.cancel_packet());
    wait_for("the request to go to PostgreSQL", PATIENCE, || {
        outgoing(&pooler, worker) == 2
    });
    gate.open();
    assert_eq!(query.wait(), Ok(vec!["through".to_owned()]));
    client.close();
    drop(stopped);

    let next = pooler.connect();
    assert_eq!(next.value(BACKEND), backend);
    assert_eq!(request.read_to_end(), []);
    assert!(!pooler.log_contains(RESET_FAILED));
}

/// A pool of one server in session mode, with a reset that takes its time.
fn start_with_reset(postgres: &Postgres, sql: &str) -> Pooler {
    let settings = "workers = 1\npool_mode = session\ndefault_pool_size = 1";
    Pooler::start(postgres, &format!("{settings}\nserver_reset_query = {sql}"))
}

/// What SHOW WORKERS counts, in all workers.
#[derive(Debug)]
struct Counts {
    clients: u32,
    waiting: u32,
    servers: u32,
}

impl Counts {
    fn of(pooler: &Pooler) -> Self {
        Self::seen_by(&pooler.connect_as(&Login::new().database("pgskein")))
    }

    fn seen_by(console: &Client) -> Self {
        let rows = console.query("SHOW WORKERS").expect("the console answers");
        let sum = |column: usize| {
            rows.iter()
                .map(|row| row.split('|').nth(column).unwrap().parse::<u32>().unwrap())
                .sum()
        };
        Self {
            clients: sum(5),
            waiting: sum(6),
            servers: sum(7),
        }
    }
}

/// Has a new client served long before the pooler closes a server that does
/// not come to rest, which it does after five seconds.
fn assert_next_is_served(pooler: &Pooler) {
    let start = Instant::now();
    assert_eq!(pooler.connect().value("select 'next'"), "next");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "served after {took:?}");
}

/// Lets this time pass.
fn wait_elapsed(what: &str, time: Duration) {
    let start = Instant::now();
    wait_for(what, PATIENCE, || start.elapsed() >= time);
}

/// Sees a connection say nothing, and not end, for this time.
fn assert_silent(wire: &mut Wire, time: Duration) {
    let start = Instant::now();
    assert_eq!(wire.poll_message(time), None);
    let took = start.elapsed();
    assert!(took >= time, "ended after {took:?}");
}

/// Connections of a worker to PostgreSQL.
fn outgoing(pooler: &Pooler, worker: Process) -> usize {
    let is_ours = |d: &&Descriptor| matches!(d, Descriptor::Tcp(port) if *port != pooler.port());
    worker.descriptors().iter().filter(is_ours).count()
}

/// The process of PostgreSQL that takes connections and cancel requests.
fn postmaster_of(backend: &str) -> Process {
    let backend = Process(backend.parse().unwrap());
    backend.parent().expect("a backend has a parent")
}

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
const RESET_FAILED: &str = "a query of ours failed";
const BACKEND: &str = "select pg_backend_pid()";

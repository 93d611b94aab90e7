//! How a drain comes to its end when clients do not go.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Ticker, wait_for,
};

#[test]
fn quiet_client_is_closed_at_drain_timeout() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction\ndrain_timeout = 0.5");
    let client = pooler.connect_as(&Login::new().goaway());
    pooler.signal(Signal::SIGTERM);
    let last = client.wait_closed().pop().expect("a reason");
    assert_eq!(client.transcript(), "gE");
    assert_eq!(last.error().severity, "FATAL");
    assert_eq!(last.error().sqlstate, "57P01");
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn client_in_a_transaction_is_closed_at_drain_kill_timeout() {
    let postgres = Postgres::start();
    let settings = "pool_mode = transaction\ndrain_timeout = 0.5\ndrain_kill_timeout = 5";
    let pooler = Pooler::start(&postgres, settings);
    let (idle, open) = (pooler.connect(), pooler.connect());
    open.query("begin").unwrap();
    let start = Instant::now();
    pooler.signal(Signal::SIGTERM);
    idle.wait_closed();
    assert_eq!(open.value("select 'still there'"), "still there");
    let last = open.wait_closed().pop().expect("a reason");
    assert_eq!(last.error().sqlstate, "57P01");
    assert!(start.elapsed() >= Duration::from_millis(4900));
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn client_in_a_transaction_may_commit_after_drain_timeout() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "pool_mode = transaction\ndrain_timeout = 0.3");
    let (idle, open) = (pooler.connect(), pooler.connect());
    open.query("begin; insert into t values (1)").unwrap();
    pooler.signal(Signal::SIGTERM);
    idle.wait_closed();
    open.query("commit").unwrap();
    open.wait_closed();
    assert_eq!(postgres.query("select a from t"), ["1"]);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

/// A FATAL that crosses a query on its way looks like the answer to it.
#[test]
fn no_query_is_answered_by_the_close_of_its_connection() {
    let postgres = Postgres::start();
    let settings =
        "workers = 2\npool_mode = transaction\nmax_client_conn = 300\ndrain_timeout = 0.3";
    let pooler = Pooler::start(&postgres, settings);
    let connect = |_| (Instant::now(), pooler.connect());
    let clients: Vec<(Instant, Client)> = (0..30).map(connect).collect();
    thread::scope(|scope| {
        for ((mut last, client), think) in clients.into_iter().zip((1..=7).cycle()) {
            scope.spawn(move || {
                let end = Instant::now() + Duration::from_millis(1500);
                let mut beat = Ticker::every(Duration::from_millis(think));
                while Instant::now() < end {
                    let before = Instant::now();
                    let query = client.start_query("select 1");
                    // The pooler heard of it no earlier than `last`, and had
                    // not closed it when this arrived: on a busy machine even
                    // this client may have been quiet in between.
                    let gap = last.elapsed();
                    last = before;
                    let outcome = query.wait();
                    assert!(outcome.is_ok() || gap > QUIET, "{outcome:?} after {gap:?}");
                    if outcome.is_err() {
                        return;
                    }
                    beat.tick();
                }
            });
        }
        pooler.signal(Signal::SIGTERM);
    });
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn second_sigterm_ends_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect_as(&Login::new().goaway());
    pooler.signal(Signal::SIGTERM);
    client.wait_goaway();
    pooler.signal(Signal::SIGTERM);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    client.wait_closed();
}

#[test]
fn sigquit_ends_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect();
    let _never_read = client.start_long_query();
    pooler.signal(Signal::SIGQUIT);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    client.wait_closed();
}

#[test]
fn sigint_waits_for_servers_and_refuses_those_who_need_one() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    // Of one worker, which stays for the transaction.
    let (idle, open) = (pooler.connect_to_worker(1), pooler.connect_to_worker(1));
    idle.value("select 1");
    open.query("begin").unwrap();
    pooler.signal(Signal::SIGINT);
    wait_for("the port to be closed", PATIENCE, || {
        pooler.try_wire().is_err()
    });

    assert_eq!(idle.query("select 2"), Err(SqlState("57P01")));
    let error = idle.last_error().unwrap();
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.message, "server shutting down");

    assert_eq!(open.value("select 'goes on'"), "goes on");
    assert_eq!(pooler.exit_status(), None);
    open.query("commit").unwrap();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn shutdown_on_the_console_ends_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect();
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    assert_eq!(console.query("SHUTDOWN"), Err(SqlState::CLOSED));
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    client.wait_closed();
}

/// A little under the least time after which a client counts as quiet.
const QUIET: Duration = Duration::from_millis(95);

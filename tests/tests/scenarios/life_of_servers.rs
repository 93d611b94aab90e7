//! When server connections are opened, checked and closed.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, wait_for};

const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn server_idle_timeout_closes_idle_servers() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_idle_timeout = 1");
    let client = pooler.connect();
    client.value("select 1");
    assert_eq!(postgres.connections(), 1);
    wait_for("it to be closed", PATIENCE, || postgres.connections() == 0);
    assert_eq!(client.value("select 'opened anew'"), "opened anew");
}

#[test]
fn server_lifetime_replaces_old_servers() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_lifetime = 1\ndefault_pool_size = 1");
    let client = pooler.connect();
    let old = client.value(BACKEND);
    let start = Instant::now();
    wait_for("another server", PATIENCE, || client.value(BACKEND) != old);
    assert!(start.elapsed() >= Duration::from_millis(500));
}

#[test]
fn server_lifetime_waits_for_the_end_of_a_transaction() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_lifetime = 1");
    let client = pooler.connect();
    client.query("begin").unwrap();
    let backend = client.value(BACKEND);
    client.query("select pg_sleep(1.5)").unwrap();
    assert_eq!(client.value(BACKEND), backend);
    client.query("commit").unwrap();
    wait_for("another server", PATIENCE, || {
        client.value(BACKEND) != backend
    });
}

#[test]
fn server_that_died_while_idle_is_not_lent() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_login_retry = 0.1");
    let client = pooler.connect();
    let backend = client.value(BACKEND);
    postgres.query(&format!("select pg_terminate_backend({backend}, 10000)"));
    assert_ne!(client.value(BACKEND), backend);
}

#[test]
fn restarted_postgresql_is_used_again() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_login_retry = 0.1");
    let client = pooler.connect();
    assert_eq!(client.value("select 'before'"), "before");
    postgres.crash();
    postgres.start_again();
    wait_for("a query to be served", PATIENCE, || {
        pooler
            .try_connect(&Login::new())
            .is_ok_and(|client| client.query("select 1").is_ok())
    });
    assert_eq!(client.value("select 'after'"), "after");
}

#[test]
fn server_that_dies_in_a_transaction_is_an_error_for_its_client_only() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "");
    let (client, other) = (pooler.connect(), pooler.connect());
    client.query("begin").unwrap();
    let backend = client.value(BACKEND);
    other.query("begin").unwrap();
    postgres.query(&format!("select pg_terminate_backend({backend}, 10000)"));
    assert!(client.query("select 1").is_err());
    assert_eq!(other.value("select 'undisturbed'"), "undisturbed");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

#[test]
fn failed_connect_is_tried_again_after_server_login_retry() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "server_login_retry = 1");
    postgres.crash();
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.sqlstate, "08006", "{error:?}");
    postgres.start_again();
    wait_for("a login", PATIENCE, || {
        pooler.try_connect(&Login::new()).is_ok()
    });
}

#[test]
fn silent_server_is_given_up_after_server_connect_timeout() {
    // It accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let pooler = Pooler::start_for(
        &format!("postgres = host=127.0.0.1 port={port}"),
        "workers = 1\nserver_connect_timeout = 1\nserver_login_retry = 1",
    );
    let start = Instant::now();
    let error = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(error.severity, "FATAL");
    assert!(error.message.contains("connect timeout"), "{error:?}");
    assert!(start.elapsed() >= Duration::from_millis(900));
}

#[test]
fn server_check_query_runs_before_an_old_idle_server_is_lent() {
    let postgres = Postgres::start();
    postgres.query("create table checks (at int)");
    let settings = "server_check_delay = 0.5\nserver_check_query = insert into checks values (1)";
    let pooler = start(&postgres, settings);
    let client = pooler.connect();
    client.value("select 1");
    client.value("select 1");
    assert_eq!(postgres.query("select count(*) from checks"), ["0"]);
    wait_for("a check", PATIENCE, || {
        // A pause longer than the delay.
        let pause = Instant::now();
        wait_for("a pause", PATIENCE, || {
            pause.elapsed() > Duration::from_millis(700)
        });
        client.value("select 1");
        postgres.number("select count(*) from checks") > 0
    });
}

#[test]
fn first_client_gets_the_parameters_of_its_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let direct = postgres.connect();
    for worker in [1, 1, 2, 2] {
        let client = pooler.connect_to_worker(worker);
        for name in [
            "server_version",
            "server_encoding",
            "client_encoding",
            "DateStyle",
            "IntervalStyle",
            "TimeZone",
            "integer_datetimes",
            "standard_conforming_strings",
        ] {
            assert_eq!(client.parameter(name), direct.parameter(name), "{name}");
        }
    }
}

#[test]
fn full_postgresql_is_not_the_end_of_waiting_clients() {
    let postgres = Postgres::start();
    postgres.query("alter role alice connection limit 1");
    let pooler = start(&postgres, "server_login_retry = 0.2\ndefault_pool_size = 2");
    let login = Login::new().user("alice");
    let (one, two) = (pooler.connect_as(&login), pooler.connect_as(&login));
    one.query("begin").unwrap();
    // Its own connection is refused; it is served by the other one's.
    let query = two.start_query("select 'served'");
    one.query("commit").unwrap();
    assert_served(&one);
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
}

fn start(postgres: &Postgres, settings: &str) -> Pooler {
    Pooler::start(
        postgres,
        &format!("workers = 1\npool_mode = transaction\n{settings}"),
    )
}

fn assert_served(client: &Client) {
    assert_eq!(client.value("select 'served'"), "served");
}

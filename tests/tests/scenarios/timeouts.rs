//! Timeouts of clients end what lasts too long, with PostgreSQL's SQLSTATE.

use std::time::{Duration, Instant};

use crate::harness::{Client, ErrorFields, PATIENCE, Pooler, Postgres, SqlState, wait_for};

#[test]
fn query_wait_timeout_ends_a_client_that_waits_for_a_server() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "default_pool_size = 1\nquery_wait_timeout = 1");
    let (holder, waiting) = (pooler.connect(), pooler.connect());
    holder.query("begin").unwrap();
    let start = Instant::now();
    assert_eq!(waiting.query("select 1"), Err(SqlState("53300")));
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_eq!(waiting.last_error().unwrap().message, "query_wait_timeout");
    assert_eq!(holder.value("select 'undisturbed'"), "undisturbed");
}

#[test]
fn client_idle_timeout_ends_an_idle_client() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "client_idle_timeout = 1");
    let (idle, open) = (pooler.connect(), pooler.connect());
    open.query("begin").unwrap();
    idle.value("select 1");
    let error = last_error(&idle);
    assert_eq!(error.sqlstate, "57P05");
    assert_eq!(error.message, "client_idle_timeout");
    assert_eq!(
        open.value("select 'linked, so not idle'"),
        "linked, so not idle"
    );
}

#[test]
fn query_timeout_ends_a_query_and_cancels_it() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "query_timeout = 1");
    let client = pooler.connect();
    assert_eq!(client.start_long_query().wait(), Err(SqlState("57014")));
    let message = client.last_error().unwrap().message;
    assert!(message.contains("timeout"), "{message}");
    wait_for("the query's end at PostgreSQL", PATIENCE / 2, || {
        postgres.busy_connections() == 0
    });
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

#[test]
fn idle_transaction_timeout_ends_an_idle_transaction() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "idle_transaction_timeout = 1\ndefault_pool_size = 1",
    );
    let (open, other) = (pooler.connect(), pooler.connect());
    open.query("begin").unwrap();
    // Frees the server for whoever waits.
    assert_eq!(other.value("select 'served'"), "served");
    assert_eq!(last_error(&open).sqlstate, "25P03");
}

#[test]
fn transaction_timeout_ends_a_transaction_that_is_kept_busy() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "transaction_timeout = 1\ndefault_pool_size = 1");
    let client = pooler.connect();
    client.query("begin").unwrap();
    let outcome = loop {
        if let Err(error) = client.query("select pg_sleep(0.02)") {
            break error;
        }
    };
    assert_eq!(outcome, SqlState("25P04"));
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

#[test]
fn timeouts_of_a_user_beat_the_general_ones() {
    let postgres = Postgres::start();
    let databases = format!(
        "* = {}\n[users]\nalice = query_timeout=1",
        postgres.address()
    );
    let pooler = Pooler::start_for(&databases, "pool_mode = transaction\nquery_timeout = 60");
    let client = pooler.connect_as(&crate::harness::Login::new().user("alice"));
    assert_eq!(client.start_long_query().wait(), Err(SqlState("57014")));
}

#[test]
fn no_timeout_ends_what_does_not_last() {
    let postgres = Postgres::start();
    let pooler = start(
        &postgres,
        "query_timeout = 2\nidle_transaction_timeout = 2\ntransaction_timeout = 20\n\
         client_idle_timeout = 2\nquery_wait_timeout = 2",
    );
    let client = pooler.connect();
    for _ in 0..5 {
        client.query("begin").unwrap();
        client.query("select pg_sleep(0.4)").unwrap();
        client.query("select pg_sleep(0.4)").unwrap();
        client.query("commit").unwrap();
    }
}

fn start(postgres: &Postgres, settings: &str) -> Pooler {
    Pooler::start(
        postgres,
        &format!("workers = 1\npool_mode = transaction\n{settings}"),
    )
}

/// The FATAL that a client is closed with.
fn last_error(client: &Client) -> ErrorFields {
    let last = client.wait_closed().pop().expect("a reason");
    assert_eq!(last.tag, b'E', "{last:?}");
    let error = last.error();
    assert_eq!(error.severity, "FATAL");
    error
}

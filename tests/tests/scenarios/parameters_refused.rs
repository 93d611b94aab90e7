//! Parameters that a server does not take, and cancels while it takes them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Login, Pooler, Postgres, Process, SqlState, Stop, Stopped, within};

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn refused_value_is_the_error_of_its_client_and_its_query_does_not_run() {
    let postgres = Postgres::start();
    postgres.query("create table deeds (what text)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let other = pooler.connect();
    let backend = other.value("select pg_backend_pid()");
    let login = Login::new().parameter("timezone", "Nowhere/AtAll");

    let simple = pooler.connect_as(&login);
    let outcome = simple.query("insert into deeds values ('simple')");
    assert_refused(
        &simple,
        outcome,
        "22023",
        "invalid value for parameter \"TimeZone\": \"Nowhere/AtAll\"",
    );
    let extended = pooler.connect_as(&login);
    let outcome = extended.execute("insert into deeds values ($1)", &["extended"]);
    assert_refused(
        &extended,
        outcome,
        "22023",
        "invalid value for parameter \"TimeZone\": \"Nowhere/AtAll\"",
    );

    // The next client gets the same server, clean.
    assert_eq!(other.value("select pg_backend_pid()"), backend);
    assert_eq!(other.value("select count(*) from deeds"), "0");
    assert_eq!(
        other.query("set timezone = 'Nowhere'"),
        Err(SqlState("22023"))
    );
    assert_served(&other);
}

#[test]
fn session_authorization_that_is_not_allowed_is_refused_in_postgresqls_words() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let login = Login::new()
        .user("alice")
        .parameter("session_authorization", "bob");
    let client = pooler.connect_as(&login);
    let outcome = client.query("select current_user");
    assert_refused(
        &client,
        outcome,
        "42501",
        "permission denied to set session authorization",
    );
    let alice = pooler.connect_as(&Login::new().user("alice"));
    assert_eq!(alice.value("select current_user"), "alice");
}

#[test]
fn session_authorization_of_one_client_is_not_that_of_the_next() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (one, two) = (pooler.connect(), pooler.connect());
    one.query("set session authorization alice").unwrap();
    for _ in 0..2 {
        assert_eq!(one.value("select session_user"), "alice");
        assert_eq!(two.value("select session_user"), "postgres");
    }
    let login = Login::new().parameter("session_authorization", "bob");
    assert_eq!(
        pooler.connect_as(&login).value("select session_user"),
        "bob"
    );
}

#[test]
fn cancel_hits_the_query_behind_our_set() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let tokyo = pooler.connect_as(&Login::new().parameter("timezone", "Asia/Tokyo"));
    let berlin = pooler.connect_as(&Login::new().parameter("timezone", "Europe/Berlin"));
    let missed = AtomicU32::new(0);
    for client in [&tokyo, &berlin, &tokyo] {
        // The server cannot answer the SET in front of the query yet when the
        // cancel comes.
        let other = if std::ptr::eq(client, &tokyo) {
            &berlin
        } else {
            &tokyo
        };
        let backend = other.value("select pg_backend_pid()").parse().unwrap();
        let stopped = Stopped::new(Process(backend));
        let query = client.start_query("select pg_sleep(60)");
        let mut cancel = client.start_cancel_through_worker(1);
        // It has been read: the worker takes what comes in turn.
        assert_eq!(pooler.console("show version").len(), 1);
        drop(stopped);
        let answered = Stop::default();
        thread::scope(|scope| {
            let _guard = answered.guard();
            scope.spawn(|| {
                // PostgreSQL forgets a cancel that comes between the answer to the
                // SET and the query, which takes a very busy host.
                while !within(Duration::from_secs(5), || answered.is_set()) {
                    missed.fetch_add(1, Ordering::Relaxed);
                    let running = "select pg_cancel_backend(pid) from pg_stat_activity \
                                   where state = 'active' and query like '%pg_sleep(60)'";
                    postgres.query(running);
                }
            });
            assert_eq!(query.wait(), Err(SqlState("57014")));
        });
        assert_eq!(cancel.read_to_end(), []);
        assert_served(client);
    }
    assert!(missed.into_inner() < 3, "no cancel has hit its query");
    assert_eq!(tokyo.value("show timezone"), "Asia/Tokyo");
    assert_eq!(berlin.value("show timezone"), "Europe/Berlin");
}

/// The client was told why, in the server's words, and closed.
fn assert_refused(
    client: &Client,
    outcome: Result<Vec<String>, SqlState>,
    sqlstate: &'static str,
    why: &str,
) {
    assert_eq!(outcome, Err(SqlState(sqlstate)));
    let error = client.last_error().expect("an error");
    assert_eq!(error.severity, "FATAL");
    assert!(
        error
            .message
            .starts_with(&format!("invalid server parameter: {why}")),
        "{error:?}"
    );
    assert_eq!(client.wait_closed(), []);
}

fn assert_served(client: &Client) {
    assert_eq!(client.value("select 'served'"), "served");
}

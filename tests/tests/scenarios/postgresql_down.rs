//! PostgreSQL is down: who waits already goes on waiting, who comes is told.

use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, SqlState, wait_for};

#[test]
fn who_needs_a_server_after_a_failed_connect_is_told_at_once() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "query_wait_timeout = 60");
    let clients = [1, 2].map(|worker| two_clients(&pooler, worker));
    postgres.crash();
    for (number, [waiting, told]) in (1..).zip(&clients) {
        // The first one has to find out.
        let query = waiting.start_query("select 'served'");
        wait_for("a failed connect", PATIENCE, || {
            let failed = format!("worker {number} WARN s");
            let log = pooler.log();
            log.lines()
                .any(|line| line.contains(&failed) && line.contains("connect failed"))
        });
        let asked = Instant::now();
        assert_eq!(told.query("select 1"), Err(SqlState("08006")));
        assert!(asked.elapsed() < Duration::from_secs(10));
        let error = told.last_error().unwrap();
        let text = "server login has been failing, cached error: connect failed:";
        assert!(error.message.starts_with(text), "{error:?}");
        assert!(error.message.ends_with("(server_login_retry)"), "{error:?}");
        drop(query);
    }
    // A restart costs those who wait time and no error.
    postgres.start_again();
    for [waiting, _] in &clients {
        assert_eq!(waiting.pending().wait(), Ok(vec!["served".to_owned()]));
    }
    assert_eq!(pooler.connect().value("select 'back'"), "back");
}

#[test]
fn who_waits_too_long_is_told_why() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, "query_wait_timeout = 2");
    let [waiting, _] = two_clients(&pooler, 1);
    postgres.crash();
    assert_eq!(waiting.query("select 1"), Err(SqlState("08006")));
    let error = waiting.last_error().unwrap();
    assert!(error.message.starts_with("connect failed:"), "{error:?}");
    assert!(error.message.ends_with("(query_wait_timeout)"), "{error:?}");
}

/// Two clients whose worker has a connection.
fn two_clients(pooler: &Pooler, worker: u8) -> [Client; 2] {
    let clients = [0, 1].map(|_| pooler.connect_to_worker_as(worker, &Login::new()));
    clients[0].query("select 1").unwrap();
    clients
}

fn start(postgres: &Postgres, settings: &str) -> Pooler {
    let settings = format!("workers = 2\npool_mode = transaction\n{settings}");
    Pooler::start(postgres, &settings)
}

//! Long sessions in all pool modes while the group is restarted, again and again.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stop, restart, wait_for, within};

#[test]
fn sessions_that_leave_when_asked_meet_no_error_over_restarts() {
    let (_postgres, pooler) = start("");
    let stop = Stop::default();
    let returns: usize = thread::scope(|scope| {
        let _guard = stop.guard();
        let sessions = all_logins().into_iter().map(|login| {
            let (pooler, stop) = (&pooler, &stop);
            let client = pooler.connect_as(&login);
            scope.spawn(move || obey(pooler, client, &login, stop))
        });
        let sessions: Vec<_> = sessions.collect();
        for _ in 0..RESTARTS {
            // It is refused as long as anybody of the last one is left.
            restart(&pooler);
        }
        stop.set();
        sessions.into_iter().map(|s| s.join().unwrap()).sum()
    });
    assert!(
        returns >= (RESTARTS - 1) * SESSIONS,
        "sessions have come back {returns} times only"
    );
}

#[test]
fn sessions_that_ignore_it_stay_until_restart_drain_timeout() {
    let (_postgres, pooler) = start(&format!("restart_drain_timeout = {}", TIMEOUT.as_secs()));
    let clients: Vec<Client> = all_logins().iter().map(|l| pooler.connect_as(l)).collect();
    let workers: Vec<_> = pooler.workers().into_values().collect();
    let began = Instant::now();
    restart(&pooler);
    for client in &clients {
        client.wait_parameter("disconnect_requested", "on");
        // On a host that is very busy the time may be over by now.
        if client.query("select 'kept'") == Ok(vec!["kept".to_owned()]) {
            client.wait_closed();
        }
        let waited = began.elapsed();
        assert!(waited >= TIMEOUT, "closed after {waited:?}");
        assert_eq!(client.last_error().unwrap().sqlstate, "57P01");
    }
    wait_for("the old workers to end", PATIENCE, || {
        workers.iter().all(|worker| !worker.is_alive())
    });
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

/// One database for each mode.
fn start(more: &str) -> (Postgres, Pooler) {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!(
        "* = {address}\n\
         session = {address} dbname=postgres pool_mode=session\n\
         transaction = {address} dbname=postgres pool_mode=transaction\n\
         statement = {address} dbname=postgres pool_mode=statement"
    );
    let pooler = Pooler::start_for(&databases, &format!("workers = 3\n{more}"));
    (postgres, pooler)
}

fn all_logins() -> Vec<Login> {
    let modes = ["session", "transaction", "statement"].into_iter().cycle();
    let logins = modes.map(|mode| Login::new().database(mode));
    logins.take(SESSIONS).collect()
}

/// Queries, and comes back whenever it is asked to go; how often it was.
fn obey(pooler: &Pooler, mut client: Client, login: &Login, stop: &Stop) -> usize {
    let mut returns = 0;
    while !stop.is_set() {
        assert_eq!(
            client.query("select 'served'"),
            Ok(vec!["served".to_owned()])
        );
        if client.parameter("disconnect_requested").as_deref() == Some("on") {
            client.close();
            client = pooler.connect_as(login);
            returns += 1;
        }
        within(THINK, || false);
    }
    client.close();
    returns
}

/// After which sessions that ignore it are closed.
const TIMEOUT: Duration = Duration::from_secs(4);
const SESSIONS: usize = 50;
const RESTARTS: usize = 5;
const THINK: Duration = Duration::from_millis(5);

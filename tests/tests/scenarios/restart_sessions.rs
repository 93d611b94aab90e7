//! Long sessions in all pool modes while the group is restarted, again and again.

use std::thread;
use std::time::Duration;

use crate::harness::{Client, Login, Pooler, Postgres, Stop, restart, within};

#[test]
fn sessions_in_all_modes_meet_no_error_over_restarts_and_stay() {
    let (_postgres, pooler) = start("");
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        let sessions = all_logins().into_iter().map(|login| {
            let (client, stop) = (pooler.connect_as(&login), &stop);
            scope.spawn(move || stay(&client, stop))
        });
        let sessions: Vec<_> = sessions.collect();
        for _ in 0..RESTARTS {
            // It is refused as long as anybody of the last one is left.
            restart(&pooler);
        }
        stop.set();
        for session in sessions {
            session.join().unwrap();
        }
    });
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

/// Queries all the time, and is never asked
/// to go.
fn stay(client: &Client, stop: &Stop) {
    for turn in 0.. {
        if stop.is_set() {
            break;
        }
        let nonce = turn.to_string();
        assert_eq!(client.query(&format!("select {nonce}")), Ok(vec![nonce]));
        within(THINK, || false);
    }
    let asked = client.parameter("disconnect_requested");
    assert_eq!(asked.as_deref(), Some("off"));
}

const SESSIONS: usize = 50;
const RESTARTS: usize = 5;
const THINK: Duration = Duration::from_millis(5);

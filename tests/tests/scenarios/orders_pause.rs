//! PAUSE and RESUME hold for all workers, whoever gives them.

use std::thread;
use std::time::Duration;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stop, wait_for, within,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction";

#[test]
fn pause_waits_for_transactions_of_every_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }
    clients[0].query("commit").unwrap();
    let console = pooler.console_of(1);
    let paused = console.start_query("PAUSE");
    wait_for("the idle server to be closed", PATIENCE, || {
        postgres.connections() == 2
    });
    let waiting = clients[0].start_query("select 1");
    assert_eq!(clients[1].value("select 2"), "2", "it has its server");
    clients[1].query("commit").unwrap();
    clients[2].query("commit").unwrap();
    assert_eq!(paused.wait(), Ok(vec![]));
    wait_none(&postgres);
    pooler.wait_waiting_clients(1);
    let second = clients[1].start_query("select 2");
    // Who has just come gets in, and waits like the others.
    let late = pooler.connect_to_worker(3);
    let third = late.start_query("select 3");
    pooler.wait_waiting_clients(3);
    assert_eq!(postgres.connections(), 0);
    assert_eq!(pooler.console_of(2).query("RESUME"), Ok(vec![]));
    assert_eq!(waiting.wait(), Ok(vec!["1".to_owned()]));
    assert_eq!(second.wait(), Ok(vec!["2".to_owned()]));
    assert_eq!(third.wait(), Ok(vec!["3".to_owned()]));
}

#[test]
fn postgresql_restarts_in_a_pause_without_an_error_for_anybody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for number in 0..9 {
            let client = pooler.connect_to_worker(number % 3 + 1);
            let stop = &stop;
            scope.spawn(move || {
                while !stop.is_set() {
                    let text = number.to_string();
                    assert_eq!(client.query(&format!("select {text}")), Ok(vec![text]));
                }
            });
        }
        let console = pooler.console_of(2);
        for _ in 0..2 {
            assert_eq!(console.query("PAUSE"), Ok(vec![]));
            wait_none(&postgres);
            postgres.crash();
            postgres.start_again();
            assert_eq!(console.query("RESUME"), Ok(vec![]));
            wait_for("clients to be served again", PATIENCE, || {
                postgres.connections() > 0
            });
        }
        stop.set();
    });
}

#[test]
fn pgbench_notices_nothing_of_pauses_nor_of_a_restart_in_one() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        let stop = &stop;
        let (pooler, postgres) = (&pooler, &postgres);
        let pauses = scope.spawn(move || {
            let console = pooler.console_of(1);
            let witnesses = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
            let mut pauses = 0;
            while !stop.is_set() {
                for (pause, resume) in [("PAUSE", "RESUME"), ("PAUSE postgres", "RESUME postgres")]
                {
                    assert_eq!(console.query(pause), Ok(vec![]));
                    if pauses == 0 {
                        postgres.crash();
                        postgres.start_again();
                    }
                    assert_eq!(console.query(resume), Ok(vec![]));
                    for witness in &witnesses {
                        assert_eq!(witness.value("select 1"), "1");
                    }
                    pauses += 1;
                }
            }
            pauses
        });
        let transactions = pooler.pgbench("-S -c 6 -T 3");
        stop.set();
        assert!(transactions > 0);
        assert!(pauses.join().unwrap() > 0);
    });
}

#[test]
fn pause_of_one_database_leaves_others_alone_and_outlives_resume() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let to_postgres = format!("{address} dbname=postgres");
    let databases = format!("shop = {to_postgres}\nbank = {to_postgres}\n* = {address}");
    let pooler = Pooler::start_for(&databases, &format!("{SETTINGS}\nmin_pool_size = 2"));
    let shop = [1, 2, 3].map(|n| pooler.connect_to_worker_as(n, &Login::new().database("shop")));
    let bank = [1, 2, 3].map(|n| pooler.connect_to_worker_as(n, &Login::new().database("bank")));
    for client in shop.iter().chain(&bank) {
        assert_eq!(client.value("select 1"), "1");
    }
    let console = pooler.console_of(3);
    assert_eq!(console.query("PAUSE shop"), Ok(vec![]));
    let waiting = shop.each_ref().map(|client| client.start_query("select 7"));
    pooler.wait_waiting_clients(3);
    for client in &bank {
        assert_eq!(client.value("select 1"), "1");
    }
    assert_eq!(console.query("PAUSE shop"), Ok(vec![]), "once more");
    assert_eq!(console.query("PAUSE"), Ok(vec![]));
    wait_none(&postgres);
    assert_eq!(refusal(&console, "PAUSE"), "already suspended/paused");
    assert_eq!(refusal(&console, "PAUSE bank"), "already suspended/paused");
    assert_eq!(refusal(&console, "KILL"), "already suspended/paused");
    assert_eq!(
        refusal(&console, "RESUME bank"),
        "database bank is not paused"
    );
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    for client in &bank {
        assert_eq!(client.value("select 1"), "1");
    }
    pooler.wait_waiting_clients(3);
    assert_eq!(console.query("RESUME shop"), Ok(vec![]));
    for answer in waiting {
        assert_eq!(answer.wait(), Ok(vec!["7".to_owned()]));
    }
}

#[test]
fn paused_pool_is_not_filled_to_its_minimum() {
    let postgres = Postgres::start();
    let databases = format!("shop = {} dbname=postgres user=bob", postgres.address());
    let settings = format!("{SETTINGS}\nmin_pool_size = 3\nserver_login_retry = 0");
    let pooler = Pooler::start_for(&databases, &settings);
    wait_for("the minimum", PATIENCE, || postgres.connections() == 3);
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    assert_eq!(console.query("PAUSE"), Ok(vec![]));
    wait_none(&postgres);
    let filled = || postgres.connections() > 0;
    assert!(!within(Duration::from_secs(1), filled));
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    wait_for("the minimum again", PATIENCE, || {
        postgres.connections() == 3
    });
}

#[test]
fn successor_of_a_worker_killed_in_a_pause_is_paused() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    pooler.connect_to_worker(1).close();
    let console = pooler.console_of(1);
    assert_eq!(console.query("PAUSE"), Ok(vec![]));
    assert_eq!(console.query("DISABLE template1"), Ok(vec![]));
    let dead = pooler.worker(2);
    dead.signal(Signal::SIGKILL);
    pooler.wait_replaced(2, dead);
    let client = pooler.connect_to_worker(2);
    let answer = client.start_query("select 2");
    pooler.wait_waiting_clients(1);
    assert_eq!(postgres.connections(), 0);
    let disabled = Login::new().database("template1");
    assert!(Client::log_in(pooler.wire_to_worker(2), &disabled).is_err());
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    assert_eq!(answer.wait(), Ok(vec!["2".to_owned()]));
}

#[test]
fn pause_is_over_although_a_worker_dies_with_its_transaction() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(2);
    client.query("begin").unwrap();
    let console = pooler.console_of(1);
    let paused = console.start_query("PAUSE");
    pooler.wait_log("PAUSE command issued");
    pooler.worker(2).signal(Signal::SIGKILL);
    assert_eq!(paused.wait(), Ok(vec![]));
}

#[test]
fn session_mode_is_paused_when_clients_have_gone() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = session");
    let clients = [1, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        assert_eq!(client.value("select 1"), "1");
    }
    let console = pooler.console_of(2);
    let paused = console.start_query("PAUSE");
    pooler.wait_log("PAUSE command issued");
    for client in clients {
        assert_eq!(client.value("select 1"), "1");
        client.close();
    }
    assert_eq!(paused.wait(), Ok(vec![]));
    wait_none(&postgres);
}

#[test]
fn resume_of_another_console_ends_a_pause_that_waits() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(3);
    client.query("begin").unwrap();
    let (one, other) = (pooler.console_of(1), pooler.console_of(2));
    for (pause, resume, expected) in [
        ("PAUSE", "RESUME", "pooler is not paused/suspended"),
        (
            "PAUSE postgres",
            "RESUME postgres",
            "database postgres is not paused",
        ),
    ] {
        let paused = one.start_query(pause);
        wait_for("the pause", PATIENCE, || other.query(resume) == Ok(vec![]));
        assert_eq!(paused.wait(), Err(SqlState("08P01")), "{pause}");
        assert_eq!(one.last_error().unwrap().message, expected);
    }
    assert_eq!(client.query("commit"), Ok(vec![]));
    assert_eq!(client.value("select 1"), "1");
}

#[test]
fn pause_stays_when_its_console_is_gone() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(3);
    client.query("begin").unwrap();
    let first = pooler.console_of(1);
    let _gone = first.start_query("PAUSE");
    pooler.wait_log("PAUSE command issued");
    first.reset();
    // By the same way as the other order, and behind it, to all workers.
    let second = pooler.console_of(1);
    assert_eq!(second.query("ENABLE postgres"), Ok(vec![]));
    client.query("commit").unwrap();
    let answer = client.start_query("select 1");
    pooler.wait_waiting_clients(1);
    assert_eq!(second.query("RESUME"), Ok(vec![]));
    assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
}

#[test]
fn sigusr1_pauses_and_sigusr2_resumes() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        assert_eq!(client.value("select 1"), "1");
    }
    pooler.signal_group(Signal::SIGUSR1);
    pooler.wait_log("got SIGUSR1, pausing all activity");
    wait_for("the servers to be closed", PATIENCE, || {
        postgres.connections() == 0
    });
    let waiting = clients
        .each_ref()
        .map(|client| client.start_query("select 1"));
    pooler.wait_waiting_clients(3);
    pooler.signal(Signal::SIGUSR1);
    pooler.wait_log("got SIGUSR1, but already paused/suspended");
    pooler.signal_group(Signal::SIGUSR2);
    for answer in waiting {
        assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
    }
    pooler.signal(Signal::SIGUSR2);
    pooler.wait_log("got SIGUSR2, but not paused/suspended");
}

#[test]
fn query_wait_timeout_goes_on_in_a_pause() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\nquery_wait_timeout = 1"));
    let client = pooler.connect_to_worker(1);
    assert_eq!(pooler.console("PAUSE"), [""; 0]);
    assert_eq!(client.query("select 1"), Err(SqlState("53300")));
    assert_eq!(client.last_error().unwrap().message, "query_wait_timeout");
}

/// Waits until the last server is gone: one that does not close its side within
/// a second is no longer waited for.
fn wait_none(postgres: &Postgres) {
    wait_for("the last server to be gone", PATIENCE, || {
        postgres.connections() == 0
    });
}

/// The error that a command is answered with.
fn refusal(console: &Client, command: &str) -> String {
    assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
    console.last_error().unwrap().message
}

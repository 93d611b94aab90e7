//! Signals mean something to the supervisor and nothing to a worker.

use std::time::Duration;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Signal, within};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn worker_ignores_every_signal_that_the_supervisor_obeys() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker_as(1, &Login::new().goaway());
    let worker = pooler.worker(1);
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
    ] {
        worker.signal(signal);
        assert_eq!(client.value("select 'served'"), "served", "after {signal}");
    }
    assert!(!within(Duration::from_millis(200), || !worker.is_alive()));
    assert_eq!(pooler.worker(1), worker);
    assert_eq!(
        client.transcript().matches('g').count(),
        0,
        "nobody was told to go"
    );
    assert!(pooler.try_connect(&Login::new()).is_ok());
}

#[test]
fn sighup_to_the_whole_group_reloads_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let before = pooler.workers();
    let client = pooler.connect();
    pooler.write_settings(&format!("{SETTINGS}\nquery_wait_timeout = 7"));
    pooler.signal_group(Signal::SIGHUP);
    crate::harness::wait_for("the new value", PATIENCE, || {
        let rows = pooler.console("SHOW CONFIG");
        rows.iter()
            .any(|row| row.starts_with("query_wait_timeout|7|"))
    });
    assert_eq!(pooler.workers(), before);
    assert_eq!(client.value("select 'served'"), "served");
}

#[test]
fn sigterm_to_the_whole_group_drains() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = told_clients(&pooler);
    pooler.signal_group(Signal::SIGTERM);
    for client in clients {
        client.wait_goaway();
        assert_eq!(client.value("select 'works on'"), "works on");
        client.close();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn sigint_to_the_whole_group_waits_for_servers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = told_clients(&pooler);
    for client in &clients {
        client.query("begin").unwrap();
    }
    pooler.signal_group(Signal::SIGINT);
    for client in &clients {
        assert_eq!(client.value("select 'goes on'"), "goes on");
        assert_eq!(pooler.exit_status(), None);
        client.query("commit").unwrap();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn sigquit_to_the_whole_group_ends_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = told_clients(&pooler);
    pooler.signal_group(Signal::SIGQUIT);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    for client in clients {
        client.wait_closed();
    }
}

#[test]
fn pause_and_resume_signals_kill_nobody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let before = pooler.workers();
    pooler.signal_group(Signal::SIGUSR1);
    pooler.signal_group(Signal::SIGUSR2);
    assert!(!within(Duration::from_millis(200), || {
        pooler.exit_status().is_some() || pooler.workers() != before
    }));
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

/// A client of each worker, which asked for GoAway.
fn told_clients(pooler: &Pooler) -> [Client; 2] {
    [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &Login::new().goaway()))
}

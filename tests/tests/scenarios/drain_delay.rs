//! A drain that is delayed, that leaves its port open, or that is ordered twice.

use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, wait_for};

#[test]
fn clients_are_served_during_the_delay_and_asked_behind_it() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndrain_delay = 10\ndrain_timeout = 0.5";
    let pooler = Pooler::start(&postgres, settings);
    let console = pooler.console_of(1);
    assert!(has_state(&console, "ready|yes"));
    let client = told(&pooler, 1);
    let begun = Instant::now();
    pooler.signal(Signal::SIGTERM);
    wait_for("the group to say that it goes", PATIENCE, || {
        has_state(&console, "ready|no")
    });
    // One that comes now is served, and so is one of a worker that dies.
    let worker = pooler.worker(2);
    worker.kill();
    pooler.wait_replaced(2, worker);
    let late = told(&pooler, 2);
    assert_eq!(late.value("select 'served'"), "served");
    assert_eq!(client.value("select 'served'"), "served");
    wait_for("both to be counted", PATIENCE, || {
        let shown = console.table("SHOW DRAIN").remove(0);
        assert_eq!(shown["told"], "0");
        shown["remaining"] == "2"
    });
    assert!(begun.elapsed() < DELAY, "too slow for this scenario");
    for client in [client, late] {
        client.wait_goaway();
        assert!(begun.elapsed() >= DELAY, "asked before the delay was over");
        client.wait_closed();
        assert!(begun.elapsed() >= DELAY + TIMEOUT, "closed too early");
        assert_eq!(client.last_error().unwrap().sqlstate, "57P01");
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn port_that_stays_open_refuses_sessions_and_serves_cancels() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ANSWERING);
    let clients = [1, 2].map(|worker| told(&pooler, worker));
    // Accepted before, and not logged in yet.
    let mut wire = pooler.wire_to_worker(1);
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(wire.read_byte(), Some(b'N'));
    let ports = [1, 2].map(|worker| pooler.source_ports(worker, 3));
    pooler.signal(Signal::SIGTERM);
    clients.iter().for_each(Client::wait_goaway);

    for port in ports.into_iter().flatten() {
        // Clients may be told a moment before others are refused.
        wait_for("a refusal", PATIENCE, || {
            match Client::log_in(pooler.wire_from(port).unwrap(), &Login::new()) {
                Ok(client) => {
                    client.reset();
                    false
                }
                Err(error) => {
                    assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "57P03"));
                    true
                }
            }
        });
    }
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    assert!(!console.query("SHOW DRAIN").unwrap().is_empty());
    for client in &clients {
        let query = client.start_long_query();
        client.cancel();
        assert_eq!(query.wait(), Err(SqlState("57014")));
    }
    let late = Client::log_in(wire, &Login::new()).unwrap();
    late.wait_parameter("disconnect_requested", "on");
    late.close();
    for client in clients {
        assert_eq!(pooler.exit_status(), None);
        client.close();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn worker_that_is_started_during_a_drain_obeys_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ANSWERING);
    let client = told(&pooler, 2);
    let console = pooler.console_of(2);
    pooler.signal(Signal::SIGTERM);
    client.wait_goaway();
    let worker = pooler.worker(1);
    worker.kill();
    pooler.wait_replaced(1, worker);
    wait_for("the new worker to drain", PATIENCE, || {
        let workers = console.table("SHOW WORKERS");
        let first = workers.iter().find(|row| row["slot"] == "1");
        first.is_some_and(|row| row["state"] == "draining" && row["pid"] != worker.0.to_string())
    });
    let refused = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(refused.sqlstate, "57P03");
    client.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn second_order_with_a_shorter_timeout_holds() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let clients = [1, 2].map(|worker| told(&pooler, worker));
    let console = pooler.console_of(2);
    pooler.signal(Signal::SIGTERM);
    clients.iter().for_each(Client::wait_goaway);
    let second = "SHUTDOWN WAIT_FOR_CLIENTS TIMEOUT 0.3";
    assert_eq!(console.query(second), Ok(vec![]));
    for client in clients {
        client.wait_closed();
        assert_eq!(client.transcript(), "gE", "told once");
        assert_eq!(client.last_error().unwrap().sqlstate, "57P01");
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    pooler.wait_log("supervisor INFO drained: all: told=2 left=0 moved=0 closed_idle=2");
}

#[test]
fn goaway_during_a_drain_closes_whom_it_is_about_earlier() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let clients = [1, 2].map(|worker| told(&pooler, worker));
    let console = pooler.console_of(2);
    pooler.signal(Signal::SIGTERM);
    clients.iter().for_each(Client::wait_goaway);
    assert_eq!(console.query("GOAWAY WORKER 1 TIMEOUT 0.2"), Ok(vec![]));
    let [first, second] = clients;
    first.wait_closed();
    // It cannot be taken back, other than what was ordered besides.
    assert_eq!(console.query("GOAWAY STOP"), Ok(vec![]));
    assert_eq!(second.value("select 'stays'"), "stays");
    second.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn rate_spreads_the_asking_of_a_shutdown() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ngoaway_rate = 10";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<Client> = (0..6).map(|_| told(&pooler, 1)).collect();
    let begun = Instant::now();
    pooler.signal(Signal::SIGTERM);
    for client in &clients {
        client.wait_goaway();
    }
    // Five times at least half of the interval.
    assert!(begun.elapsed() >= Duration::from_millis(250));
    clients.into_iter().for_each(Client::close);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

/// A client of worker `n` that asked to be told with GoAway.
fn told(pooler: &Pooler, n: u8) -> Client {
    pooler.connect_to_worker_as(n, &Login::new().goaway())
}

fn has_state(console: &Client, row: &str) -> bool {
    let rows = console.query("SHOW STATE").expect("the console answers");
    rows.iter().any(|other| other == row)
}

const ANSWERING: &str = "workers = 2\npool_mode = transaction\ndrain_listen = answer";

const DELAY: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_millis(500);

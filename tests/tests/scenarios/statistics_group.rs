//! What was counted stays counted, whatever becomes of the worker that did.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, Stop, Stopped, assert_gave_up, wait_for,
    within,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction\nstats_period = 3600";

/// `SHOW STATS_TOTALS`: transactions, queries, bytes in and out.
const COLUMNS: [&str; 4] = ["xact_count", "query_count", "bytes_received", "bytes_sent"];

#[test]
fn totals_keep_what_a_killed_worker_has_counted() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        for _ in 0..10 {
            client.value("select 1");
        }
    }
    let console = pooler.console_of(1);
    let before = totals(&console);
    assert_eq!(before[..2], [30, 30]);
    let dead = pooler.worker(2);
    dead.signal(Signal::SIGKILL);
    wait_for("a new worker 2", PATIENCE, || {
        // Neither less nor more, at any moment.
        assert_eq!(totals(&console), before);
        pooler.has_replaced(2, dead)
    });
    assert_eq!(totals(&console), before);
    let newcomer = pooler.connect_to_worker(2);
    newcomer.value("select 1");
    assert_eq!(totals(&console)[..2], [31, 31]);
}

#[test]
fn totals_keep_what_a_pool_has_counted_that_was_removed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\nautodb_idle_timeout = 1\n\
         server_idle_timeout = 1",
    );
    let client = pooler.connect_to_worker_as(1, &Login::new().database("template1"));
    client.value("select 1");
    let console = pooler.console_of(2);
    let row = || {
        let rows = console.table("SHOW STATS_TOTALS");
        let mut found = rows
            .into_iter()
            .filter(|row| row["database"] == "template1");
        found.next().expect("a row of the database")
    };
    let before = row();
    assert_eq!(before["query_count"], "1");
    client.close();
    wait_for("the pool to be removed", PATIENCE, || {
        let pools = console.table("SHOW POOLS");
        !pools.iter().any(|row| row["database"] == "template1")
    });
    assert_eq!(row(), before);
}

#[test]
fn totals_never_go_back_while_workers_are_killed_under_load() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(1);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for client in clients {
            let stop = &stop;
            scope.spawn(
                move || {
                    while !stop.is_set() && client.query("select 1").is_ok() {}
                },
            );
        }
        let mut last = totals(&console);
        for slot in [2, 3] {
            let seen = last[0];
            wait_for("the load to be counted", PATIENCE, || {
                last = later(&console, &last);
                last[0] > seen
            });
            let dead = pooler.worker(slot);
            dead.signal(Signal::SIGKILL);
            wait_for("a new worker", PATIENCE, || {
                last = later(&console, &last);
                pooler.has_replaced(slot, dead)
            });
        }
        last = later(&console, &last);
        assert!(last[0] > 0);
        stop.set();
    });
}

#[test]
fn what_a_worker_that_hangs_has_counted_is_shown_and_the_worker_named() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\nconsole_timeout = 1"));
    let client = pooler.connect_to_worker(3);
    client.value("select 1");
    let console = pooler.console_of(1);
    let before = totals(&console);
    assert_eq!(before[0], 1);
    let stopped = Stopped::new(pooler.worker(3));
    let asked = Instant::now();
    assert_eq!(totals(&console), before);
    assert_gave_up(asked, Duration::from_secs(1));
    assert_eq!(
        console.notices(),
        ["worker 3 did not answer within console_timeout"]
    );
    drop(stopped);
    client.value("select 1");
    assert_eq!(totals(&console)[0], 2);
}

#[test]
fn averages_are_those_of_the_last_whole_period() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\nstats_period = 1",
    );
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(1);
    wait_for("averages of sleeps", PATIENCE, || {
        for client in &clients {
            client.value("select pg_sleep(0.02)");
        }
        let row = averages(&console);
        // One transaction takes 20 ms or more, whatever the number of workers.
        let [count, time] = ["xact_count", "query_time"].map(|name| number(&row, name));
        if count > 0 {
            assert!(time >= 20_000, "{row:?}");
        }
        count > 0 && number(&row, "server_assignment_count") > 0
    });
    // A period in which nothing happens has no averages, the totals stay.
    let total = totals(&console)[0];
    assert!(within(PATIENCE, || {
        let row = averages(&console);
        number(&row, "xact_count") == 0 && number(&row, "query_time") == 0
    }));
    assert_eq!(totals(&console)[0], total);
}

#[test]
fn distributions_are_those_of_the_running_and_the_last_period() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\nstats_period = 2",
    );
    let client = pooler.connect_to_worker(2);
    let console = pooler.console_of(1);
    wait_for("a query to be counted", PATIENCE, || {
        client.value("select 1");
        let rows = console.table("SHOW LATENCY");
        let mut rows = rows.iter();
        rows.any(|row| row["kind"] == "query" && row["count"] != "0")
    });
    // Two periods later nothing is left of it.
    wait_for("the counts to go", PATIENCE, || {
        let rows = console.table("SHOW LATENCY");
        rows.iter().all(|row| row["count"] == "0")
    });
}

type Row = BTreeMap<String, String>;

/// The totals of database `postgres`, none of them less than before.
fn later(console: &Client, before: &[u64; 4]) -> [u64; 4] {
    let now = totals(console);
    for (now, before) in now.iter().zip(before) {
        assert!(now >= before, "{now} after {before}");
    }
    now
}

fn totals(console: &Client) -> [u64; 4] {
    let row = row_of(console, "SHOW STATS_TOTALS");
    COLUMNS.map(|name| number(&row, name))
}

fn averages(console: &Client) -> Row {
    row_of(console, "SHOW STATS_AVERAGES")
}

fn row_of(console: &Client, command: &str) -> Row {
    let rows = console.table(command);
    let mut ours = rows.into_iter().filter(|row| row["database"] == "postgres");
    ours.next().expect("a row of the database")
}

fn number(row: &Row, column: &str) -> u64 {
    row[column].parse().unwrap()
}

//! The console's tables tell of the whole group, whichever worker is asked.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stopped, wait_for};

/// Columns of SHOW POOLS that are counted, from `cl_active` to `sv_login`.
const COUNTS: std::ops::Range<usize> = 2..13;

#[test]
fn a_pool_is_one_row_for_all_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    // Two clients of each worker, one of them in a transaction.
    let clients: Vec<Client> = (0..8)
        .map(|number| pooler.connect_to_worker(number % 4 + 1))
        .collect();
    for client in &clients[..4] {
        client.query("begin").unwrap();
    }
    for worker in 1..=4 {
        let console = console(&pooler, worker);
        wait_for("the rows of the pools", PATIENCE, || {
            let rows = rows_of(&console, "SHOW POOLS");
            let ours: Vec<_> = rows.iter().filter(|row| row[0] == "postgres").collect();
            assert_eq!(ours.len(), 1, "{rows:?}");
            let own = &rows.iter().find(|row| row[0] == "pgbouncer").unwrap();
            assert_eq!(own[COUNTS].join(" "), "1 0 0 0 0 0 0 0 0 0 0");
            assert_eq!(own[15], "statement");
            ours[0][2] == "8" && ours[0][6] == "4" && ours[0][3] == "0"
        });
    }
}

#[test]
fn every_connection_is_one_row_with_its_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
    let clients: Vec<Client> = [1, 2, 2, 3, 3, 3]
        .map(|worker| pooler.connect_to_worker(worker))
        .into();
    clients[1].query("begin").unwrap();
    let pid = clients[1].value("select pg_backend_pid()");
    let console = console(&pooler, 1);

    let table = wait_for_table(&console, "SHOW CLIENTS", |table| {
        table
            .iter()
            .filter(|row| row["database"] == "postgres")
            .count()
            == clients.len()
    });
    let ours: Vec<_> = table
        .iter()
        .filter(|row| row["database"] == "postgres")
        .collect();
    let workers = |worker: &str| ours.iter().filter(|row| row["worker"] == worker).count();
    assert_eq!([workers("1"), workers("2"), workers("3")], [1, 2, 3]);
    let ids: Vec<u64> = table.iter().map(|row| row["id"].parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    for row in &ours {
        assert_eq!(row["type"], "C");
        assert!(row["addr"].starts_with("127."), "{row:?}");
        assert_eq!(row["local_port"], pooler.port().to_string());
        assert_eq!(row["ptr"], format!("c{}", row["id"]));
        assert_eq!(
            (row["wait"].as_str(), row["replication"].as_str()),
            ("0", "none")
        );
    }
    let linked: Vec<_> = ours.iter().filter(|row| row["state"] == "active").collect();
    assert_eq!(linked.len(), 1, "{ours:?}");

    let servers = wait_for_table(&console, "SHOW SERVERS", |table| {
        table.iter().any(|row| row["state"] == "active")
    });
    let server = servers.iter().find(|row| row["state"] == "active").unwrap();
    assert_eq!(server["remote_pid"], pid);
    assert_eq!(server["link"], linked[0]["ptr"]);
    assert_eq!(linked[0]["link"], server["ptr"]);
    assert_eq!(server["worker"], linked[0]["worker"]);
    assert_eq!(server["port"], postgres.port().to_string());
}

#[test]
fn a_worker_that_hangs_is_named_and_the_others_are_shown() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\nconsole_timeout = 1",
    );
    let clients: Vec<Client> = (1..=4)
        .map(|worker| pooler.connect_to_worker(worker))
        .collect();
    let console = console(&pooler, 1);
    wait_for_table(&console, "SHOW CLIENTS", |table| table.len() == 5);

    let stopped = Stopped::new(pooler.worker(3));
    let asked = Instant::now();
    let table = table_of(&console, "SHOW CLIENTS");
    assert!(asked.elapsed() < PATIENCE);
    assert_eq!(
        console.notices(),
        ["worker 3 did not answer within console_timeout"]
    );
    let workers = table.iter().map(|row| row["worker"].as_str());
    assert_eq!(workers.collect::<Vec<_>>(), ["1", "2", "4", "1"]);

    // Once it goes on, it answers again, and old questions do not disturb.
    drop(stopped);
    assert_eq!(table_of(&console, "SHOW CLIENTS").len(), 5);
    assert_eq!(console.notices().len(), 1);
    drop(clients);
}

#[test]
fn lists_count_each_thing_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    let clients: Vec<Client> = (1..=4)
        .map(|worker| pooler.connect_to_worker(worker))
        .collect();
    let console = console(&pooler, 2);
    let items = || -> BTreeMap<String, u64> {
        let rows = rows_of(&console, "SHOW LISTS");
        rows.into_iter()
            .map(|row| (row[0].clone(), row[1].parse().unwrap()))
            .collect()
    };
    // The logins that found the way to each worker may still be counted.
    wait_for("the clients to be counted", PATIENCE, || {
        items()["used_clients"] == clients.len() as u64 + 1
    });
    let items = items();
    assert_eq!(items["pools"], 2, "{items:?}");
    assert_eq!(items["login_clients"], 0);
    let order: Vec<String> = rows_of(&console, "SHOW LISTS")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    assert_eq!(order[..4], ["databases", "users", "peers", "pools"]);
}

fn console(pooler: &Pooler, worker: u8) -> Client {
    pooler.connect_to_worker_as(worker, &Login::new().database("pgbouncer"))
}

fn rows_of(console: &Client, command: &str) -> Vec<Vec<String>> {
    let rows = console.query(command).unwrap();
    rows.iter()
        .map(|row| row.split('|').map(str::to_owned).collect())
        .collect()
}

/// The rows of a table by the names of their columns.
fn table_of(console: &Client, command: &str) -> Vec<BTreeMap<String, String>> {
    let query = console.start_query(command);
    let names = column_names(&console.read_until(b'T').body);
    let rows = query.wait().unwrap();
    rows.iter()
        .map(|row| {
            let values = row.split('|').map(str::to_owned);
            names.iter().cloned().zip(values).collect()
        })
        .collect()
}

fn wait_for_table(
    console: &Client,
    command: &str,
    as_expected: impl Fn(&[BTreeMap<String, String>]) -> bool,
) -> Vec<BTreeMap<String, String>> {
    let mut table = Vec::new();
    wait_for(command, PATIENCE, || {
        table = table_of(console, command);
        as_expected(&table)
    });
    table
}

/// Names in the body of a RowDescription.
fn column_names(body: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = &body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        // Six fields of 18 bytes in all follow a name.
        rest = &rest[end + 19..];
    }
    names
}

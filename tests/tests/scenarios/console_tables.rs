//! The console's tables tell of the whole group, whichever worker is asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::{Client, PATIENCE, Pooler, Postgres, Stopped, assert_gave_up, wait_for};

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
        let console = pooler.console_of(worker);
        wait_for("the rows of the pools", PATIENCE, || {
            let rows = rows_of(&console, "SHOW POOLS");
            let ours: Vec<_> = rows.iter().filter(|row| row[0] == "postgres").collect();
            assert_eq!(ours.len(), 1, "{rows:?}");
            let own = &rows.iter().find(|row| row[0] == "pgbouncer").unwrap();
            assert_eq!(own[15], "statement");
            // The console before may not be gone yet.
            let alone = own[COUNTS].join(" ") == "1 0 0 0 0 0 0 0 0 0 0";
            alone && ours[0][2] == "8" && ours[0][6] == "4" && ours[0][3] == "0"
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
    let console = pooler.console_of(1);

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
    let console = pooler.console_of(1);
    wait_for_table(&console, "SHOW CLIENTS", |table| table.len() == 5);

    let stopped = Stopped::new(pooler.worker(3));
    let asked = Instant::now();
    let table = console.table("SHOW CLIENTS");
    assert_gave_up(asked, Duration::from_secs(1));
    assert_eq!(
        console.notices(),
        ["worker 3 did not answer within console_timeout"]
    );
    let workers = table.iter().map(|row| row["worker"].as_str());
    assert_eq!(workers.collect::<Vec<_>>(), ["1", "2", "4", "1"]);

    // Once it goes on, it answers again, and old questions do not disturb.
    drop(stopped);
    assert_eq!(console.table("SHOW CLIENTS").len(), 5);
    assert_eq!(console.notices().len(), 1);
    drop(clients);
}

#[test]
fn databases_and_users_count_connections_of_all_workers() {
    let postgres = Postgres::start();
    let settings = "workers = 3\npool_mode = transaction\nmax_db_connections = 9";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<Client> = [1, 2, 2, 3, 3, 3]
        .map(|worker| pooler.connect_to_worker(worker))
        .into();
    for client in &clients[..4] {
        client.query("begin").unwrap();
    }
    let console = pooler.console_of(3);
    let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<u32>().unwrap();
    for (command, clients_column) in [
        ("SHOW DATABASES", "current_client_connections"),
        ("SHOW USERS", "current_client_connections"),
    ] {
        let table = wait_for_table(&console, command, |table| {
            let ours = table.iter().find(|row| row["name"] == "postgres");
            ours.is_some_and(|row| number(row, clients_column) == 6)
        });
        let ours = table.iter().find(|row| row["name"] == "postgres").unwrap();
        let servers = console.table("SHOW SERVERS").len();
        assert!(servers >= 4);
        assert_eq!(
            number(ours, "current_connections"),
            u32::try_from(servers).unwrap()
        );
    }
    let databases = console.table("SHOW DATABASES");
    let ours = databases
        .iter()
        .find(|row| row["name"] == "postgres")
        .unwrap();
    assert_eq!(ours["max_connections"], "9");
    assert_eq!(ours["port"], postgres.port().to_string());
    assert_eq!(
        (ours["paused"].as_str(), ours["disabled"].as_str()),
        ("0", "0")
    );
    console.query("DISABLE postgres").unwrap();
    let databases = console.table("SHOW DATABASES");
    let ours = databases
        .iter()
        .find(|row| row["name"] == "postgres")
        .unwrap();
    assert_eq!(ours["disabled"], "1");
}

#[test]
fn leases_are_those_of_the_ledger() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 2";
    let pooler = Pooler::start(&postgres, settings);
    // Both workers use one server, and one client waits.
    let busy = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &busy {
        client.query("begin").unwrap();
    }
    let waiting = pooler.connect_to_worker(2);
    let answer = waiting.start_query("select 7");
    let console = pooler.console_of(1);
    let table = wait_for_table(&console, "SHOW LEASES", |table| {
        let held = table.iter().all(|row| row["held"] == "1");
        let wanted: Vec<_> = table.iter().map(|row| row["waiting"].as_str()).collect();
        table.len() == 2 && held && wanted == ["0", "1"]
    });
    for (row, worker) in table.iter().zip(["1", "2"]) {
        assert_eq!(
            (row["database"].as_str(), row["worker"].as_str()),
            ("postgres", worker)
        );
        assert_eq!(row["pool_size"], "2");
    }
    // Connections that have found out who they reach may be closing still.
    wait_for_table(&console, "SHOW POOLS", |table| {
        let mut ours = table.iter().filter(|row| row["database"] == "postgres");
        let ours = ours.next().unwrap();
        (ours["cl_waiting"].as_str(), ours["cl_active"].as_str()) == ("1", "2")
    });
    busy[0].query("commit").unwrap();
    assert_eq!(answer.wait().unwrap(), ["7"]);
}

#[test]
fn a_supervisor_that_hangs_is_named_and_workers_say_what_they_know() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\nconsole_timeout = 1");
    let console = pooler.console_of(2);
    let stopped = Stopped::new(pooler.supervisor());
    let mut asked = Instant::now();
    let state = rows_of(&console, "SHOW STATE");
    assert_gave_up(asked, Duration::from_secs(1));
    assert_eq!(state[0], ["active", "yes"]);
    asked = Instant::now();
    assert_eq!(rows_of(&console, "SHOW LEASES").len(), 0);
    assert_gave_up(asked, Duration::from_secs(1));
    let named = "the supervisor did not answer within console_timeout";
    assert_eq!(console.notices(), [named; 2]);
    // Whatever the workers know among themselves needs nobody else.
    assert_eq!(rows_of(&console, "SHOW LISTS").len(), 16);
    drop(stopped);
    assert_eq!(rows_of(&console, "SHOW STATE").len(), 5);
    assert_eq!(console.notices().len(), 2);
}

#[test]
fn state_tells_what_holds_and_by_which_configuration() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let consoles = [1, 2].map(|worker| pooler.console_of(worker));
    let state = |console: &Client| -> BTreeMap<String, String> {
        let rows = rows_of(console, "SHOW STATE");
        rows.into_iter()
            .map(|row| (row[0].clone(), row[1].clone()))
            .collect()
    };
    for console in &consoles {
        let state = state(console);
        assert_eq!(
            (state["active"].as_str(), state["paused"].as_str()),
            ("yes", "no")
        );
        assert_eq!(state["config_version"], "1");
    }
    consoles[0].query("PAUSE").unwrap();
    consoles[1].query("RELOAD").unwrap();
    for console in &consoles {
        let state = state(console);
        assert_eq!(
            (state["active"].as_str(), state["paused"].as_str()),
            ("no", "yes")
        );
        assert_eq!(state["config_version"], "2");
    }
    consoles[1].query("RESUME").unwrap();
    assert_eq!(state(&consoles[0])["active"], "yes");
}

#[test]
fn lists_count_each_thing_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    let clients: Vec<Client> = (1..=4)
        .map(|worker| pooler.connect_to_worker(worker))
        .collect();
    let console = pooler.console_of(2);
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

fn rows_of(console: &Client, command: &str) -> Vec<Vec<String>> {
    let rows = console.query(command).unwrap();
    rows.iter()
        .map(|row| row.split('|').map(str::to_owned).collect())
        .collect()
}

fn wait_for_table(
    console: &Client,
    command: &str,
    as_expected: impl Fn(&[BTreeMap<String, String>]) -> bool,
) -> Vec<BTreeMap<String, String>> {
    let mut table = Vec::new();
    wait_for(command, PATIENCE, || {
        table = console.table(command);
        as_expected(&table)
    });
    table
}

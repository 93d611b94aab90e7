//! Orders of the console that the whole group carries out at once.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, assert_gave_up, wait_for,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction";

#[test]
fn kill_closes_clients_of_all_workers_and_pauses_their_database() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }
    let other = pooler.connect_to_worker_as(3, &Login::new().database("template1"));
    other.query("begin").unwrap();
    let console = pooler.console_of(2);
    assert_eq!(console.query("KILL postgres"), Ok(vec![]));
    wait_for("all servers but one to be gone", PATIENCE, || {
        postgres.connections() == 1
    });
    for client in &clients {
        client.wait_closed();
        let error = client.last_error().unwrap();
        assert_eq!(error.sqlstate, "57P01");
        assert_eq!(error.message, "database removed");
    }
    assert_eq!(other.query("commit"), Ok(vec![]));

    // Who comes now waits.
    let late = pooler.connect_to_worker(1);
    let answer = late.start_query("select 'late'");
    pooler.wait_waiting_clients(1);
    assert_eq!(console.query("RESUME postgres"), Ok(vec![]));
    assert_eq!(answer.wait(), Ok(vec!["late".to_owned()]));
}

#[test]
fn kill_without_a_database_is_lifted_by_name_or_for_all() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(3);
    assert_eq!(console.query("KILL"), Ok(vec![]));
    for client in &clients {
        client.wait_closed();
        assert_eq!(client.last_error().unwrap().message, "database removed");
    }
    let one = pooler.connect_to_worker(1);
    let answer = one.start_query("select 1");
    pooler.wait_waiting_clients(1);
    assert_eq!(console.query("RESUME postgres"), Ok(vec![]));
    assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
    assert_eq!(
        refusal(&console, "RESUME postgres"),
        "database postgres is not paused"
    );
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    assert_eq!(
        refusal(&console, "RESUME"),
        "pooler is not paused/suspended"
    );
}

#[test]
fn kill_client_reaches_a_client_of_another_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let victim = pooler.connect_to_worker_as(1, &Login::new().user("bob"));
    let others = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(3);
    let number = number_of(&console, "bob");
    assert_eq!(console.query(&format!("KILL_CLIENT {number}")), Ok(vec![]));
    victim.wait_closed();
    let error = victim.last_error().unwrap();
    assert_eq!(error.sqlstate, "57P01");
    assert_eq!(error.message, "admin forced disconnect");
    let again = format!("KILL_CLIENT {number}");
    assert_eq!(refusal(&console, &again), "client not found");
    assert_eq!(
        refusal(&console, "KILL_CLIENT"),
        "invalid client pointer supplied"
    );
    for client in others {
        assert_eq!(client.value("select 1"), "1");
    }
}

#[test]
fn disabled_database_takes_no_new_clients_on_any_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let old = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(2);
    for worker in 1..=3 {
        // A way to a worker is found by logging in.
        pooler.learn(worker, 3);
    }
    assert_eq!(console.query("DISABLE postgres"), Ok(vec![]));
    for worker in 1..=3 {
        let error = Client::log_in(pooler.wire_to_worker(worker), &Login::new()).unwrap_err();
        assert_eq!(error.sqlstate, "57P03");
        assert_eq!(error.message, "database \"postgres\" is disabled");
        let other = Login::new().database("template1");
        assert_eq!(
            pooler
                .connect_to_worker_as(worker, &other)
                .value("select 1"),
            "1"
        );
    }
    for client in &old {
        assert_eq!(client.value("select 1"), "1", "who is there goes on");
    }
    assert_eq!(console.query("ENABLE postgres"), Ok(vec![]));
    for worker in 1..=3 {
        assert_eq!(pooler.connect_to_worker(worker).value("select 1"), "1");
    }
    assert_eq!(console.query("ENABLE postgres"), Ok(vec![]), "as PgBouncer");
}

#[test]
fn reconnect_replaces_the_servers_of_all_workers_as_they_come_free() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let pid = |client: &Client| client.value("select pg_backend_pid()");
    for client in &clients {
        client.query("begin").unwrap();
    }
    let before: Vec<String> = clients.iter().map(pid).collect();
    clients[0].query("commit").unwrap();
    let console = pooler.console_of(3);
    assert_eq!(console.query("RECONNECT"), Ok(vec![]));
    for (client, old) in clients.iter().zip(&before).skip(1) {
        assert_eq!(pid(client), *old, "a transaction keeps its server");
    }
    let second = pooler.console_of(1);
    let closed = second.start_query("WAIT_CLOSE postgres");
    for client in &clients[1..] {
        client.query("commit").unwrap();
    }
    assert_eq!(closed.wait(), Ok(vec![]));
    wait_for("the old servers to be gone", PATIENCE, || {
        let living = postgres.query("select pid from pg_stat_activity");
        !before.iter().any(|old| living.contains(old))
    });
    for client in &clients {
        assert!(!before.contains(&pid(client)));
    }
    assert_eq!(console.query("WAIT_CLOSE"), Ok(vec![]), "nothing is left");
}

#[test]
fn reconnect_replaces_servers_that_are_kept_without_a_client() {
    let postgres = Postgres::start();
    let databases = format!("shop = {} dbname=postgres user=bob", postgres.address());
    let pooler = Pooler::start_for(&databases, &format!("{SETTINGS}\nmin_pool_size = 3"));
    let pids = || postgres.query("select pid from pg_stat_activity where usename = 'bob'");
    wait_for("the minimum", PATIENCE, || pids().len() == 3);
    let before = pids();
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    assert_eq!(console.query("RECONNECT shop"), Ok(vec![]));
    wait_for("other servers", PATIENCE, || {
        let now = pids();
        now.len() == 3 && !now.iter().any(|pid| before.contains(pid))
    });
}

#[test]
fn orders_that_make_no_sense_are_refused_in_pgbouncers_words() {
    let postgres = Postgres::start();
    let databases = format!("shop = {}", postgres.address());
    let pooler = Pooler::start_for(&databases, SETTINGS);
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    for (command, expected) in [
        ("PAUSE nowhere", "no such database: nowhere"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("RESUME", "pooler is not paused/suspended"),
        ("RESUME shop", "database shop is not paused"),
        ("RESUME nowhere", "no such database: nowhere"),
        ("DISABLE", "a database is required"),
        ("DISABLE nowhere", "no such database: nowhere"),
        ("ENABLE", "a database is required"),
        ("KILL nowhere", "no such database: nowhere"),
        ("KILL_CLIENT x", "invalid client pointer supplied"),
        ("KILL_CLIENT 999999", "client not found"),
        ("RECONNECT pgskein", "cannot reconnect admin db: pgskein"),
        ("WAIT_CLOSE nowhere", "no such database: nowhere"),
        (
            "SUSPEND now",
            "invalid command 'SUSPEND now', use SHOW HELP;",
        ),
    ] {
        assert_eq!(refusal(&console, command), expected, "{command}");
    }
    let stats = pooler.connect_as(&Login::new().user("carol").database("pgskein"));
    for command in [
        "PAUSE",
        "KILL_CLIENT 1",
        "DISABLE",
        "SET default_pool_size = 1",
    ] {
        assert_eq!(refusal(&stats, command), "admin access needed", "{command}");
    }
}

#[test]
fn worker_that_does_not_answer_is_named() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\nconsole_timeout = 2"));
    let console = pooler.console_of(1);
    pooler.learn(3, 1);
    let stopped = pooler.worker(3);
    stopped.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    assert_eq!(console.query("DISABLE postgres"), Ok(vec![]));
    assert_gave_up(asked, Duration::from_secs(2));
    assert_eq!(
        console.notices(),
        ["worker 3 did not answer within console_timeout"]
    );
    stopped.signal(Signal::SIGCONT);
    let error = Client::log_in(pooler.wire_to_worker(3), &Login::new()).unwrap_err();
    assert_eq!(error.message, "database \"postgres\" is disabled");
}

/// The number of the client of this user.
fn number_of(console: &Client, user: &str) -> String {
    let rows = console.query("SHOW CLIENTS").unwrap();
    let mut rows = rows.iter().map(|row| row.split('|').collect::<Vec<_>>());
    let row = rows.find(|row| row[1] == user);
    row.unwrap_or_else(|| panic!("no client of {user}"))[ID].to_owned()
}

/// Column of SHOW CLIENTS.
const ID: usize = 20;

/// The error that a command is answered with.
fn refusal(console: &Client, command: &str) -> String {
    assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
    console.last_error().unwrap().message
}

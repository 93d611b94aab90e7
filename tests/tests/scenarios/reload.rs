//! A new configuration is taken over by all workers, or by none.

use std::fs;

use crate::harness::{Login, PATIENCE, Pooler, Postgres, Signal, SqlState, wait_for};

#[test]
fn sighup_brings_a_new_configuration_to_every_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\nquery_wait_timeout = 120");
    pooler.write_settings("workers = 3\nquery_wait_timeout = 7");
    pooler.signal(Signal::SIGHUP);
    for worker in 1..=3 {
        wait_for("the new value", PATIENCE, || {
            config(&pooler, worker, "query_wait_timeout") == "7"
        });
    }
}

#[test]
fn reload_on_the_console_returns_when_all_workers_have_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3");
    for timeout in ["11", "12", "13"] {
        pooler.write_settings(&format!("workers = 3\nquery_wait_timeout = {timeout}"));
        let console = pooler.connect_to_worker_as(2, &Login::new().database("pgskein"));
        assert_eq!(console.query("RELOAD"), Ok(vec![]));
        for worker in 1..=3 {
            assert_eq!(config(&pooler, worker, "query_wait_timeout"), timeout);
        }
    }
}

#[test]
fn bad_file_changes_nothing_and_says_where_it_is_wrong() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\nquery_wait_timeout = 7");
    let client = pooler.connect();
    let bad = [
        (
            "query_wait_timeout = 9\npool_mod = session",
            "pool_mod",
            "pool_mode",
        ),
        (
            "query_wait_timeout = 9\ndefault_pool_size = many",
            "default_pool_size",
            "many",
        ),
        (
            "query_wait_timeout = 9\nauth_file = /nowhere/users.txt",
            "auth_file",
            "/nowhere/users.txt",
        ),
    ];
    for (settings, setting, also) in bad {
        pooler.write_settings(settings);
        let text = fs::read_to_string(pooler.ini()).unwrap();
        let place = format!("pgskein.ini:{}: {setting}", last_line_of(&text, setting));
        pooler.signal(Signal::SIGHUP);
        pooler.wait_log(&place);
        assert!(pooler.log_contains(also));
        for worker in 1..=3 {
            assert_eq!(config(&pooler, worker, "query_wait_timeout"), "7");
        }
        assert_eq!(pooler.try_console("RELOAD"), Err(SqlState("F0000")));
        assert_eq!(client.value("select 'undisturbed'"), "undisturbed");
    }

    // A good one is still taken afterwards.
    pooler.reload("workers = 3\nquery_wait_timeout = 8");
    assert_eq!(config(&pooler, 2, "query_wait_timeout"), "8");
}

#[test]
fn new_database_can_be_reached_and_a_removed_one_no_more() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start_for(&format!("one = {address} dbname=postgres"), settings);
    let (one, two) = (Login::new().database("one"), Login::new().database("two"));
    assert!(pooler.try_connect(&one).is_ok());
    assert_eq!(pooler.try_connect(&two).unwrap_err().sqlstate, "3D000");

    pooler.write_ini(&format!("two = {address} dbname=postgres"), settings);
    pooler.signal(Signal::SIGHUP);
    wait_for("the new database", PATIENCE, || {
        pooler.try_connect(&two).is_ok()
    });
    // Every worker has gone over with the first.
    for _ in 0..10 {
        assert!(pooler.try_connect(&two).is_ok());
        assert_eq!(pooler.try_connect(&one).unwrap_err().sqlstate, "3D000");
    }
}

#[test]
fn changed_pool_size_holds_for_connected_clients() {
    let postgres = Postgres::start();
    let settings =
        |size| format!("workers = 2\npool_mode = transaction\ndefault_pool_size = {size}");
    let pooler = Pooler::start(&postgres, &settings(1));
    let clients = [1, 2, 1].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin; select 1").unwrap();
    let waiting = clients[1].start_query("begin");
    pooler.reload(&settings(3));
    waiting.wait().unwrap();
    clients[2].query("begin").unwrap();
    assert_eq!(postgres.connections(), 3);
    for client in &clients {
        client.query("commit").unwrap();
    }
}

#[test]
fn changed_password_file_is_read_again() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "auth_type = plain");
    let login = |password| pooler.try_connect(&Login::new().user("alice").password(password));
    pooler.write_file("users.txt", "\"postgres\" \"\"\n\"alice\" \"old\"\n");
    pooler.signal(Signal::SIGHUP);
    wait_for("the old password", PATIENCE, || login("old").is_ok());
    pooler.write_file("users.txt", "\"postgres\" \"\"\n\"alice\" \"new\"\n");
    pooler.signal(Signal::SIGHUP);
    wait_for("the new password", PATIENCE, || login("new").is_ok());
    assert_eq!(login("old").unwrap_err().sqlstate, "28P01");
}

#[test]
fn setting_that_needs_a_restart_keeps_its_value() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    pooler.reload("workers = 3");
    assert_eq!(pooler.workers().len(), 2);
}

#[test]
fn sighup_opens_the_log_again() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let old = pooler.log_file().with_extension("old");
    fs::rename(pooler.log_file(), &old).unwrap();
    pooler.signal(Signal::SIGHUP);
    wait_for("a new log", PATIENCE, || pooler.log_file().exists());
    // Every process writes to the new one.
    wait_for("both workers in the new log", PATIENCE, || {
        drop(pooler.connect_to_worker(1));
        drop(pooler.connect_to_worker(2));
        pooler.log_contains("worker 1") && pooler.log_contains("worker 2")
    });
}

/// A value in `SHOW CONFIG` of one worker.
fn config(pooler: &Pooler, worker: u8, key: &str) -> String {
    let console = pooler.connect_to_worker_as(worker, &Login::new().database("pgskein"));
    let rows = console.query("SHOW CONFIG").unwrap();
    let row = rows.iter().find(|row| row.split('|').next() == Some(key));
    row.unwrap_or_else(|| panic!("{key} in SHOW CONFIG"))
        .split('|')
        .nth(1)
        .unwrap()
        .to_owned()
}

/// Number of the last line that sets `setting`.
fn last_line_of(text: &str, setting: &str) -> usize {
    let wanted = format!("{setting} =");
    let lines: Vec<&str> = text.lines().collect();
    let index = lines.iter().rposition(|line| line.starts_with(&wanted));
    index.expect("the setting is in the file") + 1
}

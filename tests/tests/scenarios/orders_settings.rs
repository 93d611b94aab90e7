//! SET and RELOAD: one configuration for all workers, at any time.

use std::time::{Duration, Instant};

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, assert_gave_up, wait_for,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction\nquery_wait_timeout = 60";

#[test]
fn set_takes_effect_on_all_workers_and_for_one_that_starts_later() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let consoles = [1, 2, 3].map(|worker| pooler.console_of(worker));
    let set = consoles[0].start_query("SET query_wait_timeout = 7");
    assert_eq!(
        consoles[0].read_until(b'C').body,
        b"SET query_wait_timeout=7\0"
    );
    assert_eq!(set.wait(), Ok(vec![]));
    for console in &consoles {
        assert_eq!(value(console, "query_wait_timeout"), "7");
    }
    assert_eq!(
        consoles[1].query("set server_idle_timeout to '0.5';"),
        Ok(vec![])
    );
    let dead = pooler.worker(3);
    dead.signal(Signal::SIGKILL);
    pooler.wait_replaced(3, dead);
    let new = pooler.console_of(3);
    assert_eq!(value(&new, "query_wait_timeout"), "7");
    assert_eq!(value(&new, "server_idle_timeout"), "0.5");
    // Both are forgotten when the files are read.
    assert_eq!(new.query("RELOAD"), Ok(vec![]));
    for console in consoles.iter().take(2).chain([&new]) {
        assert_eq!(value(console, "query_wait_timeout"), "60");
        assert_eq!(value(console, "server_idle_timeout"), "600");
    }
}

#[test]
fn set_does_what_the_file_would() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(2);
    assert_eq!(console.query("SET default_pool_size = 1"), Ok(vec![]));
    clients[0].query("begin").unwrap();
    let waiting = [
        clients[1].start_query("select 1"),
        clients[2].start_query("select 1"),
    ];
    pooler.wait_waiting_clients(2);
    assert_eq!(console.query("SET default_pool_size = 5"), Ok(vec![]));
    for answer in waiting {
        assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
    }
}

#[test]
fn set_refuses_what_the_file_may_not_say_and_changes_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let console = pooler.console_of(1);
    for (command, expected) in [
        (
            "SET default_pool_size = many",
            "default_pool_size: bad value \"many\", expected a whole number",
        ),
        (
            "SET default_pol_size = 1",
            "default_pol_size: unknown setting, did you mean default_pool_size?",
        ),
        (
            "SET workers = 4",
            "workers: takes effect at the next start only",
        ),
        (
            "SET scram_iterations = 0",
            "scram_iterations: expected 1 to 1000000",
        ),
    ] {
        assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
        let error = console.last_error().unwrap();
        assert_eq!(error.message, "SET failed");
        assert_eq!(error.detail, expected, "{command}");
    }
    assert_eq!(value(&console, "default_pool_size"), "20");
    assert_eq!(console.query("SET sbuf_loopcnt = 1"), Ok(vec![]));
    assert!(console.notices()[0].starts_with("sbuf_loopcnt: is obsolete"));
}

#[test]
fn reload_returns_when_every_worker_has_gone_over() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let consoles = [1, 2, 3].map(|worker| pooler.console_of(worker));
    for round in 1..=20 {
        pooler.write_settings(&format!("{SETTINGS}\nclient_login_timeout = {round}"));
        assert_eq!(consoles[round % 3].query("RELOAD"), Ok(vec![]));
        for console in &consoles {
            assert_eq!(value(console, "client_login_timeout"), round.to_string());
        }
    }
}

#[test]
fn reload_retires_servers_of_all_workers_whose_database_has_moved() {
    let (old, new) = (Postgres::start(), Postgres::start());
    let pooler = Pooler::start(&old, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }
    clients[0].query("commit").unwrap();
    pooler.write_ini(&format!("* = {}", new.address()), SETTINGS);
    let console = pooler.console_of(2);
    assert_eq!(console.query("RELOAD"), Ok(vec![]));
    wait_for("the idle server to be closed", PATIENCE, || {
        old.connections() == 2
    });
    let port = "select inet_server_port()";
    assert_eq!(clients[0].value(port), new.port().to_string());
    let waiting = console.start_query("WAIT_CLOSE");
    for client in &clients[1..] {
        assert_eq!(client.value(port), old.port().to_string());
        client.query("commit").unwrap();
        assert_eq!(client.value(port), new.port().to_string());
    }
    assert_eq!(waiting.wait(), Ok(vec![]));
    wait_for("the old servers to be gone", PATIENCE, || {
        old.connections() == 0
    });
}

#[test]
fn reload_closes_clients_and_servers_of_a_removed_database() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!("template1 = {address}\npostgres = {address}");
    let pooler = Pooler::start_for(&databases, SETTINGS);
    let login = Login::new().database("template1");
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker_as(worker, &login));
    for client in &clients {
        assert_eq!(client.value("select 1"), "1");
    }
    pooler.write_ini(&format!("postgres = {address}"), SETTINGS);
    assert_eq!(pooler.console_of(1).query("RELOAD"), Ok(vec![]));
    for client in &clients {
        client.wait_closed();
        assert_eq!(client.last_error().unwrap().message, "database removed");
    }
    let left = "select count(*) from pg_stat_activity where datname = 'template1'";
    wait_for("its servers to be closed", PATIENCE, || {
        postgres.number(left) == 0
    });
}

#[test]
fn worker_that_does_not_go_over_in_time_is_named_and_does_later() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\nconsole_timeout = 2"));
    let (first, third) = (pooler.console_of(1), pooler.console_of(3));
    let stopped = pooler.worker(3);
    stopped.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    assert_eq!(first.query("SET query_wait_timeout = 7"), Ok(vec![]));
    assert_gave_up(asked, Duration::from_secs(2));
    assert_eq!(
        first.notices(),
        ["worker 3 did not answer within console_timeout"]
    );
    assert_eq!(value(&first, "query_wait_timeout"), "7");
    stopped.signal(Signal::SIGCONT);
    assert_eq!(value(&third, "query_wait_timeout"), "7");
}

#[test]
fn login_is_of_one_configuration() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nauth_type = plain\nadmin_users = plain_user");
    let pooler = Pooler::start(&postgres, &settings);
    let mut logins = ["plain_user", "scram_user"].map(|user| {
        let mut wire = pooler.wire();
        wire.send(&Login::new().user(user).packet());
        assert_eq!(
            wire.read_message().unwrap().tag,
            b'R',
            "a password is asked for"
        );
        wire
    });
    // One of them is given another password while both are asked for it.
    pooler.write_file(
        "users.txt",
        "\"plain_user\" \"other\"\n\"scram_user\" \"secret\"\n",
    );
    pooler.reload_files();
    let refused = logins[0].read_message().unwrap();
    assert_eq!(refused.tag, b'E');
    assert_eq!(refused.error().sqlstate, "57P03");
    assert_eq!(
        refused.error().message,
        "configuration changed during the login"
    );
    logins[1].send_message(b'p', b"secret\0");
    let welcome = logins[1].read_message().unwrap();
    assert_eq!((welcome.tag, welcome.body), (b'R', vec![0, 0, 0, 0]));
}

/// The value of a setting.
fn value(console: &Client, name: &str) -> String {
    let rows = console.query("SHOW CONFIG").unwrap();
    let row = rows.iter().find(|row| row.split('|').next() == Some(name));
    let row = row.unwrap_or_else(|| panic!("no {name}"));
    row.split('|').nth(1).unwrap().to_owned()
}

//! The console answers on any worker, for all of them.

use crate::harness::{PATIENCE, Pooler, Postgres, SqlState, wait_for};

#[test]
fn show_workers_tells_of_every_worker_on_every_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
    let clients = [1, 2, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }
    let workers = pooler.workers();
    for worker in 1..=3 {
        let console = pooler.console_of(worker);
        // The logins that found the way to each worker may still be counted.
        wait_for("the numbers to settle", PATIENCE, || {
            let rows = console.query("SHOW WORKERS").unwrap();
            let numbers = rows.iter().map(|row| {
                let columns: Vec<&str> = row.split('|').collect();
                columns[5..7].join(" ")
            });
            numbers.eq(["1 0", "2 0", "0 0"])
        });
        for row in console.query("SHOW WORKERS").unwrap() {
            let columns: Vec<&str> = row.split('|').collect();
            let slot: u8 = columns[2].parse().unwrap();
            assert_eq!(columns[0], slot.to_string());
            assert_eq!(columns[1], workers[&slot].0.to_string());
            assert_eq!(columns[3..5], ["1", "ready"], "generation and state");
            let servers: usize = columns[7].parse().unwrap();
            let clients: usize = columns[5].parse().unwrap();
            assert!(servers >= clients, "a server for each transaction");
        }
    }
}

#[test]
fn columns_have_the_names_that_programs_look_for() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let console = pooler.console_of(1);
    let expected = [
        (
            "SHOW WORKERS",
            &[
                "worker",
                "pid",
                "slot",
                "generation",
                "state",
                "clients",
                "waiting",
                "servers",
                "cleaned",
                "prepared_statements",
                "prepared_memory",
                "uptime",
                "moved",
                "refused",
                "arrived",
            ][..],
        ),
        ("SHOW VERSION", &["version"]),
        ("SHOW CONFIG", &["key", "value", "default", "changeable"]),
    ];
    for (command, names) in expected {
        let query = console.start_query(command);
        assert_eq!(console.read_until(b'T').column_names(), names, "{command}");
        let tag = console.read_until(b'C');
        assert_eq!(tag.body, b"SHOW\0", "{command}");
        query.wait().unwrap();
    }
}

#[test]
fn psql_works_on_both_names_of_the_console() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\nquery_wait_timeout = 7");
    for database in ["pgskein", "pgbouncer"] {
        let psql = pooler.psql().user("postgres").database(database);
        let version = psql.run("SHOW VERSION").ok();
        assert!(version.starts_with("pgskein "), "{version}");
        assert_eq!(psql.run("show workers;").ok().lines().count(), 2);
        let config = psql.run("SHOW CONFIG").ok();
        assert!(
            config
                .lines()
                .any(|line| line == "query_wait_timeout|7|120|yes"),
            "{config}"
        );
        assert!(
            config
                .lines()
                .any(|line| line.starts_with("listen_port|") && line.ends_with("|no"))
        );
        let help = psql.run("SHOW HELP");
        assert_eq!(help.code, Some(0));
        assert!(help.stderr.contains("SHOW"), "a notice: {help:?}");
        assert_eq!(psql.run("RELOAD").code, Some(0));
    }
}

#[test]
fn psql_shows_tables_in_both_forms() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let psql = pooler.psql().user("postgres").database("pgbouncer");
    let run = psql.script("psql_console.sql", &[]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
    assert!(run.stdout.contains("pool_mode|statement\n"), "{run:?}");
    let row = "pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement|";
    assert!(run.stdout.contains(row), "{run:?}");
    assert!(run.stdout.contains("used_clients|"), "{run:?}");
}

#[test]
fn wrong_commands_are_errors_and_the_session_lives() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let console = pooler.console_of(1);
    for command in [
        "FROBNICATE",
        "SHOW NOTHING",
        "SHOW",
        "select 1 from pg_class",
    ] {
        assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
        assert_eq!(console.last_error().unwrap().severity, "ERROR");
    }
    console.query("FROBNICATE").unwrap_err();
    assert_eq!(
        console.last_error().unwrap().message,
        "invalid command 'FROBNICATE', use SHOW HELP;"
    );
    assert_eq!(console.query("SHOW VERSION").unwrap().len(), 1);
}

#[test]
fn console_tells_drivers_what_they_ask_of_a_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let console = pooler.console_of(1);
    for (name, value) in [
        ("server_version", "1.25.2/pgskein"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ] {
        assert_eq!(console.parameter(name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn console_works_while_postgresql_does_not() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    postgres.crash();
    assert_eq!(pooler.console("SHOW WORKERS").len(), 2);
}

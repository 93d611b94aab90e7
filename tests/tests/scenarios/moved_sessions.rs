//! Sessions that go to another worker, with all that they have.

use std::collections::BTreeMap;
use std::thread;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, SqlState, Stop, restart, wait_for,
};
use crate::prepared_talk::{parse, run, sync, talk};

#[test]
fn a_session_that_shares_servers_keeps_all_that_is_its_own() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let login = Login::new().parameter("application_name", "mover");
    let client = pooler.connect_to_worker_as(1, &login);
    client.query("set datestyle = 'German, DMY'").unwrap();
    assert_eq!(talk(&client, &[parse("s", "select 42"), sync()]), "1 Z");
    assert_eq!(talk(&client, &[parse("", "select 43"), sync()]), "1 Z");
    let before = shown(&pooler, "CLIENTS", "mover");
    for worker in [2, 1, 2] {
        move_to(&pooler, &before["id"], worker);
        let mut after = shown(&pooler, "CLIENTS", "mover");
        assert_eq!(after["worker"], worker.to_string());
        assert_eq!(after["prepared_statements"], "1");
        after.insert("worker".to_owned(), "1".to_owned());
        for column in ["connect_time", "request_time"] {
            let kept = about_the_same_time(&after[column], &before[column]);
            assert!(kept, "{column}: {after:?}");
            after.insert(column.to_owned(), before[column].clone());
        }
        assert_eq!(after, before);
    }
    assert_eq!(talk(&client, &run("")), "2 D:43 C Z");
    assert_eq!(talk(&client, &run("s")), "2 D:42 C Z");
    assert_eq!(client.value("show datestyle"), "German, DMY");
    assert_eq!(client.value("show application_name"), "mover");
    // Nobody has opened or closed more than it takes.
    assert!(postgres.connections() <= 2);
    client.close();
    wait_for("the client to be forgotten", PATIENCE, || {
        rows(&pooler, "CLIENTS", "mover").is_empty()
    });
}

#[test]
fn a_session_goes_with_its_server_in_the_middle_of_a_transaction() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let login = Login::new().parameter("application_name", "mover");
    let client = pooler.connect_to_worker_as(1, &login);
    client.query("begin").unwrap();
    let backend = client.value("select pg_backend_pid()");
    client
        .query("declare c cursor for select generate_series(1, 3)")
        .unwrap();
    assert_eq!(client.value("fetch c"), "1");
    let opened = postgres.connections();
    let id = shown(&pooler, "CLIENTS", "mover")["id"].clone();
    let server = shown(&pooler, "SERVERS", "mover");
    move_to(&pooler, &id, 2);
    let moved = shown(&pooler, "SERVERS", "mover");
    for column in ["id", "remote_pid"] {
        assert_eq!(moved[column], server[column], "{column}");
    }
    assert_eq!(moved["worker"], "2");
    assert_eq!(client.value("fetch c"), "2");
    assert_eq!(client.status(), 'T');
    move_to(&pooler, &id, 1);
    assert_eq!(client.value("fetch c"), "3");
    assert_eq!(client.value("select pg_backend_pid()"), backend);
    client.query("commit").unwrap();
    assert_eq!(client.value("select 'served'"), "served");
    assert_eq!(postgres.connections(), opened);
}

#[test]
fn a_session_keeps_its_server_in_session_mode_and_where_it_is_pinned() {
    for settings in ["pool_mode = session", "session_state = pin"] {
        let postgres = Postgres::start();
        let pooler = Pooler::start(
            &postgres,
            &format!("workers = 2\npool_mode = transaction\n{settings}"),
        );
        let login = Login::new().parameter("application_name", "mover");
        let client = pooler.connect_to_worker_as(1, &login);
        client
            .query("create temp table mine as select 7 as x")
            .unwrap();
        let backend = client.value("select pg_backend_pid()");
        assert_eq!(
            talk(&client, &[parse("s", "select x from mine"), sync()]),
            "1 Z"
        );
        let id = shown(&pooler, "CLIENTS", "mover")["id"].clone();
        for worker in [2, 1] {
            move_to(&pooler, &id, worker);
            assert_eq!(talk(&client, &run("s")), "2 D:7 C Z", "{settings}");
            assert_eq!(client.value("select pg_backend_pid()"), backend);
        }
        client.close();
        // Nothing of it is left for the next one.
        let next = pooler.connect_to_worker(1);
        let gone = next.query("select x from mine");
        assert_eq!(gone, Err(SqlState("42P01")), "{settings}");
    }
}

#[test]
fn sessions_go_over_a_restart_and_are_not_asked_to_leave() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let clients: Vec<Client> = (0..20).map(|_| pooler.connect()).collect();
    let ids = |pooler: &Pooler| {
        let rows = console(pooler).table("SHOW CLIENTS").into_iter();
        let rows = rows.filter(|row| row["database"] == "postgres");
        let mut ids: Vec<_> = rows.map(|row| row["id"].clone()).collect();
        ids.sort();
        ids
    };
    let before = ids(&pooler);
    for _ in 0..2 {
        restart(&pooler);
        wait_for("the new generation alone", PATIENCE, || {
            pooler.generations().len() == 2
        });
        assert_eq!(ids(&pooler), before);
        for client in &clients {
            assert_eq!(client.value("select 'served'"), "served");
            assert_eq!(
                client.parameter("disconnect_requested").as_deref(),
                Some("off")
            );
        }
    }
}

#[test]
fn servers_that_go_along_count_in_the_limits_of_the_group() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = session\ndefault_pool_size = 4";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<Client> = (0..4).map(|_| pooler.connect()).collect();
    let backend = |client: &Client| client.value("select pg_backend_pid()");
    let backends: Vec<String> = clients.iter().map(backend).collect();
    for _ in 0..3 {
        restart(&pooler);
        wait_for("the new generation alone", PATIENCE, || {
            pooler.generations().len() == 2
        });
        let now: Vec<String> = clients.iter().map(backend).collect();
        assert_eq!(now, backends);
    }
    // There is no place for a fifth, until one of them leaves.
    let fifth = pooler.connect();
    let query = fifth.start_query("select 'served'");
    pooler.wait_waiting_clients(1);
    assert_eq!(postgres.connections(), 4);
    clients.into_iter().next().unwrap().close();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
}

#[test]
fn what_a_user_has_shown_goes_along_to_open_servers_with() {
    let postgres = Postgres::start();
    let sql = "select rolpassword from pg_authid where rolname = 'scram_user'";
    let secret = postgres.query(sql).remove(0);
    let settings = "workers = 2\npool_mode = transaction\nauth_type = scram-sha-256";
    let pooler = Pooler::start(&postgres, settings);
    let users = format!("\"postgres\" \"secret\"\n\"scram_user\" \"{secret}\"\n");
    pooler.write_file("users.txt", &users);
    pooler.reload_files();
    let awaited = pooler.ini().with_file_name("awaited");
    let psql = pooler.psql().user("scram_user").password("secret");
    let shown = thread::scope(|scope| {
        let variables = [("awaited", awaited.to_str().unwrap())];
        let psql = scope.spawn(move || psql.script("wait_for_file.sql", &variables));
        let opened = "select count(*) from pg_stat_activity where usename = 'scram_user'";
        wait_for("its first query", PATIENCE, || postgres.number(opened) == 1);
        let console = pooler.psql().user("postgres").database("pgskein");
        assert_eq!(console.password("secret").run("RESTART").ok(), "RESTART");
        // The new generation has no server of the user, and nobody logs in.
        wait_for("the old one to end", PATIENCE, || {
            postgres.number(opened) == 0
        });
        pooler.write_file("awaited", "");
        psql.join().unwrap()
    });
    assert_eq!(shown.stdout, "scram_user\nscram_user goes on\n");
}

#[test]
fn orders_find_sessions_that_come_and_go() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
    let named = |n: u8| Login::new().parameter("application_name", &format!("mover {n}"));
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|n| pooler.connect_to_worker_as(1 + n % 3, &named(n)))
        .collect();
    let ids: Vec<String> = (0..CLIENTS)
        .map(|n| shown(&pooler, "CLIENTS", &format!("mover {n}"))["id"].clone())
        .collect();
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for first in 0..2 {
            let (pooler, ids, stop) = (&pooler, &ids, &stop);
            scope.spawn(move || {
                let console = console(pooler);
                let turns = ids.iter().cycle().enumerate().skip(first);
                for (turn, id) in turns.take_while(|_| !stop.is_set()) {
                    // Those that were killed are gone.
                    let _moved = console.query(&format!("MOVE CLIENT {id} TO {}", 1 + turn % 3));
                }
            });
        }
        for (client, id) in clients.iter().zip(&ids) {
            for _ in 0..2 {
                pooler.console("PAUSE");
                let query = client.start_query("select 'served'");
                pooler.console("RESUME");
                assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
            }
            assert_eq!(pooler.console(&format!("KILL_CLIENT {id}")), [""; 0]);
            client.wait_closed();
            assert_eq!(client.last_error().unwrap().sqlstate, "57P01");
        }
        stop.set();
    });
    wait_for("nobody to be left", PATIENCE, || {
        let console = console(&pooler);
        let lists = console.table("SHOW LISTS");
        let used = lists.iter().find(|row| row["list"] == "used_clients");
        let workers = console.table("SHOW WORKERS");
        let counted = workers
            .iter()
            .map(|row| row["clients"].parse::<u64>().unwrap());
        // The console itself.
        used.unwrap()["items"] == "1" && counted.sum::<u64>() <= 1
    });
}

/// Moves a client, and waits until it is there.
fn move_to(pooler: &Pooler, id: &str, worker: u8) {
    let command = format!("MOVE CLIENT {id} TO {worker}");
    assert_eq!(console(pooler).query(&command), Ok(vec![]), "{command}");
}

/// A console, whatever is asked of it to prove who it is.
fn console(pooler: &Pooler) -> Client {
    let login = Login::new().database("pgskein").password("secret");
    pooler.connect_unix(&login).expect("a console")
}

/// Whether two times, as the console shows them, are at most a second apart.
///
/// Their age is what goes over, so the time of the move itself is lost.
pub(crate) fn about_the_same_time(one: &str, other: &str) -> bool {
    matches!(second(one).abs_diff(second(other)), 0 | 1 | 3599)
}

/// The second of an hour in a time as the console shows it.
fn second(time: &str) -> u32 {
    let mut parts = time.split([':', ' ']).skip(2);
    let mut number = || parts.next().unwrap().parse::<u32>().unwrap();
    60 * number() + number()
}

/// The one row of a table that has this application_name.
fn shown(pooler: &Pooler, table: &str, name: &str) -> BTreeMap<String, String> {
    let mut rows = rows(pooler, table, name);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn rows(pooler: &Pooler, table: &str, name: &str) -> Vec<BTreeMap<String, String>> {
    let rows = console(pooler).table(&format!("SHOW {table}")).into_iter();
    rows.filter(|row| row["application_name"] == name).collect()
}

/// Clients that orders look for.
const CLIENTS: u8 = 6;

//! Session state is undone, kept or passed on, as the settings say.

use crate::harness::{PATIENCE, Pooler, Postgres, SqlState, wait_for};
use crate::session_state_probe::{ONE_SERVER, cleaned, state};

const CHANGES: &str = "set work_mem = 1234; listen a; create temp table t (i int)";

#[test]
fn pass_hands_the_server_on_as_it_is() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{ONE_SERVER}\nsession_state = pass"));
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    first.query(CHANGES).unwrap();
    first.execute("prepare p as select 1", &[]).unwrap();
    assert_ne!(state(&second), clean);
    assert_eq!(second.value("select count(*) from t"), "0");
    assert_eq!(second.value("execute p"), "1");
    assert_eq!(cleaned(&pooler), 0);
    assert!(!pooler.log_contains("session state"));
}

#[test]
fn pin_lets_a_client_keep_what_it_has_changed() {
    let postgres = Postgres::start();
    for mode in ["transaction", "statement"] {
        let settings =
            format!("workers = 1\npool_mode = {mode}\ndefault_pool_size = 2\nsession_state = pin");
        let pooler = Pooler::start(&postgres, &settings);
        let (first, second) = (pooler.connect(), pooler.connect());
        let clean = state(&second);

        first.query(CHANGES).unwrap();
        let backend = first.value("select pg_backend_pid()");
        for _ in 0..5 {
            assert_ne!(second.value("select pg_backend_pid()"), backend);
            assert_eq!(state(&second), clean);
            assert_eq!(first.value("select pg_backend_pid()"), backend);
            assert_eq!(first.value("show work_mem"), "1234kB");
            assert_eq!(
                first.execute("select count(*) from t", &[]),
                Ok(vec!["0".to_owned()])
            );
        }
        pooler.wait_log(&format!("clients change session state in {mode} mode"));

        // When it leaves, others get the server, but not what it had there.
        assert_eq!(cleaned(&pooler), 0);
        first.close();
        wait_for("the clean-up", PATIENCE, || cleaned(&pooler) == 1);
        let third = pooler.connect();
        for _ in 0..5 {
            assert_eq!(state(&third), clean);
        }
        let left = format!("select count(*) from pg_stat_activity where pid = {backend}");
        assert_eq!(third.value(&left), "1");
    }
}

#[test]
fn pin_does_not_hold_who_changed_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{ONE_SERVER}\nsession_state = pin"));
    let (first, second) = (pooler.connect(), pooler.connect());
    for statement in [
        "select 1",
        "set timezone = 'UTC'",
        "begin; set local work_mem = 1234; commit",
    ] {
        first.query(statement).unwrap();
        second.query(statement).unwrap();
    }
    assert_eq!(cleaned(&pooler), 0);
}

#[test]
fn a_client_that_was_killed_loses_its_pin() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{ONE_SERVER}\nsession_state = pin"));
    let clean = state(&pooler.connect());
    let pinned = pooler.connect();
    pinned.query(CHANGES).unwrap();
    let waiting = pooler.connect();
    let query = waiting.start_query("select 'served'");
    pooler.wait_waiting_clients(1);
    pinned.reset();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
    assert_eq!(state(&waiting), clean);
}

#[test]
fn each_database_has_its_own_choice() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!("kept = {address} dbname=postgres session_state=pass\n* = {address}");
    let pooler = Pooler::start_for(&databases, ONE_SERVER);
    let login = crate::harness::Login::new().database("kept");
    for (expected, first, second) in [
        (
            "1234kB",
            pooler.connect_as(&login),
            pooler.connect_as(&login),
        ),
        ("4MB", pooler.connect(), pooler.connect()),
    ] {
        first.query("set work_mem = 1234").unwrap();
        assert_eq!(second.value("show work_mem"), expected);
    }
}

#[test]
fn a_reload_changes_the_choice() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{ONE_SERVER}\nsession_state = pass"));
    let (first, second) = (pooler.connect(), pooler.connect());
    first.query("set work_mem = 1234").unwrap();
    assert_eq!(second.value("show work_mem"), "1234kB");
    pooler.reload(&format!("{ONE_SERVER}\nsession_state = reset"));
    first.query("set work_mem = 4321").unwrap();
    assert_eq!(second.value("show work_mem"), "4MB");
}

#[test]
fn connect_query_runs_again_after_settings_were_reset() {
    let postgres = Postgres::start();
    postgres.query("create table connects (at int)");
    let databases = format!(
        "* = {} connect_query='set work_mem = 2345; insert into connects values (1)'",
        postgres.address()
    );
    let pooler = Pooler::start_for(&databases, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let connects = "select count(*) from connects";
    assert_eq!(second.value("show work_mem"), "2345kB");
    assert_eq!(second.value(connects), "1");
    first.query("set work_mem = 1234").unwrap();
    assert_eq!(second.value("show work_mem"), "2345kB");
    assert_eq!(second.value(connects), "2");
    // Not for what it has nothing to do with.
    first.query("listen a").unwrap();
    assert_eq!(second.value(connects), "2");
    assert_eq!(cleaned(&pooler), 2);
}

#[test]
fn connect_query_finds_the_server_as_after_the_login() {
    let postgres = Postgres::start();
    let databases = format!(
        "* = {} connect_query='create temp table ours (i int); prepare ours as select 7'",
        postgres.address()
    );
    let pooler = Pooler::start_for(&databases, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    for change in [
        "create temp table theirs (i int)",
        "prepare theirs as select 1",
        "set work_mem = 1234",
    ] {
        first.query(change).unwrap();
        assert_eq!(second.value("execute ours"), "7", "{change}");
        assert_eq!(second.value("select count(*) from ours"), "0", "{change}");
        assert_eq!(second.query("select * from theirs"), Err(SqlState("42P01")));
        assert_eq!(second.query("execute theirs"), Err(SqlState("26000")));
    }
    assert!(!pooler.log_contains("a query of ours failed"));
}

#[test]
fn a_server_that_cannot_be_cleaned_is_closed() {
    let postgres = Postgres::start();
    postgres.query("create database bare");
    let bare = postgres.connect_as(
        &crate::harness::Login::new()
            .database("bare")
            .parameter("application_name", "direct"),
    );
    bare.query("drop extension plpgsql").unwrap();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let login = crate::harness::Login::new().database("bare");
    let (first, second) = (pooler.connect_as(&login), pooler.connect_as(&login));
    let backend = second.value("select pg_backend_pid()");
    first.query("prepare p as select 1").unwrap();
    assert_ne!(second.value("select pg_backend_pid()"), backend);
    assert_eq!(second.query("execute p"), Err(SqlState("26000")));
    pooler.wait_log("a query of ours failed");
}

#[test]
fn what_no_text_shows_is_undone_by_server_reset_query_always() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let hidden = "select set_config('work_mem', '1234kB', false)";
    first.query(hidden).unwrap();
    assert_eq!(second.value("show work_mem"), "1234kB", "it is not seen");
    assert_eq!(cleaned(&pooler), 0);

    pooler.reload(&format!("{ONE_SERVER}\nserver_reset_query_always = 1"));
    first.query(hidden).unwrap();
    assert_eq!(second.value("show work_mem"), "4MB");
    first.query("set work_mem = 1234; listen a").unwrap();
    assert_eq!(second.value("show work_mem"), "4MB");
    assert_eq!(cleaned(&pooler), 0, "the query of the settings does it all");

    // Statements that were prepared by messages come back when they are used.
    first.send_message(b'P', b"s1\0select 42\0\0\0");
    first.send_message(b'S', b"");
    first.pending().wait().unwrap();
    for client in [&second, &first] {
        client.query("select 1").unwrap();
        first.send_message(b'B', b"\0s1\0\0\0\0\0\0\0");
        first.send_message(b'E', b"\0\0\0\0\0");
        first.send_message(b'S', b"");
        assert_eq!(first.pending().wait(), Ok(vec!["42".to_owned()]));
    }
}

//! Session state that a client leaves behind is not there for the next one.

use crate::harness::{Login, Pooler, Postgres, SqlState, python};
use crate::session_state_probe::{ONE_SERVER, cleaned, message, state};

/// What changes a session, each alone.
const CHANGES: &[&str] = &[
    "set work_mem = '1234kB'",
    "SET SESSION /* of */ work_mem TO 1234",
    "set \"Work_Mem\" = 1234",
    "begin; set work_mem = 1234; commit",
    "select 'a\\'; set work_mem = 1234 --'",
    "set session characteristics as transaction isolation level serializable",
    "set search_path = pg_catalog",
    "set my.own = 'x'",
    "set local.own = 'x'",
    "set role bob",
    "set session role to bob",
    "set session authorization bob",
    "listen channel",
    "prepare p as select 1",
    "prepare \"S \"\" 1\" (int) as select $1",
    "prepare transaction as select 1",
    "create temp table t (i int)",
    "CREATE TEMPORARY TABLE t (i int) on commit delete rows",
    "create local temp table t (i int)",
    "create global temporary table t (i int)",
    "create table pg_temp.t (i int)",
    "create table \"pg_temp\".t as select 1",
    "create temp table t as select 1",
    "create temp sequence s",
    "create or replace temp view v as select 1",
    "create temp recursive view v (a) as select 1",
    "create function pg_temp.f() returns int language sql as 'select 1'",
    "select 1 into temp t",
    "select 1 into temporary table t",
    "select 1 into local temp t",
    "select 1 into pg_temp.t",
    "with a as (select 1) select * into temp t from a",
    "(select 1 into temp t)",
    "explain analyze create temp table t as select 1",
    "explain (analyze) select 1 into temp t",
    "select 1; /* ; */ select ';' into temp t; select $a$;$a$",
    "declare c cursor with hold for select generate_series(1, 9)",
    "begin; declare c scroll cursor with hold for select 1; commit",
];

/// What ends with its transaction, or follows its client anyway.
const NO_CHANGES: &[&str] = &[
    "begin; set local work_mem = 1234; commit",
    "begin; set local role bob; commit",
    "begin; set transaction read only; set constraints all deferred; commit",
    "begin; create temp table t (i int) on commit drop; commit",
    "begin; declare c cursor for select 1; commit",
    "set timezone = 'UTC'; set time zone 'Asia/Tokyo'; set application_name = 'x'",
    "select 'set work_mem = 1234; listen a' as \"set\" -- ; set work_mem = 1234",
    "reset all; unlisten *; close all; deallocate all",
];

#[test]
fn what_a_client_changes_is_not_there_for_the_next() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    let backend = second.value("select pg_backend_pid()");
    for (round, change) in CHANGES.iter().enumerate() {
        first
            .query(change)
            .unwrap_or_else(|e| panic!("{change}: {e:?}"));
        assert_eq!(state(&second), clean, "{change}");
        assert_eq!(cleaned(&pooler), round + 1, "{change}");
    }
    assert_eq!(second.value("select pg_backend_pid()"), backend);
}

#[test]
fn what_a_client_changes_by_parse_is_not_there_for_the_next() {
    let postgres = Postgres::start();
    for statements in [0, 200] {
        let settings = format!("{ONE_SERVER}\nmax_prepared_statements = {statements}");
        let pooler = Pooler::start(&postgres, &settings);
        let (first, second) = (pooler.connect(), pooler.connect());
        let clean = state(&second);
        let single = CHANGES.iter().filter(|change| !change.contains(';'));
        for change in single {
            first.execute(change, &[]).unwrap();
            assert_eq!(state(&second), clean, "{change}, {statements}");
        }
    }
}

#[test]
fn what_changes_nothing_costs_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    for harmless in NO_CHANGES {
        first
            .query(harmless)
            .unwrap_or_else(|e| panic!("{harmless}: {e:?}"));
        assert_eq!(state(&second), clean, "{harmless}");
        assert_eq!(cleaned(&pooler), 0, "{harmless}");
    }
    assert!(!pooler.log_contains("session state"));
}

#[test]
fn everything_at_once_is_undone_in_one_flight() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    first
        .query(
            "begin; set work_mem = 1234; listen a; prepare p as select 1; \
             create temp table t (i int); declare c cursor with hold for select 1; \
             set session authorization alice; set role none; commit",
        )
        .unwrap();
    assert_eq!(state(&second), clean);
    assert_eq!(cleaned(&pooler), 1);
    assert_eq!(second.query("select * from t"), Err(SqlState("42P01")));
    assert_eq!(second.query("execute p"), Err(SqlState("26000")));
    assert_eq!(second.query("fetch c"), Err(SqlState("34000")));
    pooler.wait_log(
        "postgres/postgres: clients change session state in transaction mode \
         (settings, role, temporary objects, LISTEN, prepared statements, cursors)",
    );
    first.query("set work_mem = 1234").unwrap();
    state(&second);
    assert_eq!(pooler.log().matches("change session state").count(), 1);
}

#[test]
fn a_transaction_sees_its_own_changes() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let client = pooler.connect();
    client.query("begin").unwrap();
    client.query("set work_mem = '1234kB'").unwrap();
    client.query("create temp table t (i int)").unwrap();
    assert_eq!(client.value("show work_mem"), "1234kB");
    assert_eq!(client.value("select count(*) from t"), "0");
    client.query("commit").unwrap();
    assert_ne!(client.value("show work_mem"), "1234kB");
    assert_eq!(cleaned(&pooler), 1);
}

#[test]
fn a_change_that_is_rolled_back_leaves_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    first.query("begin").unwrap();
    first.query("set work_mem = 1234").unwrap();
    first.query("prepare p as select 1").unwrap();
    first.query("rollback").unwrap();
    assert_eq!(state(&second), clean);
    first.query("set work_mem = 1234; select 1/0").unwrap_err();
    assert_eq!(state(&second), clean);
}

#[test]
fn a_change_at_the_end_of_a_long_text_is_seen() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    let long = "it''s; ".repeat(30_000);
    let text = format!("select length('{long}'); set work_mem = 1234");
    assert!(text.len() > 200_000);
    first.query(&text).unwrap();
    assert_eq!(state(&second), clean);
    assert_eq!(cleaned(&pooler), 1);

    // One that only looks so.
    first
        .query(&format!("select length('{long}; set work_mem = 1234')"))
        .unwrap();
    state(&second);
    assert_eq!(cleaned(&pooler), 1);

    // As one statement, by Parse.
    let comment = "x".repeat(200_000);
    first
        .execute(&format!("/*{comment}*/ set work_mem = 1234"), &[])
        .unwrap();
    assert_eq!(state(&second), clean);
    assert_eq!(cleaned(&pooler), 2);
}

#[test]
fn what_a_client_that_left_has_changed_is_undone() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let clean = state(&pooler.connect());
    for in_transaction in [false, true] {
        let leaving = pooler.connect();
        if in_transaction {
            leaving.query("begin").unwrap();
        }
        leaving.query("set work_mem = 1234").unwrap();
        leaving
            .query("set search_path = pg_catalog; listen a")
            .unwrap();
        leaving.reset();
        assert_eq!(state(&pooler.connect()), clean);
    }
    // In the middle of the query that does it.
    let leaving = pooler.connect();
    let _unread = leaving.start_query("set work_mem = 1234; listen a; select pg_sleep(60)");
    leaving.reset();
    assert_eq!(state(&pooler.connect()), clean);
}

#[test]
fn statements_prepared_by_messages_survive() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    first.send_message(b'P', b"s1\0select 42\0\0\0");
    first.send_message(b'S', b"");
    first.pending().wait().unwrap();
    let count = "select count(*) from pg_prepared_statements where not from_sql";
    assert_eq!(second.value(count), "1");
    second
        .query("set work_mem = 1234; prepare p as select 1; create temp table t (i int)")
        .unwrap();
    assert_eq!(second.value(count), "1");
    assert_eq!(cleaned(&pooler), 1);
    first.send_message(b'B', b"\0s1\0\0\0\0\0\0\0");
    first.send_message(b'E', b"\0\0\0\0\0");
    first.send_message(b'S', b"");
    assert_eq!(first.pending().wait(), Ok(vec!["42".to_owned()]));
}

#[test]
fn a_statement_that_was_prepared_counts_when_it_is_bound() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    first.send_message(b'P', b"s1\0set work_mem = 1234\0\0\0");
    first.send_message(b'S', b"");
    first.pending().wait().unwrap();
    assert_eq!(cleaned(&pooler), 0);
    for round in 1..=3 {
        first.send_message(b'B', b"\0s1\0\0\0\0\0\0\0");
        first.send_message(b'E', b"\0\0\0\0\0");
        first.send_message(b'S', b"");
        first.pending().wait().unwrap();
        assert_eq!(state(&second), clean);
        assert_eq!(cleaned(&pooler), round);
    }
}

#[test]
fn a_text_that_comes_byte_by_byte_is_seen() {
    let postgres = Postgres::start();
    for statements in [0, 200] {
        let settings = format!("{ONE_SERVER}\nmax_prepared_statements = {statements}");
        let pooler = Pooler::start(&postgres, &settings);
        let (first, second) = (pooler.connect(), pooler.connect());
        let clean = state(&second);
        for (round, named) in [false, true].into_iter().enumerate() {
            let name = if named { "s1" } else { "" };
            let text = format!("{name}\0/* {round} */ set work_mem = 1234\0\0\0");
            let bind = format!("\0{name}\0\0\0\0\0\0\0");
            let bytes = [
                message(b'P', text.as_bytes()),
                message(b'B', bind.as_bytes()),
                message(b'E', b"\0\0\0\0\0"),
                message(b'S', b""),
            ];
            for byte in bytes.concat() {
                first.send(&[byte]);
            }
            first.pending().wait().unwrap();
            assert_eq!(state(&second), clean, "{named}, {statements}");
            assert_eq!(cleaned(&pooler), 2 * round + 1);
            for byte in message(b'Q', b"listen a\0") {
                first.send(&[byte]);
            }
            first.pending().wait().unwrap();
            assert_eq!(state(&second), clean, "{named}, {statements}");
            assert_eq!(cleaned(&pooler), 2 * round + 2);
        }
    }
}

#[test]
fn statement_mode_leaves_nothing_behind() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = statement\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let (first, second) = (pooler.connect(), pooler.connect());
    let clean = state(&second);
    let changes = CHANGES.iter().filter(|change| !change.contains("begin"));
    for change in changes {
        first.query(change).unwrap();
        assert_eq!(state(&second), clean, "{change}");
    }
}

#[test]
fn psql_leaves_nothing_behind() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let second = pooler.connect();
    let clean = state(&second);
    let commands = "set work_mem = 1234; create temp table t as select 7 as a; select a from t";
    let psql = pooler.psql().user("postgres").database("postgres");
    assert!(psql.run(commands).ok().ends_with('7'));
    assert_eq!(state(&second), clean);
    assert_eq!(cleaned(&pooler), 1);
}

#[test]
fn psycopg_leaves_nothing_behind() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let program = "
import psycopg, sys
dsn = f'host=127.0.0.1 port={sys.argv[1]} user=postgres dbname=postgres'
with psycopg.connect(dsn) as one, psycopg.connect(dsn, autocommit=True) as two:
    one.execute('set statement_timeout = 60000')
    one.execute('create temp table t as select %s::int as a', [7])
    print(one.execute('select a from t').fetchone()[0])
    one.commit()
    print(two.execute('show statement_timeout').fetchone()[0])
    print(two.execute(\"select to_regclass('t')\").fetchone()[0])
";
    let run = python(program, &[&pooler.port().to_string()]);
    assert_eq!(run.ok(), "7\n0\nNone");
}

#[test]
fn users_without_rights_are_cleaned_as_well() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let login = Login::new().user("alice");
    let (first, second) = (pooler.connect_as(&login), pooler.connect_as(&login));
    let clean = state(&second);
    first
        .query("set work_mem = 1234; create temp table t (i int); listen a; prepare p as select 1")
        .unwrap();
    assert_eq!(state(&second), clean);
    assert_eq!(cleaned(&pooler), 1);
}

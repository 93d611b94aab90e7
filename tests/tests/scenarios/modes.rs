//! Session, transaction and statement pooling.

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, SqlState, wait_for};

const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn session_mode_keeps_one_server_for_a_client() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = session");
    let (one, two) = (pooler.connect(), pooler.connect());
    let backends = (one.value(BACKEND), two.value(BACKEND));
    assert_ne!(backends.0, backends.1);
    one.query("create temp table t (a int); set work_mem = '1234kB'")
        .unwrap();
    for _ in 0..5 {
        assert_eq!((one.value(BACKEND), two.value(BACKEND)), backends);
    }
    assert_eq!(one.value("show work_mem"), "1234kB");
    assert_eq!(one.value("select count(*) from t"), "0");
}

#[test]
fn session_mode_cleans_a_server_before_the_next_client() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = session\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let first = pooler.connect();
    let backend = first.value(BACKEND);
    first.query("create temp table t (a int)").unwrap();
    first.query("set work_mem = '1234kB'").unwrap();
    first.query("prepare p as select 1").unwrap();
    first.close();

    let second = pooler.connect();
    assert_eq!(second.value(BACKEND), backend, "the same connection");
    assert_eq!(second.query("select * from t"), Err(SqlState("42P01")));
    assert_ne!(second.value("show work_mem"), "1234kB");
    assert_eq!(second.query("execute p"), Err(SqlState("26000")));
}

#[test]
fn server_reset_query_is_the_one_configured() {
    let postgres = Postgres::start();
    postgres.query("create table resets (at int)");
    let settings = "workers = 1\npool_mode = session\ndefault_pool_size = 1\n\
                    server_reset_query = insert into resets values (1)";
    let pooler = Pooler::start(&postgres, settings);
    for expected in 1..=3 {
        let client = pooler.connect();
        client.value("select 1");
        client.close();
        wait_for("the reset", PATIENCE, || {
            postgres.number("select count(*) from resets") == expected
        });
    }
}

#[test]
fn server_reset_query_runs_in_other_modes_only_when_asked_for() {
    let postgres = Postgres::start();
    postgres.query("create table resets (at int)");
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1\n\
                    server_reset_query = insert into resets values (1)";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect();
    client.value("select 1");
    client.query("begin; select 1; commit").unwrap();
    assert_eq!(client.value("select count(*) from resets"), "0");

    pooler.reload(&format!("{settings}\nserver_reset_query_always = 1"));
    client.value("select 1");
    wait_for("the reset", PATIENCE, || {
        postgres.number("select count(*) from resets") > 0
    });
}

#[test]
fn transaction_mode_shares_a_server_between_transactions() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let (one, two) = (pooler.connect(), pooler.connect());
    for _ in 0..5 {
        assert_eq!(one.value(BACKEND), two.value(BACKEND));
        one.query("begin").unwrap();
        assert_eq!(one.status(), 'T');
        one.query("commit").unwrap();
    }
}

#[test]
fn transaction_mode_prefers_the_server_used_last() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 5";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<_> = (0..5).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.query("begin").unwrap();
    }
    for client in &clients {
        client.query("commit").unwrap();
    }
    let backend = clients[0].value(BACKEND);
    for client in clients.iter().cycle().take(20) {
        assert_eq!(client.value(BACKEND), backend);
    }
}

#[test]
fn server_round_robin_takes_turns() {
    let postgres = Postgres::start();
    let settings =
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 3\nserver_round_robin = 1";
    let pooler = Pooler::start(&postgres, settings);
    let clients: Vec<_> = (0..3).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.query("begin").unwrap();
    }
    for client in &clients {
        client.query("commit").unwrap();
    }
    let mut seen: Vec<String> = (0..3).map(|_| clients[0].value(BACKEND)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[test]
fn statement_mode_refuses_transaction_blocks() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = statement\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let (one, two) = (pooler.connect(), pooler.connect());
    assert_eq!(one.value(BACKEND), two.value(BACKEND));
    assert_eq!(one.query("begin"), Err(SqlState("0A000")));
    let error = one.last_error().unwrap();
    assert_eq!(
        error.message,
        "transaction blocks not allowed in statement pooling mode"
    );
    // Nothing is left open for the others.
    assert_eq!(two.value("select 'served'"), "served");
    assert_eq!(two.status(), 'I');
}

#[test]
fn mode_of_a_user_beats_that_of_a_database_and_that_the_general_one() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!(
        "* = {address}\nsession = {address} dbname=postgres pool_mode=session\n\
         [users]\nbob = pool_mode=statement"
    );
    let pooler = Pooler::start_for(&databases, "workers = 1\npool_mode = transaction");
    let login =
        |user: &str, database: &str| pooler.connect_as(&Login::new().user(user).database(database));
    // Session mode shows in a setting that stays.
    let keeps = |user: &str, database: &str| {
        let (client, other) = (login(user, database), login(user, database));
        let backends = (client.value(BACKEND), other.value(BACKEND));
        backends.0 != backends.1
    };
    assert!(keeps("alice", "session"));
    assert!(!keeps("alice", "postgres"));
    let statement = login("bob", "session");
    assert_eq!(statement.query("begin"), Err(SqlState("0A000")));
}

#[test]
fn connect_query_runs_once_on_each_new_server() {
    let postgres = Postgres::start();
    postgres.query("create table opened (pid int)");
    let line = format!(
        "postgres = {} connect_query='insert into opened values (pg_backend_pid())'",
        postgres.address()
    );
    let pooler = Pooler::start_for(&line, "workers = 1\npool_mode = transaction");
    let (one, two) = (pooler.connect(), pooler.connect());
    one.query("begin").unwrap();
    two.query("begin").unwrap();
    let used = [one.value(BACKEND), two.value(BACKEND)];
    one.query("commit").unwrap();
    two.query("commit").unwrap();
    let mut opened = postgres.query("select pid from opened");
    let mut used = used.to_vec();
    opened.sort();
    used.sort();
    assert_eq!(opened, used);
}

#[test]
fn failing_connect_query_is_only_logged() {
    let postgres = Postgres::start();
    let line = format!(
        "postgres = {} connect_query='select nothing'",
        postgres.address()
    );
    let pooler = Pooler::start_for(&line, "workers = 1\npool_mode = transaction");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    pooler.wait_log("nothing");
}

#[test]
fn disable_pqexec_refuses_simple_queries_and_nothing_else() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndisable_pqexec = 1";
    let pooler = Pooler::start(&postgres, settings);
    let refused = |client: &Client, outcome| {
        assert_eq!(outcome, Err(SqlState("0A000")));
        let error = client.last_error().unwrap();
        assert_eq!(
            (&*error.severity, &*error.message),
            ("FATAL", "PQexec disallowed")
        );
        assert_eq!(client.wait_closed(), []);
    };

    // At once, inside a transaction, and behind other messages.
    let client = pooler.connect();
    assert_eq!(
        client.execute("select $1", &["fine"]),
        Ok(vec!["fine".to_owned()])
    );
    refused(&client, client.query("select 1"));
    let client = pooler.connect();
    client.execute("begin", &[]).unwrap();
    refused(&client, client.query("commit"));
    let client = pooler.connect();
    let long = "x".repeat(200_000);
    assert_eq!(
        client.execute("select length($1)", &[&long]),
        Ok(vec!["200000".to_owned()])
    );
    client.send(b"S\0\0\0\x04Q\0\0\0\x0dselect 1\0");
    refused(&client, client.pending().wait());

    // A header that comes in pieces is one.
    let client = pooler.connect();
    client.send(b"Q\0");
    client.absorb(std::time::Duration::from_millis(50));
    client.send(b"\0\0\x0dselect 1\0");
    refused(&client, client.pending().wait());

    // The console speaks nothing else.
    assert_eq!(pooler.console("show version").len(), 1);
}

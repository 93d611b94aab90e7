//! A server is lost under its client, which goes on where that is safe.

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, message, wait_for,
};

const SETTINGS: &str = "workers = 1\npool_mode = transaction";
const BACKEND: &str = "select pg_backend_pid()";

#[test]
fn client_in_a_transaction_is_told_with_its_next_message_and_goes_on() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    client.query("create table kept (a int)").unwrap();
    client.query("begin").unwrap();
    client.query("insert into kept values (1)").unwrap();
    client.take_transcript();
    postgres.shut_down(Signal::SIGINT);
    postgres.wait_down();
    pooler.wait_log("closed: server conn crashed?");

    assert_eq!(
        client.query("insert into kept values (2)"),
        Err(SqlState("57P01"))
    );
    let error = client.last_error().unwrap();
    assert_eq!(error.severity, "ERROR");
    assert_eq!(
        error.message,
        "terminating connection due to administrator command"
    );
    assert_eq!(client.status(), 'E');
    for sql in ["select 1", "rollback to a", "rollback; select 1", "begin"] {
        assert_eq!(client.query(sql), Err(SqlState("25P02")), "{sql}");
        assert_eq!(client.status(), 'E');
    }
    // Nobody but the pooler is there to answer.
    assert_eq!(client.query("commit"), Ok(vec![]));
    assert_eq!(
        (client.status(), &*client.take_transcript()),
        ('I', "EZEZEZEZEZCZ")
    );

    let answer = client.start_query("select count(*) from kept");
    postgres.start_again();
    assert_eq!(answer.wait(), Ok(vec!["0".to_owned()]));
}

#[test]
fn query_that_was_sent_is_answered_with_the_error_and_not_sent_again() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    postgres.query("create sequence called");
    let [query, batch, alone] = [(); 3].map(|()| pooler.connect());
    let running = "select nextval('called'), pg_sleep(60)";
    query.query("begin").unwrap();
    batch.query("begin").unwrap();
    let sent = [query.start_query(running), alone.start_query(running)];
    batch.send(&[parse("", running), bind(""), execute(), sync()].concat());
    wait_for("the queries to run", PATIENCE, || {
        postgres.busy_connections() == 3
    });
    postgres.shut_down(Signal::SIGINT);
    for query in sent.into_iter().chain([batch.pending()]) {
        assert_eq!(query.wait(), Err(SqlState("57P01")));
    }
    // Who was in no transaction may have begun one with it.
    let severity = |client: &Client| client.last_error().unwrap().severity;
    assert_eq!(severity(&alone), "FATAL");
    assert_eq!(alone.wait_closed(), []);
    for client in [&query, &batch] {
        assert_eq!((&*severity(client), client.status()), ("ERROR", 'E'));
        assert_eq!(client.query("rollback"), Ok(vec![]));
    }
    postgres.wait_down();
    let answers = [&query, &batch].map(|c| c.start_query("select 'usable'"));
    postgres.start_again();
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["usable".to_owned()]));
    }
    assert_eq!(query.value("select nextval('called') <= 4"), "t");
}

#[test]
fn extended_protocol_has_one_error_and_the_end_by_any_statement() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    // One statement from before, that ends the transaction.
    client.send(&[parse("end", "rollback"), sync()].concat());
    client.pending().wait().unwrap();
    client.query("begin").unwrap();
    terminate(&postgres, &client);
    client.take_transcript();
    let batch = [parse("s", "select 1"), bind("s"), execute(), sync()].concat();
    client.send(&batch);
    assert_eq!(client.pending().wait(), Err(SqlState("57P01")));
    client.send(&batch);
    assert_eq!(client.pending().wait(), Err(SqlState("25P02")));
    assert_eq!((client.status(), &*client.take_transcript()), ('E', "EZEZ"));
    client.send(&[bind("end"), execute(), sync()].concat());
    assert_eq!(client.pending().wait(), Ok(vec![]));
    assert_eq!((client.status(), &*client.take_transcript()), ('I', "2CZ"));
    // The name is free, since its Parse has failed.
    client.send(&batch);
    assert_eq!(client.pending().wait(), Ok(vec!["1".to_owned()]));

    client.query("begin").unwrap();
    terminate(&postgres, &client);
    assert_eq!(client.execute("select 1", &[]), Err(SqlState("57P01")));
    assert_eq!(client.execute("rollback", &[]), Ok(vec![]));
    assert_eq!(
        client.execute("select $1::text", &["on"]),
        Ok(vec!["on".to_owned()])
    );
}

#[test]
fn statements_of_a_batch_that_was_lost_are_undone() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    client.query("begin").unwrap();
    let running = [
        parse("s", "select pg_sleep(60)"),
        bind("s"),
        execute(),
        sync(),
    ];
    client.send(&running.concat());
    wait_for("it to run", PATIENCE, || postgres.busy_connections() == 1);
    terminate_all(&postgres);
    assert_eq!(client.pending().wait(), Err(SqlState("57P01")));
    assert_eq!(client.query("rollback"), Ok(vec![]));
    assert_eq!(client.status(), 'I');
    client.send(&[parse("t", "select 't'"), bind("t"), execute(), sync()].concat());
    assert_eq!(client.pending().wait(), Ok(vec!["t".to_owned()]));
}

#[test]
fn client_that_has_lost_more_is_closed_with_the_error() {
    let postgres = Postgres::start();
    postgres.query("create table filled (a int)");
    let lost = |settings: &str, begin: &dyn Fn(&Client)| {
        let pooler = Pooler::start(&postgres, settings);
        let client = pooler.connect();
        begin(&client);
        terminate_all(&postgres);
        let last = client.wait_closed();
        let error = last
            .iter()
            .find(|message| message.tag == b'E')
            .unwrap()
            .error();
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "57P01"));
    };
    let session = "workers = 1\npool_mode = session";
    lost(session, &|client| {
        client.query("begin").unwrap();
    });
    let pinned = format!("{SETTINGS}\nsession_state = pin");
    lost(&pinned, &|client| {
        client.query("create temp table mine (a int)").unwrap();
    });
    lost(SETTINGS, &|client| {
        client.send_message(b'Q', b"copy filled from stdin\0");
        client.read_until(b'G');
    });
    lost(SETTINGS, &|client| {
        let many = "copy (select pg_sleep(0.01) from generate_series(1, 100000)) to stdout\0";
        client.send_message(b'Q', many.as_bytes());
        client.read_until(b'd');
    });
    // It may have begun a transaction, of which more may be on its way.
    lost(SETTINGS, &|client| {
        let _running = client.start_query("begin; select pg_sleep(60)");
        wait_for("it to run", PATIENCE, || postgres.busy_connections() == 1);
        client.send_message(b'Q', b"insert into filled values (1); commit\0");
    });
    assert_eq!(postgres.number("select count(*) from filled"), 0);
}

#[test]
fn crash_without_a_word_is_08006_for_a_client_in_a_transaction() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    client.query("begin").unwrap();
    postgres.crash();
    pooler.wait_log("closed: server conn crashed?");
    assert_eq!(client.query("select 1"), Err(SqlState("08006")));
    assert_eq!(client.status(), 'E');
    assert_eq!(client.query("rollback"), Ok(vec![]));
    postgres.start_again();
    wait_for("it to be served", PATIENCE, || {
        client.query("select 1").is_ok() || pooler.try_connect(&Login::new()).is_ok()
    });
}

fn terminate(postgres: &Postgres, client: &Client) {
    let backend = client.value(BACKEND);
    postgres.query(&format!("select pg_terminate_backend({backend}, 10000)"));
}

fn terminate_all(postgres: &Postgres) {
    postgres.query(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity \
         where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

fn bind(name: &str) -> Vec<u8> {
    message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn execute() -> Vec<u8> {
    message(b'E', b"\0\0\0\0\0")
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

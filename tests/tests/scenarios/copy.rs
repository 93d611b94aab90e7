//! COPY passes in both directions.

use crate::harness::{Client, Pooler, Postgres, SqlState};

#[test]
fn copy_in_and_out_carry_every_row() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int, b text)");
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();

    let query = client.start_query("copy t from stdin");
    client.read_until(b'G');
    for chunk in 0..100 {
        let rows: String = (0..100)
            .map(|row| format!("{}\t{}\n", chunk * 100 + row, "y".repeat(500)))
            .collect();
        client.send_message(b'd', rows.as_bytes());
    }
    client.send_message(b'c', b"");
    query.wait().unwrap();
    assert_eq!(
        client.value("select count(*) || ' ' || sum(a) from t"),
        "10000 49995000"
    );

    assert_eq!(copy_out(&client, "copy t to stdout"), 10_000);
    assert_eq!(client.value("select 'after'"), "after");
}

#[test]
fn failed_copy_leaves_the_session_usable() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, "pool_mode = transaction\ndefault_pool_size = 1");
    let client = pooler.connect();

    // The client gives up.
    let query = client.start_query("copy t from stdin");
    client.read_until(b'G');
    client.send_message(b'd', b"1\n");
    client.send_message(b'f', b"changed my mind\0");
    assert_eq!(query.wait(), Err(SqlState("57014")));

    // The server gives up, and more data is on its way.
    let query = client.start_query("copy t from stdin");
    client.read_until(b'G');
    client.send_message(b'd', b"not a number\n");
    for _ in 0..50 {
        client.send_message(b'd', b"2\n3\n");
    }
    client.send_message(b'c', b"");
    assert_eq!(query.wait(), Err(SqlState("22P02")));

    assert_eq!(client.value("select count(*) from t"), "0");
    assert_eq!(
        pooler.connect().value("select count(*) from t"),
        "0",
        "another client on the same server connection"
    );
}

#[test]
fn copy_both_ways_at_once_through_one_pool() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int); insert into t select generate_series(1, 50000)");
    let pooler = Pooler::start(&postgres, "pool_mode = transaction\nworkers = 2");
    std::thread::scope(|scope| {
        for worker in [1, 1, 2, 2] {
            let pooler = &pooler;
            scope.spawn(move || {
                let client = pooler.connect_to_worker(worker);
                for _ in 0..5 {
                    assert_eq!(copy_out(&client, "copy t to stdout"), 50_000);
                }
            });
        }
    });
}

/// Runs a COPY TO STDOUT and counts its rows.
fn copy_out(client: &Client, sql: &str) -> usize {
    let _read_here = client.start_query(sql);
    client.read_until(b'H');
    let mut rows = 0;
    loop {
        let message = client.read_message().expect("the copy goes on");
        match message.tag {
            b'd' => rows += 1,
            b'Z' => return rows,
            b'c' | b'C' => {}
            _ => panic!("{message:?} in a copy"),
        }
    }
}

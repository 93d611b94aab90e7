//! What a client leaves behind reaches nobody else.

use crate::harness::{PATIENCE, Pooler, Postgres, wait_for};

const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

#[test]
fn transaction_of_a_client_that_left_is_rolled_back() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);

    let leaving = pooler.connect();
    leaving.query("begin").unwrap();
    leaving.query("insert into t values (1)").unwrap();
    drop(leaving);

    // The next one gets a connection outside any transaction.
    let next = pooler.connect();
    assert_eq!(next.value("select count(*) from t"), "0");
    assert_eq!(next.status(), 'I');
    next.query("insert into t values (2)").unwrap();
    assert_eq!(postgres.query("select a from t"), ["2"]);
}

#[test]
fn failed_transaction_of_a_client_that_left_is_rolled_back() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let leaving = pooler.connect();
    leaving.query("begin").unwrap();
    leaving.query("select 1/0").unwrap_err();
    assert_eq!(leaving.status(), 'E');
    leaving.reset();
    assert_eq!(pooler.connect().value("select 'clean'"), "clean");
}

#[test]
fn query_of_a_client_that_left_is_cancelled() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    for orderly in [true, false] {
        let leaving = pooler.connect();
        let _unread = leaving.start_long_query();
        assert_eq!(postgres.busy_connections(), 1);
        if orderly {
            leaving.send_message(b'X', b"");
            drop(leaving);
        } else {
            leaving.reset();
        }
        // Long before its minute is over.
        wait_for("the abandoned query's end", PATIENCE / 2, || {
            postgres.busy_connections() == 0
        });
        assert_eq!(pooler.connect().value("select 'next'"), "next");
    }
}

#[test]
fn client_that_leaves_in_the_middle_of_a_result_harms_nobody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let leaving = pooler.connect();
    let _unread = leaving.start_query("select repeat('x', 10000) from generate_series(1, 100000)");
    leaving.read_until(b'D');
    leaving.reset();
    assert_eq!(pooler.connect().value("select 'mine'"), "mine");
}

#[test]
fn client_that_leaves_in_the_middle_of_a_message_harms_nobody() {
    let postgres = Postgres::start();
    postgres.query("create table t (a text)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let leaving = pooler.connect();
    // A query of 100,000 bytes, of which a few come.
    leaving.send(b"Q\0\x01\x86\xa0insert into t values ('");
    leaving.reset();
    let next = pooler.connect();
    assert_eq!(next.value("select count(*) from t"), "0");
}

#[test]
fn client_that_leaves_in_the_middle_of_a_pipeline_harms_nobody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let leaving = pooler.connect();
    // Parse without Sync, answered because of Flush.
    leaving.send_message(b'P', b"\0select 1\0\0\0");
    leaving.send_message(b'H', b"");
    leaving.read_until(b'1');
    leaving.reset();
    assert_eq!(pooler.connect().value("select 'next'"), "next");
}

#[test]
fn client_that_leaves_in_the_middle_of_a_copy_harms_nobody() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, ONE_SERVER);
    let leaving = pooler.connect();
    let _unread = leaving.start_query("copy t from stdin");
    leaving.read_until(b'G');
    leaving.send_message(b'd', b"1\n2\n");
    leaving.reset();
    assert_eq!(pooler.connect().value("select count(*) from t"), "0");
}

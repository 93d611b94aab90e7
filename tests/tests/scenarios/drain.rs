//! A drain asks every kind of client to go, at the right moment, and waits.

use std::time::Duration;

use crate::harness::{Client, Gate, Login, PATIENCE, Pooler, Postgres, Signal};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn told_client_works_on_and_the_pooler_ends_after_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| told(&pooler, worker));
    pooler.signal(Signal::SIGTERM);
    for client in clients {
        client.wait_goaway();
        assert_eq!(client.value("select 'works on'"), "works on");
        client.query("begin").unwrap();
        assert_eq!(
            client.value("select 'in a new transaction'"),
            "in a new transaction"
        );
        client.query("commit").unwrap();
        assert_eq!(client.transcript().matches('g').count(), 1, "told once");
        assert_eq!(pooler.exit_status(), None);
        client.close();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    assert_eq!(pooler.processes(), []);
}

#[test]
fn plain_client_is_told_by_a_parameter_and_works_on() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        let value = client.parameter("disconnect_requested");
        assert_eq!(value.as_deref(), Some("off"), "in the login burst");
    }
    pooler.signal(Signal::SIGTERM);
    for client in clients {
        client.wait_parameter("disconnect_requested", "on");
        assert_eq!(client.value("select 'works on'"), "works on");
        assert_eq!(
            client.transcript(),
            "STDCZ",
            "told once, and by one carrier"
        );
        client.close();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn busy_client_is_told_right_after_its_query() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let gate = Gate::close(&postgres);
    let (asked, plain) = (told(&pooler, 1), pooler.connect_to_worker(1));
    let queries = [&asked, &plain].map(|client| client.start_query(&Gate::query()));
    gate.wait_queue(2);
    drain(&pooler);

    gate.open();
    for query in queries {
        assert_eq!(query.wait(), Ok(vec!["through".to_owned()]));
    }
    asked.wait_goaway();
    assert_eq!(asked.transcript(), "TDCZg");
    plain.wait_parameter("disconnect_requested", "on");
    assert_eq!(plain.transcript(), "TDCZS");
    finish(pooler, [asked, plain]);
}

#[test]
fn client_in_a_transaction_is_told_at_rest_and_can_commit() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, SETTINGS);
    let (asked, plain, failed) = (
        told(&pooler, 1),
        pooler.connect_to_worker(1),
        told(&pooler, 1),
    );
    asked.query("begin; insert into t values (1)").unwrap();
    plain.query("begin; insert into t values (2)").unwrap();
    failed.query("begin").unwrap();
    failed.query("select 1/0").unwrap_err();
    drain(&pooler);

    asked.wait_goaway();
    plain.wait_parameter("disconnect_requested", "on");
    failed.wait_goaway();
    asked.query("commit").unwrap();
    plain.query("commit").unwrap();
    failed.query("rollback").unwrap();
    assert_eq!(postgres.query("select a from t order by a"), ["1", "2"]);
    finish(pooler, [asked, plain, failed]);
}

#[test]
fn client_in_the_middle_of_a_pipeline_is_told_after_its_sync() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = told(&pooler, 1);
    client.send_message(b'P', b"\0select 1\0\0\0");
    client.send_message(b'H', b"");
    client.read_until(b'1');
    drain(&pooler);

    client.absorb(Duration::from_millis(200));
    assert_eq!(client.transcript(), "1", "not told between Parse and Sync");
    client.send_message(b'B', b"\0\0\0\0\0\0\0\0");
    client.send_message(b'E', b"\0\0\0\0\0");
    client.send_message(b'S', b"");
    client.wait_goaway();
    assert_eq!(client.transcript(), "12DCZg");
    finish(pooler, [client]);
}

#[test]
fn client_in_a_copy_is_told_after_it() {
    let postgres = Postgres::start();
    postgres.query("create table t (a int)");
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = told(&pooler, 1);
    let copy = client.start_query("copy t from stdin");
    client.read_until(b'G');
    drain(&pooler);

    client.send_message(b'd', b"1\n");
    client.absorb(Duration::from_millis(200));
    assert_eq!(client.transcript(), "G", "not told inside a COPY");
    client.send_message(b'd', b"2\n");
    client.send_message(b'c', b"");
    copy.wait().unwrap();
    client.wait_goaway();
    assert_eq!(client.transcript(), "GCZg");
    assert_eq!(client.value("select count(*) from t"), "2");
    finish(pooler, [client]);
}

#[test]
fn client_that_reads_a_large_result_gets_all_of_it_and_is_told_after_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = told(&pooler, 1);
    let query = client.start_query("select repeat('x', 1000) from generate_series(1, 50000)");
    client.read_until(b'D');
    drain(&pooler);
    assert_eq!(query.wait().unwrap().len(), 49_999);
    client.wait_goaway();
    let transcript = client.transcript();
    assert!(
        transcript.ends_with("DCZg"),
        "told in the middle of a result"
    );
    finish(pooler, [client]);
}

#[test]
fn client_that_waits_for_a_server_is_served_and_then_told() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 1"));
    let (holder, waiting) = (told(&pooler, 1), told(&pooler, 1));
    holder.query("begin").unwrap();
    // That may have waited, and the count is taken now and then.
    pooler.wait_waiting_clients(0);
    let query = waiting.start_query("select 'served'");
    pooler.wait_waiting_clients(1);
    pooler.signal(Signal::SIGTERM);
    holder.wait_goaway();
    holder.query("commit").unwrap();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
    waiting.wait_goaway();
    assert_eq!(waiting.transcript(), "TDCZg");
    finish(pooler, [holder, waiting]);
}

#[test]
fn session_mode_clients_are_told_as_well() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = session");
    let client = told(&pooler, 2);
    client.query("create temp table t (a int)").unwrap();
    pooler.signal(Signal::SIGTERM);
    client.wait_goaway();
    assert_eq!(client.value("select count(*) from t"), "0");
    finish(pooler, [client]);
}

/// A client of worker `n` that asked to be told with GoAway.
fn told(pooler: &Pooler, n: u8) -> Client {
    pooler.connect_to_worker_as(n, &Login::new().goaway())
}

/// Starts a drain, and returns when worker 1 has begun to tell its clients.
fn drain(pooler: &Pooler) {
    let witness = told(pooler, 1);
    pooler.signal(Signal::SIGTERM);
    witness.wait_goaway();
    witness.close();
}

/// With its last client the pooler ends.
fn finish<const N: usize>(pooler: Pooler, clients: [Client; N]) {
    assert_eq!(pooler.exit_status(), None);
    for client in clients {
        client.close();
    }
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

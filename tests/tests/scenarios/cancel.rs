//! Cancelling a query, whichever worker the request reaches.

use std::time::Duration;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, wait_for, within,
};

const CANCELLED: SqlState = SqlState("57014");

#[test]
fn cancel_request_reaches_the_worker_that_owns_the_client() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");

    // A long query runs on worker 1.
    let client = pooler.connect_to_worker(1);
    let query = client.start_long_query();

    // The kernel hands the cancel request to worker 3.
    client.cancel_through_worker(3);

    // The query ends as cancelled, and the client is still usable.
    assert_eq!(query.wait(), Err(CANCELLED));
    assert_eq!(client.query("select 1"), Ok(vec!["1".to_owned()]));
}

#[test]
fn two_hundred_cancels_through_the_wrong_worker_all_hit() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    let clients: Vec<Client> = (0..10)
        .map(|i| pooler.connect_to_worker(1 + i % 4))
        .collect();

    for round in 0..20 {
        let queries: Vec<_> = clients.iter().map(Client::start_long_query).collect();

        // A burst of ten requests, each to a worker that does not own its client.
        let wrong = |slot: u8| 1 + (slot + round % 3) % 4;
        let requests: Vec<_> = clients
            .iter()
            .map(|client| client.start_cancel_through_worker(wrong(client.slot())))
            .collect();

        for query in queries {
            assert_eq!(query.wait(), Err(CANCELLED), "round {round}");
        }
        for mut request in requests {
            assert_eq!(request.read_to_end(), []);
        }
    }
}

#[test]
fn cancel_request_over_the_unix_socket_reaches_its_query() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    for slot in 1..=4 {
        let client = pooler.connect_to_worker(slot);
        let query = client.start_long_query();
        let mut wire = pooler.unix_wire();
        wire.send(&client.cancel_packet());
        assert_eq!(query.wait(), Err(CANCELLED));
        assert_eq!(wire.read_to_end(), []);
    }
}

#[test]
fn control_c_in_psql_cancels_through_four_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    // The request comes from whatever port the kernel gives to psql.
    for _ in 0..8 {
        let psql = pooler.psql().user("postgres").start("select pg_sleep(60)");
        wait_for("psql's query to run", PATIENCE, || {
            postgres.busy_connections() == 1
        });
        psql.process().signal(Signal::SIGINT);
        let said = psql.wait();
        assert!(said.contains("57014"), "{said}");
    }
}

#[test]
fn cancelled_client_that_waits_for_a_server_is_told_at_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let holder = pooler.connect_to_worker(1);
    // The first login of a worker needs a server, so they come first.
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    holder.query("begin").unwrap();

    for waiting in clients {
        let query = waiting.start_query("select 'late'");
        pooler.wait_waiting_clients(1);
        waiting.cancel_through_worker(3 - waiting.slot());
        assert_eq!(query.wait(), Err(CANCELLED));

        // The holder was not disturbed, and the cancelled client can go on.
        assert_eq!(holder.value("select 'mine'"), "mine");
        let query = waiting.start_query("select 'served'");
        holder.query("commit").unwrap();
        assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
        holder.query("begin").unwrap();
    }
}

#[test]
fn cancel_of_an_idle_client_does_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    client.cancel();
    assert_eq!(client.value("select 'undisturbed'"), "undisturbed");
}

#[test]
fn cancel_inside_an_idle_transaction_does_nothing_to_it() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "pool_mode = transaction");
    let client = pooler.connect();
    client.query("begin").unwrap();
    client.cancel();
    assert_eq!(client.value("select 'undisturbed'"), "undisturbed");
    assert_eq!(client.status(), 'T');
}

#[test]
fn wrong_secret_cancels_nothing_and_is_closed_without_a_byte() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect_to_worker(1);
    let query = client.start_long_query();

    for worker in [1, 2] {
        let mut packet = client.cancel_packet();
        *packet.last_mut().unwrap() ^= 0x80;
        let mut wire = pooler.wire_to_worker(worker);
        wire.send(&packet);
        assert_eq!(wire.read_to_end(), []);
    }
    assert!(
        !within(Duration::from_millis(300), || {
            postgres.busy_connections() == 0
        }),
        "a wrong secret cancelled a query"
    );

    // The right one still does.
    client.cancel_through_worker(2);
    assert_eq!(query.wait(), Err(CANCELLED));
}

#[test]
fn cancel_keys_name_the_slot_and_are_as_long_as_the_version_allows() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    for slot in 1..=4 {
        let old = pooler.connect_to_worker(slot);
        assert_eq!(old.secret().len(), 4);
        let new = pooler.connect_to_worker_as(slot, &Login::new().minor_version(2));
        assert_eq!(new.secret().len(), 32);
        for client in [old, new] {
            assert_eq!(client.slot(), slot);
            assert!(client.process_id() < 1 << 31, "the sign bit stays clear");
            let query = client.start_long_query();
            client.cancel_through_worker(1 + slot % 4);
            assert_eq!(query.wait(), Err(CANCELLED));
        }
    }
}

#[test]
fn cancel_works_in_session_mode_and_leaves_the_session_usable() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = session");
    let client = pooler.connect_to_worker(2);
    let backend = client.value("select pg_backend_pid()");
    let query = client.start_long_query();
    client.cancel_through_worker(1);
    assert_eq!(query.wait(), Err(CANCELLED));
    assert_eq!(client.value("select pg_backend_pid()"), backend);
}

//! PostgreSQL has as many connections as it takes: clients wait, it is asked
//! again now and then, and who has waited too long is told what it says.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Login, Manner, PATIENCE, Pooler, Postgres, SqlState, StandIn, wait_for, within,
};

/// What PostgreSQL says when only superusers are let in.
const RESERVED: &str = "remaining connection slots are reserved";

#[test]
fn clients_wait_until_postgresql_takes_more() {
    let (postgres, alice) = small_postgres();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 5";
    let pooler = Pooler::start(&postgres, settings);
    let hog = fill(&postgres, &alice);
    thread::scope(|scope| {
        let clients = [1, 2].map(|worker| {
            let (pooler, alice) = (&pooler, &alice);
            scope.spawn(move || {
                let client = pooler.connect_to_worker_as(worker, alice);
                client.value("select 'served'")
            })
        });
        pooler.wait_log(RESERVED);
        // One worker at a time, less and less often.
        let begun = Instant::now();
        let busy = || pooler.log().matches(RESERVED).count() > 12;
        assert!(
            !within(Duration::from_secs(3), busy),
            "{:?}",
            begun.elapsed()
        );
        drop(hog);
        for client in clients {
            assert_eq!(client.join().unwrap(), "served");
        }
    });
}

#[test]
fn place_that_postgresql_has_is_divided_among_workers() {
    let (postgres, alice) = small_postgres();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 5\n\
                    server_idle_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    wait_for("no connection of the pooler", PATIENCE, || {
        postgres.connections() == 0
    });
    // It takes one and no more.
    let mut hog = fill(&postgres, &alice);
    hog.pop().unwrap().close();
    let clients = [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &alice));
    for round in 0..20 {
        for client in &clients {
            let asked = Instant::now();
            assert_eq!(client.value("select 'served'"), "served");
            let waited = asked.elapsed();
            assert!(
                waited < Duration::from_secs(5),
                "{waited:?} in round {round}"
            );
        }
    }
    drop(hog);
}

#[test]
fn who_has_waited_too_long_is_told_what_postgresql_says() {
    let (postgres, alice) = small_postgres();
    let settings = "workers = 2\npool_mode = transaction\nquery_wait_timeout = 3\n\
                    client_login_timeout = 3\nserver_idle_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    // Both workers know how to greet, and hold no connection.
    let clients = [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &alice));
    clients[0].query("select 1").unwrap();
    wait_for("the idle connection to close", PATIENCE, || {
        postgres.connections() == 0
    });
    let _hog = fill(&postgres, &alice);
    let bob = Login::new().user("bob");
    thread::scope(|scope| {
        let login = scope.spawn(|| pooler.try_connect(&bob).unwrap_err());
        let queries = clients
            .each_ref()
            .map(|client| client.start_query("select 1"));
        for query in queries {
            assert_eq!(query.wait(), Err(SqlState("53300")));
        }
        let error = login.join().unwrap();
        assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "53300"));
        assert!(error.message.contains(RESERVED), "{error:?}");
        assert!(
            error.message.ends_with("(client_login_timeout)"),
            "{error:?}"
        );
    });
    for client in &clients {
        let error = client.last_error().unwrap();
        assert!(error.message.contains(RESERVED), "{error:?}");
        assert!(error.message.ends_with("(query_wait_timeout)"), "{error:?}");
    }
}

#[test]
fn server_that_has_no_room_is_asked_a_bounded_number_of_times() {
    let server = StandIn::start(|_| Manner::fatal("53300", "not now"));
    let settings = "workers = 4\npool_mode = transaction\nclient_login_timeout = 4";
    let pooler = Pooler::start_for(&format!("* = {}", server.address()), settings);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| pooler.try_connect(&Login::new()).unwrap_err()))
            .collect();
        for client in clients {
            let error = client.join().unwrap();
            assert_eq!(error.sqlstate, "53300");
            assert_eq!(error.message, "not now (client_login_timeout)");
        }
    });
    // One try of each worker at first, then pauses from 50 ms to a second.
    let versions = server.versions();
    assert!((4..=20).contains(&versions.len()), "{}", versions.len());
    assert!(versions.iter().all(|version| version == "3.2"));
}

/// A PostgreSQL that takes three connections beside those of superusers, and
/// somebody who is none.
fn small_postgres() -> (Postgres, Login) {
    let postgres = Postgres::start();
    postgres.query("alter system set max_connections = 6");
    postgres.query("alter system set max_wal_senders = 0");
    postgres.crash();
    postgres.start_again();
    (postgres, Login::new().user("alice"))
}

/// Takes all connections that there are, once those of before are gone.
fn fill(postgres: &Postgres, login: &Login) -> Vec<Client> {
    let direct = login.clone().parameter("application_name", "direct");
    let mut hog = Vec::new();
    wait_for("all connections", PATIENCE, || {
        hog.extend(Client::log_in(postgres.wire(), &direct));
        hog.len() == 3
    });
    hog
}

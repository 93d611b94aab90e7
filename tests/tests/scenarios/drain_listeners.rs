//! Listening stops without losing anybody, and cancels go on being served.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stop, Wire, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\n";

#[test]
fn new_sessions_are_refused_while_a_drain_goes_on() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    let client = pooler.connect();
    pooler.signal(Signal::SIGTERM);
    wait_closed(&pooler);
    let error = pooler.connect_unix(&Login::new()).unwrap_err();
    assert_eq!(error.severity, "FATAL");
    assert_eq!(error.sqlstate, "57P03");
    assert_eq!(error.message, "pooler is shutting down");

    // The console still answers there, and does not hold the drain up.
    let console = pooler
        .connect_unix(&Login::new().database("pgskein"))
        .unwrap();
    assert!(!console.query("SHOW WORKERS").unwrap().is_empty());
    client.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn cancels_are_served_over_the_unix_socket_during_a_drain() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    let clients = [1, 2, 3, 4].map(|worker| pooler.connect_to_worker(worker));
    let queries = clients.each_ref().map(|client| client.start_long_query());
    pooler.signal(Signal::SIGTERM);
    wait_closed(&pooler);
    for (client, query) in clients.iter().zip(queries) {
        let mut wire = pooler.unix_wire();
        wire.send(&client.cancel_packet());
        assert_eq!(query.wait(), Err(SqlState("57014")));
        assert_eq!(wire.read_to_end(), []);
    }
}

#[test]
fn no_queued_connection_is_lost_when_listening_stops() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}drain_listen = close"));
    let witness = pooler.connect_to_worker_as(1, &Login::new().goaway());
    let (worker, queued) = pooler.stop_with_queue(2, 20);
    pooler.signal(Signal::SIGTERM);
    witness.wait_goaway();
    witness.close();
    worker.signal(Signal::SIGCONT);
    // Who came before the end is served.
    assert_answered(queued, b'R');
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn no_queued_connection_is_lost_when_a_port_that_refuses_is_closed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}drain_listen = answer"));
    let witness = pooler.connect_to_worker_as(1, &Login::new().goaway());
    let other = pooler.worker(1);
    // Whoever looks for a worker later is refused.
    pooler.learn(2, 100);
    pooler.signal(Signal::SIGTERM);
    wait_for("worker 2 to refuse", PATIENCE, || {
        pooler.try_connect_to_worker(2, &Login::new()).is_err()
    });
    let (worker, queued) = pooler.stop_with_queue(2, 20);
    // The port stays open until the last client has left.
    witness.close();
    wait_for("the other worker to end", PATIENCE, || !other.is_alive());
    worker.signal(Signal::SIGCONT);
    assert_answered(queued, b'E');
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn connections_are_answered_until_the_port_is_closed() {
    for (more, answers) in [
        ("drain_listen = close", false),
        ("drain_listen = answer", true),
    ] {
        storm_the_end(more, answers);
    }
}

fn assert_answered(queued: Vec<Wire>, tag: u8) {
    for (number, mut wire) in queued.into_iter().enumerate() {
        let answer = wire.read_message();
        assert_eq!(answer.map(|m| m.tag), Some(tag), "connection {number}");
    }
}

/// Has clients come as fast as it goes while the group ends.
///
/// The kernel resets those whose handshake is under way at the moment at which
/// the port is closed. It resets nobody before.
fn storm_the_end(more: &str, answers: bool) {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}max_client_conn = 10000\nlisten_backlog = 1000\n{more}");
    let pooler = Pooler::start(&postgres, &settings);
    let witness = pooler.connect_as(&Login::new().goaway());
    let (answered, stop) = (AtomicU32::new(0), Stop::default());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let (false, Ok(mut wire)) = (stop.is_set(), pooler.try_wire()) {
                    let sent = wire.try_send(&Login::new().packet());
                    let Some(answer) = sent.ok().and_then(|()| wire.read_message()) else {
                        wait_closed(&pooler);
                        break;
                    };
                    assert!(matches!(answer.tag, b'R' | b'E'), "{answer:?}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // They end when they are refused; the guard is for what goes wrong.
        let _guard = stop.guard();
        wait_for("some load", PATIENCE, || {
            answered.load(Ordering::Relaxed) > 200
        });
        pooler.signal(Signal::SIGTERM);
        witness.wait_goaway();
        if answers {
            // It stays open until the last client has left.
            witness.close();
            wait_closed(&pooler);
        } else {
            wait_closed(&pooler);
            witness.close();
        }
    });
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn login_under_way_when_a_drain_begins_is_finished_and_then_told() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\npool_mode = transaction");
    let witness = pooler.connect_as(&Login::new().goaway());
    // Accepted: the worker has answered.
    let mut wire = pooler.wire();
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(wire.read_byte(), Some(b'N'));
    pooler.signal(Signal::SIGTERM);
    witness.wait_goaway();

    let client = Client::log_in(wire, &Login::new()).unwrap();
    client.wait_parameter("disconnect_requested", "on");
    assert_eq!(client.value("select 'served'"), "served");
    witness.close();
    client.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn shutdown_wait_for_clients_on_any_worker_drains_all() {
    for worker in [1, 3] {
        let postgres = Postgres::start();
        let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
        let clients = [1, 2, 3].map(|n| pooler.connect_to_worker_as(n, &Login::new().goaway()));
        let console = pooler.connect_to_worker_as(worker, &Login::new().database("pgskein"));
        assert_eq!(console.query("SHUTDOWN WAIT_FOR_CLIENTS"), Ok(vec![]));
        for client in clients {
            client.wait_goaway();
            client.close();
        }
        assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    }
}

fn wait_closed(pooler: &Pooler) {
    wait_for("the port to be closed", PATIENCE, || {
        pooler.try_wire().is_err()
    });
}

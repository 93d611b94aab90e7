//! `peer_listen`: where other hosts bring cancel requests, and nothing else.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use crate::harness::{
    Client, Daemon, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stopped, Wire, free_port,
    wait_for,
};

const CANCELLED: SqlState = SqlState("57014");
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

/// A pooler and where it takes cancel requests.
struct Group {
    pooler: Pooler,
    port: u16,
    settings: String,
}

impl Group {
    fn start(postgres: &Postgres, settings: &str) -> Self {
        let port = free_port();
        let settings = format!("pool_mode = transaction\npeer_listen = {HOST}:{port}\n{settings}");
        Self {
            pooler: Pooler::start(postgres, &settings),
            port,
            settings,
        }
    }

    /// A connection to where cancel requests are taken.
    fn wire(&self) -> Wire {
        Wire::tcp(TcpStream::connect((HOST, self.port)).expect("it is open as long as the group"))
    }

    /// A cancel request for this client, which ends when it is done.
    fn cancel(&self, client: &Client) {
        let mut wire = self.wire();
        wire.send(&client.cancel_packet());
        assert_eq!(wire.read_to_end(), []);
    }
}

#[test]
fn cancel_request_over_it_hits_whichever_worker_takes_it() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 4");
    let port = group.port;
    let line = format!("listening on {HOST}:{port} for cancel requests of other hosts");
    assert!(group.pooler.log_contains(&line));
    let clients = [1, 2, 3, 4].map(|n| group.pooler.connect_to_worker(n));
    for _ in 0..4 {
        let queries = clients.each_ref().map(Client::start_long_query);
        for (client, query) in clients.iter().zip(queries) {
            group.cancel(client);
            assert_eq!(query.wait(), Err(CANCELLED));
        }
    }
    // A long key as well, and one that comes in pieces.
    let client = group
        .pooler
        .connect_to_worker_as(2, &Login::new().minor_version(2));
    let query = client.start_long_query();
    let mut wire = group.wire();
    for byte in client.cancel_packet() {
        wire.send(&[byte]);
    }
    assert_eq!(query.wait(), Err(CANCELLED));
    assert_eq!(wire.read_to_end(), []);
}

#[test]
fn anything_else_over_it_is_closed_without_a_byte() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2");
    for bytes in [
        &Login::new().packet()[..],
        SSL_REQUEST,
        b"GET / HTTP/1.1\r\n",
        &[0, 0, 0, 4],
        b"\0\0\0\x0c\x04\xd2\x16\x2e\0\0\0\x01",
    ] {
        let mut wire = group.wire();
        wire.send(bytes);
        assert_eq!(wire.read_byte(), None, "{bytes:?}");
    }
    group
        .pooler
        .wait_log("closed: only cancel requests are taken here");
}

#[test]
fn who_is_slow_is_closed_and_who_is_silent_makes_room() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 1\ncancel_wait_timeout = 1");
    let mut slow = group.wire();
    slow.send(&[0, 0, 0, 16, 4, 210]);
    assert_eq!(slow.read_byte(), None);
    group.pooler.wait_log("closed: cancel_wait_timeout");

    // More than there may be are silent, and still the next one is served.
    group
        .pooler
        .reload(&format!("{}\ncancel_wait_timeout = 600", group.settings));
    let mut silent: Vec<Wire> = (0..300).map(|_| group.wire()).collect();
    let client = group.pooler.connect();
    let query = client.start_long_query();
    group.cancel(&client);
    assert_eq!(query.wait(), Err(CANCELLED));
    assert_eq!(silent[0].read_byte(), None, "the first has made room");
    group
        .pooler
        .wait_log("closed: too many connections for cancel requests");
}

#[test]
fn it_answers_during_a_drain_and_holds_no_drain_up() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2\ncancel_wait_timeout = 600");
    let clients = [1, 2].map(|n| group.pooler.connect_to_worker(n));
    let queries = clients.each_ref().map(Client::start_long_query);
    group.pooler.signal(Signal::SIGTERM);
    wait_for("the port to be closed", PATIENCE, || {
        group.pooler.try_wire().is_err()
    });
    for (client, query) in clients.iter().zip(queries) {
        group.cancel(client);
        assert_eq!(query.wait(), Err(CANCELLED));
    }
    // It is open to the end, and nobody waits for who says nothing.
    let mut silent = group.wire();
    clients.into_iter().for_each(Client::close);
    assert_eq!(silent.read_byte(), None);
    assert_eq!(group.pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn a_group_that_is_full_still_takes_cancels() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2\nmax_client_conn = 2");
    let clients = [(); 2].map(|()| group.pooler.connect());
    let refused = group.pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(refused.sqlstate, "53300");
    for client in &clients {
        let query = client.start_long_query();
        group.cancel(client);
        assert_eq!(query.wait(), Err(CANCELLED));
    }
}

#[test]
fn no_connect_is_refused_while_workers_are_replaced() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2");
    let client = group.pooler.connect_as(&Login::new().minor_version(2));
    let console = group
        .pooler
        .connect_unix(&Login::new().database("pgskein"))
        .unwrap();
    let (first, old) = (group.pooler.worker(1), group.pooler.worker(2));
    assert_eq!(console.query("RESTART"), Ok(vec![]));
    // From the program before to workers of the program after.
    wait_for("both workers to be replaced", PATIENCE, || {
        drop(group.wire());
        group.pooler.has_replaced(1, first) && group.pooler.has_replaced(2, old)
    });
    let query = client.start_long_query();
    group.cancel(&client);
    assert_eq!(query.wait(), Err(CANCELLED));
}

#[test]
fn it_is_taken_by_who_turns() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2");
    for slot in [1, 2] {
        let client = group.pooler.connect_to_worker(3 - slot);
        let _stopped = Stopped::new(group.pooler.worker(slot));
        for _ in 0..4 {
            let query = client.start_long_query();
            group.cancel(&client);
            assert_eq!(query.wait(), Err(CANCELLED));
        }
    }
}

#[test]
fn a_new_group_beside_orphans_takes_cancels_there_too() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 2");
    // It has its server before there is nobody to ask for one.
    let own = group.pooler.connect();
    assert_eq!(own.value("select 1"), "1");
    let orphans = group.pooler.workers();
    group.pooler.signal(Signal::SIGKILL);
    group.pooler.wait_exit(PATIENCE);
    let query = own.start_long_query();
    group.cancel(&own);
    assert_eq!(query.wait(), Err(CANCELLED));

    let daemon = Daemon::start(&group.pooler);
    own.wait_parameter("disconnect_requested", "on");
    own.close();
    wait_for("the orphans to end", PATIENCE, || {
        orphans.values().all(|orphan| !orphan.is_alive())
    });
    let client = group.pooler.connect();
    let query = client.start_long_query();
    group.cancel(&client);
    assert_eq!(query.wait(), Err(CANCELLED));
    client.close();
    daemon.stop();
}

#[test]
fn a_socket_for_it_may_be_passed_or_not() {
    let postgres = Postgres::start();
    for passed in [true, false] {
        let port = free_port();
        let settings = format!("workers = 2\npool_mode = transaction\npeer_listen = {HOST}:{port}");
        let pooler = Pooler::start_activated(&postgres, &settings, |clients| {
            let tcp = TcpListener::bind(("127.0.0.1", clients)).unwrap();
            let own = passed.then(|| TcpListener::bind((HOST, port)).unwrap());
            own.into_iter().chain([tcp]).map(OwnedFd::from).collect()
        });
        let group = Group {
            pooler,
            port,
            settings,
        };
        let client = group.pooler.connect();
        let query = client.start_long_query();
        group.cancel(&client);
        assert_eq!(query.wait(), Err(CANCELLED));
        let mut wire = group.wire();
        wire.send(SSL_REQUEST);
        assert_eq!(wire.read_byte(), None, "clients do not come here");
    }
}

#[test]
fn an_address_in_use_is_refused_at_the_start() {
    let postgres = Postgres::start();
    let group = Group::start(&postgres, "workers = 1");
    let databases = format!("* = {}", postgres.address());
    let settings = format!("peer_listen = {HOST}:{}", group.port);
    let run = Pooler::try_start(&databases, &settings).unwrap_err();
    assert_ne!(run.code, Some(0));
    let expected = format!("address {HOST}:{} is in use", group.port);
    assert!(format!("{run:?}").contains(&expected), "{run:?}");
}

/// Nobody else listens there.
const HOST: &str = "127.0.0.7";

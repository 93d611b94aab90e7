//! SUSPEND: the group stands still until it is told to go on.

use std::time::Duration;

use crate::harness::{
    Client, Descriptor, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Wire, startup_packet,
    wait_for, within,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction";

#[test]
fn nothing_passes_while_suspended_and_everything_after() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin").unwrap();
    for client in &clients[1..] {
        assert_eq!(client.value("select 1"), "1");
    }
    let (one, other) = (pooler.console_of(1), pooler.console_of(2));
    assert_eq!(one.query("SUSPEND"), Ok(vec![]));
    assert_eq!(refusal(&other, "PAUSE"), "already suspended/paused");
    assert_eq!(refusal(&other, "SUSPEND"), "already suspended/paused");
    let answers = clients
        .each_ref()
        .map(|client| client.start_query("select 2"));
    // The connect is taken by the kernel, and by nobody else.
    let mut late = pooler.wire();
    late.send(&startup_packet(
        196_608,
        &[("user", "postgres"), ("database", "postgres")],
    ));
    let busy = || postgres.busy_connections() > 0;
    assert!(!within(Duration::from_millis(300), busy));
    assert_eq!(other.query("RESUME"), Ok(vec![]));
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["2".to_owned()]));
    }
    assert_eq!(clients[0].query("commit"), Ok(vec![]));
    assert_eq!(Client::adopt(late).value("select 3"), "3");
}

#[test]
fn answer_that_has_begun_is_given_whole_before_the_stand() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(2);
    let console = pooler.console_of(1);
    // More than fits into the sockets, which nobody reads yet.
    let answer = client.start_query("select repeat('x', 30000000)");
    let _description = client.read_until(b'T');
    console.take_transcript();
    let suspended = console.start_query("SUSPEND");
    console.absorb(Duration::from_millis(300));
    assert_eq!(console.take_transcript(), "", "the row is not written yet");
    assert_eq!(client.read_until(b'D').body.len(), 30_000_006);
    assert_eq!(suspended.wait(), Ok(vec![]));
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    assert_eq!(answer.wait(), Ok(vec![]), "only the end is left");
}

#[test]
fn group_goes_on_when_the_console_that_suspended_it_is_gone() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(3);
    for reset in [false, true] {
        let console = pooler.console_of(1);
        assert_eq!(console.query("SUSPEND"), Ok(vec![]));
        let answer = client.start_query("select 1");
        if reset {
            console.reset();
        } else {
            console.close();
        }
        assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
        assert_eq!(pooler.connect_to_worker(2).value("select 2"), "2");
    }
    // The same if the worker of the console dies.
    let console = pooler.console_of(1);
    assert_eq!(console.query("SUSPEND"), Ok(vec![]));
    pooler.worker(1).signal(Signal::SIGKILL);
    assert_eq!(client.value("select 1"), "1");
    assert!(pooler.log_contains("admin disappeared when suspended, doing RESUME"));
}

#[test]
fn suspend_timeout_closes_who_sends_half_a_message() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\nsuspend_timeout = 0.5"));
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin").unwrap();
    let mut login = pooler.wire_to_worker(3);
    // The beginning of a query, and of a login.
    clients[0].send(b"Q\0\0\x10\0select '");
    login.send(&[0, 0, 0, 20]);
    // They were read before what comes later to the same worker.
    for worker in [1, 3] {
        let later = pooler.connect_to_worker(worker);
        assert_eq!(later.value("select 1"), "1");
    }
    let console = pooler.console_of(2);
    assert_eq!(console.query("SUSPEND"), Ok(vec![]));
    clients[0].wait_closed();
    assert_eq!(clients[0].last_error().unwrap().message, "suspend_timeout");
    assert!(!login.read_to_end().is_empty(), "an error");
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    assert_eq!(clients[1].value("select 1"), "1");
}

#[test]
fn suspend_holds_for_a_worker_that_is_started_later() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    // Two listeners: after one of them was replaced either the same ports reach
    // a worker as before, or those of the other.
    let ports = [1, 2].map(|worker| pooler.source_ports(worker, 3));
    let console = pooler.console_of(1);
    assert_eq!(console.query("SUSPEND"), Ok(vec![]));
    let dead = pooler.worker(2);
    dead.signal(Signal::SIGKILL);
    pooler.wait_replaced(2, dead);
    let listener = Descriptor::TcpListener(pooler.port());
    wait_for("the new worker to listen", PATIENCE, || {
        pooler.worker(2).descriptors().contains(&listener)
    });
    let logins = ports.iter().flatten().map(|port| {
        let mut wire = pooler.wire_from(*port).unwrap();
        wire.send(&Login::new().packet());
        wire
    });
    let mut logins: Vec<Wire> = logins.collect();
    for login in &mut logins {
        let answer = login.poll_message(Duration::from_millis(100));
        assert_eq!(answer, None, "answered while suspended");
    }
    assert_eq!(console.query("RESUME"), Ok(vec![]));
    let clients: Vec<Client> = logins.into_iter().map(Client::adopt).collect();
    for client in &clients {
        assert_eq!(client.value("select 1"), "1");
    }
    let of_new = clients.iter().filter(|client| client.slot() == 2);
    assert_eq!(of_new.count(), 3);
}

#[test]
fn suspended_group_reloads_and_drains() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(3);
    let console = pooler.console_of(1);
    assert_eq!(console.query("SUSPEND"), Ok(vec![]));
    assert_eq!(console.query("RELOAD"), Ok(vec![]));
    assert_eq!(console.query("SET query_wait_timeout = 7"), Ok(vec![]));
    let answer = client.start_query("select 1");
    pooler.signal(Signal::SIGTERM);
    assert_eq!(answer.wait(), Ok(vec!["1".to_owned()]));
    client.close();
    pooler.wait_exit(PATIENCE);
}

/// The error that a command is answered with.
fn refusal(console: &Client, command: &str) -> String {
    assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
    console.last_error().unwrap().message
}

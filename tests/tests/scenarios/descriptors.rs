//! Every process holds the descriptors that it needs, and no others.

use std::collections::BTreeMap;

use crate::harness::{Descriptor, PATIENCE, Pooler, Postgres, Process, Signal, wait_for, within};

#[test]
fn worker_holds_its_own_descriptors_only() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3");
    for (slot, worker) in wait_idle(&pooler) {
        assert_eq!(
            count(worker),
            expected_of_worker(&pooler, slot),
            "worker {slot}"
        );
    }
}

#[test]
fn supervisor_holds_the_listeners_and_a_link_to_each_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3");
    wait_idle(&pooler);
    let found = count(pooler.supervisor());
    let of = |descriptor: &Descriptor| found.get(descriptor).copied().unwrap_or(0);
    assert_eq!(of(&Descriptor::TcpListener(pooler.port())), 3, "{found:?}");
    let client_socket = format!(".s.PGSQL.{}", pooler.port());
    assert_eq!(of(&Descriptor::UnixListener(client_socket)), 1, "{found:?}");
    let peer_socket = "supervisor.new".to_owned();
    assert_eq!(of(&Descriptor::UnixListener(peer_socket)), 1, "{found:?}");
    // The links, and the two ends of the signal pipe where that is a socket pair.
    let pairs = of(&Descriptor::Unix);
    assert!(matches!(pairs, 3 | 5), "{found:?}");
    assert_eq!(
        of(&Descriptor::Tcp(pooler.port())),
        0,
        "no client's: {found:?}"
    );
}

#[test]
fn replaced_worker_holds_what_its_predecessor_held() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3");
    let before = wait_idle(&pooler);
    let supervisor = count(pooler.supervisor());
    before[&2].signal(Signal::SIGKILL);
    pooler.wait_replaced(2, before[&2]);
    let after = wait_idle(&pooler);
    for (slot, worker) in after {
        // A sibling that took the slot meanwhile has given it back.
        let mut last = BTreeMap::new();
        wait_for("the descriptors to settle", PATIENCE, || {
            last = count(worker);
            last == expected_of_worker(&pooler, slot)
        });
        assert_eq!(last, expected_of_worker(&pooler, slot), "worker {slot}");
    }
    wait_for("the supervisor's to settle", PATIENCE, || {
        count(pooler.supervisor()) == supervisor
    });
}

#[test]
fn descriptors_of_clients_and_servers_are_closed_with_them() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\nserver_idle_timeout = 1";
    let pooler = Pooler::start(&postgres, settings);
    let worker = wait_idle(&pooler)[&1];
    let clients: Vec<_> = (0..20).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.value("select 1");
        let query = client.start_long_query();
        client.cancel();
        query.wait().unwrap_err();
    }
    // Its server cannot be closed for idleness while they are counted.
    clients[0].query("begin").unwrap();
    let busy: usize = count(worker).values().sum();
    let idle: usize = expected_of_worker(&pooler, 1).values().sum();
    assert!(busy > idle + 20, "{:?}", count(worker));
    drop(clients);
    let mut last = BTreeMap::new();
    let closed = within(PATIENCE, || {
        last = count(worker);
        last == expected_of_worker(&pooler, 1)
    });
    assert!(closed, "still open: {last:?}");
}

/// The workers, once they have no client and no server.
fn wait_idle(pooler: &Pooler) -> BTreeMap<u8, Process> {
    let is_idle = |worker: &Process| {
        let found = count(*worker);
        !found
            .keys()
            .any(|descriptor| matches!(descriptor, Descriptor::Tcp(_)))
    };
    wait_for("all workers without a client", PATIENCE, || {
        pooler.workers().values().all(is_idle)
    });
    pooler.workers()
}

/// Standard streams, log, scoreboard, event queue with waker and timer, the slot's
/// listener, both unix listeners and the control link.
///
/// The kernel keeps the name that a unix socket was bound to: a peer socket is
/// renamed to its own only then.
fn expected_of_worker(pooler: &Pooler, slot: u8) -> BTreeMap<Descriptor, usize> {
    let log = pooler.log_file();
    let log = log.file_name().unwrap().to_string_lossy().into_owned();
    BTreeMap::from([
        (Descriptor::TcpListener(pooler.port()), 1),
        (
            Descriptor::UnixListener(format!(".s.PGSQL.{}", pooler.port())),
            1,
        ),
        (Descriptor::UnixListener(format!("worker.{slot}.1.new")), 1),
        (Descriptor::Unix, 1),
        (Descriptor::File("null".to_owned()), 2),
        (Descriptor::File("stderr".to_owned()), 1),
        (Descriptor::File(log), 1),
        (Descriptor::Other("memfd:pgskein-scoreboard".to_owned()), 1),
        (Descriptor::Other("[eventpoll]".to_owned()), 1),
        (Descriptor::Other("[eventfd]".to_owned()), 1),
        (Descriptor::Other("[timerfd]".to_owned()), 1),
    ])
}

fn count(process: Process) -> BTreeMap<Descriptor, usize> {
    let mut counts = BTreeMap::new();
    for descriptor in process.descriptors() {
        *counts.entry(descriptor).or_default() += 1;
    }
    counts
}

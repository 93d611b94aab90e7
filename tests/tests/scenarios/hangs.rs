//! Workers that hang, or never come up, are replaced, and nothing else is touched.

use std::time::Duration;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, Signal, Stall, Stopped, wait_for, within,
};

const SETTINGS: &str = "workers = 3\npool_mode = transaction\nworker_hang_timeout = 3";

#[test]
fn worker_that_hangs_in_a_turn_is_replaced_and_the_log_says_where_it_was() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &stall.environment());
    let bystander = pooler.connect_to_worker(1);
    let victim = pooler.connect_to_worker(2);
    pooler.learn(2, 2);
    let hung = pooler.worker(2);
    let stalled = stall.accepts_of(hung);
    let mut caught = pooler.wire_to_worker(2);
    caught.send(&Login::new().packet());

    pooler.wait_replaced(2, hung);
    victim.wait_closed();
    drop(stalled);
    // It was in the queue of the listener, which is older than any worker.
    assert_eq!(caught.read_message().map(|message| message.tag), Some(b'R'));
    assert_eq!(bystander.value("select 'untouched'"), "untouched");
    let log = pooler.log();
    assert!(log.contains("worker 2: hangs: no turn for"), "{log}");
    assert!(log.contains(&format!(
        "in the middle of a turn; killing it, pid={}",
        hung.0
    )));
    pooler.wait_log("accept_turn");
    assert!(pooler.log_contains("worker 2: backtrace 0: "));
    assert!(pooler.log_contains("worker 2: killed by SIGABRT"));
    assert!(!pooler.log_contains("last_words"), "{}", pooler.log());
    assert!(!pooler.log_contains("main.rs"), "{}", pooler.log());
    assert_eq!(pooler.workers().len(), 3);
}

#[test]
fn worker_that_was_stopped_while_it_waited_is_replaced_too() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let bystanders = [1, 3].map(|slot| pooler.connect_to_worker(slot));
    let others = [1, 3].map(|slot| pooler.worker(slot));
    let hung = pooler.worker(2);
    hung.signal(Signal::SIGSTOP);
    pooler.wait_replaced(2, hung);
    for bystander in &bystanders {
        assert_eq!(bystander.value("select 'untouched'"), "untouched");
    }
    assert_eq!([1, 3].map(|slot| pooler.worker(slot)), others);
    assert!(pooler.log_contains(&format!("while it waited; killing it, pid={}", hung.0)));
    // It goes on for as long as it takes to say where it was.
    pooler.wait_log("worker 2: backtrace 0: ");
}

#[test]
fn siblings_accept_for_a_worker_that_does_not_turn_until_it_turns_again() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nworker_hang_timeout = 0";
    let pooler = Pooler::start(&postgres, settings);
    let client = pooler.connect_to_worker(2);
    let ports = pooler.source_ports(2, 20);
    let stopped = Stopped::new(pooler.worker(2));
    pooler.wait_log("worker 2: does not turn, others accept for it");
    let mut servers = ports.iter().filter_map(|port| slot_behind(&pooler, *port));
    assert_eq!(servers.next(), Some(1));

    drop(stopped);
    pooler.wait_log("worker 2: turns again");
    assert_eq!(client.value("select 'kept'"), "kept");
    wait_served(&pooler, &ports);
}

#[test]
fn pause_of_the_whole_group_is_no_hang() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(2);
    let workers = pooler.workers();
    pooler.signal_group(Signal::SIGSTOP);
    // Longer than `worker_hang_timeout`.
    assert!(!within(Duration::from_secs(4), || !pooler
        .supervisor()
        .is_alive()));
    pooler.signal_group(Signal::SIGCONT);
    assert_eq!(client.value("select 'served'"), "served");
    assert!(!within(Duration::from_secs(2), || pooler.workers() != workers));
    assert!(!pooler.log_contains("hangs"));
}

#[test]
fn busy_workers_do_not_count_as_hung() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\nworker_hang_timeout = 3";
    let pooler = Pooler::start(&postgres, settings);
    let worker = pooler.worker(1);
    pooler.pgbench("-n -S -c 16 -j 2 -T 6");
    assert_eq!(pooler.worker(1), worker);
    assert!(!pooler.log_contains("does not turn"));
}

#[test]
fn worker_that_does_not_become_ready_is_started_again_while_siblings_serve() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let settings = "workers = 2\npool_mode = transaction\nworker_start_timeout = 3";
    let pooler = Pooler::start_in(&postgres, settings, &stall.environment());
    let ports = pooler.source_ports(2, 20);
    let bystander = pooler.connect_to_worker(1);
    let births = stall.births();
    pooler.worker(2).kill();
    pooler.wait_log("worker 2: not ready after");
    let mut servers = ports.iter().filter_map(|port| slot_behind(&pooler, *port));
    assert_eq!(servers.next(), Some(1));
    assert_eq!(bystander.value("select 'untouched'"), "untouched");
    drop(births);
    wait_served(&pooler, &ports);
}

#[test]
fn worker_in_a_crash_loop_backs_off_while_siblings_serve() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start_in(&postgres, settings, &stall.environment());
    let ports = pooler.source_ports(2, 20);
    let bystander = pooler.connect_to_worker(1);
    let barren = stall.barren();
    pooler.worker(2).kill();
    pooler.wait_log("worker 2: next start in 1000 ms");
    for port in &ports {
        assert_ne!(slot_behind(&pooler, *port), Some(2));
    }
    assert_eq!(bystander.value("select 'untouched'"), "untouched");
    drop(barren);
    wait_served(&pooler, &ports);
}

/// Who serves a login from this port; `None` when the port is taken.
fn slot_behind(pooler: &Pooler, port: u16) -> Option<u8> {
    let wire = pooler.wire_from(port).ok()?;
    let client = Client::log_in(wire, &Login::new()).expect("a login succeeds");
    let slot = client.slot();
    // Frees the port at once.
    client.reset();
    Some(slot)
}

/// Waits until worker 2 serves logins from these ports itself.
fn wait_served(pooler: &Pooler, ports: &[u16]) {
    let mut ports = ports.iter().cycle();
    wait_for("worker 2 to accept for itself", PATIENCE, || {
        let port = ports.next().expect("a cycle goes on");
        slot_behind(pooler, *port) == Some(2)
    });
}

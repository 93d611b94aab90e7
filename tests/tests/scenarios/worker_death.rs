//! A worker that dies takes its own clients with it, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Login, Pooler, Postgres, Signal, SqlState, Stop, Ticker};

const SETTINGS: &str = "workers = 4\npool_mode = transaction";

#[test]
fn siblings_of_a_killed_worker_are_untouched_under_load() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stop = Stop::default();
    let victims = [pooler.connect_to_worker(2), pooler.connect_to_worker(2)];
    thread::scope(|scope| {
        let _guard = stop.guard();
        for worker in [1, 3, 4, 1, 3, 4] {
            let client = pooler.connect_to_worker(worker);
            let stop = &stop;
            scope.spawn(move || {
                while !stop.is_set() {
                    assert_eq!(client.query("select 1"), Ok(vec!["1".to_owned()]));
                }
            });
        }
        let siblings = [1, 3, 4].map(|slot| pooler.worker(slot));
        let dead = pooler.worker(2);
        dead.signal(Signal::SIGKILL);
        for victim in victims {
            victim.wait_closed();
        }
        pooler.wait_replaced(2, dead);
        assert_eq!(
            pooler.connect_to_worker(2).value("select 'served'"),
            "served"
        );
        assert_eq!([1, 3, 4].map(|slot| pooler.worker(slot)), siblings);
        stop.set();
    });
}

#[test]
fn slot_of_a_killed_worker_serves_within_a_second() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let ports = pooler.source_ports(2, 50);
    pooler.worker(2).signal(Signal::SIGKILL);
    let killed = Instant::now();
    let mut beat = Ticker::every(Duration::from_millis(5));
    for port in ports.into_iter().cycle() {
        if log_in_from(&pooler, port) == Some(true) {
            break;
        }
        beat.tick();
    }
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}

#[test]
fn connections_queued_at_a_killed_worker_are_served() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let (worker, mut queued) = pooler.stop_with_queue(2, 30);
    worker.signal(Signal::SIGKILL);
    for (number, wire) in queued.iter_mut().enumerate() {
        let answer = wire.read_message();
        assert_eq!(answer.map(|m| m.tag), Some(b'R'), "connection {number}");
    }
}

#[test]
fn replaced_worker_keeps_slot_and_generation_and_gets_its_cancels() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let dead = pooler.worker(3);
    dead.signal(Signal::SIGKILL);
    pooler.wait_replaced(3, dead);
    let client = pooler.connect_to_worker(3);
    let row = pooler
        .console("SHOW WORKERS")
        .into_iter()
        .find(|row| row.starts_with("3|"));
    let row = row.expect("a row of worker 3");
    let columns: Vec<&str> = row.split('|').collect();
    assert_eq!(columns[1], pooler.worker(3).0.to_string());
    assert_eq!(&columns[2..4], ["3", "1"]);

    let query = client.start_long_query();
    client.cancel_through_worker(1);
    assert_eq!(query.wait(), Err(SqlState("57014")));
}

#[test]
fn ten_kills_in_ten_seconds_keep_nobody_waiting_over_a_second() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\nmax_client_conn = 1000",
    );
    let ports = [pooler.source_ports(2, 20), pooler.source_ports(2, 20)];
    let sibling = pooler.connect_to_worker(1);
    let stop = Stop::default();
    let (worst, cut_off) = thread::scope(|scope| {
        let _guard = stop.guard();
        let probes = ports.map(|ports| {
            let (pooler, stop) = (&pooler, &stop);
            scope.spawn(move || probe(pooler, &ports, stop))
        });
        let mut beat = Ticker::every(Duration::from_secs(1));
        for _ in 0..10 {
            beat.tick();
            // Nobody to kill while it is being replaced: a sibling serves then.
            if let Some(worker) = pooler.workers().get(&2) {
                worker.kill();
            }
            assert_eq!(sibling.value("select 'untouched'"), "untouched");
        }
        beat.tick();
        stop.set();
        let results = probes.into_iter().map(|probe| probe.join().unwrap());
        results.fold((Duration::ZERO, 0), |a, b| (a.0.max(b.0), a.1 + b.1))
    });
    assert!(worst < Duration::from_secs(1), "a connect waited {worst:?}");
    // Only who was already accepted when its worker died.
    assert!(cut_off <= 20, "{cut_off} logins were cut off by 10 kills");
}

#[test]
fn leases_of_a_killed_worker_return() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\ndefault_pool_size = 2",
    );
    let victims = [pooler.connect_to_worker(1), pooler.connect_to_worker(1)];
    let other = pooler.connect_to_worker(2);
    let _never_answered = victims.each_ref().map(|victim| victim.start_long_query());
    pooler.worker(1).signal(Signal::SIGKILL);
    assert_eq!(other.value("select 'served'"), "served");
    // The whole pool can be used again.
    let third = pooler.connect_to_worker(2);
    other.query("begin").unwrap();
    third.query("begin").unwrap();
}

/// Logs in from these ports over and over; the longest that took, and how many
/// logins ended without an answer.
fn probe(pooler: &Pooler, ports: &[u16], stop: &Stop) -> (Duration, u32) {
    let (mut worst, mut cut_off) = (Duration::ZERO, 0);
    let mut beat = Ticker::every(Duration::from_millis(25));
    for port in ports.iter().cycle() {
        if stop.is_set() {
            break;
        }
        let start = Instant::now();
        cut_off += u32::from(log_in_from(pooler, *port) == Some(false));
        worst = worst.max(start.elapsed());
        beat.tick();
    }
    (worst, cut_off)
}

/// Whether a login from this port was served; `None` when the port is taken.
fn log_in_from(pooler: &Pooler, port: u16) -> Option<bool> {
    let wire = pooler.wire_from(port).ok()?;
    let Ok(client) = Client::log_in(wire, &Login::new()) else {
        return Some(false);
    };
    // Frees the port at once.
    client.reset();
    Some(true)
}

//! A new group takes over from workers of which some hang.
//!
//! The kernel hands connections to a stopped process as well, so while there is
//! one nothing here connects over TCP, unless it is to get there.

use crate::harness::{
    Daemon, Login, PATIENCE, Pooler, Postgres, Process, Signal, Stopped, wait_for,
};

#[test]
fn orphans_that_do_not_answer_keep_no_other_from_joining_and_join_late() {
    let postgres = Postgres::start();
    let settings = "workers = 3\npool_mode = transaction\ndefault_pool_size = 3";
    let pooler = Pooler::start(&postgres, settings);
    let clients = [1, 2, 3].map(|slot| pooler.connect_to_worker(slot));
    clients[0].query("begin").unwrap();
    clients[2].query("begin").unwrap();
    // Its server is idle from then on, and given up for whoever needs it.
    assert_eq!(clients[1].value("select 'idle'"), "idle");
    let orphans = orphan(&pooler);
    let stopped = [0, 1].map(|at| Stopped::new(orphans[at]));
    let daemon = Daemon::start(&pooler);
    assert!(pooler.log_contains("worker 3 of generation 1: has joined"));
    assert!(pooler.log_contains("worker 1 of generation 1: does not answer"));
    assert!(!pooler.log_contains("worker 1 of generation 1: has joined"));

    drop(stopped);
    pooler.wait_log("worker 1 of generation 1: has joined");
    pooler.wait_log("worker 2 of generation 1: has joined");
    for client in &clients {
        client.wait_parameter("disconnect_requested", "on");
    }
    // Both servers are known, also the one of the orphan that was late.
    let third = pooler.connect_unix(&Login::new()).unwrap();
    third.query("begin").unwrap();
    let fourth = pooler.connect_unix(&Login::new()).unwrap();
    let query = fourth.start_query("select 'served'");
    let console = pooler
        .connect_unix(&Login::new().database("pgskein"))
        .unwrap();
    wait_for("the client to wait", PATIENCE, || {
        let rows = console.query("SHOW WORKERS").unwrap();
        let mut waiting = rows.iter().filter_map(|row| row.split('|').nth(6));
        waiting.any(|waiting| waiting == "1")
    });
    assert_eq!(postgres.connections(), 3);
    clients[0].query("commit").unwrap();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
    clients[2].query("commit").unwrap();
    drop(clients);
    wait_ended(&orphans);
    daemon.stop();
}

#[test]
fn orphan_that_hangs_is_killed_and_its_part_of_the_connections_is_served() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nworker_hang_timeout = 4";
    let pooler = Pooler::start(&postgres, settings);
    pooler.learn(2, 1);
    let orphans = orphan(&pooler);
    let _stopped = Stopped::new(orphans[1]);
    let mut queued = pooler.wire_to_worker(2);
    let daemon = Daemon::start(&pooler);
    wait_ended(&orphans[1..]);
    assert_eq!(queued.read_to_end(), []);
    let killed = format!("no answer for 4 s; killing it, pid={}", orphans[1].0);
    assert!(pooler.log_contains(&format!("worker 2 of generation 1: {killed}")));
    for _ in 0..20 {
        assert_eq!(pooler.connect().value("select 'served'"), "served");
    }
    daemon.stop();
}

#[test]
fn elder_that_hangs_is_killed_like_any_worker() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nworker_hang_timeout = 4";
    let pooler = Pooler::start(&postgres, settings);
    let clients = [1, 2].map(|slot| pooler.connect_to_worker(slot));
    clients[0].query("begin").unwrap();
    clients[1].query("begin").unwrap();
    let orphans = orphan(&pooler);
    let daemon = Daemon::start(&pooler);
    clients[1].wait_parameter("disconnect_requested", "on");
    let _stopped = Stopped::new(orphans[1]);
    wait_ended(&orphans[1..]);
    pooler.wait_log("worker 2 of generation 1: gone, servers=1");
    assert!(pooler.log_contains("worker 2 of generation 1: no answer for 4 s"));
    // Nothing else was taken for one that hangs.
    assert!(orphans[0].is_alive());
    assert_eq!(clients[0].value("select 'untouched'"), "untouched");
    daemon.stop();
}

/// Kills the supervisor; gives its workers.
fn orphan(pooler: &Pooler) -> Vec<Process> {
    let workers = pooler.workers().into_values().collect();
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    workers
}

fn wait_ended(orphans: &[Process]) {
    wait_for("the orphans to end", PATIENCE, || {
        orphans.iter().all(|orphan| !orphan.is_alive())
    });
}

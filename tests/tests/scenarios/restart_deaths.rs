//! Deaths in the middle of a RESTART.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{
    Daemon, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stall, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn successor_that_cannot_be_started_leaves_the_worker_its_slot() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let before = pooler.workers();
    let client = pooler.connect_to_worker(1);
    let console = pooler.console_of(1);
    let folder = pooler.runtime_folder();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    assert!(console.query("RESTART").is_err());
    let said = console.last_error().unwrap().message;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(
        said.contains("restart stopped: the successor of worker 2"),
        "{said}"
    );
    assert_eq!(pooler.workers(), before);
    assert_eq!(client.value("select 'untouched'"), "untouched");
    assert_eq!(
        client.parameter("disconnect_requested").as_deref(),
        Some("off")
    );
    // The next one is not hindered by it.
    console.query("RESTART").unwrap();
    wait_workers(&pooler, 1, 1);
    assert_eq!(client.value("select 'moved'"), "moved");
}

#[test]
fn successors_that_are_late_or_die_again_and_again_leave_the_worker_its_slot() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let settings = format!("{SETTINGS}\nworker_start_timeout = 5");
    let pooler = Pooler::start_in(&postgres, &settings, &stall.environment());
    let before = pooler.workers();
    let client = pooler.connect_to_worker(1);
    let console = pooler.console_of(1);
    for stalled in [stall.births(), stall.barren()] {
        assert!(console.query("RESTART").is_err());
        let said = console.last_error().unwrap().message;
        assert!(
            said.contains("restart stopped: the successor of worker 2"),
            "{said}"
        );
        assert_eq!(pooler.workers(), before);
        assert_eq!(client.value("select 'untouched'"), "untouched");
        drop(stalled);
    }
    console.query("RESTART").unwrap();
    wait_workers(&pooler, 1, 1);
    assert_eq!(client.value("select 'moved'"), "moved");
}

#[test]
fn slot_whose_worker_dies_while_its_successor_starts_is_served_by_that() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &stall.environment());
    let old = pooler.workers();
    let console = pooler.console_of(1);
    let births = stall.births();
    let restart = console.start_query("RESTART");
    wait_workers(&pooler, 2, 2);
    old[&2].kill();
    wait_workers(&pooler, 2, 1);
    drop(births);
    restart.wait().unwrap();
    for worker in [1, 2] {
        let client = pooler.connect_to_worker(worker);
        assert_eq!(client.value("select 'served'"), "served");
    }
}

#[test]
fn signals_while_successors_start_are_obeyed() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &stall.environment());
    let console = pooler.console_of(1);
    let births = stall.births();
    let restart = console.start_query("RESTART");
    wait_workers(&pooler, 2, 2);
    pooler.write_settings(&format!("{SETTINGS}\nquery_timeout = 55"));
    pooler.signal(Signal::SIGHUP);
    wait_for("the new configuration", PATIENCE, || {
        let config = pooler.console("SHOW CONFIG");
        config
            .iter()
            .any(|row| row.starts_with("query_timeout|55|"))
    });
    pooler.signal(Signal::SIGTERM);
    pooler.wait_log("restart stopped: the group is shutting down");
    assert!(restart.wait().is_err());
    console.close();
    drop(births);
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn worker_that_is_killed_while_it_leaves_is_not_replaced() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let old = pooler.workers();
    let lost = pooler.connect_to_worker(1);
    let kept = pooler.connect_to_worker(2);
    let _lost_query = lost.start_long_query();
    let query = kept.start_long_query();
    restart(&pooler);
    old[&1].kill();
    lost.wait_closed();
    wait_for("its end", PATIENCE, || {
        pooler.console("SHOW WORKERS").len() == 3
    });
    kept.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(kept.value("select 'kept'"), "kept");
    for worker in [1, 2] {
        let new = pooler.connect_to_worker(worker);
        assert_eq!(new.value("select 'served'"), "served");
    }
}

#[test]
fn successor_that_is_killed_is_replaced_in_its_generation() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let old = pooler.workers();
    let kept = pooler.connect_to_worker(1);
    let query = kept.start_long_query();
    restart(&pooler);
    let victim = pooler
        .supervisor()
        .children()
        .into_iter()
        .find(|child| child.title() == "pgskein: worker 1" && *child != old[&1])
        .unwrap();
    victim.kill();
    wait_for("another one", PATIENCE, || {
        let children = pooler.supervisor().children();
        let mut new = children.iter().filter(|child| {
            child.title() == "pgskein: worker 1" && **child != old[&1] && **child != victim
        });
        new.any(|child| child.is_alive())
    });
    wait_for("it to be ready", PATIENCE, || {
        let rows = pooler.console("SHOW WORKERS");
        rows.iter().filter(|row| row.contains("|ready|")).count() == 2
    });
    kept.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    assert_eq!(kept.value("select 'kept'"), "kept");
}

#[test]
fn group_whose_supervisor_is_killed_between_two_generations_is_taken_over() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let first = pooler.connect_to_worker(1);
    let query = first.start_long_query();
    restart(&pooler);
    let second = pooler.connect_to_worker(2);
    second.query("begin").unwrap();
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    let daemon = Daemon::start(&pooler);
    // A cancel of the new group does not find who was never on its scoreboard.
    postgres.query(
        "select pg_cancel_backend(pid) from pg_stat_activity \
         where state = 'active' and pid <> pg_backend_pid()",
    );
    assert_eq!(query.wait(), Err(SqlState("57014")));
    for client in [&first, &second] {
        assert_eq!(client.value("select 'served'"), "served");
        client.query("commit").unwrap();
    }
    second.wait_parameter("disconnect_requested", "on");
    daemon.stop();
}

#[test]
fn sigterm_between_two_generations_ends_both() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let first = pooler.connect_to_worker(1);
    restart(&pooler);
    let second = pooler.connect_to_worker(2);
    pooler.signal(Signal::SIGTERM);
    second.wait_parameter("disconnect_requested", "on");
    assert_eq!(first.value("select 'usable'"), "usable");
    first.close();
    second.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

fn restart(pooler: &Pooler) {
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    console.query("RESTART").unwrap();
}

/// Waits until slot `n` has this many workers, ready or not.
fn wait_workers(pooler: &Pooler, n: u8, count: usize) {
    let title = format!("pgskein: worker {n}");
    wait_for(&format!("{count} workers {n}"), PATIENCE, || {
        let children = pooler.supervisor().children();
        let alive = children.iter().filter(|child| child.is_alive());
        alive.filter(|child| child.title() == title).count() == count
    });
}

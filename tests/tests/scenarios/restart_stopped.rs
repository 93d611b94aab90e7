//! RESTART that is stopped half-way: the new program goes on with the workers
//! that it has found.

use crate::harness::{
    PATIENCE, Pooler, Postgres, Process, ServiceManager, Stall, Stopped, wait_for,
};

#[test]
fn service_manager_hears_of_its_end_though_a_slot_is_without_a_worker() {
    let postgres = Postgres::start();
    let (stall, manager) = (Stall::make(), ServiceManager::listen());
    let environment = [stall.environment(), manager.environment()].concat();
    let settings = "workers = 3\npool_mode = transaction";
    let pooler = Pooler::start_in(&postgres, settings, &environment);
    manager.wait("READY=1");
    let console = pooler.console_of(3);
    let second = pooler.worker(2);
    let births = stall.births();
    let restart = console.start_query("RESTART");
    manager.wait("RELOADING=1");
    wait_for("the successor of worker 1", PATIENCE, || {
        starting(&pooler, 1).len() == 2
    });
    second.kill();
    wait_for("another worker 2", PATIENCE, || {
        let started = starting(&pooler, 2);
        started.len() == 1 && !started.contains(&second)
    });
    let _barren = stall.barren();
    drop(births);
    assert!(restart.wait().is_err());
    manager.wait("READY=1");
}

#[test]
fn worker_that_did_not_turn_before_it_gets_its_slot_back_when_it_turns() {
    let postgres = Postgres::start();
    let stall = Stall::make();
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start_in(&postgres, settings, &stall.environment());
    let console = pooler.console_of(2);
    let stopped = Stopped::new(pooler.worker(1));
    pooler.wait_log("accepting for worker 1 as well");
    let _barren = stall.barren();
    assert!(console.query("RESTART").is_err());
    drop(stopped);
    pooler.wait_log("worker 1: turns again");
    let client = pooler.connect_to_worker(1);
    assert_eq!(client.value("select 'served'"), "served");
}

/// Living processes of slot `n`, ready or not.
fn starting(pooler: &Pooler, n: u8) -> Vec<Process> {
    let title = format!("pgskein: worker {n}");
    let mut children = pooler.supervisor().children();
    children.retain(|child| child.is_alive() && child.title() == title);
    children
}

//! systemd is told how the group is, and its unit can be used as it is.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{
    Account, Folder, PATIENCE, Pgskein, Pooler, Postgres, ServiceManager, Signal, Stopped, within,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn start_reload_and_end_are_told() {
    let postgres = Postgres::start();
    let manager = ServiceManager::listen();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &manager.environment());
    manager.wait("READY=1");
    let status = manager.next(PATIENCE).expect("a status follows");
    assert!(status.starts_with("STATUS=pgskein "), "{status}");
    assert!(status.contains(" serving: 2 of 2 workers, "), "{status}");

    pooler.signal(Signal::SIGHUP);
    let reloading = manager.wait("RELOADING=1");
    let began = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(began.expect("the time of it").parse::<u64>().unwrap() > 0);
    manager.wait("READY=1");
    assert!(pooler.log_contains("config version 2 is in effect"));

    let client = pooler.connect();
    assert_eq!(client.value("select 'served'"), "served");
    pooler.signal(Signal::SIGTERM);
    manager.wait("STOPPING=1");
    let status = manager.next(PATIENCE).expect("a status follows");
    assert!(status.contains(" draining: "), "{status}");
    assert!(status.contains(", 1 clients, "), "{status}");
    client.close();
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
}

#[test]
fn reload_that_changes_nothing_ends_for_the_service_manager_too() {
    let postgres = Postgres::start();
    let manager = ServiceManager::listen();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &manager.environment());
    manager.wait("READY=1");
    pooler.write_settings("no_such_setting = 1");
    pooler.signal(Signal::SIGHUP);
    manager.wait("RELOADING=1");
    manager.wait("READY=1");
    assert!(pooler.log_contains("the configuration was not changed"));
}

#[test]
fn watchdog_hears_of_the_group_as_long_as_a_worker_turns() {
    let postgres = Postgres::start();
    let manager = ServiceManager::listen();
    let mut environment = manager.environment();
    environment.push(("WATCHDOG_USEC", "400000".to_owned()));
    let settings = "workers = 1\npool_mode = transaction\nworker_hang_timeout = 0";
    let pooler = Pooler::start_in(&postgres, settings, &environment);
    for _ in 0..3 {
        manager.wait("WATCHDOG=1");
    }
    let stopped = Stopped::new(pooler.worker(1));
    pooler.wait_log("worker 1: does not turn");
    let silent = || manager.next(Duration::from_secs(1)).is_none();
    assert!(
        within(PATIENCE, silent),
        "the watchdog is told of a group that hangs"
    );
    drop(stopped);
    manager.wait("WATCHDOG=1");
}

#[test]
fn service_manager_that_does_not_listen_holds_nothing_up() {
    let postgres = Postgres::start();
    let manager = ServiceManager::listen();
    let mut environment = manager.environment();
    // Far more than its queue takes.
    environment.push(("WATCHDOG_USEC", "2000".to_owned()));
    let pooler = Pooler::start_in(&postgres, SETTINGS, &environment);
    let began = Instant::now();
    let client = pooler.connect();
    while began.elapsed() < Duration::from_secs(2) {
        assert_eq!(client.value("select 'served'"), "served");
    }
    pooler.console("RELOAD");
    manager.wait("WATCHDOG=1");
}

#[test]
fn unit_file_is_one_that_systemd_understands() {
    let account = Account::unprivileged();
    let folder = Folder::make("unit", &account);
    let unit = include_str!("../../../etc/pgskein.service");
    let program = Pgskein::path();
    let unit = unit
        .replace("/usr/bin/pgskein ", &format!("{} ", program.display()))
        .replace("User=pgskein\n", &format!("User={}\n", account.name()));
    let path = folder.join("pgskein.service");
    fs::write(&path, unit).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let verified = verify.args(["verify", "--man=no"]).arg(&path).output();
    let verified = verified.expect("systemd-analyze is installed");
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success(), "{said}");
    assert!(!said.contains("pgskein.service"), "{said}");
}

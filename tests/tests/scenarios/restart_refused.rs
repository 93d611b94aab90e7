//! RESTART that cannot be: everything goes on as before, and whoever asks is
//! told why.

use std::time::Duration;

use crate::harness::{
    Client, Login, PATIENCE, Pgskein, Pooler, Postgres, Process, Signal, SqlState, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn programs_that_cannot_go_on_change_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_installed(&postgres, SETTINGS);
    let before = pooler.workers();
    let client = pooler.connect_to_worker(1);
    let console = console(&pooler);

    pooler.install("#!/bin/sh\necho 'this one is broken' >&2\nexit 3\n");
    assert!(
        refusal(&console).contains("cannot go on where this program stops: this one is broken")
    );
    pooler.install("#!/bin/sh\nkill -9 $$\n");
    assert!(refusal(&console).contains("killed by SIGKILL"));
    pooler.install("no program at all");
    assert!(refusal(&console).contains("cannot be executed: Exec format error"));
    pooler.install_with_mode("#!/bin/sh\n", 0o644);
    assert!(refusal(&console).contains("cannot be executed: Permission denied"));
    // It says that it could, and then it is no longer there.
    pooler.install("#!/bin/sh\nrm \"$0\"\n");
    let said = refusal(&console);
    assert!(said.contains("cannot be executed"), "{said}");

    assert_eq!(pooler.workers(), before);
    assert_eq!(client.value("select 'untouched'"), "untouched");
    assert_eq!(
        client.parameter("disconnect_requested").as_deref(),
        Some("off")
    );
}

#[test]
fn program_that_fails_after_its_check_gives_the_group_back() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_installed(&postgres, SETTINGS);
    let before = pooler.workers();
    let client = pooler.connect_to_worker(1);
    client.query("begin").unwrap();
    // A stand-in for a version whose check is wrong: the real one then finds a
    // configuration that it does not understand.
    pooler.install(&format!(
        "#!/usr/bin/python3\n\
         import os, sys\n\
         if sys.argv[1] == '--adopt-check': sys.exit(0)\n\
         state = open('/proc/self/fd/' + sys.argv[2], 'r+b', 0)\n\
         left = state.read()\n\
         at = left.rindex(b'pool_mode = transaction')\n\
         state.seek(at)\n\
         state.write(b'pool_mode = transactiox')\n\
         program = {:?}\n\
         os.execv(program, [program] + sys.argv[1:])\n",
        Pgskein::path()
    ));
    let said = refusal(&console(&pooler));
    assert!(said.contains("pool_mode"), "{said}");
    assert_eq!(pooler.workers(), before);
    assert!(pooler.supervisor().is_alive());
    client.query("commit").unwrap();

    // It is a supervisor like any other.
    let victim = pooler.worker(2);
    victim.kill();
    pooler.wait_replaced(2, victim);
    let new = pooler.connect_to_worker(2);
    assert_eq!(new.value("select 'served'"), "served");
    pooler.reload(&format!("{SETTINGS}\nquery_timeout = 7"));
    let config = pooler.console("SHOW CONFIG");
    assert!(config.iter().any(|row| row.starts_with("query_timeout|7|")));
}

#[test]
fn check_that_takes_too_long_is_ended() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nworker_start_timeout = 1");
    let pooler = Pooler::start_installed(&postgres, &settings);
    pooler.install("#!/bin/sh\nexec sleep 1000\n");
    let said = refusal(&console(&pooler));
    assert!(
        said.contains("did not answer within worker_start_timeout"),
        "{said}"
    );
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

#[test]
fn restart_is_refused_with_what_it_waits_for() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_installed(&postgres, SETTINGS);
    let asking = console(&pooler);
    let other = console(&pooler);
    let client = pooler.connect_to_worker(1);
    let query = client.start_long_query();
    let gate = pooler.write_file("gate", "");
    pooler.install(&format!(
        "#!/bin/sh\nwhile [ -e {} ]; do sleep 0.01; done\nexec {} \"$@\"\n",
        gate.display(),
        Pgskein::path().display()
    ));
    let restart = asking.start_query("RESTART");
    pooler.wait_log("restarting: checking");
    assert!(refusal(&other).contains("a restart is under way"));
    std::fs::remove_file(gate).unwrap();
    restart.wait().unwrap();

    let again = console(&pooler);
    let said = refusal(&again);
    assert!(
        said.contains("waiting for worker 1 of generation 1 to leave, clients=1"),
        "{said}"
    );
    client.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    drop((asking, other, again));
    wait_for("the first generation to leave", PATIENCE, || {
        pooler.workers().len() == 2 && pooler.generations() == ["1.2", "2.2"]
    });
    // That one may have come to a worker that has left since.
    console(&pooler).query("RESTART").unwrap();
    wait_for("the third generation", PATIENCE, || {
        let found = pooler.generations();
        found.contains(&"1.3".to_owned()) && found.contains(&"2.3".to_owned())
    });
}

#[test]
fn wrong_files_change_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let before = pooler.workers();
    pooler.write_settings(&format!("{SETTINGS}\npool_mode = both"));
    let said = refusal(&console(&pooler));
    assert!(said.contains("pool_mode"), "{said}");
    assert_eq!(pooler.workers(), before);
    pooler.write_settings(SETTINGS);
    console(&pooler).query("RESTART").unwrap();
}

#[test]
fn sigterm_while_a_program_is_checked_is_obeyed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_installed(&postgres, SETTINGS);
    pooler.install("#!/bin/sh\nexec sleep 1000\n");
    let console = console(&pooler);
    let _restart = console.start_query("RESTART");
    pooler.wait_log("restarting: checking");
    pooler.signal(Signal::SIGTERM);
    let status = pooler.wait_exit(PATIENCE);
    assert_eq!(status.code(), Some(0));
}

#[test]
fn killed_check_changes_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start_installed(&postgres, SETTINGS);
    pooler.install("#!/bin/sh\nexec sleep 1000\n");
    let console = console(&pooler);
    let restart = console.start_query("RESTART");
    pooler.wait_log("restarting: checking");
    let log = pooler.log();
    let (_, pid) = log.rsplit_once("checking ").unwrap();
    let (_, pid) = pid.split_once("pid=").unwrap();
    Process(pid.lines().next().unwrap().parse().unwrap()).kill();
    assert_eq!(restart.wait(), Err(SqlState("55000")));
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

fn console(pooler: &Pooler) -> Client {
    pooler.connect_as(&Login::new().database("pgskein"))
}

/// What RESTART is refused with.
fn refusal(console: &Client) -> String {
    assert_eq!(console.query("RESTART"), Err(SqlState("55000")));
    console.absorb(Duration::ZERO);
    console.last_error().unwrap().message
}

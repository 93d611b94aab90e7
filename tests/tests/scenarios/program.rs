//! The command line, the start, and what an operator sees of the processes.

use std::fs;

use crate::harness::{
    Account, Daemon, Folder, PATIENCE, Pgskein, Pooler, Postgres, Signal, wait_for,
};

#[test]
fn version_and_help_are_printed() {
    for flag in ["-V", "--version"] {
        let printed = Pgskein::run(&[flag]).ok();
        assert!(printed.starts_with("pgskein "), "{printed}");
    }
    for flag in ["-h", "--help"] {
        let printed = Pgskein::run(&[flag]).ok();
        for word in [
            "--check",
            "--reference",
            "--daemon",
            "--quiet",
            "--verbose",
            "--user",
        ] {
            assert!(printed.contains(word), "{word} in {printed}");
        }
    }
}

#[test]
fn reference_names_every_setting() {
    let printed = Pgskein::run(&["--reference"]).ok();
    for setting in [
        "query_wait_timeout",
        "workers",
        "drain_notify",
        "so_reuseport",
    ] {
        assert!(printed.contains(setting), "{setting}");
    }
}

#[test]
fn check_accepts_a_good_file_and_refuses_a_bad_one() {
    let account = Account::unprivileged();
    let folder = Folder::make("check", &account);
    let path = folder.join("pgskein.ini");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        Pgskein::run_as(&account, &["--check", path.to_str().unwrap()])
    };
    let head = "[databases]\n* = host=127.0.0.1\n[pgskein]\n";
    check(&format!("{head}auth_type = any\n")).ok();
    // The same section under its old name.
    check("[databases]\n* = host=127.0.0.1\n[pgbouncer]\nauth_type = any\n").ok();

    for (line, place, also) in [
        ("pool_mod = session", "pgskein.ini:4: pool_mod", "pool_mode"),
        (
            "default_pool_size = many",
            "pgskein.ini:4: default_pool_size",
            "many",
        ),
        (
            "auth_file = /nowhere/users.txt",
            "pgskein.ini:4: auth_file",
            "/nowhere/users.txt",
        ),
        (
            "auth_type = ldap",
            "pgskein.ini:4: auth_ldap_options",
            "ldap needs ldapserver",
        ),
        ("workers = 200", "pgskein.ini:4: workers", "127"),
    ] {
        let run = check(&format!("{head}{line}\npkt_buf = 4096\n"));
        assert_eq!(run.code, Some(1), "{line}");
        let warned = "pgskein.ini:5: pkt_buf: warning: is obsolete";
        assert!(run.stderr.contains(warned), "{line}: {}", run.stderr);
        assert!(run.stderr.contains(place), "{line}: {}", run.stderr);
        assert!(run.stderr.contains(also), "{line}: {}", run.stderr);
    }
}

#[test]
fn nothing_starts_with_a_bad_file() {
    let postgres = Postgres::start();
    let line = format!("* = {}", postgres.address());
    let run = Pooler::try_start(&line, "pool_mod = session").unwrap_err();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("pool_mode"),
        "suggests the nearest name: {run:?}"
    );
}

#[test]
fn root_needs_a_user_to_become() {
    let account = Account::unprivileged();
    if !account.is_switched() {
        return;
    }
    let postgres = Postgres::start();
    let line = format!("* = {}", postgres.address());
    let run = Pooler::try_start(&line, "user =").unwrap_err();
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("user"), "{run:?}");

    let pooler = Pooler::start(&postgres, "workers = 2");
    for process in pooler.processes() {
        assert_eq!(process.uid(), Some(account.uid()), "{}", process.title());
    }
}

#[test]
fn port_and_folder_in_use_are_refused() {
    let postgres = Postgres::start();
    let line = format!("* = {}", postgres.address());
    let pooler = Pooler::start(&postgres, "workers = 2");
    let port = format!("listen_port = {}", pooler.port());
    let run = Pooler::try_start(&line, &port).unwrap_err();
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains(&pooler.port().to_string()), "{run:?}");

    let folder = format!("runtime_dir = {}", pooler.runtime_folder().display());
    let run = Pooler::try_start(&line, &folder).unwrap_err();
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("state/run"), "{run:?}");

    // The one that was there first is undisturbed.
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    assert_eq!(pooler.console("SHOW WORKERS").len(), 2);
}

#[test]
fn processes_have_titles_and_the_pid_file_names_the_supervisor() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3");
    assert!(
        pooler
            .supervisor()
            .title()
            .starts_with("pgskein: supervisor")
    );
    let titles: Vec<String> = pooler
        .workers()
        .values()
        .map(|worker| worker.title())
        .collect();
    assert_eq!(
        titles,
        [
            "pgskein: worker 1",
            "pgskein: worker 2",
            "pgskein: worker 3"
        ]
    );
    let text = fs::read_to_string(pooler.pidfile()).unwrap();
    assert_eq!(text.trim(), pooler.supervisor().0.to_string());
}

#[test]
fn as_many_descriptors_as_allowed_may_be_open() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    for process in pooler.processes() {
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.0)).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let numbers: Vec<&str> = line.unwrap().split_whitespace().skip(3).collect();
        assert_eq!(
            numbers[0],
            numbers[1],
            "soft and hard limit of {}",
            process.title()
        );
    }
}

#[test]
fn daemon_goes_on_in_the_background() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    pooler.signal(Signal::SIGQUIT);
    pooler.wait_exit(PATIENCE);

    // The same configuration once more, as a daemon.
    let daemon = Daemon::start(&pooler);
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    daemon.stop();
    assert_eq!(pooler.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn left_over_files_of_a_dead_group_do_not_stop_a_new_one() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    for process in pooler.processes() {
        process.kill();
    }
    wait_for("all to be dead", PATIENCE, || {
        pooler.exit_status().is_some() && pooler.processes().is_empty()
    });
    assert!(!pooler.leftovers().is_empty(), "nobody could clean up");

    let daemon = Daemon::start(&pooler);
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    daemon.stop();
    assert_eq!(pooler.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn log_lines_say_when_who_and_how_much_it_matters() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = transaction");
    pooler.connect_to_worker(2).close();
    wait_for("both processes in the log", PATIENCE, || {
        let log = pooler.log();
        let pid = pooler.worker(2).0;
        log.lines().any(|line| line.contains(" supervisor INFO "))
            && log.lines().any(|line| {
                line.contains(&format!(" UTC [{pid}] worker 2 INFO ")) && line.starts_with("20")
            })
    });
}

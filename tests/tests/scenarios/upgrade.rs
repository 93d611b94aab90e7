//! An upgrade: RESTART executes the program that is installed now.
//!
//! The other build is a copy of the program in which the number of its version,
//! and nothing else, is another one of the same length.

use std::fs;
use std::path::PathBuf;

use crate::harness::{
    Account, Folder, PATIENCE, Pgskein, Pooler, Postgres, copy_program, restart, wait_for,
};

#[test]
fn restart_goes_over_to_the_version_that_is_installed_and_back() {
    let folder = Folder::make("installed", &Account::unprivileged());
    let program = folder.join("pgskein");
    let builds = [VERSION, OTHER].map(|version| build(&folder, version));
    copy_program(&builds[0], &program, 0o755);
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start_program(&program, &postgres, settings);
    let supervisor = pooler.supervisor();
    let version = || pooler.console("SHOW VERSION").join("");
    assert!(version().contains(VERSION), "{}", version());

    for (build, from, to) in [(1, VERSION, OTHER), (0, OTHER, VERSION)] {
        let client = pooler.connect_to_worker(1);
        client.query("begin").unwrap();
        let workers = pooler.workers();
        copy_program(&builds[build], &program, 0o755);
        restart(&pooler);
        assert!(pooler.log_contains(&format!("version {from} -> {to}")));
        assert_eq!(client.value("select 'works on'"), "works on");
        client.query("commit").unwrap();
        // So that nobody comes to one of them any more.
        wait_for("the old workers to end", PATIENCE, || {
            workers.values().all(|worker| !worker.is_alive())
        });
        assert_eq!(client.value("select 'moved'"), "moved");
        assert!(supervisor.is_alive());
        assert!(version().contains(to), "{}", version());
    }
}

/// A file with the program as it would be of this version.
fn build(folder: &Folder, version: &str) -> PathBuf {
    let mut bytes = fs::read(Pgskein::path()).unwrap();
    let (old, new) = (VERSION.as_bytes(), version.as_bytes());
    assert_eq!(old.len(), new.len());
    let number = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_digit() || *b == b'.');
    let places: Vec<usize> = (0..bytes.len() - old.len())
        .filter(|at| bytes[*at..].starts_with(old))
        .filter(|at| !number(at.checked_sub(1).and_then(|at| bytes.get(at))))
        .filter(|at| !number(bytes.get(at + old.len())))
        .collect();
    assert!(!places.is_empty(), "the program says its version");
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    let file = folder.join(version);
    fs::write(&file, bytes).unwrap();
    file
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
const OTHER: &str = "9.9.9";

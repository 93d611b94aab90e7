//! Programs in `tests/clients`, written for drivers that we did not write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{PROGRAM_DEADLINE, installed, quiet_environment, run};
use crate::pgskein::Run;

/// Which versions of its drivers a program gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Drivers {
    /// Old ones that are still in use: Debian's for Python, `pg-old` for Node.
    Old,
    /// Those of the lists in `tests/clients`.
    New,
}

/// A program in `tests/clients`.
#[derive(Debug)]
pub struct Script {
    interpreter: PathBuf,
    modules: PathBuf,
    file: PathBuf,
    drivers: Drivers,
}

impl Script {
    /// One in Python; `name` is relative to `tests/clients`.
    pub fn python(drivers: Drivers, name: &str) -> Self {
        Self {
            interpreter: python(drivers),
            modules: folder(),
            file: folder().join(name),
            drivers,
        }
    }

    /// One in JavaScript; `name` is relative to `tests/clients`.
    pub fn node(drivers: Drivers, name: &str) -> Self {
        Self {
            interpreter: "node".into(),
            modules: installed("node/node_modules"),
            file: folder().join(name),
            drivers,
        }
    }

    /// Runs it to its end. It gets the port of a server or pooler on this host
    /// as its first argument, and the users and databases are `postgres`.
    pub fn run(&self, port: u16, arguments: &[&str]) -> Run {
        let mut command = Command::new(&self.interpreter);
        quiet_environment(&mut command);
        command.arg(&self.file);
        command.arg(port.to_string()).args(arguments);
        command.env("PYTHONPATH", &self.modules);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("NODE_PATH", &self.modules);
        command.env("DRIVERS", format!("{:?}", self.drivers).to_lowercase());
        command.current_dir("/");
        run(command, PROGRAM_DEADLINE)
    }
}

/// Debian's drivers belong to Debian's Python, which may not be first in `PATH`.
pub(super) fn python(drivers: Drivers) -> PathBuf {
    static DEBIAN: OnceLock<PathBuf> = OnceLock::new();
    if drivers == Drivers::New {
        return installed("python/bin/python3");
    }
    let find = || {
        let candidates = ["python3", "/usr/bin/python3"];
        let works = |python: &&str| {
            let mut command = Command::new(python);
            command.args(["-c", "import psycopg, psycopg2, asyncpg, pg8000"]);
            run(command, PROGRAM_DEADLINE).code == Some(0)
        };
        let found = candidates.into_iter().find(works);
        found
            .expect("psycopg, psycopg2, asyncpg and pg8000 of Debian: see scripts/setup.sh")
            .into()
    };
    DEBIAN.get_or_init(find).clone()
}

/// The programs, and the lists of what they need.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

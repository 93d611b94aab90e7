//! Programs that we did not write: psql, pgbench, Python with psycopg.

mod pgbench;
mod psql;

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

pub use pgbench::Pgbench;
pub use psql::{Psql, RunningPsql};

use crate::pgskein::Run;
use crate::wait::within;

/// Runs a Python program that may import psycopg and psycopg2.
pub fn python(program: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(python_with_psycopg());
    command.arg("-c").arg(program).args(arguments);
    run(command, PROGRAM_DEADLINE)
}

/// A program of PostgreSQL: of the newest version below `/usr/lib/postgresql`,
/// else the one in `PATH`.
pub(crate) fn postgresql_program(name: &str) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = Vec::new();
    for entry in Path::new(DEBIAN_FOLDER)
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
    {
        let program = entry.path().join("bin").join(name);
        let version = entry.file_name().to_str().and_then(|v| v.parse().ok());
        if let (Some(version), true) = (version, program.exists()) {
            versions.push((version, program));
        }
    }
    versions.sort();
    versions
        .pop()
        .map_or_else(|| PathBuf::from(name), |(_, program)| program)
}

/// Runs a program to its end and collects what it prints.
///
/// # Panics
///
/// When it has not ended after `deadline`.
pub(crate) fn run(mut command: Command, deadline: Duration) -> Run {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let mut status = None;
    let ended = within(deadline, || {
        status = child.try_wait().expect("a child can be waited for");
        status.is_some()
    });
    if !ended {
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }
    let run = Run {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    };
    assert!(ended, "{command:?} still runs after {deadline:?}: {run:?}");
    run
}

fn collect<R: Read + Send + 'static>(stream: Option<R>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        drop(stream.map(|mut stream| stream.read_to_end(&mut bytes)));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Debian's psycopg belongs to Debian's Python, which may not be first in `PATH`.
fn python_with_psycopg() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let candidates = ["python3", "/usr/bin/python3"];
        let works = |python: &&str| {
            let mut command = Command::new(python);
            command.args(["-c", "import psycopg, psycopg2"]);
            run(command, PROGRAM_DEADLINE).code == Some(0)
        };
        let found = candidates.into_iter().find(works);
        found
            .expect("psycopg and psycopg2 for Python: see scripts/setup.sh")
            .into()
    })
}

/// The user's wish for another PostgreSQL is to put it into `PATH`.
pub(crate) fn quiet_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

/// Where Debian keeps the versions of PostgreSQL.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// How long a program of ours may run.
pub(crate) const PROGRAM_DEADLINE: Duration = Duration::from_secs(120);

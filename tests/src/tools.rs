//! Programs that we did not write: psql, pgbench, and what drivers run in.

mod drivers;
mod pgbench;
mod program;
mod psql;

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

pub use drivers::{Drivers, Script};
pub use pgbench::Pgbench;
pub use program::{Program, RunningProgram};
pub use psql::{Psql, RunningPsql};

use crate::pgskein::Run;
use crate::wait::within;

/// Runs a Python program that may import Debian's psycopg and psycopg2.
pub fn python(program: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new(drivers::python(Drivers::Old));
    command.arg("-c").arg(program).args(arguments);
    run(command, PROGRAM_DEADLINE)
}

/// Runs a script of `scripts` to its end.
pub fn script(name: &str, arguments: &[&str]) -> Run {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts");
    let mut command = Command::new(scripts.join(name));
    quiet_environment(&mut command);
    command.args(arguments);
    run(command, PROGRAM_DEADLINE)
}

/// Something that `scripts/clients.sh` installs, below `target/tools`.
///
/// # Panics
///
/// When it is not there.
pub(crate) fn installed(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    let target = test.ancestors().nth(3);
    let target = target.expect("tests lie in target/PROFILE/deps");
    let path = target.join("tools").join(name);
    assert!(
        path.exists(),
        "no {}: run scripts/setup.sh test",
        path.display()
    );
    path
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

/// The user's wish for another PostgreSQL is to put it into `PATH`.
pub(crate) fn quiet_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
}

/// How long a program of ours may run.
pub(crate) const PROGRAM_DEADLINE: Duration = Duration::from_secs(120);

//! Programs of PostgreSQL that are neither psql nor pgbench, such as
//! pg_basebackup.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use super::{PROGRAM_DEADLINE, quiet_environment, run};
use crate::account::Account;
use crate::pgskein::Run;
use crate::process::Process;
use crate::release::Release;
use crate::wait::{PATIENCE, within};

/// A program and how it is to be run.
#[derive(Debug)]
pub struct Program {
    command: Command,
}

/// A program that runs in the background, and is killed when it goes out of
/// scope.
#[derive(Debug)]
pub struct RunningProgram {
    child: Child,
}

impl Program {
    /// A program of PostgreSQL, under the account of the tests, since what it
    /// writes may become a server's data.
    pub fn new(name: &str) -> Self {
        let mut command = Command::new(Release::System.program(name));
        quiet_environment(&mut command);
        command.env("PGPASSFILE", "/nonexistent");
        Account::unprivileged().apply(&mut command);
        command.current_dir("/");
        Self { command }
    }

    /// Adds arguments, separated by blanks.
    pub fn arguments(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split_whitespace());
        self
    }

    /// Adds one argument as it is.
    pub fn argument(mut self, argument: &str) -> Self {
        self.command.arg(argument);
        self
    }

    /// Knows this password.
    pub fn password(mut self, password: &str) -> Self {
        self.command.env("PGPASSWORD", password);
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Run {
        run(self.command, PROGRAM_DEADLINE)
    }

    /// Starts it in the background.
    pub fn start(mut self) -> RunningProgram {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = self.command.spawn();
        RunningProgram {
            child: child.expect("the programs of PostgreSQL are installed"),
        }
    }
}

impl RunningProgram {
    /// The process.
    pub fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap())
    }

    /// Tells whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().expect("a child can be waited for");
        ended.is_some()
    }

    /// Waits for its end; gives its exit code and what it complained about.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub fn wait(mut self) -> Run {
        assert!(within(PATIENCE, || self.has_ended()), "{self:?} goes on");
        let status = self.child.wait().expect("a child can be waited for");
        let mut text = Vec::new();
        let mut stderr = self.child.stderr.take().expect("stderr is a pipe");
        stderr.read_to_end(&mut text).expect("a pipe can be read");
        Run {
            code: status.code(),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

impl Drop for RunningProgram {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.process().kill();
            drop(self.child.wait());
        }
    }
}

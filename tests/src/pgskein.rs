//! The program under test, and how a program that has ended is looked at.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::account::Account;
use crate::tools::{PROGRAM_DEADLINE, run};

/// The program under test.
#[derive(Debug)]
pub struct Pgskein;

/// How a program ended and what it printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Pgskein {
    /// Where it is: `PGSKEIN`, or beside the tests in the same profile.
    pub fn path() -> PathBuf {
        if let Some(path) = env::var_os("PGSKEIN") {
            return path.into();
        }
        let test = env::current_exe().expect("a test knows its own path");
        let profile = test
            .ancestors()
            .nth(2)
            .expect("tests lie in target/PROFILE/deps");
        let path = profile.join("pgskein");
        assert!(
            path.exists(),
            "build it first, or set PGSKEIN: no {}",
            path.display()
        );
        path
    }

    /// Runs it to its end under the account of the tests.
    pub fn run(arguments: &[&str]) -> Run {
        let mut command = Command::new(Self::path());
        command.args(arguments);
        run(command, PROGRAM_DEADLINE)
    }

    /// Runs it to its end under another account.
    pub fn run_as(account: &Account, arguments: &[&str]) -> Run {
        let mut command = Command::new(Self::path());
        command.args(arguments);
        account.apply(&mut command);
        run(command, PROGRAM_DEADLINE)
    }
}

impl Run {
    /// What it printed, with its end cut off, when all went well.
    ///
    /// # Panics
    ///
    /// When its exit code is not 0.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.trim_end().to_owned()
    }

    /// What it complained about.
    ///
    /// # Panics
    ///
    /// When its exit code is 0.
    pub fn refused(self) -> String {
        assert_ne!(self.code, Some(0), "{self:?}");
        self.stderr
    }
}

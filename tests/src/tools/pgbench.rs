//! pgbench, and what it counted.

use std::process::Command;

use super::{PROGRAM_DEADLINE, quiet_environment, run};
use crate::release::Release;

/// One run of pgbench over the tables that every test server has.
#[derive(Clone, Debug)]
pub struct Pgbench {
    port: u16,
    arguments: Vec<String>,
}

impl Pgbench {
    /// Connects to a TCP port of this host as user and to database `postgres`.
    pub fn to_port(port: u16) -> Self {
        Self {
            port,
            arguments: Vec::new(),
        }
    }

    /// Adds arguments, separated by blanks.
    pub fn arguments(mut self, arguments: &str) -> Self {
        self.arguments
            .extend(arguments.split_whitespace().map(str::to_owned));
        self
    }

    /// Runs it and returns how many transactions were processed.
    ///
    /// # Panics
    ///
    /// When a client was aborted or a transaction failed.
    pub fn run(&self) -> u64 {
        let mut command = Command::new(Release::System.program("pgbench"));
        quiet_environment(&mut command);
        command.args(["-n", "-h", "127.0.0.1", "-U", "postgres"]);
        command.args(["-p", &self.port.to_string()]);
        command.args(&self.arguments).arg("postgres");
        let run = run(command, PROGRAM_DEADLINE);
        assert_eq!(run.code, Some(0), "pgbench {:?}: {run:?}", self.arguments);
        let failed = number_after(&run.stdout, "number of failed transactions: ");
        assert_eq!(failed, Some(0), "failed transactions: {run:?}");
        number_after(&run.stdout, "number of transactions actually processed: ")
            .unwrap_or_else(|| panic!("pgbench counts transactions: {run:?}"))
    }
}

fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let digits: String = line.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

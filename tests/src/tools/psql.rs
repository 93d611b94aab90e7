//! psql, one command a run.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{PROGRAM_DEADLINE, drivers, quiet_environment, run};
use crate::account::Account;
use crate::pgskein::Run;
use crate::process::Process;
use crate::release::Release;

/// How psql is to connect.
#[derive(Clone, Debug)]
pub struct Psql {
    connection: String,
    password: Option<String>,
    account: Option<Account>,
    release: Release,
}

/// A psql that runs in the background.
#[derive(Debug)]
pub struct RunningPsql {
    child: Child,
}

impl Psql {
    /// Connects to a TCP port of this host.
    pub fn to_port(port: u16) -> Self {
        Self::to(&format!("host=127.0.0.1 port={port}"))
    }

    /// Connects to the unix socket in a folder.
    pub fn to_folder(folder: &Path, port: u16) -> Self {
        Self::to(&format!("host={} port={port}", folder.display()))
    }

    fn to(address: &str) -> Self {
        Self {
            connection: format!("{address} connect_timeout=20"),
            password: None,
            account: None,
            release: Release::System,
        }
    }

    /// Is the psql of this PostgreSQL.
    pub fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Logs in as this user.
    pub fn user(self, user: &str) -> Self {
        self.option("user", user)
    }

    /// Asks for this database.
    pub fn database(self, database: &str) -> Self {
        self.option("dbname", database)
    }

    /// Adds a connection parameter.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.connection += &format!(" {name}='{value}'");
        self
    }

    /// Knows this password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Runs under this account of the system.
    pub fn account(mut self, account: &Account) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// Runs one command. Rows come unaligned, without headings.
    pub fn run(&self, sql: &str) -> Run {
        run(self.command(sql), PROGRAM_DEADLINE)
    }

    /// Asks the server who the user is.
    pub fn who(&self) -> Run {
        self.run("select current_user")
    }

    /// Runs a script in `tests/clients` with these variables, past its errors.
    pub fn script(&self, name: &str, variables: &[(&str, &str)]) -> Run {
        let mut command = self.program();
        command.args(["-XAtw", "-v", "VERBOSITY=terse"]);
        for (name, value) in variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        command.args(["-d", &self.connection, "-f"]);
        command.arg(drivers::folder().join(name));
        run(command, PROGRAM_DEADLINE)
    }

    /// Starts one command in the background.
    pub fn start(&self, sql: &str) -> RunningPsql {
        let child = self
            .command(sql)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql is installed");
        RunningPsql { child }
    }

    fn command(&self, sql: &str) -> Command {
        let mut command = self.program();
        // A message then carries its SQLSTATE.
        command.args(["-XAtw", "-v", "VERBOSITY=verbose", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-d", &self.connection, "-c", sql]);
        command
    }

    fn program(&self) -> Command {
        let mut command = Command::new(self.release.program("psql"));
        quiet_environment(&mut command);
        command.env("PGPASSFILE", "/nonexistent");
        if let Some(password) = &self.password {
            command.env("PGPASSWORD", password);
        }
        if let Some(account) = &self.account {
            account.apply(&mut command);
        }
        command.current_dir("/");
        command
    }
}

impl RunningPsql {
    /// The process.
    pub fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for its end and returns what it said on stderr.
    pub fn wait(mut self) -> String {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().expect("stderr is a pipe");
        stderr.read_to_string(&mut text).expect("psql prints UTF-8");
        self.child.wait().expect("psql can be waited for");
        text
    }
}

//! The real program in front of a PostgreSQL.

mod activated;
mod consoles;
mod end;
mod files;
mod installed;
mod log;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use files::copy_program;
use nix::sys::signal::Signal;

use crate::account::Account;
use crate::client::{Client, Login};
use crate::folder::Folder;
use crate::pgskein::{Pgskein, Run};
use crate::postgres::Postgres;
use crate::process::Process;
use crate::route::{Route, free_port};
use crate::tools::{Pgbench, Psql};
use crate::wait::{PATIENCE, wait_for};
use crate::wire::{ErrorFields, Wire};

/// A running pgskein with a port and folders of its own.
///
/// It ends with the scenario, and then nothing of it may be left.
#[derive(Debug)]
pub struct Pooler {
    account: Account,
    folder: Folder,
    databases: String,
    port: u16,
    route: Arc<Route>,
    supervisor: Process,
    child: Mutex<Child>,
    status: Mutex<Option<ExitStatus>>,
}

impl Pooler {
    /// Starts it in front of `postgres`, for every database, with these settings.
    ///
    /// `settings` are lines of an ini file; they may open further sections.
    pub fn start(postgres: &Postgres, settings: &str) -> Self {
        Self::start_for(&format!("* = {}", postgres.address()), settings)
    }

    /// Starts it with these lines in `[databases]`.
    pub fn start_for(databases: &str, settings: &str) -> Self {
        Self::started(Self::try_start(databases, settings))
    }

    /// Starts it in front of `postgres` with more in its environment.
    pub fn start_in(postgres: &Postgres, settings: &str, more: &[(&str, String)]) -> Self {
        let databases = format!("* = {}", postgres.address());
        Self::started(Self::try_start_in(&databases, settings, more))
    }

    /// Starts it with these lines in `[databases]` and more in its environment.
    pub fn start_with(databases: &str, settings: &str, more: &[(&str, String)]) -> Self {
        Self::started(Self::try_start_in(databases, settings, more))
    }

    /// Starts the program of this path in front of `postgres`.
    pub fn start_program(program: &Path, postgres: &Postgres, settings: &str) -> Self {
        let databases = format!("* = {}", postgres.address());
        let run = |folder: &Folder, _| Self::command(program, folder);
        Self::started(Self::try_run(&databases, settings, run))
    }

    /// Starts it, or tells how it refused.
    ///
    /// # Errors
    ///
    /// Its exit code and what it printed, when it ended before it answered.
    pub fn try_start(databases: &str, settings: &str) -> Result<Self, Run> {
        Self::try_start_in(databases, settings, &[])
    }

    fn try_start_in(databases: &str, settings: &str, more: &[(&str, String)]) -> Result<Self, Run> {
        Self::try_run(databases, settings, |folder, _| {
            let mut command = Self::command(&Pgskein::path(), folder);
            command.envs(more.iter().map(|(name, value)| (name, value)));
            command
        })
    }

    fn command(program: &Path, folder: &Folder) -> Command {
        let mut command = in_session(program);
        command.arg(files::ini(folder));
        let stderr = File::create(folder.join("stderr")).expect("a file can be made");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        command
    }

    /// Starts what `command` makes of the folder and the port.
    fn try_run(
        databases: &str,
        settings: &str,
        command: impl FnOnce(&Folder, u16) -> Command,
    ) -> Result<Self, Run> {
        let account = Account::unprivileged();
        let folder = Folder::make("pooler", &account);
        let port = free_port();
        files::prepare(&folder, &account);
        files::write_ini(&folder, &account, port, databases, settings);
        let mut command = command(&folder, port);
        command.current_dir(folder.path());
        let child = command.spawn().expect("the program can be executed");
        let pooler = Self {
            account,
            databases: databases.to_owned(),
            port,
            route: Arc::new(Route::to(port)),
            supervisor: Process(i32::try_from(child.id()).unwrap()),
            child: Mutex::new(child),
            status: Mutex::new(None),
            folder,
        };
        pooler.wait_ready(files::workers(settings))?;
        Ok(pooler)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The supervisor.
    pub fn supervisor(&self) -> Process {
        self.supervisor
    }

    /// Account that it runs under.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Folder of the unix socket for clients.
    pub fn socket_folder(&self) -> PathBuf {
        self.folder.join(files::SOCKETS)
    }

    /// Folder of the peer sockets.
    pub fn runtime_folder(&self) -> PathBuf {
        self.folder.join(files::RUNTIME)
    }

    /// The configuration file.
    pub fn ini(&self) -> PathBuf {
        files::ini(&self.folder)
    }

    /// The log file.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join(files::LOG)
    }

    /// The file with the supervisor's number.
    pub fn pidfile(&self) -> PathBuf {
        self.folder.join(files::PIDFILE)
    }

    /// Living workers by slot, the newest generation of each.
    pub fn workers(&self) -> BTreeMap<u8, Process> {
        let mut workers = BTreeMap::new();
        for child in self.supervisor.children() {
            if let (Some(slot), true) = (slot_of(&child.title()), child.is_alive()) {
                workers.insert(slot, child);
            }
        }
        workers
    }

    /// The worker of slot `n`, waited for.
    pub fn worker(&self, n: u8) -> Process {
        let mut found = None;
        wait_for(&format!("worker {n}"), PATIENCE, || {
            found = self.workers().get(&n).copied();
            found.is_some()
        });
        found.unwrap()
    }

    /// Whether slot `n` has another worker than this one.
    pub fn has_replaced(&self, n: u8, dead: Process) -> bool {
        let workers = self.workers();
        workers.get(&n).is_some_and(|worker| *worker != dead)
    }

    /// Waits until slot `n` has another worker than this one.
    pub fn wait_replaced(&self, n: u8, dead: Process) {
        wait_for(&format!("a new worker {n}"), PATIENCE, || {
            self.has_replaced(n, dead)
        });
    }

    /// Sends the supervisor a signal.
    pub fn signal(&self, signal: Signal) {
        self.supervisor.signal(signal);
    }

    /// Sends a signal to every process of the group, as Ctrl-C does.
    pub fn signal_group(&self, signal: Signal) {
        self.supervisor.signal_group(signal);
    }

    /// Waits for the supervisor's end.
    pub fn wait_exit(&self, deadline: Duration) -> ExitStatus {
        wait_for("the supervisor's end", deadline, || {
            self.exit_status().is_some()
        });
        self.exit_status().unwrap()
    }

    /// How the supervisor ended, if it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        let mut status = self.status.lock().unwrap();
        if status.is_none() {
            *status = self
                .child
                .lock()
                .unwrap()
                .try_wait()
                .expect("a child can be waited for");
        }
        *status
    }

    /// Logs in as `postgres` through whichever worker the kernel picks.
    pub fn connect(&self) -> Client {
        self.connect_as(&Login::new())
    }

    /// Logs in through whichever worker the kernel picks.
    pub fn connect_as(&self, login: &Login) -> Client {
        self.try_connect(login)
            .unwrap_or_else(|e| panic!("{login:?} failed: {e:?}"))
    }

    /// Logs in, or tells why not.
    ///
    /// # Errors
    ///
    /// The error of the login; an empty one when the connection was closed.
    pub fn try_connect(&self, login: &Login) -> Result<Client, ErrorFields> {
        let wire = self.route.try_wire().map_err(|e| ErrorFields {
            message: e.to_string(),
            ..ErrorFields::default()
        })?;
        Ok(Client::log_in(wire, login)?.with_route(&self.route))
    }

    /// Logs in as `postgres` through worker `n`.
    pub fn connect_to_worker(&self, n: u8) -> Client {
        self.connect_to_worker_as(n, &Login::new())
    }

    /// Logs in through worker `n`, which is waited for while a sibling serves
    /// its slot.
    pub fn connect_to_worker_as(&self, n: u8, login: &Login) -> Client {
        let mut reached = None;
        wait_for(&format!("worker {n} to accept"), PATIENCE, || {
            let client = Client::log_in(self.route.wire_to(n), login)
                .unwrap_or_else(|e| panic!("{login:?} through worker {n} failed: {e:?}"));
            reached = Some(client).filter(|client| client.slot() == n);
            reached.is_some()
        });
        reached.unwrap().with_route(&self.route)
    }

    /// Logs in through worker `n`, or learns why not.
    ///
    /// # Errors
    ///
    /// As [`Pooler::try_connect`].
    pub fn try_connect_to_worker(&self, n: u8, login: &Login) -> Result<Client, ErrorFields> {
        Ok(Client::log_in(self.route.wire_to(n), login)?.with_route(&self.route))
    }

    /// Logs in over the unix socket.
    ///
    /// # Errors
    ///
    /// As [`Pooler::try_connect`].
    pub fn connect_unix(&self, login: &Login) -> Result<Client, ErrorFields> {
        let wire = self.try_unix_wire().map_err(|e| ErrorFields {
            message: e.to_string(),
            ..ErrorFields::default()
        })?;
        Client::log_in(wire, login)
    }

    /// A raw connection to whichever worker the kernel picks.
    pub fn wire(&self) -> Wire {
        self.route.wire()
    }

    /// A raw connection, or why there is none.
    ///
    /// # Errors
    ///
    /// That of the connect.
    pub fn try_wire(&self) -> std::io::Result<Wire> {
        self.route.try_wire()
    }

    /// A raw connection to worker `n`.
    pub fn wire_to_worker(&self, n: u8) -> Wire {
        self.route.wire_to(n)
    }

    /// A raw connection over the unix socket.
    pub fn unix_wire(&self) -> Wire {
        let wire = self.try_unix_wire();
        wire.unwrap_or_else(|e| panic!("cannot connect to the unix socket: {e}"))
    }

    /// A raw connection over the unix socket, or why there is none.
    ///
    /// # Errors
    ///
    /// That of the connect.
    pub fn try_unix_wire(&self) -> std::io::Result<Wire> {
        let path = self.socket_folder().join(format!(".s.PGSQL.{}", self.port));
        UnixStream::connect(path).map(Wire::unix)
    }

    /// Source ports that reach worker `n`, for [`Pooler::wire_from`].
    pub fn source_ports(&self, n: u8, count: usize) -> Vec<u16> {
        self.route.learn(n, count);
        (0..count).map(|_| self.route.take_port(n)).collect()
    }

    /// A raw connection from a source port, or why there is none.
    ///
    /// # Errors
    ///
    /// That of the connect; the port may still be taken.
    pub fn wire_from(&self, port: u16) -> std::io::Result<Wire> {
        self.route.wire_from(port)
    }

    /// Learns beforehand how to reach worker `n` with `count` connections.
    pub fn learn(&self, n: u8, count: usize) {
        self.route.learn(n, count);
    }

    /// Stops worker `n`, and has so many clients wait in the queue of its listener.
    pub fn stop_with_queue(&self, n: u8, count: usize) -> (Process, Vec<Wire>) {
        // A source port may not be free again yet.
        self.learn(n, count + 10);
        let worker = self.worker(n);
        worker.signal(Signal::SIGSTOP);
        let mut queued: Vec<_> = (0..count).map(|_| self.wire_to_worker(n)).collect();
        for wire in &mut queued {
            wire.send(&Login::new().packet());
        }
        (worker, queued)
    }

    /// Writes the configuration anew, with these settings, and does not reload.
    pub fn write_settings(&self, settings: &str) {
        self.write_ini(&self.databases, settings);
    }

    /// Writes the configuration anew and does not reload.
    pub fn write_ini(&self, databases: &str, settings: &str) {
        files::write_ini(&self.folder, &self.account, self.port, databases, settings);
    }

    /// Writes the configuration anew and has it read.
    pub fn reload(&self, settings: &str) {
        self.write_settings(settings);
        self.reload_files();
    }

    /// Has all files read again by the console's RELOAD, which returns when
    /// every worker has gone over. Its own account needs no password for that.
    pub fn reload_files(&self) {
        let psql = self.local_psql().user("pgskein").database("pgskein");
        psql.run("RELOAD").ok();
    }

    /// psql over TCP.
    pub fn psql(&self) -> Psql {
        Psql::to_port(self.port).database("postgres")
    }

    /// psql over the unix socket, under the pooler's own account.
    pub fn local_psql(&self) -> Psql {
        Psql::to_folder(&self.socket_folder(), self.port).account(&self.account)
    }

    /// pgbench over TCP.
    pub fn pgbench(&self, arguments: &str) -> u64 {
        Pgbench::to_port(self.port).arguments(arguments).run()
    }

    /// Writes a file beside the configuration that the pooler may read.
    pub fn write_file(&self, name: &str, text: &str) -> PathBuf {
        files::write(&self.folder, &self.account, name, text)
    }

    fn started(outcome: Result<Self, Run>) -> Self {
        outcome.unwrap_or_else(|run| panic!("pgskein did not start: {run:?}"))
    }

    /// Waits until all workers are there, each for the clients of its own slot.
    fn wait_ready(&self, workers: usize) -> Result<(), Run> {
        let mut ready = false;
        wait_for("pgskein to answer", PATIENCE, || {
            let lives = self.exit_status().is_none();
            ready = lives
                && self.answers()
                && self.workers().len() == workers
                && self.all_accept(workers);
            ready || !lives
        });
        if ready {
            return Ok(());
        }
        Err(Run {
            code: self.exit_status().and_then(|status| status.code()),
            stdout: self.log(),
            stderr: fs::read_to_string(self.folder.join("stderr")).unwrap_or_default(),
        })
    }

    /// An SSLRequest is answered by a worker before anything else is asked.
    fn answers(&self) -> bool {
        let Ok(mut wire) = self.route.try_wire() else {
            return false;
        };
        wire.try_send(SSL_REQUEST).is_ok() && wire.read_byte().is_some()
    }

    fn stderr_file(&self) -> PathBuf {
        self.folder.join("stderr")
    }
}

/// The slot in a title such as `pgskein: worker 2`.
fn slot_of(title: &str) -> Option<u8> {
    let (_, rest) = title.split_once("worker ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A command that runs a program in a session of its own, as a service manager
/// does: to signal all of it, and to find what it leaves behind.
///
/// A group in the tests' session would be more than that: of its processes that
/// are stopped, the kernel lets go on all whenever one ends whose parent has
/// died, if whoever is then its parent belongs to the same session (exit(3)).
fn in_session(program: &Path) -> Command {
    // A child does not lead a group: it becomes the program itself.
    let mut command = Command::new("setsid");
    command.arg(program);
    command
}

/// Paths in a folder that are sockets.
fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()))
        .map(|entry| entry.path())
        .collect()
}

/// An SSLRequest.
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

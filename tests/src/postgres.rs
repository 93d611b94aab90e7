//! A real PostgreSQL of a scenario's own.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;

use nix::sys::signal::Signal;

use crate::account::Account;
use crate::certificates::Certificates;
use crate::client::{Client, Login};
use crate::folder::Folder;
use crate::process::Process;
use crate::release::Release;
use crate::route::{Route, free_port};
use crate::template::template;
use crate::tools::{PROGRAM_DEADLINE, quiet_environment, run};
use crate::wait::{PATIENCE, wait_for, within};
use crate::wire::Wire;

/// A server on a port and in a folder of its own, which ends with the scenario.
///
/// It holds the tables of pgbench, the users `postgres` (superuser), `alice`,
/// `bob` and `carol` who need no password, and `plain_user`, `md5_user` and
/// `scram_user` who log in as their names say, with the password `secret`.
#[derive(Debug)]
pub struct Postgres {
    account: Account,
    folder: Folder,
    port: u16,
    release: Release,
    settings: Vec<String>,
    server: Mutex<Option<Server>>,
}

/// A running server process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Postgres {
    /// Starts a fresh one.
    pub fn start() -> Self {
        Self::start_release(Release::System)
    }

    /// Starts a fresh one of this version.
    pub fn start_release(release: Release) -> Self {
        Self::start_fresh(release, &[])
    }

    /// Starts a fresh one that speaks TLS with the certificate `name`, and with
    /// these settings more.
    pub fn start_with_tls(certificates: &Certificates, name: &str, more: &[&str]) -> Self {
        Self::start_release_with_tls(Release::System, certificates, name, more)
    }

    /// The same of this version.
    pub fn start_release_with_tls(
        release: Release,
        certificates: &Certificates,
        name: &str,
        more: &[&str],
    ) -> Self {
        let file =
            |setting: &str, name: &str| format!("{setting}={}", certificates.path(name).display());
        let tls = [
            "ssl=on".to_owned(),
            file("ssl_cert_file", &format!("{name}.pem")),
            file("ssl_key_file", &format!("{name}.key")),
            file("ssl_ca_file", "ca.pem"),
        ];
        let settings: Vec<&str> = tls
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        Self::start_fresh(release, &settings)
    }

    /// Starts a fresh one that serves replication, of both kinds.
    pub fn start_for_replication() -> Self {
        Self::start_release_for_replication(Release::System)
    }

    /// Starts a fresh one of this version that serves replication.
    pub fn start_release_for_replication(release: Release) -> Self {
        Self::start_fresh(release, &REPLICATION)
    }

    fn start_fresh(release: Release, settings: &[&str]) -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("pg", &account);
        let mut command = Command::new("cp");
        command
            .args(["-a", "--reflink=auto"])
            .arg(template(release))
            .arg(folder.join(DATA));
        run(command, PROGRAM_DEADLINE).ok();
        Self::start_in(folder, account, release, settings)
    }

    /// Starts one that serves replication over the data in the folder `data` of
    /// `folder`, a copy of those of another, which belong to the account of the
    /// tests.
    pub fn start_over(folder: Folder) -> Self {
        Self::start_in(
            folder,
            Account::unprivileged(),
            Release::System,
            &REPLICATION,
        )
    }

    /// Starts a hot standby of it, which has to serve replication.
    pub fn start_standby(&self) -> Self {
        let account = Account::unprivileged();
        let folder = Folder::make("pg", &account);
        let mut command = Command::new(self.release.program("pg_basebackup"));
        quiet_environment(&mut command);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        command.args(["-U", "postgres", "-c", "fast", "-X", "stream", "-R"]);
        command.arg("--no-sync").arg("-D").arg(folder.join(DATA));
        command.current_dir("/");
        account.apply(&mut command);
        run(command, PROGRAM_DEADLINE).ok();
        Self::start_in(folder, account, self.release, &REPLICATION)
    }

    /// Makes a primary of a standby.
    pub fn promote(&self) {
        assert_eq!(self.query("select pg_promote()"), ["t"]);
    }

    fn start_in(folder: Folder, account: Account, release: Release, settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let data = folder.join(DATA);
        let server = Server::start_on(
            release,
            free_port(),
            &data,
            folder.path(),
            &account,
            &settings,
        );
        Self {
            account,
            folder,
            port: server.port,
            release,
            settings,
            server: Mutex::new(Some(server)),
        }
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it is, as a line of `[databases]` says it.
    pub fn address(&self) -> String {
        format!("host=127.0.0.1 port={}", self.port)
    }

    /// A connection of the superuser that bypasses the pooler.
    pub fn connect(&self) -> Client {
        self.connect_as(&Login::new().parameter("application_name", DIRECT))
    }

    /// Logs in past the pooler; it counts among the connections of clients
    /// unless it calls itself `direct`.
    pub fn connect_as(&self, login: &Login) -> Client {
        Client::log_in(Route::to(self.port).wire(), login).expect("the server takes logins")
    }

    /// A raw connection that bypasses the pooler.
    pub fn wire(&self) -> Wire {
        Route::to(self.port).wire()
    }

    /// Runs a query as superuser on a connection of its own.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.connect()
            .query(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// Runs a query that answers with one number.
    pub fn number(&self, sql: &str) -> i64 {
        self.connect()
            .value(sql)
            .parse()
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Connections of clients that are not the harness's own.
    pub fn connections(&self) -> i64 {
        self.number(&format!("select count(*) {OTHERS}"))
    }

    /// Connections that run a query now and are not the harness's own.
    pub fn busy_connections(&self) -> i64 {
        self.number(&format!("select count(*) {OTHERS} and state = 'active'"))
    }

    /// Has its files read again, those of TLS among them.
    pub fn reload(&self) {
        let heard = || {
            let log = fs::read_to_string(self.log_file()).unwrap_or_default();
            log.matches("received SIGHUP").count()
        };
        let before = heard();
        self.signal(Signal::SIGHUP);
        // It does nothing else before it takes the next connection.
        wait_for("PostgreSQL to reload", PATIENCE, || heard() > before);
    }

    /// Stops it as a crash would; what is connected is cut off.
    pub fn crash(&self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.stop(Signal::SIGQUIT);
        }
    }

    /// Asks it to shut down: by SIGINT it ends sessions and itself at once
    /// (fast), by SIGTERM it waits for the end of sessions and takes no others
    /// (smart).
    pub fn shut_down(&self, signal: Signal) {
        self.signal(signal);
    }

    fn signal(&self, signal: Signal) {
        if let Some(server) = &*self.server.lock().unwrap() {
            server.process().signal(signal);
        }
    }

    /// Waits until it has ended after [`Postgres::shut_down`].
    pub fn wait_down(&self) {
        let server = self.server.lock().unwrap().take();
        let mut server = server.expect("it was started");
        wait_for("PostgreSQL to end", PATIENCE, || {
            server.child.try_wait().is_ok_and(|status| status.is_some())
        });
    }

    /// Starts it again after [`Postgres::crash`] or [`Postgres::wait_down`], on
    /// the same port.
    pub fn start_again(&self) {
        let (data, folder) = (self.folder.join(DATA), self.folder.path());
        let server = Server::start_on(
            self.release,
            self.port,
            &data,
            folder,
            &self.account,
            &self.settings,
        );
        *self.server.lock().unwrap() = Some(server);
    }

    /// Folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("postgresql.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.crash();
        if thread::panicking() {
            print_end("PostgreSQL", &self.log_file());
        }
    }
}

impl Server {
    /// Starts a server over `data` on a free port, with socket and log in `folder`.
    pub(crate) fn start(data: &Path, folder: &Path, account: &Account, release: Release) -> Self {
        Self::start_on(release, free_port(), data, folder, account, &[])
    }

    fn start_on(
        release: Release,
        port: u16,
        data: &Path,
        folder: &Path,
        account: &Account,
        settings: &[String],
    ) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.join("postgresql.log"))
            .expect("a log can be opened");
        let mut command = Command::new(release.program("postgres"));
        quiet_environment(&mut command);
        command.arg("-D").arg(data).arg("-k").arg(folder);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        // A Ctrl-C at the tests is no order to the server.
        command.process_group(0).current_dir("/");
        account.apply(&mut command);
        let child = command.spawn().expect("PostgreSQL is installed");
        let server = Self { child, port };
        server.wait_ready(folder);
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs a query as superuser.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let client = Client::log_in(Route::to(self.port).wire(), &Login::new());
        let client = client.expect("the server takes logins");
        client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// Stops it so that its files are whole.
    pub(crate) fn stop_in_order(self) {
        self.stop(Signal::SIGINT);
    }

    fn process(&self) -> Process {
        Process(i32::try_from(self.child.id()).unwrap())
    }

    fn stop(mut self, signal: Signal) {
        let process = self.process();
        process.signal(signal);
        // A scenario that failed may have left it stopped.
        process.signal(Signal::SIGCONT);
        let ended = within(PATIENCE, || {
            self.child
                .try_wait()
                .expect("a child can be waited for")
                .is_some()
        });
        if !ended {
            process.kill();
            self.child.wait().expect("a child can be waited for");
        }
    }

    fn wait_ready(&self, folder: &Path) {
        let route = Route::to(self.port);
        let process = Process(i32::try_from(self.child.id()).unwrap());
        wait_for("PostgreSQL to take logins", PATIENCE, || {
            if !process.is_alive() {
                print_end("PostgreSQL", &folder.join("postgresql.log"));
                panic!("PostgreSQL did not start");
            }
            route
                .try_wire()
                .is_ok_and(|wire| Client::log_in(wire, &Login::new()).is_ok())
        });
    }
}

/// Shows the end of a log on stderr.
pub(crate) fn print_end(whose: &str, file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    eprintln!("---- end of the log of {whose}");
    for line in &lines[lines.len().saturating_sub(SHOWN_LINES)..] {
        eprintln!("{line}");
    }
    eprintln!("----");
}

/// Settings of a server that serves replication, and retries soon where it
/// receives it.
const REPLICATION: [&str; 5] = [
    "wal_level=logical",
    "max_wal_senders=20",
    "max_replication_slots=20",
    "synchronous_commit=local",
    "wal_retrieve_retry_interval=100ms",
];
/// Folder of the data of a server in its own folder.
const DATA: &str = "data";
/// Name of connections that bypass the pooler.
const DIRECT: &str = "direct";
/// Those that do not.
const OTHERS: &str = "from pg_stat_activity where backend_type = 'client backend' \
                      and application_name <> 'direct'";
/// Lines of a log shown when a scenario fails.
const SHOWN_LINES: usize = 60;

//! The files of a pooler under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::account::Account;
use crate::folder::Folder;

/// Folder of the unix socket for clients.
pub(super) const SOCKETS: &str = "sockets";
/// Folder of the peer sockets; the pooler makes it.
pub(super) const RUNTIME: &str = "state/run";
/// The log.
pub(super) const LOG: &str = "log/pgskein.log";
/// The pid file.
pub(super) const PIDFILE: &str = "state/pgskein.pid";

/// Makes the folders and the file of users.
pub(super) fn prepare(folder: &Folder, account: &Account) {
    for name in [SOCKETS, "state", "log"] {
        account.make_folder(&folder.join(name), 0o755);
    }
    write(folder, account, "users.txt", USERS);
}

/// Where the configuration is.
pub(super) fn ini(folder: &Folder) -> PathBuf {
    folder.join("pgskein.ini")
}

/// Where a copy of the program is, if the pooler has its own.
pub(super) fn program(folder: &Folder) -> PathBuf {
    folder.join("pgskein")
}

/// Puts a script in its place.
pub(super) fn install(folder: &Folder, script: &str, mode: u32) {
    let text = folder.join("program.txt");
    fs::write(&text, script).expect("a file can be written");
    copy_program(&text, &program(folder), mode);
}

/// Puts a copy of a file in the place of a program, as a package manager does.
///
/// Another process writes it: this one starts programs in other threads, which
/// have what it writes open for a moment, and nobody can execute it then.
///
/// # Panics
///
/// When it cannot be copied.
pub fn copy_program(from: &Path, to: &Path, mode: u32) {
    let new = to.with_extension("new");
    let mut command = Command::new("install");
    command
        .args(["-m", &format!("{mode:o}")])
        .arg(from)
        .arg(&new);
    let status = command.status().expect("install can be run");
    assert!(status.success(), "install: {status}");
    fs::rename(&new, to).expect("a file can be put in place");
}

/// Writes the configuration: the harness's part, then the scenario's.
pub(super) fn write_ini(
    folder: &Folder,
    account: &Account,
    port: u16,
    databases: &str,
    settings: &str,
) {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut text = format!("[databases]\n{databases}\n\n[pgskein]\n");
    let mut set = |name: &str, value: &str| text.push_str(&format!("{name} = {value}\n"));
    set("listen_addr", "127.0.0.1");
    set("listen_port", &port.to_string());
    set("unix_socket_dir", &path(SOCKETS));
    set("runtime_dir", &path(RUNTIME));
    set("logfile", &path(LOG));
    set("pidfile", &path(PIDFILE));
    set("auth_type", "trust");
    set("auth_file", &path("users.txt"));
    set("admin_users", "postgres");
    set("stats_users", "carol");
    set("workers", &DEFAULT_WORKERS.to_string());
    // Whoever wants a client of a chosen worker wants it to stay there.
    set("balance", "0");
    // A host that is busy for seconds adds nothing to answers that are compared.
    set("query_wait_notify", "0");
    // What a scenario is about begins with the first packet, where it is not TLS.
    set("server_tls_sslmode", "disable");
    if account.is_switched() {
        set("user", account.name());
    }
    text.push_str(settings);
    text.push('\n');
    write(folder, account, "pgskein.ini", &text);
}

/// How many workers these settings ask for.
pub(super) fn workers(settings: &str) -> usize {
    let mut lines = settings.lines().rev();
    let last = lines.find_map(|line| line.strip_prefix("workers = "));
    let last = last.map(str::parse);
    last.map_or(DEFAULT_WORKERS, |value| value.expect("a number of workers"))
}

/// Writes a file that the pooler may read, whole at once.
pub(super) fn write(folder: &Folder, account: &Account, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    let new = folder.join(&format!("{name}.new"));
    fs::write(&new, text).expect("a file can be written");
    account.give(&new);
    fs::rename(&new, &path).expect("a file can be put in place");
    path
}

/// Workers of a scenario that does not say how many.
const DEFAULT_WORKERS: usize = 2;

/// Everybody whom the test server knows.
const USERS: &str = r#""postgres" ""
"alice" ""
"bob" ""
"carol" ""
"plain_user" "secret"
"md5_user" "secret"
"scram_user" "secret"
"#;

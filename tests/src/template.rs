//! The cluster that every test server is a copy of.
//!
//! It is made once for each version of PostgreSQL and account, and stays in the
//! temporary folder for later runs.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::account::Account;
use crate::folder::Folder;
use crate::postgres::Server;
use crate::release::Release;
use crate::tools::{PROGRAM_DEADLINE, run};

/// The folder of the template's data.
pub(crate) fn template(release: Release) -> &'static Path {
    static SYSTEM: OnceLock<PathBuf> = OnceLock::new();
    static EIGHTEEN: OnceLock<PathBuf> = OnceLock::new();
    let known = match release {
        Release::System => &SYSTEM,
        Release::Eighteen => &EIGHTEEN,
    };
    known.get_or_init(|| {
        let account = Account::unprivileged();
        let path = env::temp_dir().join(format!(
            "pgskein-template-{}-{}",
            account.name(),
            id(release)
        ));
        if !path.exists() {
            make(&path, &account, release);
        }
        let owner = fs::metadata(&path).expect("the template is there").uid();
        assert_eq!(
            owner,
            account.uid(),
            "{} belongs to somebody else",
            path.display()
        );
        path
    })
}

/// Makes it aside and puts it in place whole, so that others never see a half.
fn make(path: &Path, account: &Account, release: Release) {
    let folder = Folder::make("making", account);
    let data = folder.join("data");
    initdb(&data, account, release);
    let server = Server::start(&data, folder.path(), account, release);
    server.query(USERS);
    let mut command = Command::new(release.program("pgbench"));
    command.args(["-i", "-q", "-U", "postgres", "-h", "127.0.0.1", "-p"]);
    command.args([&server.port().to_string(), "postgres"]);
    run(command, PROGRAM_DEADLINE).ok();
    server.stop_in_order();
    // Somebody else may have been faster: theirs is as good.
    if fs::rename(&data, path).is_err() {
        assert!(path.exists(), "the template can be put in place");
    }
}

fn initdb(data: &Path, account: &Account, release: Release) {
    let mut command = Command::new(release.program("initdb"));
    command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
    command.args(["--no-sync", "--wal-segsize=1", "-D"]);
    command.arg(data).current_dir("/");
    account.apply(&mut command);
    run(command, PROGRAM_DEADLINE).ok();
    fs::write(data.join("pg_hba.conf"), HBA).expect("the access rules can be written");
    let file = data.join("postgresql.conf");
    let mut settings = fs::read_to_string(&file).expect("initdb wrote the settings");
    settings.push_str(SETTINGS);
    fs::write(&file, settings).expect("the settings can be written");
}

/// Tells templates of different content apart.
fn id(release: Release) -> String {
    let mut command = Command::new(release.program("postgres"));
    command.arg("--version");
    let version = run(command, PROGRAM_DEADLINE).ok();
    let text = [version.as_str(), HBA, SETTINGS, USERS].concat();
    let hash = text.bytes().fold(0_u32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    format!("{hash:08x}")
}

/// A user for each way to log in; everybody else needs no password.
const HBA: &str = "\
local all plain_user password
host  all plain_user all password
local all md5_user   md5
host  all md5_user   all md5
local all scram_user scram-sha-256
host  all scram_user all scram-sha-256
local all all        trust
host  all all        all trust
host  replication scram_user all scram-sha-256
local replication all        trust
host  replication all        all trust
";

/// Nothing here has to survive a power cut.
const SETTINGS: &str = "
max_connections = 300
superuser_reserved_connections = 3
shared_buffers = 32MB
fsync = off
synchronous_commit = off
full_page_writes = off
wal_level = minimal
max_wal_senders = 0
min_wal_size = 2MB
autovacuum = off
log_line_prefix = '%m [%p] %u@%d '
";

const USERS: &str = "
create role alice login; create role bob login; create role carol login;
grant pg_read_all_data, pg_write_all_data to alice, bob, carol;
create role plain_user login password 'secret';
set password_encryption = 'md5'; create role md5_user login password 'secret';
set password_encryption = 'scram-sha-256'; create role scram_user login password 'secret';
";

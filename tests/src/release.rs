//! The versions of PostgreSQL that there are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::account::Account;
use crate::folder::Folder;
use crate::tools::{PROGRAM_DEADLINE, installed, run};

/// Which PostgreSQL a program is of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Release {
    /// The newest below `/usr/lib/postgresql`, else the one in `PATH`.
    #[default]
    System,
    /// PostgreSQL 18, from `tests/clients/postgresql-18.txt`.
    Eighteen,
}

impl Release {
    /// Where a program is.
    pub(crate) fn program(self, name: &str) -> PathBuf {
        match self {
            Self::System => system_program(name),
            Self::Eighteen => eighteen().join("bin").join(name),
        }
    }
}

fn system_program(name: &str) -> PathBuf {
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

/// The folder of PostgreSQL 18, where the account of servers can reach it: a
/// copy in the temporary folder, which stays for later runs.
fn eighteen() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let source = installed(EIGHTEEN);
        let version = fs::read_to_string(source.join(".installed"));
        let version = version.expect("what is installed is marked");
        let account = Account::unprivileged();
        let name = format!("pgskein-template-{}-{}", account.name(), version.trim());
        let path = env::temp_dir().join(name.replace("==", "-"));
        if !path.exists() {
            copy(&source, &path, &account);
        }
        path
    })
}

/// Makes it aside and puts it in place whole, so that others never see a half.
fn copy(source: &Path, path: &Path, account: &Account) {
    let folder = Folder::make("copying", account);
    let copy = folder.join(EIGHTEEN);
    let mut command = Command::new("cp");
    command
        .args(["-r", "--reflink=auto"])
        .arg(source)
        .arg(&copy);
    run(command, PROGRAM_DEADLINE).ok();
    let mut command = Command::new("chmod");
    command.args(["-R", "a+rX"]).arg(&copy);
    run(command, PROGRAM_DEADLINE).ok();
    // Somebody else may have been faster: theirs is as good.
    if fs::rename(&copy, path).is_err() {
        assert!(path.exists(), "the copy can be put in place");
    }
}

/// Where Debian keeps the versions of PostgreSQL.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// Name of the folder of PostgreSQL 18.
const EIGHTEEN: &str = "postgres-18";

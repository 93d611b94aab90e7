//! The account that PostgreSQL and the pooler run under.
//!
//! Neither runs as root. Where the tests do, both run as `postgres`, and what
//! they write belongs to it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{User, geteuid};

/// Who runs the programs under test.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
    switch: bool,
}

impl Account {
    /// The account of the tests, or `postgres` when that is root.
    pub fn unprivileged() -> Self {
        let switch = geteuid().is_root();
        let user = if switch {
            User::from_name("postgres")
        } else {
            User::from_uid(geteuid())
        };
        let user = user
            .expect("the user database can be read")
            .expect("there is a user `postgres`: it comes with PostgreSQL's package");
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            switch,
        }
    }

    /// Tells whether the tests run as root and the programs as somebody else.
    pub fn is_switched(&self) -> bool {
        self.switch
    }

    /// Name of the account.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the account.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes `command` run under this account.
    pub fn apply(&self, command: &mut Command) {
        if self.switch {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Gives a file or folder to this account.
    pub fn give(&self, path: &Path) {
        if self.switch {
            chown(path, Some(self.uid), Some(self.gid)).expect("a file can be given away");
        }
    }

    /// Makes a folder of this account with the given mode.
    pub fn make_folder(&self, path: &Path, mode: u32) {
        fs::create_dir_all(path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
        self.give(path);
    }
}

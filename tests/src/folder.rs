//! Folders of a scenario.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::account::Account;

/// A folder that lasts as long as its scenario, and longer when that fails.
///
/// Its path is short, because a unix socket's may have 107 bytes.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder whose name begins with `kind`, owned by `account`.
    pub fn make(kind: &str, account: &Account) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("pgskein-{kind}-{}-{number}", process::id()));
        // What a process with the same number left behind long ago.
        drop(fs::remove_dir_all(&path));
        account.make_folder(&path, 0o755);
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Path of something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else {
            drop(fs::remove_dir_all(&self.path));
        }
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

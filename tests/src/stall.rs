//! A pooler whose system calls take as long as a scenario wants.
//!
//! A small library is loaded in front of the C library. It has chosen calls wait,
//! fail or say more while a file is there, so a worker hangs in the middle of a
//! turn, is never born, or speaks like a later program, and nothing about the
//! program under test is different.

use std::fs::{self, File};
use std::path::PathBuf;

use crate::account::Account;
use crate::folder::Folder;
use crate::preload;
use crate::process::Process;

/// The library and the folder of its files; for
/// [`Pooler::start_in`](crate::Pooler::start_in).
#[derive(Debug)]
pub struct Stall {
    folder: Folder,
    library: PathBuf,
}

/// Lets the calls go on when it goes out of scope.
#[derive(Debug)]
pub struct Stalled(PathBuf);

impl Stall {
    /// Compiles the library.
    pub fn make() -> Self {
        let folder = Folder::make("stall", &Account::unprivileged());
        let library = preload::compile(&folder, "stall", SOURCE);
        Self { folder, library }
    }

    /// What the pooler's environment has to have.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path();
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("PGSKEIN_STALL", folder.display().to_string()),
        ]
    }

    /// Has the process wait when it accepts next.
    pub fn accepts_of(&self, process: Process) -> Stalled {
        self.put(&format!("accept.{}", process.0))
    }

    /// Has every process that is started wait before it can do anything.
    pub fn births(&self) -> Stalled {
        self.put("birth")
    }

    /// Has every process that is started fail.
    pub fn barren(&self) -> Stalled {
        self.put("barren")
    }

    /// Has workers offer what a later program would, of which this one knows one
    /// field less.
    pub fn newer(&self) -> Stalled {
        self.put("newer")
    }

    fn put(&self, name: &str) -> Stalled {
        let path = self.folder.join(name);
        File::create(&path).expect("a file can be made");
        Stalled(path)
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

const SOURCE: &str = include_str!("stall.c");

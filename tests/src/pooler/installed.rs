//! A pooler whose program is its own, so that another one can be installed.

use super::{Pooler, files};
use crate::pgskein::Pgskein;
use crate::postgres::Postgres;

impl Pooler {
    /// Starts a copy of the program in its own folder, in front of `postgres`:
    /// [`Pooler::install`] puts another program there.
    pub fn start_installed(postgres: &Postgres, settings: &str) -> Self {
        let databases = format!("* = {}", postgres.address());
        Self::started(Self::try_run(&databases, settings, |folder, _| {
            let program = files::program(folder);
            files::copy_program(&Pgskein::path(), &program, 0o755);
            Self::command(&program, folder)
        }))
    }

    /// Puts a script in the place of the program that it was started from by
    /// [`Pooler::start_installed`].
    pub fn install(&self, script: &str) {
        self.install_with_mode(script, 0o755);
    }

    /// The same, with a mode of the file.
    pub fn install_with_mode(&self, script: &str, mode: u32) {
        files::install(&self.folder, script, mode);
    }
}

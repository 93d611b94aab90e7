//! The pidfile: says which process is the supervisor.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::error::StartError;
use crate::sys::process::is_pgskein;

/// The pidfile of this group, removed when this value goes.
///
/// Where its folder forbids that, it is emptied.
#[derive(Debug)]
pub(crate) struct Pidfile {
    path: PathBuf,
}

impl Pidfile {
    /// Takes `path` as the pidfile of this group.
    ///
    /// # Errors
    ///
    /// [`StartError::Running`] when the file names another pgskein that lives.
    pub(crate) fn claim(path: &Path) -> Result<Self, StartError> {
        refuse_running(path)?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The one of this process, which another program has written.
    pub(crate) fn inherited(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the id of this process.
    ///
    /// # Errors
    ///
    /// [`StartError::Make`].
    pub(crate) fn write(&self) -> Result<(), StartError> {
        let pid = format!("{}\n", std::process::id());
        fs::write(&self.path, pid).map_err(|cause| StartError::Make {
            path: self.path.clone(),
            cause,
        })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        let Ok(text) = fs::read_to_string(&self.path) else {
            return;
        };
        // An empty one was made for us and not written yet.
        if !text.is_empty() && pid_in(&self.path) != i32::try_from(std::process::id()).ok() {
            return;
        }
        let removed = fs::remove_file(&self.path);
        if removed.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            let _left_as_it_is = fs::write(&self.path, "");
        }
    }
}

/// Fails when the pidfile at `path` names another pgskein that lives.
///
/// # Errors
///
/// [`StartError::Running`].
fn refuse_running(path: &Path) -> Result<(), StartError> {
    match pid_in(path) {
        Some(pid) if is_pgskein(Pid::from_raw(pid)) => Err(StartError::Running {
            pidfile: path.to_owned(),
            pid,
        }),
        _ => Ok(()),
    }
}

fn pid_in(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_over_from_the_dead_and_from_strangers() {
        let path = std::env::temp_dir().join(format!("pgskein-pid-{}", std::process::id()));
        for old in ["", "no number", "999999999", "1", "-1"] {
            fs::write(&path, old).unwrap();
            let pidfile = Pidfile::claim(&path).unwrap();
            pidfile.write().unwrap();
            assert_eq!(pid_in(&path), i32::try_from(std::process::id()).ok());
            drop(pidfile);
            assert!(!path.exists());
        }
    }

    #[test]
    fn leaves_a_file_that_now_names_somebody_else() {
        let path = std::env::temp_dir().join(format!("pgskein-pid2-{}", std::process::id()));
        let pidfile = Pidfile::claim(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }
}

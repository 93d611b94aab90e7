//! A pooler in the background that is no child of the tests.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use nix::sys::signal::Signal;

use crate::client::Login;
use crate::pgskein::Pgskein;
use crate::pooler::Pooler;
use crate::process::Process;
use crate::wait::{PATIENCE, wait_for};

/// A pgskein started with `-d`, over the configuration of a [`Pooler`] that
/// runs no more. What is left of it when it goes out of scope is killed.
#[derive(Debug)]
pub struct Daemon {
    supervisor: Process,
    pidfile: PathBuf,
    /// Its workers, once their supervisor was killed.
    orphans: Mutex<Vec<Process>>,
}

impl Daemon {
    /// Starts it and waits until it serves.
    pub fn start(pooler: &Pooler) -> Self {
        let ini = pooler.ini();
        Pgskein::run(&["-d", ini.to_str().expect("a path in UTF-8")]).ok();
        let pidfile = pooler.pidfile();
        let pid = || {
            let text = fs::read_to_string(&pidfile).unwrap_or_default();
            text.trim().parse().unwrap_or(0)
        };
        // Over the unix socket, which is the new group's alone: workers of an
        // earlier one may still listen on the port, and hang there.
        let console = Login::new().database("pgskein");
        wait_for("the daemon to serve", PATIENCE, || {
            Process(pid()).is_alive() && pooler.connect_unix(&console).is_ok()
        });
        Self {
            supervisor: Process(pid()),
            pidfile,
            orphans: Mutex::default(),
        }
    }

    /// Its supervisor.
    pub fn supervisor(&self) -> Process {
        self.supervisor
    }

    /// Its workers.
    pub fn workers(&self) -> Vec<Process> {
        self.supervisor.children()
    }

    /// Kills the supervisor alone.
    pub fn orphan(&self) {
        *self.orphans.lock().unwrap() = self.workers();
        self.supervisor.kill();
        wait_for("the supervisor's end", PATIENCE, || {
            !self.supervisor.is_alive()
        });
    }

    /// Ends it in order.
    pub fn stop(self) {
        self.supervisor.signal(Signal::SIGQUIT);
        wait_for("the daemon's end", PATIENCE, || !self.supervisor.is_alive());
        assert!(!self.pidfile.exists(), "the pid file is left");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // First the one who would replace the others.
        let children = self.supervisor.children();
        self.supervisor.kill();
        for child in self.orphans.lock().unwrap().iter().chain(&children) {
            child.kill();
        }
    }
}

//! How a pooler under test ends, and what it must not leave behind.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Pooler, sockets_in};
use crate::postgres::print_end;
use crate::process::Process;
use crate::wait::within;

impl Drop for Pooler {
    fn drop(&mut self) {
        if thread::panicking() {
            print_end("pgskein", &self.log_file());
            print_end("pgskein's stderr", &self.stderr_file());
            self.kill_all();
            return;
        }
        let complaint = self.end();
        self.kill_all();
        if let Some(complaint) = complaint {
            print_end("pgskein", &self.log_file());
            panic!("{complaint}");
        }
    }
}

impl Pooler {
    /// Members of the process group that still live.
    pub fn processes(&self) -> Vec<Process> {
        self.supervisor().group()
    }

    /// Sockets and pid file that still exist.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let mut found = sockets_in(&self.runtime_folder());
        found.extend(sockets_in(&self.socket_folder()));
        let pidfile = self.pidfile();
        found.extend(pidfile.exists().then_some(pidfile));
        found
    }

    /// Ends it in order; returns what was wrong about that.
    fn end(&self) -> Option<String> {
        if self.exit_status().is_none() {
            self.signal(Signal::SIGQUIT);
            if !within(END_DEADLINE, || self.exit_status().is_some()) {
                return Some("SIGQUIT did not end the supervisor".to_owned());
            }
        }
        // Without a code it was killed by the scenario and could not clean up.
        self.exit_status()?.code()?;
        if !within(END_DEADLINE, || self.processes().is_empty()) {
            let titles: Vec<_> = self.processes().iter().map(|p| (p.0, p.title())).collect();
            return Some(format!("processes are left: {titles:?}"));
        }
        let files = self.leftovers();
        (!files.is_empty()).then(|| format!("files are left: {files:?}"))
    }

    fn kill_all(&self) {
        for process in self.processes() {
            process.kill();
        }
        drop(self.child.lock().unwrap().wait());
    }
}

/// How long an end that is due at once may take.
const END_DEADLINE: Duration = Duration::from_secs(10);

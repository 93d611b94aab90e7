//! Bequeath: the supervisor writes down what it knows and has, and executes
//! another program in its own place.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use mio::Token;
use nix::fcntl::OFlag;
use pgskein_pool::legacy::{
    BooksRef, Common, Configuration, Legacy, Peer, Place, Program, Restart, UnixSocket, Worker,
};

use super::Supervisor;
use super::restart::{RestartPlan, state_file};
use super::tokens::number_of;
use crate::logging;
use crate::scoreboard::Scoreboard;
use crate::start::program::version;
use crate::sys::{capabilities, exec};

impl Supervisor {
    /// Executes the program that is installed now; returns only if that cannot
    /// be done, and then everything is as before.
    pub(crate) fn leave_to_program(&mut self, plan: RestartPlan) -> io::Error {
        // The other program would not know of these children.
        self.hangs.end_writers();
        self.end_coming_http();
        self.give_up_moves();
        let legacy = self.legacy(&plan);
        match self.execute(&legacy) {
            Ok(error) | Err(error) => error,
        }
    }

    /// Everything that this supervisor knows and has.
    pub(crate) fn legacy(&mut self, plan: &RestartPlan) -> Legacy {
        // What follows from what was heard is said before it is written down.
        self.orders_due();
        self.moves_due();
        self.pass_on_leases();
        self.statistics_due();
        let now = self.now;
        let (stderr, verbose) = logging::started_with();
        let ago = |at: Instant| now.saturating_duration_since(at);
        let books = BooksRef {
            ledger: &self.ledger,
            client_places: &self.client_places,
            orders: &self.orders,
            statistics: &self.statistics.book,
            welcomes: &self.welcomes,
            old_hosts: &self.old_hosts,
            identity: &self.identity,
            tickets: &self.tickets,
        };
        let peers = self.peers.iter().map(|(token, peer)| Peer {
            token: number_of(*token),
            socket: peer.stream().as_raw_fd(),
            inbox: peer.inbox().to_vec(),
            left: peer.deadline().saturating_duration_since(now),
        });
        Legacy {
            program: Program {
                version: version().to_owned(),
                path: self.program.clone(),
                stderr,
                verbose,
            },
            config: Configuration {
                version: self.config_version,
                former: self.sources.encode(),
                sources: plan.sources.encode(),
                fixed: self.config.settings.fixed(),
            },
            common: self.common(),
            places: self.legacy_of_places(plan),
            workers: self
                .workers
                .values()
                .map(|worker| Worker {
                    id: worker.id,
                    pid: u32::try_from(worker.pid.as_raw()).unwrap_or_default(),
                    link: worker.link.as_ref().map(crate::link::Link::legacy),
                    age: ago(worker.started),
                    ready: worker.ready_since.map(ago),
                    kill_in: worker.kill_at.map(|at| at.saturating_duration_since(now)),
                })
                .collect(),
            peers: peers.collect(),
            asked: self.reloads.waiting(),
            drains: self.drains_in_force(),
            tables: self.statistics.waiting(),
            restart: Restart {
                asker: plan.asker.id(),
                age: ago(plan.asked_at),
                workers: u32::try_from(plan.workers).unwrap_or(u32::MAX),
                notice: plan.notice(),
            },
            books: books.encode(now, |asker| asker.id()),
        }
    }

    fn common(&self) -> Common {
        let unix = self.unix.as_ref().map(|unix| UnixSocket {
            listener: unix.listener.as_raw_fd(),
            path: unix.path.clone(),
            mark: unix.mark(),
        });
        Common {
            age: self.now.saturating_duration_since(self.started),
            last_token: number_of(Token(self.last_token)),
            runtime_dir: self.runtime_dir.path().to_owned(),
            lock: self.runtime_dir.lock_file().as_raw_fd(),
            peer: self.peer.as_raw_fd(),
            scoreboard: self.scoreboard.descriptor(),
            scoreboard_version: Scoreboard::VERSION,
            pidfile: self.pidfile.as_ref().map(|file| file.path().to_owned()),
            unix,
            http: self.http.as_ref().map(super::Http::legacy),
            statement_key: self.statement_key.0,
            cancel_listeners: self
                .cancel_listeners
                .iter()
                .map(AsRawFd::as_raw_fd)
                .collect(),
        }
    }

    fn legacy_of_places(&self, plan: &RestartPlan) -> Vec<Place> {
        let known = self.places.iter().map(|(slot, place)| Place {
            slot: *slot,
            generation: place.generation,
            failures: place.failures,
            retired: place.retired,
            listeners: place.listeners.iter().map(AsRawFd::as_raw_fd).collect(),
            worker: place.worker.map(number_of),
            adopter: place.adopter.map(number_of),
        });
        let fresh = plan.fresh.iter().map(|(slot, listeners)| Place {
            slot: *slot,
            generation: 0,
            failures: 0,
            retired: false,
            listeners: listeners.iter().map(AsRawFd::as_raw_fd).collect(),
            worker: None,
            adopter: None,
        });
        known.chain(fresh).collect()
    }

    fn execute(&self, legacy: &Legacy) -> io::Result<io::Error> {
        let state = state_file(&legacy.encode())?;
        let own = own_program()?;
        let mut passed_on: Vec<RawFd> = legacy.descriptors();
        passed_on.extend([state.as_raw_fd(), own.as_raw_fd()]);
        let keep = |closed: bool| {
            let mut passed_on = passed_on.iter();
            passed_on.try_for_each(|number| exec::set_close_on_exec(*number, closed))
        };
        let executed = keep(false).and_then(|()| {
            capabilities::pass_on()?;
            log::info!("restarting: executing {}", self.program.display());
            let (state, own) = (state.as_raw_fd().to_string(), own.as_raw_fd().to_string());
            let arguments = ["--adopt", &state, "--or-else", &own].map(OsStr::new);
            let name = self.program.as_os_str();
            let arguments = std::iter::once(name).chain(arguments);
            Ok(exec::execute(&self.program, arguments))
        });
        // A check or a worker must not get them.
        keep(true)?;
        executed
    }
}

/// The program that runs here, even if its file was replaced.
fn own_program() -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_PATH | OFlag::O_CLOEXEC).bits())
        .open("/proc/self/exe")
}

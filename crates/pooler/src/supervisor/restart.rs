//! Restart: the program that is installed now takes the place of this one.
//!
//! ```text
//! asked ── something is in the way ──> refused
//!   │
//!   └─> checking ── files are wrong, or the program cannot go on ──> refused
//!           └─> executed ──> (the other program) replaces the workers ──> answered
//! ```
//!
//! A child executes the program at the path that this one was started by, and
//! has to understand all that this supervisor would leave it, before anything is
//! given up. Until then, and if it does not, everything goes on as before.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pgskein_config::{Config, Finding, Sources};
use pgskein_protocol::key::Slot;

use super::Supervisor;
use super::ask::Asker;
use super::reload::{Change, lines};
use crate::files;
use crate::start::{listen, slots};

/// A restart whose program is being checked.
#[derive(Debug)]
pub(crate) struct Check {
    pid: Pid,
    said: ChildStderr,
    deadline: Option<Instant>,
    late: bool,
    pub plan: RestartPlan,
}

/// What is to be restarted into.
#[derive(Debug)]
pub(crate) struct RestartPlan {
    pub asker: Asker,
    pub asked_at: Instant,
    pub sources: Sources,
    /// How many slots are to have a worker of their own.
    pub workers: usize,
    /// Slots that are new, with sockets that do not listen yet.
    pub fresh: Vec<(Slot, Vec<TcpListener>)>,
    /// What whoever asks is told in the end.
    notice: Vec<Finding>,
}

/// Why a restart cannot begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Obstacle {
    /// The group ends.
    Draining,
    /// Not every slot has a worker that is ready.
    NotReady(Slot),
    /// Another one is being checked.
    Checking,
    /// Another one has not given every slot its new worker yet.
    Replacing(Slot),
    /// A worker of the last supervisor has not answered yet.
    Joining,
    /// A worker of an earlier generation still has clients.
    Leaving {
        slot: Slot,
        generation: u32,
        clients: u32,
    },
}

impl Supervisor {
    /// Restarts the group, once nothing else that was asked for is under way.
    pub(crate) fn restart(&mut self, asker: Asker) {
        match self.obstacle() {
            Some(obstacle) => self.refuse_restart(asker, &obstacle.to_string()),
            None => self.reload(asker, Change::Program),
        }
    }

    /// It is the turn of whoever wants a restart.
    pub(crate) fn begin_restart(&mut self, asker: Asker) {
        if let Some(obstacle) = self.obstacle() {
            return self.refuse_restart(asker, &obstacle.to_string());
        }
        self.service_reloads();
        let begun = self
            .plan_restart(asker)
            .and_then(|plan| self.check_program(plan));
        if let Err(why) = begun {
            self.refuse_restart(asker, &why);
        }
    }

    /// A child has ended; true if it was the one that checks.
    pub(crate) fn on_check_ended(&mut self, pid: Pid, in_order: bool, how: &str) -> bool {
        let Some(check) = self.check.take_if(|check| check.pid == pid) else {
            return false;
        };
        let path = self.program.display();
        if !in_order {
            let asker = check.plan.asker;
            let why = match check.why() {
                Some(said) => format!("{path} cannot go on where this program stops: {said}"),
                None => format!("{path} cannot go on where this program stops: it was {how}"),
            };
            self.refuse_restart(asker, &why);
        } else if self.is_draining() {
            self.refuse_restart(check.plan.asker, &Obstacle::Draining.to_string());
        } else {
            let asker = check.plan.asker;
            let error = self.leave_to_program(check.plan);
            let why = format!("{} cannot be executed: {error}", self.program.display());
            self.refuse_restart(asker, &why);
        }
        true
    }

    /// Ends a check that takes too long.
    pub(crate) fn check_due(&mut self) {
        let now = self.now;
        if let Some(check) = &mut self.check
            && check.deadline.take_if(|at| *at <= now).is_some()
        {
            check.late = true;
            let _dead_already = kill(check.pid, Signal::SIGKILL);
        }
    }

    /// Ends the child that checks, with the group.
    pub(crate) fn end_check(&mut self) {
        if let Some(check) = self.check.take() {
            let _dead_already = kill(check.pid, Signal::SIGKILL);
            let _reaped_either_way = waitpid(check.pid, None);
        }
    }

    /// When [`Supervisor::check_due`] has something to do, if ever.
    pub(crate) fn check_deadline(&self) -> Option<Instant> {
        self.check.as_ref().and_then(|check| check.deadline)
    }

    pub(crate) fn refuse_restart(&mut self, asker: Asker, why: &str) {
        let why = format!("not restarted: {why}");
        log::error!("{}", why.replace('\n', "; "));
        self.answer_console(asker, Err(why));
    }

    fn obstacle(&self) -> Option<Obstacle> {
        if self.is_draining() {
            return Some(Obstacle::Draining);
        }
        if self.check.is_some() {
            return Some(Obstacle::Checking);
        }
        if let Some(slot) = self.replacing() {
            return Some(Obstacle::Replacing(slot));
        }
        if !self.joining.is_empty() {
            return Some(Obstacle::Joining);
        }
        let mut earlier = self.workers.values();
        if let Some(worker) = earlier.find(|worker| worker.elder || worker.leaving) {
            return Some(Obstacle::Leaving {
                slot: worker.id.slot,
                generation: worker.id.generation,
                clients: worker.cell.clients(),
            });
        }
        self.not_ready().map(Obstacle::NotReady)
    }

    /// Reads and checks the files, and binds what further slots need.
    fn plan_restart(&mut self, asker: Asker) -> Result<RestartPlan, String> {
        let read = files::read(self.sources.main());
        let read = read.and_then(|(sources, _)| sources.with_values_of(&self.sources));
        let (sources, mut config) = read.map_err(|findings| lines(&findings))?;
        let kept = self.keep_from_start(&mut config);
        let notice: Vec<Finding> = config.warnings.iter().cloned().chain(kept).collect();
        let wanted = slots(&config.settings);
        let fresh: Vec<Slot> = wanted
            .iter()
            .filter(|slot| !self.places.contains_key(slot))
            .copied()
            .collect();
        let model = self.places.values().next();
        let model = model.map(|place| &*place.listeners).unwrap_or_default();
        let listeners = listen::bind_like(model, fresh.len(), &self.config.settings)
            .map_err(|error| crate::chain(&error))?;
        Ok(RestartPlan {
            asker,
            asked_at: self.now,
            sources,
            workers: wanted.len(),
            fresh: fresh.into_iter().zip(listeners).collect(),
            notice,
        })
    }

    /// Leaves what only a start can change; says what that is.
    fn keep_from_start(&self, config: &mut Config) -> Vec<Finding> {
        self.keep_user(config);
        config.keep_start_settings(&self.config.settings)
    }

    /// Has the program say whether it understands what it would be left.
    fn check_program(&mut self, plan: RestartPlan) -> Result<(), String> {
        let path = self.program.clone();
        let failed = |error: io::Error| format!("{} cannot be executed: {error}", path.display());
        let state = state_file(&self.legacy(&plan).encode());
        let state = state.map_err(|error| format!("no memory for the state: {error}"))?;
        let child = Command::new(&path)
            .arg("--adopt-check")
            .stdin(state)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pid = i32::try_from(child.id()).map(Pid::from_raw);
        let (Ok(pid), Some(said)) = (pid, child.stderr) else {
            return Err("the check has no number".to_owned());
        };
        log::info!("restarting: checking {}, pid={pid}", path.display());
        let timeout = self.config.settings.worker_start_timeout;
        self.check = Some(Check {
            pid,
            said,
            deadline: (!timeout.is_zero()).then(|| self.now + timeout),
            late: false,
            plan,
        });
        Ok(())
    }
}

impl Check {
    /// Why the program cannot go on, if it has said so.
    fn why(mut self) -> Option<String> {
        if self.late {
            return Some("it did not answer within worker_start_timeout".to_owned());
        }
        // Whatever it has started may still hold the other end.
        fcntl(&self.said, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok()?;
        let mut said = Vec::new();
        let _until_there_is_no_more = (&mut self.said).take(MOST_SAID).read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        (!said.is_empty()).then_some(said)
    }
}

impl RestartPlan {
    /// What whoever asks is told in the end.
    pub(crate) fn notice(&self) -> String {
        lines(&self.notice)
    }
}

/// A file in memory with these bytes, to be read from its start.
pub(crate) fn state_file(bytes: &[u8]) -> io::Result<File> {
    let file: OwnedFd = memfd_create(c"pgskein-state", MFdFlags::MFD_CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("the group is shutting down"),
            Self::NotReady(slot) => write!(f, "waiting for worker {slot} to be ready"),
            Self::Checking => f.write_str("a restart is under way"),
            Self::Joining => f.write_str("waiting for workers of the last supervisor to answer"),
            Self::Replacing(slot) => write!(
                f,
                "a restart is under way, waiting for the successor of worker {slot}"
            ),
            Self::Leaving {
                slot,
                generation,
                clients,
            } => write!(
                f,
                "waiting for worker {slot} of generation {generation} to leave, clients={clients}"
            ),
        }
    }
}

/// What of the words of a program is passed on, in bytes.
const MOST_SAID: u64 = 2000;

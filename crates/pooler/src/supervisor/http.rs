//! The HTTP process as the supervisor sees it: forked, watched, replaced.
//!
//! The sockets where it is asked stay with the supervisor, so whoever comes while
//! there is no process waits in their queue. A process that is to take the place
//! of another one is started beside it, and that one leaves when it serves.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::Token;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pgskein_pool::legacy;

use super::fork::forget_the_supervisor;
use super::tokens::{deregister, register_listener};
use super::{Supervisor, backoff};
use crate::http::{self, LEAVE, SERVES, Setup};
use crate::logging;
use crate::scoreboard::GroupState;
use crate::sys::exec::Inherited;
use crate::sys::process;
use crate::sys::title::Title;
use crate::worker::monotonic_milliseconds;

/// Where HTTP is answered, and by whom.
#[derive(Debug)]
pub(crate) struct Http {
    listeners: Vec<TcpListener>,
    processes: Vec<Process>,
    /// When the next one is started.
    start_at: Option<Instant>,
    /// Deaths in a row, each soon after its start.
    failures: u32,
    /// When it is said next that the supervisor turns.
    beat_at: Instant,
}

/// A process that was not reaped yet.
#[derive(Debug)]
struct Process {
    pid: Pid,
    link: UnixStream,
    token: Token,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It has not said yet that it serves, and is killed at that time.
    Coming { kill_at: Instant },
    /// It has said last at that time that it turns.
    Serving { since: Instant, heard: Instant },
    /// It was told to leave, and is killed at that time.
    Leaving { kill_at: Instant },
}

impl Http {
    /// None without sockets.
    pub(super) fn new(listeners: Vec<TcpListener>, now: Instant) -> Option<Self> {
        (!listeners.is_empty()).then(|| Self {
            listeners,
            processes: Vec::new(),
            start_at: Some(now),
            failures: 0,
            beat_at: now,
        })
    }

    fn next_deadline(&self) -> Instant {
        let kills = self.processes.iter().filter_map(Process::kill_at);
        let due = kills.chain(self.start_at).min();
        due.map_or(self.beat_at, |at| at.min(self.beat_at))
    }

    /// What the next program needs to go on.
    pub(super) fn legacy(&self) -> legacy::Http {
        let serving = |one: &&Process| matches!(one.stage, Stage::Serving { .. });
        let serving = self.processes.iter().find(serving);
        legacy::Http {
            listeners: self.listeners.iter().map(AsRawFd::as_raw_fd).collect(),
            process: serving.map(|one| legacy::HttpProcess {
                pid: u32::try_from(one.pid.as_raw()).unwrap_or_default(),
                link: one.link.as_raw_fd(),
            }),
        }
    }
}

impl Stage {
    fn put_off(&mut self, until: Instant) {
        match self {
            Self::Coming { kill_at } | Self::Leaving { kill_at } => *kill_at = until,
            Self::Serving { .. } => {}
        }
    }
}

impl Process {
    fn kill_at(&self) -> Option<Instant> {
        match self.stage {
            Stage::Coming { kill_at } | Stage::Leaving { kill_at } => Some(kill_at),
            Stage::Serving { .. } => None,
        }
    }

    /// It says that it turns.
    fn heard(&mut self, now: Instant) {
        if let Stage::Serving { heard, .. } = &mut self.stage {
            *heard = now;
        }
    }

    /// Whether it has not said so for `patience`, and 2 s at least; zero is never.
    fn hangs_since(&self, patience: Duration, now: Instant) -> bool {
        let Stage::Serving { heard, .. } = self.stage else {
            return false;
        };
        !patience.is_zero() && now.saturating_duration_since(heard) >= patience.max(SUSPECT)
    }

    /// Tells it to leave; if it cannot be told, it is killed.
    fn dismiss(&mut self, now: Instant) {
        let told = (&self.link).write_all(&[LEAVE]);
        let kill_at = if told.is_ok() { now + FAREWELL } else { now };
        self.stage = Stage::Leaving { kill_at };
    }
}

impl Supervisor {
    /// Says on the scoreboard how the group is, starts what is to be started and
    /// kills what does not come or leave.
    pub(crate) fn http_due(&mut self) {
        let stood_still = self.stood_still();
        self.beat();
        let now = self.now;
        let patience = self.config.settings.worker_hang_timeout;
        let Some(http) = &mut self.http else {
            return;
        };
        for process in &mut http.processes {
            if stood_still {
                process.heard(now);
            }
            if process.hangs_since(patience, now) {
                log::error!("http: hangs, killing it, pid={}", process.pid);
                let _dead_already = kill(process.pid, Signal::SIGKILL);
                process.heard(now);
            }
            if process.kill_at().is_some_and(|at| at <= now) {
                let _dead_already = kill(process.pid, Signal::SIGKILL);
                // Not again before it should be reaped.
                process.stage.put_off(now + FAREWELL);
            }
        }
        if http.start_at.take_if(|at| *at <= now).is_some()
            && let Err(error) = self.start_http()
        {
            log::error!("http: cannot be started: {error}");
            self.restart_http_later(None);
        }
    }

    /// When [`Supervisor::http_due`] has something to do, if ever.
    pub(crate) fn http_deadline(&self) -> Option<Instant> {
        self.http.as_ref().map(Http::next_deadline)
    }

    /// Whether this process has not turned for a while itself, so that nothing
    /// follows of what it has not heard.
    fn stood_still(&self) -> bool {
        let due = self.http.as_ref().map(|http| http.beat_at);
        due.is_some_and(|at| self.now.saturating_duration_since(at) >= SUSPECT)
    }

    fn beat(&mut self) {
        let state = if self.orders.state().is_suspended() {
            GroupState::Suspended
        } else {
            GroupState::Serving
        };
        if let Some(http) = &mut self.http
            && let Ok(now) = monotonic_milliseconds()
        {
            self.scoreboard.beat(state, now);
            http.beat_at = self.now + BEAT;
        }
    }

    /// Has another process take the place of the one that serves, with the log
    /// and the program as they are now.
    pub(crate) fn renew_http(&mut self) {
        if let Some(http) = &mut self.http {
            http.start_at = Some(self.now);
        }
    }

    fn start_http(&mut self) -> io::Result<()> {
        let token = self.next_token();
        let Some(http) = &self.http else {
            return Ok(());
        };
        let (link, theirs) = UnixStream::pair()?;
        link.set_nonblocking(true)?;
        register_listener(&self.poll, &link, token)?;
        let listeners = http.listeners.iter().map(TcpListener::try_clone);
        let setup = Setup {
            listeners: listeners.collect::<io::Result<_>>()?,
            link: theirs,
            scoreboard: self.scoreboard.try_clone()?,
        };
        let title = self.title.as_ref();
        let pid = process::spawn(|| be_http(setup, title))?;
        let kill_at = self.now + START;
        if let Some(http) = &mut self.http {
            http.processes.push(Process {
                pid,
                link,
                token,
                stage: Stage::Coming { kill_at },
            });
        }
        Ok(())
    }

    pub(crate) fn is_http(&self, token: Token) -> bool {
        let processes = self.http.iter().flat_map(|http| &http.processes);
        processes.map(|one| one.token).any(|other| other == token)
    }

    /// Hears that a process serves; that it is dead is heard when it is reaped.
    pub(crate) fn read_http(&mut self, token: Token) {
        let now = self.now;
        let processes = self.http.iter_mut().flat_map(|http| &mut http.processes);
        let mut served = None;
        for process in processes {
            let mut bytes = [0; 64];
            if process.token == token
                && let Ok(length) = (&process.link).read(&mut bytes)
                && bytes.iter().take(length).any(|byte| *byte == SERVES)
            {
                process.heard(now);
                if matches!(process.stage, Stage::Coming { .. }) {
                    let (since, heard) = (now, now);
                    process.stage = Stage::Serving { since, heard };
                    served = Some(process.pid);
                }
            }
        }
        if let (Some(pid), Some(http)) = (served, &mut self.http) {
            log::info!("http: ready, pid={pid}");
            let others = http.processes.iter_mut().filter(|one| one.pid != pid);
            for other in others.filter(|one| matches!(one.stage, Stage::Serving { .. })) {
                other.dismiss(now);
            }
        }
    }

    /// A child has ended; true if it was one of these.
    pub(crate) fn on_http_death(&mut self, pid: Pid, how: &str) -> bool {
        let Some(http) = &mut self.http else {
            return false;
        };
        let Some(at) = http.processes.iter().position(|one| one.pid == pid) else {
            return false;
        };
        let process = http.processes.remove(at);
        deregister(&self.poll, &process.link);
        match process.stage {
            Stage::Leaving { .. } => log::debug!("http: {how}, pid={pid}"),
            Stage::Coming { .. } => {
                log::warn!("http: {how} before it was ready, pid={pid}");
                self.restart_http_later(None);
            }
            Stage::Serving { since, .. } => {
                log::warn!("http: {how}, pid={pid}");
                let lived = self.now.saturating_duration_since(since);
                self.restart_http_later(Some(lived));
            }
        }
        self.http_due();
        true
    }

    fn restart_http_later(&mut self, lived: Option<Duration>) {
        if let Some(http) = &mut self.http {
            http.failures = backoff::failures(http.failures, lived);
            let delay = backoff::delay(http.failures, false);
            http.start_at = Some(self.now + delay);
            if delay > Duration::ZERO {
                log::warn!("http: next start in {} ms", delay.as_millis());
            }
        }
    }

    /// Ends a process that does not serve yet: another program would not know of
    /// it, and start one of its own.
    pub(crate) fn end_coming_http(&mut self) {
        let Some(http) = &mut self.http else {
            return;
        };
        let coming = |one: &mut Process| matches!(one.stage, Stage::Coming { .. });
        for process in http.processes.extract_if(.., coming) {
            let _dead_already = kill(process.pid, Signal::SIGKILL);
            let _reaped_either_way = waitpid(process.pid, None);
            deregister(&self.poll, &process.link);
            http.start_at = Some(self.now);
        }
    }

    /// Ends the process with the group.
    pub(crate) fn end_http(&mut self) {
        for process in self.http.take().into_iter().flat_map(|http| http.processes) {
            let _dead_already = kill(process.pid, Signal::SIGKILL);
            let _reaped_either_way = waitpid(process.pid, None);
        }
    }

    /// Takes over what another program has left.
    pub(super) fn take_http(&mut self, left: &legacy::Http, inherited: &mut Inherited) {
        let mut take = |number: &RawFd| inherited.take(*number);
        let listeners = left.listeners.iter().filter_map(&mut take);
        let listeners = listeners.map(TcpListener::from).collect();
        let link = left.process.as_ref().and_then(|one| take(&one.link));
        self.http = Http::new(listeners, self.now);
        if let (Some(left), Some(link)) = (&left.process, link) {
            self.take_http_process(left.pid, link);
        }
    }

    fn take_http_process(&mut self, pid: u32, link: OwnedFd) {
        let (token, link) = (self.next_token(), UnixStream::from(link));
        if let Err(error) = register_listener(&self.poll, &link, token) {
            log::warn!("http: cannot be heard: {error}");
        }
        if let Some(http) = &mut self.http {
            let (since, heard) = (self.now, self.now);
            http.processes.push(Process {
                pid: Pid::from_raw(i32::try_from(pid).unwrap_or_default()),
                link,
                token,
                stage: Stage::Serving { since, heard },
            });
        }
    }
}

/// The life of an HTTP process, from its first act on.
fn be_http(setup: Setup, title: Option<&Title>) -> i32 {
    let mut needed = logging::descriptors();
    needed.extend([0, 1, 2]);
    needed.extend(setup.descriptors());
    if let Err(error) = forget_the_supervisor(needed) {
        log::error!("cannot become the HTTP process: {error}");
        return 1;
    }
    logging::set_http();
    if let Some(title) = title {
        title.set("pgskein: http");
    }
    http::run(setup)
}

/// How long a process may be silent in any case: it speaks every second.
const SUSPECT: Duration = Duration::from_secs(2);

/// How long a process has to serve.
const START: Duration = Duration::from_secs(10);

/// How long a process that was told to leave has for that.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often it is said that the supervisor turns.
const BEAT: Duration = Duration::from_secs(1);

//! Elders: workers that a supervisor before this one has started.
//!
//! When a supervisor dies its workers go on serving. The next supervisor of the
//! folder asks each of them to join before it forks workers of its own, so that
//! their servers count towards the limits from the beginning:
//!
//! ```text
//! orphan ──Join──> reports its leases ──> elder ──all slots ready──> drained
//! ```
//!
//! The connection over which one has joined becomes its control link, so an
//! elder has leases, reloads and orders like any worker. It is no child of this
//! process: that it has died is known when its link ends. It has a place on the
//! new scoreboard, if no other worker of its slot has it.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use pgskein_pool::control::{ToSupervisor, ToWorker};
use pgskein_pool::drain_order::{DrainKind, DrainOrder};
use pgskein_pool::ledger::{Report, WorkerId};
use pgskein_pool::peer::{PeerAnswer, PeerRequest};
use pgskein_pool::prepared::StatementKey;
use pgskein_pool::runtime::{FromSupervisor, FromWorker, Order, RuntimeState, Scope};

use super::hang::Pulse;
use super::hear::limits;
use super::peers::fill;
use super::{Supervisor, Worker};
use crate::link::Link;
use crate::runtime_dir::{Orphan, connect_to_peer, peer_socket_path};
use crate::scoreboard::{Cell, Scoreboard};

/// What an orphan has said when it joined.
struct Joined {
    link: Link,
    pid: Pid,
    reports: Vec<Report>,
    last_id: u64,
    last_lease: u64,
    statement_key: StatementKey,
    /// What it was told to pause and the like, with its version.
    runtime: (u64, RuntimeState),
}

/// The generation of a group beside these workers.
pub(crate) fn generation_beside(orphans: &[Orphan]) -> u32 {
    let oldest = orphans.iter().map(|orphan| orphan.generation).max();
    oldest.map_or(1, |generation| generation.saturating_add(1))
}

impl Supervisor {
    /// Has the workers of a dead supervisor join this group.
    ///
    /// This waits for them, for a moment: nobody may get a server before their
    /// servers are counted. One that does not answer is left alone.
    pub(crate) fn gather_elders(&mut self, orphans: Vec<Orphan>) {
        let deadline = Instant::now() + PATIENCE;
        for (orphan, left) in orphans.iter().zip((1..=count(&orphans)).rev()) {
            let (slot, generation) = (orphan.slot, orphan.generation);
            // One that does not answer leaves the others their part of the time.
            let now = Instant::now();
            let part = deadline.saturating_duration_since(now) / left;
            match join(orphan, now + part) {
                Ok(joined) => self.welcome_elder(orphan, joined),
                Err(error) => log::warn!(
                    "worker {slot} of generation {generation}: does not join, \
                     its servers are not counted: {error}"
                ),
            }
        }
        // What held goes on to hold, in the same way for all.
        let state = FromSupervisor::Runtime {
            version: self.orders.version(),
            state: self.orders.state().clone(),
            order: Order::Resume(Scope::All),
        };
        self.tell_all(&ToWorker::Runtime(state));
        self.renew_limits();
        // The waiting for them is no part of how long workers take to start.
        self.now = Instant::now();
        self.started = self.now;
    }

    /// Asks the elders to leave once every slot has a worker of this group.
    pub(crate) fn drain_elders(&mut self) {
        if self.elders_told || !self.all_ready() {
            return;
        }
        self.elders_told = true;
        let elders = self.workers.iter().filter(|(_, worker)| worker.elder);
        let elders: Vec<Token> = elders.map(|(token, _)| *token).collect();
        if elders.is_empty() || self.is_draining() {
            return;
        }
        let mut id = [0; 16];
        if let Err(error) = getrandom::fill(&mut id) {
            log::warn!("no random bytes for the drain: {error}");
        }
        log::info!(
            "draining the workers of the last supervisor: {}",
            elders.len()
        );
        let settings = &self.config.settings;
        let order = DrainOrder {
            id,
            kind: DrainKind::WaitForClients,
            delay: Duration::ZERO,
            timeout: settings.drain_timeout,
            kill_timeout: settings.drain_kill_timeout,
        };
        for token in elders {
            self.tell(token, &ToWorker::Drain(order));
            self.tell(token, &ToWorker::StopAccepting);
        }
    }

    /// The link of an elder has ended, and so has the elder.
    pub(crate) fn bury_elder(&mut self, token: Token) {
        let Some(worker) = self.workers.remove(&token) else {
            return;
        };
        let WorkerId {
            slot, generation, ..
        } = worker.id;
        let servers = self.ledger.held_by(worker.id);
        log::info!("worker {slot} of generation {generation}: gone, servers={servers}");
        self.forget(token, &worker);
        let path = peer_socket_path(self.runtime_dir.path(), slot, generation);
        let _gone_either_way = std::fs::remove_file(path);
    }

    fn welcome_elder(&mut self, orphan: &Orphan, joined: Joined) {
        let (slot, generation) = (orphan.slot, orphan.generation);
        let token = self.next_token();
        let fd = joined.link.as_raw_fd();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = registry.register(&mut SourceFd(&fd), token, both);
        let cell = self.cell_for_elder(orphan);
        let (cell, shared) = match (registered, cell) {
            (Ok(()), Ok(cell)) => cell,
            (Err(error), _) | (_, Err(error)) => {
                log::error!("worker {slot} of generation {generation}: cannot join: {error}");
                return;
            }
        };
        let id = Self::worker_id(slot, generation, token);
        let servers = joined.reports.len();
        log::info!(
            "worker {slot} of generation {generation}: has joined, pid={} servers={servers}",
            joined.pid
        );
        let worker = Worker {
            id,
            pid: joined.pid,
            link: Some(joined.link),
            cell,
            elder: true,
            started: self.now,
            ready_since: None,
            pulse: Pulse::default(),
            kill_at: None,
        };
        self.workers.insert(token, worker);
        // Others that have not joined yet still count on in the old sequence.
        self.scoreboard
            .skip_ids(joined.last_id.saturating_add(IDS_APART));
        self.statement_key = joined.statement_key;
        self.statistics.book.elder_joined(id);
        self.ledger.join(id, joined.last_lease);
        let (version, state) = joined.runtime;
        self.orders.inherit(version, state);
        let (config, runtime, now) = (&self.config, self.orders.state(), self.now);
        let limits = |pool: &_| limits(config, runtime, pool, false);
        self.ledger.adopt(id, joined.reports, limits, now);
        if shared {
            self.send_board(token);
        }
        let version = self.config_version;
        let sources = self.sources.encode();
        self.tell(token, &ToWorker::Prepare { version, sources });
        self.tell(token, &ToWorker::Commit { version });
    }

    /// A cell for an elder, and whether that is on the scoreboard of the group.
    fn cell_for_elder(&self, orphan: &Orphan) -> io::Result<(Cell, bool)> {
        let (slot, generation) = (orphan.slot, orphan.generation);
        let same = |other: u32| other % 2 == generation % 2;
        let mut others = self.workers.values().map(|worker| worker.id);
        let taken = others.any(|id| id.slot == slot && same(id.generation))
            || self
                .places
                .get(&slot)
                .is_some_and(|place| same(place.generation));
        let cell = if taken {
            // Two generations of one slot live beside it already.
            Scoreboard::create()?.cell(slot, generation)
        } else {
            self.scoreboard.cell(slot, generation)
        };
        let cell = cell.ok_or(io::ErrorKind::NotFound)?;
        cell.claim(slot, generation);
        Ok((cell, !taken))
    }

    fn send_board(&mut self, token: Token) {
        let mut frame = Vec::new();
        ToWorker::Board.encode(&mut frame);
        let board = self.scoreboard.as_fd();
        let link = self.workers.get_mut(&token);
        let link = link.and_then(|worker| worker.link.as_mut());
        if let Some(Err(error)) = link.map(|link| link.send(&frame, &[board])) {
            self.give_up(token, &error.to_string());
        }
    }
}

/// Asks an orphan to join and takes its reports.
fn join(orphan: &Orphan, deadline: Instant) -> io::Result<Joined> {
    let mut stream = connect_to_peer(&orphan.path)?;
    let mut request = Vec::new();
    PeerRequest::Join.encode(&mut request);
    // A new connection takes a request whole.
    stream.write_all(&request)?;
    let mut inbox = Vec::new();
    let pid = loop {
        wait(&stream, deadline)?;
        let open = fill(&mut stream, &mut inbox);
        match PeerAnswer::split(&inbox).map_err(io::Error::other)? {
            Some((PeerAnswer::Joined { pid }, rest)) => {
                inbox = rest.to_vec();
                break pid;
            }
            Some((answer, _)) => {
                return Err(io::Error::other(format!("its answer is {answer:?}")));
            }
            None if open => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    let pid = Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
    let mut link = Link::after(stream, inbox)?;
    let mut reports = Vec::new();
    let mut runtime = (0, RuntimeState::default());
    loop {
        let Some((frame, _)) = link.receive().map_err(io::Error::other)? else {
            wait(&link, deadline)?;
            continue;
        };
        match ToSupervisor::decode(&frame).map_err(io::Error::other)? {
            ToSupervisor::Lease(report) => reports.push(report),
            ToSupervisor::Runtime(FromWorker::State { version, state }) => {
                runtime = (version, state);
            }
            ToSupervisor::Reported {
                last_id,
                last_lease,
                statement_key,
            } => {
                return Ok(Joined {
                    link,
                    pid,
                    reports,
                    last_id,
                    last_lease,
                    statement_key,
                    runtime,
                });
            }
            other => return Err(io::Error::other(format!("it says {other:?}"))),
        }
    }
}

fn count(orphans: &[Orphan]) -> u32 {
    u32::try_from(orphans.len()).unwrap_or(u32::MAX)
}

/// Waits until there is something to read.
fn wait(socket: &impl AsFd, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

/// Ids that are left out, so that none is given twice while orphans join.
const IDS_APART: u64 = 1 << 20;

/// How long orphans have to join, all of them together.
const PATIENCE: Duration = Duration::from_secs(5);

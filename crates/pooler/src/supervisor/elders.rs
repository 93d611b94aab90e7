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
//!
//! An orphan that does not answer in a moment is asked on while the new group
//! serves: it joins late, or is ended like any worker that hangs.

mod joining;
mod silent;

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain_order::{DrainKind, DrainOrder};
use pgskein_pool::ledger::WorkerId;
use pgskein_pool::runtime::{FromSupervisor, Order, Scope};

use self::joining::Joined;
pub(super) use self::joining::Joining;
use super::hang::Pulse;
use super::hear::limits;
use super::{Supervisor, Worker};
use crate::runtime_dir::Orphan;
use crate::scoreboard::{Cell, Scoreboard};

/// The generation of a group beside these workers.
pub(crate) fn generation_beside(orphans: &[Orphan]) -> u32 {
    let oldest = orphans.iter().map(|orphan| orphan.generation).max();
    oldest.map_or(1, |generation| generation.saturating_add(1))
}

impl Supervisor {
    /// Has the workers of a dead supervisor join this group.
    ///
    /// This waits for them, for a moment: nobody may get a server before their
    /// servers are counted. One that does not answer is asked on.
    pub(crate) fn gather_elders(&mut self, orphans: Vec<Orphan>) {
        for orphan in orphans {
            let token = self.next_token();
            self.joining.insert(token, Joining::with(orphan));
            self.ask_to_join(token);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.joining.is_empty() && Instant::now() < deadline {
            if let Err(error) = joining::wait(self.joining.values(), deadline) {
                log::error!("cannot wait for the workers of the last supervisor: {error}");
                break;
            }
            for token in self.joining.keys().copied().collect::<Vec<_>>() {
                self.ask_to_join(token);
            }
        }
        self.begin_without_the_silent();
        // What held goes on to hold, in the same way for all.
        let state = self.runtime_state();
        self.tell_all(&state);
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
        let elders = elders.map(|(token, _)| *token).collect();
        self.dismiss(elders);
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
        self.hangs.on_death(token);
        self.remove_peer_socket(slot, generation);
    }

    /// Asks these elders to leave.
    fn dismiss(&mut self, elders: Vec<Token>) {
        if elders.is_empty() || self.is_draining() {
            return;
        }
        log::info!(
            "draining the workers of the last supervisor: {}",
            elders.len()
        );
        let order = DrainOrder {
            delay: Duration::ZERO,
            ..self.shutdown_order(DrainKind::WaitForClients)
        };
        self.drain_workers(&elders, order);
        for token in elders {
            self.tell(token, &ToWorker::StopAccepting);
        }
    }

    /// Makes an orphan that has said all that it holds a worker of this group.
    fn welcome_elder(&mut self, token: Token, orphan: &Orphan, joined: Joined, late: bool) {
        let (slot, generation) = (orphan.slot, orphan.generation);
        let (cell, shared) = match self.cell_for_elder(orphan) {
            Ok(cell) => cell,
            Err(error) => {
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
            leaving: false,
            foreign: true,
            outdated: false,
            started: self.now,
            ready_since: None,
            heard: 0,
            pulse: Pulse::default(),
            kill_at: None,
        };
        self.workers.insert(token, worker);
        // Others that have not joined yet still count on in the old sequence.
        self.scoreboard
            .skip_ids(joined.last_id.saturating_add(IDS_APART));
        self.statistics.book.elder_joined(id);
        self.ledger.join(id, joined.last_lease);
        if !late {
            // Later the group has its own.
            self.statement_key = joined.statement_key;
            let (version, state) = joined.runtime;
            self.orders.inherit(version, state);
        }
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
        if late {
            self.catch_up(token);
        }
    }

    /// Tells an elder that has joined late what the others know already.
    fn catch_up(&mut self, token: Token) {
        let state = self.runtime_state();
        self.tell(token, &state);
        self.tell(token, &ToWorker::Tickets(self.tickets.secrets().clone()));
        self.renew_limits();
        self.tell_drains(token);
        if self.elders_told {
            self.dismiss(vec![token]);
        }
    }

    fn runtime_state(&self) -> ToWorker {
        ToWorker::Runtime(FromSupervisor::Runtime {
            version: self.orders.version(),
            state: self.orders.state().clone(),
            order: Order::Resume(Scope::All),
        })
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
        // Nobody has told here whom it has.
        self.scoreboard.note_guest(slot, generation);
        cell.claim(slot, generation);
        Ok((cell, !taken))
    }

    fn send_board(&mut self, token: Token) {
        let board = self.scoreboard.as_fd();
        if let Some(worker) = self.workers.get_mut(&token) {
            worker.tell(&ToWorker::Board, &[board]);
        }
    }
}

/// Ids that are left out, so that none is given twice while orphans join.
const IDS_APART: u64 = 1 << 20;

/// How long orphans have to join, all of them together.
const PATIENCE: Duration = Duration::from_secs(5);

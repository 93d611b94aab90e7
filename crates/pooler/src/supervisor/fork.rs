//! The birth of a worker: a fork without exec.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::Token;
use nix::sys::signal::SigSet;
use pgskein_pool::ledger::WorkerId;
use pgskein_protocol::key::Slot;

use super::hang::Pulse;
use super::tokens::{number_of, register, token_of};
use super::{Supervisor, Worker, backoff, signals};
use crate::link::Link;
use crate::logging;
use crate::runtime_dir::{listen_as_oneself, listen_for_peers, peer_socket_path};
use crate::sys::title::Title;
use crate::sys::{capabilities, descriptors, last_words, process};
use crate::worker;
use crate::worker::setup::Setup;

impl Supervisor {
    /// Starts the workers whose time has come.
    pub(crate) fn respawn_due(&mut self) {
        let now = self.now;
        let due = self.places.iter_mut().filter_map(|(slot, place)| {
            place.respawn_at.take_if(|at| *at <= now)?;
            Some(*slot)
        });
        for slot in due.collect::<Vec<_>>() {
            let place = self.places.get(&slot);
            let generation = place.map_or(1, |place| place.generation);
            match self.start_worker(slot, generation) {
                Ok(token) => {
                    if let Some(place) = self.places.get_mut(&slot) {
                        place.worker = Some(token);
                    }
                }
                Err(error) => {
                    log::error!("worker {slot}: cannot be started: {error}");
                    self.respawn_later(slot, None);
                }
            }
        }
    }

    /// Decides when the slot gets its next worker, after a death of one that
    /// had been ready since `ready_since`.
    pub(crate) fn respawn_later(&mut self, slot: Slot, ready_since: Option<Instant>) {
        let alone = !self.has_ready_worker();
        let now = self.now;
        if let Some(place) = self.places.get_mut(&slot).filter(|place| !place.retired) {
            let ready = ready_since.map(|since| now.saturating_duration_since(since));
            place.failures = backoff::failures(place.failures, ready);
            let delay = backoff::delay(place.failures, alone);
            place.respawn_at = Some(now + delay);
            if delay > Duration::ZERO {
                log::warn!("worker {slot}: next start in {} ms", delay.as_millis());
            }
        }
    }

    /// Starts a worker of this generation for the slot.
    pub(crate) fn start_worker(&mut self, slot: Slot, generation: u32) -> io::Result<Token> {
        let token = self.next_token();
        let (ours, theirs) = Link::pair()?;
        let setup = self.setup(slot, generation, theirs)?;
        let cell = setup.cell;
        self.scoreboard.forget_guests(slot, generation);
        cell.claim(slot, generation);
        let title = self.title.as_ref();
        let pid = process::spawn(|| be_worker(setup, title))?;
        let registered = register(&self.poll, &ours, token);
        let id = Self::worker_id(slot, generation, token);
        log::debug!("worker {slot}: started, pid={pid}");
        let worker = Worker {
            id,
            pid,
            link: Some(ours),
            cell,
            elder: false,
            leaving: false,
            foreign: false,
            outdated: false,
            started: self.now,
            ready_since: None,
            heard: 0,
            pulse: Pulse::default(),
            kill_at: None,
        };
        self.workers.insert(token, worker);
        if let Err(error) = registered {
            self.give_up(token, &error.to_string());
        }
        self.prepare_newcomer(token);
        Ok(token)
    }

    fn setup(&self, slot: Slot, generation: u32, control: Link) -> io::Result<Setup> {
        let place = self.places.get(&slot).ok_or(io::ErrorKind::NotFound)?;
        let listeners = place.listeners.iter().map(|listener| listener.try_clone());
        let unix = self.unix.as_ref().map(|unix| unix.listener.try_clone());
        let for_cancels = self.cancel_listeners.iter();
        let for_cancels = for_cancels.map(|listener| listener.try_clone());
        let runtime_dir = self.runtime_dir.path().to_owned();
        let cell = self.scoreboard.cell(slot, generation);
        let drains = self.drains.in_force();
        let drains = drains.map(|(order, since)| (order.clone(), since));
        Ok(Setup {
            slot,
            generation,
            listeners: listeners.collect::<io::Result<_>>()?,
            unix: unix.transpose()?,
            cancel_listeners: for_cancels.collect::<io::Result<_>>()?,
            peer: listen_for_peers(&peer_socket_path(&runtime_dir, slot, generation))?,
            control,
            scoreboard: self.scoreboard.try_clone()?,
            cell: cell.ok_or(io::ErrorKind::NotFound)?,
            config_version: self.config_version,
            config: self.config.clone(),
            identity: self.identity.clone(),
            tickets: self.tickets.secrets().clone(),
            usual: self.usual,
            old_hosts: self.old_hosts.clone(),
            statement_key: self.statement_key,
            runtime: (self.orders.version(), self.orders.state().clone()),
            drains: drains.collect(),
            refusing: self.refuses_sessions(),
            runtime_dir,
        })
    }

    pub(crate) fn remove_peer_socket(&self, slot: Slot, generation: u32) {
        let path = peer_socket_path(self.runtime_dir.path(), slot, generation);
        let _gone_either_way = std::fs::remove_file(path);
    }

    pub(crate) fn worker_id(slot: Slot, generation: u32, token: Token) -> WorkerId {
        WorkerId {
            slot,
            generation,
            incarnation: number_of(token),
        }
    }

    pub(crate) fn token_of(id: WorkerId) -> Token {
        token_of(id.incarnation)
    }
}

/// The life of a worker process, from its first act on.
fn be_worker(setup: Setup, title: Option<&Title>) -> i32 {
    let slot = setup.slot;
    if let Err(error) = forget_the_supervisor(needed(&setup)) {
        log::error!("cannot become worker {slot}: {error}");
        return 1;
    }
    logging::set_worker(slot);
    if let Some(title) = title {
        title.set(&format!("pgskein: worker {slot}"));
    }
    setup.cell.set_pid(std::process::id());
    // From now on whoever connects learns this process's number, which is how a
    // later supervisor finds it if it hangs.
    if let Err(error) = listen_as_oneself(&setup.peer) {
        log::warn!("others do not learn which process worker {slot} is: {error}");
    }
    if let Some(words) = setup.scoreboard.last_words()
        && let Err(error) = last_words::leave(words)
    {
        log::warn!("no backtrace if this worker hangs: {error}");
    }
    worker::run(setup)
}

/// Gives up what only the supervisor may have: its descriptors first, since a
/// copy of its ends of links would hide its death, then its signals and its
/// right to bind low ports.
pub(super) fn forget_the_supervisor(needed: Vec<RawFd>) -> io::Result<()> {
    descriptors::close_all_but(needed)?;
    process::ignore(signals::ignored_by_workers())?;
    SigSet::empty().thread_set_mask()?;
    capabilities::keep(false)?;
    Ok(())
}

fn needed(setup: &Setup) -> Vec<RawFd> {
    let mut needed = logging::descriptors();
    needed.extend([0, 1, 2]);
    needed.extend(setup.listeners.iter().map(AsRawFd::as_raw_fd));
    needed.extend(setup.unix.as_ref().map(AsRawFd::as_raw_fd));
    needed.extend(setup.cancel_listeners.iter().map(AsRawFd::as_raw_fd));
    needed.push(setup.peer.as_raw_fd());
    needed.push(setup.control.as_raw_fd());
    needed.push(setup.scoreboard.as_fd().as_raw_fd());
    needed
}

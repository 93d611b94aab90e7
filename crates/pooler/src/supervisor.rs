//! The supervisor: starts workers, keeps the book, and passes on what is said.
//!
//! One thread, one loop: wait; read the clock; take signals, control messages
//! and peer requests; then do what is due. No byte of a client comes here.

mod adopt;
mod ask;
mod backoff;
mod begin;
mod bequeath;
mod broadcast;
mod drain;
mod elders;
mod fork;
mod handoffs;
mod hang;
mod hear;
mod hosts;
mod http;
mod inherit;
mod moves;
mod orders;
mod peers;
mod reap;
mod reload;
mod replace;
mod restart;
mod service;
mod show;
pub(crate) mod signals;
mod statistics;
mod tickets;
mod tokens;
mod welcomes;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgskein_config::{Config, Sources};
use pgskein_pool::client_places::ClientPlaces;
use pgskein_pool::control::ToWorker;
use pgskein_pool::drain::DrainBook;
use pgskein_pool::ledger::{Ledger, Report, WorkerId};
use pgskein_pool::moves::MoveBook;
use pgskein_pool::old_hosts::OldHosts;
use pgskein_pool::peers::Identity;
use pgskein_pool::prepared::StatementKey;
use pgskein_pool::runtime::Orders;
use pgskein_pool::tickets::TicketBook;
use pgskein_pool::usual_secrets::UsualSecrets;
use pgskein_pool::welcomes::Welcomes;
use pgskein_protocol::key::Slot;

pub(crate) use self::ask::Asker;
use self::broadcast::Broadcast;
use self::drain::Drain;
use self::elders::Joining;
use self::hang::{Hangs, Pulse};
use self::http::Http;
use self::peers::PeerConnection;
use self::reload::Reloads;
use self::replace::Replacement;
use self::restart::Check;
use self::service::Service;
use self::signals::Signals;
use self::statistics::Statistics;
use self::tokens::deregister;
use crate::link::Link;
use crate::runtime_dir::{Orphan, RuntimeDir, supervisor_socket_path};
use crate::scoreboard::{Cell, Scoreboard};
use crate::start::daemon::Daemon;
use crate::start::error::StartError;
use crate::start::pidfile::Pidfile;
use crate::start::program::version;
use crate::start::unix_socket::UnixSocket;
use crate::sys::title::Title;
use crate::waiting::wait_for_events;

/// The supervisor of a group.
#[derive(Debug)]
pub(crate) struct Supervisor {
    poll: Poll,
    /// The time of this turn.
    now: Instant,
    started: Instant,
    signals: Signals,
    title: Option<Title>,
    sources: Sources,
    config: Config,
    config_version: u64,
    runtime_dir: RuntimeDir,
    pidfile: Option<Pidfile>,
    unix: Option<UnixSocket>,
    /// Where other hosts bring cancel requests; open until the end.
    cancel_listeners: Vec<TcpListener>,
    peer: UnixListener,
    scoreboard: Scoreboard,
    places: BTreeMap<Slot, Place>,
    workers: BTreeMap<Token, Worker>,
    peers: BTreeMap<Token, PeerConnection>,
    broadcasts: BTreeMap<Token, Broadcast>,
    last_token: usize,
    ledger: Ledger,
    client_places: ClientPlaces,
    /// What the names of prepared statements on servers are made of.
    statement_key: StatementKey,
    /// What kind of secrets the database has, as far as workers have seen.
    usual: UsualSecrets,
    /// Hosts that speak plain 3.0, until the next configuration.
    old_hosts: OldHosts,
    /// The number of this host among its peers, now and before.
    identity: Identity,
    /// The secrets by which clients resume their TLS sessions.
    tickets: TicketBook,
    /// What servers report at their login.
    welcomes: Welcomes,
    /// What all workers have counted.
    statistics: Statistics,
    reloads: Reloads,
    /// Where the program was started from, and its next version will be.
    program: PathBuf,
    /// A restart whose program is being checked.
    check: Option<Check>,
    /// Workers that get successors.
    replacement: Option<Replacement>,
    /// What workers of the program before have reported so far.
    reporting: BTreeMap<Token, Vec<Report>>,
    hangs: Hangs,
    /// What is paused, disabled or suspended, and who waits for that.
    orders: Orders<Asker>,
    /// Where HTTP is answered, if anywhere.
    http: Option<Http>,
    /// The end of the group, once it is ordered.
    drain: Option<Drain>,
    /// Every order to drain, and how far it has come.
    drains: DrainBook,
    /// Moves that consoles wait for.
    moves: MoveBook<Asker>,
    /// When workers that were told to end at once are killed.
    kill_at: Option<Instant>,
    /// Where to say that the group serves.
    daemon: Option<Daemon>,
    ever_ready: bool,
    /// Who has started the group and wants to know how it is.
    service: Option<Service>,
    /// Workers of the last supervisor, until they have joined.
    orphans: Vec<Orphan>,
    /// Those that were asked to join and have not yet.
    joining: BTreeMap<Token, Joining>,
    /// They were asked to leave, if there are any.
    elders_told: bool,
}

/// A slot with its listeners, whoever accepts from them.
#[derive(Debug)]
struct Place {
    /// Empty once the group no longer listens.
    listeners: Vec<TcpListener>,
    generation: u32,
    /// The worker of the slot, ready or not.
    worker: Option<Token>,
    /// Since when the slot has no ready worker of its own.
    vacant_since: Option<Instant>,
    /// The worker of another slot that accepts meanwhile.
    adopter: Option<Token>,
    /// When the next worker is started, if one is to be.
    respawn_at: Option<Instant>,
    /// Deaths in a row, each soon after its start.
    failures: u32,
    /// It gets no worker of its own any more; another one accepts.
    retired: bool,
}

/// A worker process that was not reaped yet.
#[derive(Debug)]
struct Worker {
    id: WorkerId,
    pid: Pid,
    /// `None` once it is closed.
    link: Option<Link>,
    cell: Cell,
    /// Another supervisor has started it.
    elder: bool,
    /// It has a successor, and its clients are asked to go.
    leaving: bool,
    /// The program before this one has started it.
    foreign: bool,
    /// It has the configuration of that, until it has prepared the one in
    /// effect.
    outdated: bool,
    started: Instant,
    /// `None` until it is ready.
    ready_since: Option<Instant>,
    /// Messages that have come from an elder.
    heard: u64,
    /// Whether its loop turns.
    pulse: Pulse,
    /// When it is killed: its link is closed, or it was asked for its last
    /// words.
    kill_at: Option<Instant>,
}

impl Worker {
    /// Tells it something, and passes descriptors along; says whether it can be
    /// told. One that cannot is given up when its link comes to its end, behind
    /// what it has still said.
    fn tell(&mut self, message: &ToWorker, descriptors: &[BorrowedFd<'_>]) -> bool {
        let Some(link) = &mut self.link else {
            return false;
        };
        let mut frame = Vec::new();
        message.encode(&mut frame);
        let sent = link.send(&frame, descriptors);
        if let Err(error) = &sent {
            log::debug!("worker {}: control link: {error}", self.id.slot);
        }
        sent.is_ok()
    }
}

impl Supervisor {
    /// Runs the group until it has ended.
    ///
    /// # Errors
    ///
    /// [`StartError`] when no worker was ever ready, or the loop cannot wait.
    pub(crate) fn run(mut self, daemon: Option<Daemon>) -> Result<(), StartError> {
        self.daemon = daemon;
        self.renew_limits();
        let slots = self.places.len();
        log::info!("starting: version={} workers={slots}", version());
        let orphans = std::mem::take(&mut self.orphans);
        self.gather_elders(orphans);
        self.run_on()
    }

    /// Runs the group on until it has ended.
    ///
    /// # Errors
    ///
    /// As [`Supervisor::run`].
    pub(crate) fn run_on(mut self) -> Result<(), StartError> {
        // Who died before the signals were taken is not told by a signal.
        self.reap();
        let served = self.serve();
        self.log_end_of_drains();
        if let Err(error) = &served {
            self.kill_all();
            if let Some(daemon) = self.daemon.take() {
                daemon.fail(&crate::chain(error));
            }
        }
        self.clean_up();
        log::info!("ended");
        served
    }

    fn serve(&mut self) -> Result<(), StartError> {
        let mut events = Events::with_capacity(256);
        self.on_time();
        while !self.has_ended() {
            let deadline = self.next_deadline();
            wait_for_events(&mut self.poll, &mut events, deadline, self.now)
                .map_err(StartError::system("wait for events"))?;
            self.now = Instant::now();
            for event in &events {
                self.on_event(event.token());
            }
            self.on_time();
            let over = self.start_deadline().filter(|at| *at < self.now);
            if over.is_some() {
                let waited = self.now - self.started;
                return Err(StartError::NoWorkerReady { waited });
            }
        }
        Ok(())
    }

    fn on_event(&mut self, token: Token) {
        match token {
            SIGNALS => self.on_signals(),
            PEERS => self.accept_peers(),
            _ if self.workers.contains_key(&token) => self.read_link(token),
            _ if self.peers.contains_key(&token) => self.read_peer(token),
            _ if self.joining.contains_key(&token) => self.ask_to_join(token),
            _ if self.is_http(token) => self.read_http(token),
            _ => self.read_answer(token),
        }
    }

    /// Does everything that is due.
    fn on_time(&mut self) {
        self.tickets_due();
        self.respawn_due();
        self.look_at_workers();
        self.adopt_vacant();
        self.reload_due();
        self.check_due();
        self.replacement_due();
        self.orders_due();
        self.moves_due();
        self.drain_due();
        self.broadcasts_due();
        self.peers_due();
        self.kill_due();
        self.ledger.on_time(self.now);
        self.pass_on_leases();
        self.statistics_due();
        self.service_due();
        self.http_due();
    }

    /// When [`Supervisor::on_time`] has something to do, if ever.
    fn next_deadline(&self) -> Option<Instant> {
        let looks = !self.workers.is_empty() || !self.joining.is_empty();
        let look = looks.then(|| self.hangs.next_look());
        let kills = self.workers.values().filter_map(|worker| worker.kill_at);
        let respawns = self.places.values().filter_map(|place| place.respawn_at);
        let adoptions = self.places.values().filter_map(Place::adoption_due_at);
        // Without a worker that could adopt there is nothing to wake up for.
        let adoptions = adoptions.filter(|_| self.has_ready_worker());
        let broadcasts = self.broadcasts.values().map(Broadcast::next_deadline);
        let peers = self.peers.values().map(PeerConnection::deadline);
        kills
            .chain(respawns)
            .chain(adoptions)
            .chain(broadcasts)
            .chain(peers)
            .chain(self.reloads.deadline())
            .chain(self.check_deadline())
            .chain(self.replacement_deadline())
            .chain(self.orders.next_deadline())
            .chain(self.moves.next_deadline())
            .chain(self.drain.as_ref().and_then(Drain::deadline))
            .chain(self.drains.next_deadline())
            .chain(self.ledger.next_deadline())
            .chain(self.kill_at)
            .chain(self.start_deadline())
            .chain(look)
            .chain(self.service_deadline())
            .chain(self.http_deadline())
            .chain(Some(self.statistics.book.next_deadline()))
            .chain(Some(self.tickets.due()))
            .min()
    }

    /// When the start has failed, if no worker was ready yet.
    fn start_deadline(&self) -> Option<Instant> {
        let limit = self.config.settings.worker_start_timeout;
        (!self.ever_ready && !limit.is_zero()).then(|| self.started + limit)
    }

    /// The group was told to end, and has.
    fn has_ended(&self) -> bool {
        let told = self.drain.is_some() || self.kill_at.is_some();
        let starting = self.places.values().any(|place| place.respawn_at.is_some());
        told && self.workers.is_empty() && !starting
    }

    /// Tells one worker something, if it can be told.
    fn tell(&mut self, token: Token, message: &ToWorker) {
        if let Some(worker) = self.workers.get_mut(&token) {
            worker.tell(message, &[]);
        }
    }

    fn tell_all(&mut self, message: &ToWorker) {
        for token in self.worker_tokens() {
            self.tell(token, message);
        }
    }

    fn worker_tokens(&self) -> Vec<Token> {
        self.workers.keys().copied().collect()
    }

    /// The link of a worker does not work any more: the worker cannot be
    /// trusted to notice, so it is killed if it does not end soon.
    fn give_up(&mut self, token: Token, why: &str) {
        let Some(worker) = self.workers.get_mut(&token) else {
            return;
        };
        if worker.elder {
            log::debug!("worker {}: control link: {why}", worker.id.slot);
            return self.bury_elder(token);
        }
        if let Some(link) = worker.link.take() {
            log::debug!("worker {}: control link: {why}", worker.id.slot);
            deregister(&self.poll, &link);
            worker.kill_at = Some(self.now + LAST_WORDS);
        }
    }

    fn kill_due(&mut self) {
        let all = self.kill_at.is_some_and(|at| at <= self.now);
        for worker in self.workers.values_mut() {
            if all || worker.kill_at.is_some_and(|at| at <= self.now) {
                let _dead_already = kill(worker.pid, Signal::SIGKILL);
                // Not again before it should be reaped.
                worker.kill_at = Some(self.now + LAST_WORDS);
            }
        }
        if all {
            self.kill_at = Some(self.now + LAST_WORDS);
        }
    }

    /// Kills every worker of this supervisor; elders serve on.
    fn kill_all(&mut self) {
        for worker in self.workers.values().filter(|worker| !worker.elder) {
            let _dead_already = kill(worker.pid, Signal::SIGKILL);
        }
    }

    fn next_token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Removes what the group has in the file system.
    fn clean_up(&mut self) {
        drop(self.unix.take());
        self.end_check();
        self.hangs.end_writers();
        self.end_http();
        for (slot, place) in &self.places {
            self.remove_peer_socket(*slot, place.generation);
        }
        let own = supervisor_socket_path(self.runtime_dir.path());
        let _gone_either_way = std::fs::remove_file(own);
        drop(self.pidfile.take());
    }
}

impl Place {
    fn new(listeners: Vec<TcpListener>, generation: u32, now: Instant) -> Self {
        Self {
            listeners,
            generation,
            worker: None,
            vacant_since: Some(now),
            adopter: None,
            respawn_at: Some(now),
            failures: 0,
            retired: false,
        }
    }
}

const SIGNALS: Token = Token(0);
const PEERS: Token = Token(1);

/// How long a worker has to end by itself before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(1);

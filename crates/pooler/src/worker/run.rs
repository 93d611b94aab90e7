//! Run: the loop of a worker.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Waker};
use pgskein_pool::control::ToSupervisor;
use pgskein_pool::drain::Drains;
use pgskein_pool::keys::Keys;
use pgskein_pool::moves::Moves;
use pgskein_pool::parameters::Parameters;
use pgskein_pool::peers::Peers;
use pgskein_pool::pools::Pools;
use pgskein_pool::prepared::Statements;
use pgskein_pool::slab::Slab;
use pgskein_pool::tickets::TicketSecrets;
use pgskein_pool::unknown_keys::UnknownKeys;

use super::accept::{Listeners, Sockets};
use super::addresses::Addresses;
use super::checks::Checks;
use super::chores::{Chores, Done};
use super::claims::Claims;
use super::comparisons::Comparisons;
use super::credentials::Credentials;
use super::drain::Ending;
use super::flight::Flight;
use super::handoff::Undecided;
use super::host_names::HostNames;
use super::orders::Orders;
use super::setup::Setup;
use super::statistics::Counting;
use super::sweep::SWEEP_INTERVAL;
use super::ticker::Ticker;
use super::token::Subject;
use super::tour::Places;
use super::user_names::UserNames;
use super::{Runnable, Worker};
use crate::scoreboard::WorkerState;
use crate::tls::Secured;

/// Serves clients until the worker is to end; gives the exit code.
pub(crate) fn run(setup: Setup) -> i32 {
    let mut worker = match Worker::new(setup) {
        Ok(worker) => worker,
        Err(error) => {
            log::error!("cannot start: {error}");
            return 1;
        }
    };
    if !worker.is_draining() {
        worker.cell.set_state(WorkerState::Ready);
    }
    worker.tell_supervisor(&ToSupervisor::Ready);
    match worker.serve() {
        Ok(code) => code,
        Err(error) => {
            log::error!("the event loop failed: {error}");
            1
        }
    }
}

impl Worker {
    fn new(setup: Setup) -> io::Result<Self> {
        // Without it nothing may be served.
        let tls = Secured::ready(&setup.config)
            .map_err(|finding| io::Error::other(finding.to_string()))?;
        let poll = Poll::new()?;
        let registry = poll.registry();
        let listeners = Listeners::new(
            registry,
            setup.slot,
            Sockets {
                tcp: setup.listeners,
                cancels: setup.cancel_listeners,
                unix: setup.unix,
                peers: setup.peer,
            },
            setup.config.settings.balance,
        )?;
        listeners.tune(&setup.config.settings);
        registry.register(
            &mut SourceFd(&setup.control.as_raw_fd()),
            Subject::Control.token(),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let waker = Arc::new(Waker::new(registry, Subject::Chores.token())?);
        let ticker = Ticker::new(registry, Subject::Ticker.token(), SWEEP_INTERVAL)?;
        let now = Instant::now();
        let key = setup.statement_key.0;
        let mut credentials = Credentials::new(&setup.config, key, &host_key());
        credentials.usual = setup.usual;
        let mut worker = Self {
            last_sweep: now,
            swept_at: monotonic_milliseconds()?,
            ticker,
            stale: None,
            poll,
            slot: setup.slot,
            generation: setup.generation,
            now,
            clients: Slab::default(),
            servers: Slab::default(),
            errands: Slab::default(),
            ways: Slab::default(),
            for_cancels: HashSet::new(),
            unknown_keys: UnknownKeys::default(),
            missed: 0,
            gave: false,
            pools: Pools::default(),
            parameters: Parameters::new(&setup.config.settings.track_extra_parameters),
            statements: Statements::new(setup.statement_key),
            flight: Flight::default(),
            lost: HashMap::new(),
            keys: Keys::default(),
            runnable: Vec::new(),
            spare_queue: Vec::new(),
            wishing: Vec::new(),
            warned: HashSet::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            listeners,
            control: Some(setup.control),
            scoreboard: setup.scoreboard,
            cell: setup.cell,
            credentials,
            tls,
            host_names: HostNames::new(&setup.config),
            tickets: TicketSecrets::default(),
            config: setup.config,
            config_version: setup.config_version,
            prepared: None,
            addresses: Addresses::default(),
            places: Places::default(),
            peers: Peers::new(setup.identity),
            old_hosts: setup.old_hosts,
            checks: Checks::new(Arc::clone(&waker)),
            chores: Chores::new(waker),
            comparisons: Comparisons::default(),
            user_names: UserNames::default(),
            drains: Drains::default(),
            moves: Moves::default(),
            ending: Ending::default(),
            orders: Orders::new(setup.runtime),
            stalled: Vec::new(),
            claims: Claims::default(),
            questions: HashMap::new(),
            undecided: Undecided::default(),
            counting: Counting::default(),
            last_lease: 0,
            orphaned_at: None,
            spare_leases: Vec::new(),
            recalled: HashSet::new(),
            control_ready: true,
            peers_ready: true,
            runtime_dir: setup.runtime_dir,
            asking: HashMap::new(),
            gathering: HashMap::new(),
            next_request: 0,
            exit: None,
        };
        worker.use_tickets(setup.tickets);
        worker.limit_statements();
        worker.reconfigure_peers();
        worker.begin_suspended();
        for (order, since) in setup.drains {
            worker.obey_since(order, since);
        }
        if setup.refusing {
            worker.refuse_sessions();
        }
        Ok(worker)
    }

    fn serve(&mut self) -> io::Result<i32> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            for event in &events {
                match Subject::of(event.token()) {
                    Subject::Client(id) => {
                        if let Some(client) = self.clients.get_mut(id) {
                            client.stream.on_event(event);
                            if !client.queued {
                                client.queued = true;
                                self.runnable.push(Runnable::Client(id));
                            }
                        }
                    }
                    Subject::Server(id) => {
                        if let Some(server) = self.servers.get_mut(id) {
                            server.stream.on_event(event);
                            if !server.queued {
                                server.queued = true;
                                self.runnable.push(Runnable::Server(id));
                            }
                        }
                    }
                    Subject::Errand(id) => {
                        if let Some(errand) = self.errands.get_mut(id) {
                            errand.stream.on_event(event);
                            self.wake_errand(id);
                        }
                    }
                    Subject::Way(id) => self.wake_way(id),
                    Subject::Listener(place) => self.listeners.on_event(place),
                    Subject::Control => self.control_ready = true,
                    Subject::Peers => self.peers_ready = true,
                    Subject::Chores => {
                        self.chores_done();
                        self.checks_done();
                    }
                    Subject::Ticker => self.ticker.on_event(),
                }
            }
            self.turn();
            if let Some(code) = self.exit {
                self.report(0);
                return Ok(code);
            }
        }
    }

    /// Waits for events, unless there is something to do already.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let busy = !self.runnable.is_empty() || self.listeners.readable() || self.ticker.due();
        let timeout = busy.then_some(Duration::ZERO);
        self.cell.loop_waiting();
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.now = Instant::now();
        self.cell.loop_running(self.swept_at);
        Ok(())
    }

    /// One turn of everything that may have something to do.
    fn turn(&mut self) {
        if self.listeners.readable() {
            self.accept_turn();
        }
        if std::mem::take(&mut self.control_ready) {
            self.control_turn();
        }
        if std::mem::take(&mut self.peers_ready) {
            self.accept_peers();
        }
        // Those that a turn makes runnable get theirs before the next wait,
        // but a connection that always has more does not keep the others from
        // being heard.
        for _ in 0..ROUNDS {
            if self.orders.state().is_suspended() {
                self.park();
            }
            if self.runnable.is_empty() {
                break;
            }
            let mut round = std::mem::take(&mut self.spare_queue);
            std::mem::swap(&mut round, &mut self.runnable);
            for subject in round.drain(..) {
                match subject {
                    Runnable::Client(id) => self.client_turn(id),
                    Runnable::Server(id) => self.server_turn(id),
                    Runnable::Errand(id) => self.errand_turn(id),
                    Runnable::Way(id) => self.way_turn(id),
                }
            }
            self.spare_queue = round;
        }
        if self.undecided.has_cancels() {
            self.cancel_after_turns();
        }
        if self.orders.wait() {
            self.orders_turn();
        }
        if self.moves.has_turn() {
            self.moves_turn();
        }
        if self.ticker.due() {
            self.sweep();
        } else if self.drains.is_busy() {
            self.drain_turn();
        }
        self.send_wishes();
    }

    /// Takes what the threads have done.
    fn chores_done(&mut self) {
        while let Some(done) = self.chores.poll_done() {
            match done {
                Done::Resolved { host, addresses } => self.resolved(host, addresses),
                Done::Secret { making, secret } => self.secret_made(making, secret),
                Done::Compared { comparison, keys } => self.compared(comparison, keys),
                Done::NamedUser { uid, name } => self.user_named(uid, name),
                Done::NamedHost { address, name } => self.host_named(address, name),
                Done::Keys { derivation, keys } => self.keys_derived(derivation, keys),
            }
        }
    }
}

/// The clock that all processes of the host share, in milliseconds.
///
/// Source: clock_gettime(2), `CLOCK_MONOTONIC`.
pub(crate) fn monotonic_milliseconds() -> io::Result<u64> {
    let time = Duration::from(nix::time::clock_gettime(
        nix::time::ClockId::CLOCK_MONOTONIC,
    )?);
    Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// What only this host has, and has for good; empty if there is no such thing.
///
/// Source: machine-id(5).
fn host_key() -> Vec<u8> {
    let id = std::fs::read("/etc/machine-id").unwrap_or_default();
    id.trim_ascii().to_vec()
}

/// Bytes read at once.
const SCRATCH: usize = 64 * 1024;

/// Events taken at once.
const EVENTS: usize = 1024;

/// Turns of the same connection before the next look at the events, at most.
const ROUNDS: usize = 4;

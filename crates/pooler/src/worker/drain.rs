//! Drain: serve the clients that are there, ask them to go, then end.
//!
//! ```text
//! serving ──order──> asked ──StopAccepting──> closed ──last client──> ending
//! ```
//!
//! A client is asked when it is at rest, once and for good, by the carrier it
//! can take. It may stay. At the timeout those are closed who are between two
//! transactions and quiet, so that no error crosses a query on its way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pgskein_pool::drain_order::{DrainKind, DrainOrder};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{TransactionStatus, write};

use super::Worker;
use super::answer::DISCONNECT_REQUESTED;
use super::auth::random;
use super::client::{Carrier, Client, Rest, SessionState, Stage};
use super::greet::{tells_by_goaway, tells_by_parameter};
use super::reason::{Reason, ServerReason};
use super::server::ServerState;
use crate::runtime_dir::{peer_socket_path, supervisor_socket_path};
use crate::scoreboard::WorkerState;
use crate::sys::tcp::{round_trip_time, unread};

/// A drain in force.
#[derive(Debug)]
pub(super) struct Draining {
    order: DrainOrder,
    /// From when its timeouts count.
    since: Instant,
    /// When the listeners were closed.
    closed: Option<Instant>,
    /// The last client has left; the servers are being closed.
    ending: bool,
    /// Beginning and end of turns that took long, a while ago at most: what was
    /// heard in one may have come at its end.
    slow_turns: BTreeMap<Instant, Instant>,
}

impl Draining {
    /// Takes note of how long a turn took.
    fn note_turn(&mut self, begun: Instant, ended: Instant) {
        self.slow_turns
            .retain(|_, end| ended.saturating_duration_since(*end) < A_WHILE);
        if ended.saturating_duration_since(begun) > SLOW_TURN {
            self.slow_turns.insert(begun, ended);
        }
    }
}

impl Worker {
    /// Gives an order to the whole group, this worker included.
    ///
    /// `timeout` takes the place of `drain_timeout`.
    pub(super) fn order_drain(&mut self, kind: DrainKind, timeout: Option<Duration>) {
        let settings = &self.config.settings;
        let id = match random() {
            Ok(id) => id,
            Err(error) => return log::error!("cannot drain: {error}"),
        };
        let order = DrainOrder {
            id,
            kind,
            delay: settings.drain_delay,
            timeout: timeout.unwrap_or(settings.drain_timeout),
            kill_timeout: settings.drain_kill_timeout,
        };
        let mut paths = vec![supervisor_socket_path(&self.runtime_dir)];
        let siblings = (kind != DrainKind::Immediate).then(|| self.scoreboard.cells());
        for cell in siblings.into_iter().flatten() {
            let own = (cell.slot, cell.generation) == (self.slot, self.generation);
            if !own && !matches!(cell.state, WorkerState::Empty | WorkerState::Dead) {
                paths.push(peer_socket_path(
                    &self.runtime_dir,
                    cell.slot,
                    cell.generation,
                ));
            }
        }
        for path in paths {
            self.send_drain(&path, &order);
        }
        // An end at once is the supervisor's to bring about: it would take
        // workers that end by themselves for dead ones.
        if kind != DrainKind::Immediate || self.control.is_none() {
            self.obey(order);
        }
    }

    /// Obeys an order, when it is first seen.
    pub(super) fn obey(&mut self, order: DrainOrder) {
        let known = match &self.draining {
            Some(draining) if draining.order.id == order.id => return,
            Some(draining) => draining.closed,
            None => None,
        };
        if order.kind == DrainKind::Immediate {
            self.exit = Some(0);
            return;
        }
        log::info!(
            "draining: clients={} servers={} timeout={}s",
            self.clients.len(),
            self.servers.len(),
            order.timeout.as_secs(),
        );
        self.cell.set_state(WorkerState::Draining);
        self.draining = Some(Draining {
            order,
            since: self.now + order.delay,
            closed: known,
            ending: false,
            slow_turns: BTreeMap::new(),
        });
        self.ticker.within(Duration::ZERO);
        for id in self.clients.ids(|client| client.session().is_some()) {
            self.tell(id);
        }
        if self.refuses_servers() {
            self.shut_servers();
        }
    }

    /// No client will come over TCP any more.
    pub(super) fn stop_accepting(&mut self) {
        self.stop_listening();
        if let Some(draining) = &mut self.draining {
            draining.closed = Some(self.now);
        }
    }

    /// The supervisor has been gone for long: drain without an order.
    pub(super) fn drain_as_orphan(&mut self) {
        let settings = &self.config.settings;
        self.obey(DrainOrder {
            id: [0; 16],
            kind: DrainKind::WaitForClients,
            delay: Duration::ZERO,
            timeout: settings.drain_timeout,
            kill_timeout: settings.drain_kill_timeout,
        });
        self.stop_accepting();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether a client has come too late for a session.
    pub(super) fn refuses_session(&self, id: ClientId) -> bool {
        let closed = self.draining.as_ref().and_then(|draining| draining.closed);
        closed.is_some_and(|closed| {
            self.clients
                .get(id)
                .is_none_or(|client| client.accepted > closed)
        })
    }

    /// Whether clients get no server any more.
    pub(super) fn refuses_servers(&self) -> bool {
        self.draining
            .as_ref()
            .is_some_and(|draining| draining.order.kind == DrainKind::WaitForServers)
    }

    /// Asks a client to go in a drain, if it is at rest and was not asked before.
    pub(super) fn tell(&mut self, id: ClientId) {
        if self.draining.is_some() {
            self.ask_to_go(id);
        }
    }

    /// Asks a client to go, if it is at rest and was not asked before, whether
    /// or not there is a drain.
    pub(super) fn ask_to_go(&mut self, id: ClientId) {
        let notify = self.config.settings.drain_notify;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let linked = client.linked();
        let busy = linked
            .and_then(|server| self.servers.get(server))
            .is_some_and(|server| !server.flow.at_rest() || server.rest != Rest::None);
        let Stage::Session(session) = &mut client.stage else {
            return;
        };
        let at_rest = matches!(session.state, SessionState::Idle | SessionState::Linked(_))
            && session.rest == Rest::None
            && client.inbox.is_empty();
        if busy || !at_rest {
            return;
        }
        match session.carrier {
            Carrier::GoAway if tells_by_goaway(notify) => {
                write::go_away(client.outbox.buffer());
            }
            Carrier::Parameter if tells_by_parameter(notify) => {
                write::parameter_status(client.outbox.buffer(), DISCONNECT_REQUESTED, b"on");
            }
            _ => return,
        }
        session.carrier = Carrier::Told;
        if let Err(error) = client.outbox.flush(&mut client.stream) {
            self.close_client(id, &Reason::SocketFailed(error.kind()));
        }
    }

    /// Closes who is left when a timeout is over; ends when nobody is left.
    pub(super) fn drain_turn(&mut self) {
        let Some(draining) = &mut self.draining else {
            return;
        };
        draining.note_turn(self.now, Instant::now());
        let draining = &*draining;
        let order = draining.order;
        let waited = self.now.saturating_duration_since(draining.since);
        let over = |timeout: Duration| !timeout.is_zero() && waited >= timeout;
        if draining.ending {
            if self.servers.is_empty() {
                self.exit = Some(0);
            }
            return;
        }
        if over(order.kill_timeout) {
            let left = self
                .clients
                .ids(|client| matches!(client.stage, Stage::Session(_) | Stage::Login(_)));
            for id in left {
                self.close_client(id, &Reason::DrainDeadline);
            }
        } else if over(order.timeout) {
            for id in self.clients.ids(|client| client.session().is_some()) {
                if self.is_quiet(id) {
                    self.close_client(id, &Reason::DrainDeadline);
                }
            }
        }
        if (over(order.timeout) || over(order.kill_timeout)) && !self.clients.is_empty() {
            self.ticker.within(QUIET_INTERVAL);
        }
        if draining_done(self) {
            log::info!("drained");
            if let Some(draining) = &mut self.draining {
                draining.ending = true;
            }
            let sessions = self.clients.ids(|client| client.session().is_some());
            self.close_waiting(sessions, &Reason::ServerShuttingDown);
            for id in self.servers.ids(|_| true) {
                self.close_server(id, &ServerReason::Drained);
            }
            self.ticker.within(Duration::ZERO);
        }
    }

    /// Whether a client can be closed without an error crossing a query of it:
    /// between transactions, nothing heard for a while, nothing unread.
    fn is_quiet(&self, id: ClientId) -> bool {
        let Some(client) = self.clients.get(id) else {
            return false;
        };
        let Some(session) = client.session() else {
            return false;
        };
        let between = match session.state {
            SessionState::Idle => true,
            SessionState::Linked(server) => self.servers.get(server).is_some_and(|server| {
                server.flow.at_rest()
                    && server.rest == Rest::None
                    && server.flow.status() == TransactionStatus::Idle
            }),
            SessionState::Waiting | SessionState::Skipping => false,
        };
        let heard = client.heard.max(session.turned);
        let slow_turns = self.draining.as_ref().map(|draining| &draining.slow_turns);
        let heard = slow_turns
            .and_then(|turns| turns.get(&heard))
            .unwrap_or(&heard);
        let quiet = self.now.saturating_duration_since(*heard);
        between
            && session.rest == Rest::None
            && client.inbox.is_empty()
            && quiet >= QUIET_MIN.max(4 * round_trip_time(&client.stream).unwrap_or_default())
            && unread(&client.stream).is_ok_and(|bytes| bytes == 0)
    }

    /// Clients that need a server are closed, servers that rest as well.
    fn shut_servers(&mut self) {
        let waiting = self.clients.ids(|client: &Client| {
            client
                .session()
                .is_some_and(|session| session.state == SessionState::Waiting)
                || matches!(&client.stage, Stage::Login(login) if login.pool.is_some())
        });
        self.close_waiting(waiting, &Reason::ServerShuttingDown);
        for id in self
            .servers
            .ids(|server| matches!(server.state, ServerState::Idle))
        {
            self.close_server(id, &ServerReason::Drained);
        }
    }
}

/// Whether a drain is over: nobody is left whom it waits for.
fn draining_done(worker: &Worker) -> bool {
    let Some(draining) = &worker.draining else {
        return false;
    };
    if draining.closed.is_none() {
        return false;
    }
    if draining.order.kind == DrainKind::WaitForServers {
        return worker.servers.iter().all(|(_, server)| {
            matches!(
                server.state,
                ServerState::Idle | ServerState::Closing { .. }
            )
        });
    }
    worker
        .clients
        .iter()
        .all(|(_, client)| matches!(client.stage, Stage::Console(_)))
        && worker
            .errands
            .iter()
            .all(|(_, errand)| errand.is_of_console())
        && worker.stalled.is_empty()
}

/// A client is quiet when nothing was heard of it for this long, at least.
const QUIET_MIN: Duration = Duration::from_millis(100);

/// A turn that takes longer says little about when something was heard.
const SLOW_TURN: Duration = Duration::from_millis(5);

/// How long slow turns are remembered.
const A_WHILE: Duration = Duration::from_secs(2);

/// How often it is looked who is quiet.
const QUIET_INTERVAL: Duration = Duration::from_millis(20);

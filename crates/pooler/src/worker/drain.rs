//! Drain: ask clients to go, serve those who stay, and end if that is ordered.
//!
//! ```text
//! serving ──shutdown──> asked ──StopAccepting──> closed ──last client──> over
//! ```
//!
//! Whose turn it is and whose time is over is decided by [`Drains`]; here
//! clients are told and closed. An order to go away does nothing else, a
//! shutdown ends the worker.
//!
//! [`Drains`]: pgskein_pool::drain::Drains

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pgskein_pool::control::ToSupervisor;
use pgskein_pool::drain::Member;
use pgskein_pool::drain_order::{DrainKind, DrainOrder, DrainScope};
use pgskein_pool::pools::Pools;
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::auth::random;
use super::claims::Claims;
use super::client::{Carrier, Client, SessionState, Stage};
use super::quiet::SlowTurns;
use super::reason::{Reason, ServerReason};
use super::server::ServerState;
use crate::link::Link;
use crate::runtime_dir::{peer_socket_path, supervisor_socket_path};
use crate::scoreboard::WorkerState;

/// How far the end of this worker has come, if it is to end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Since when new sessions are refused.
    refusing: Option<Instant>,
    listening: Listening,
    /// When a successor has got the listeners.
    handed_over: Option<Instant>,
    /// Those who need a server were closed.
    shut: bool,
    /// The supervisor was told that nobody is left to be waited for.
    settled: bool,
    /// Since when that is so and the TCP listeners are closed.
    alone: Option<Instant>,
    /// When it is looked next who can be closed.
    next_look: Option<Instant>,
    pub slow_turns: SlowTurns,
    /// When the order to leave came.
    pub leaving_since: Option<Instant>,
    /// It is logged who has moved.
    pub moves_logged: bool,
}

/// What becomes of the TCP listeners.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Listening {
    /// They are accepted from.
    #[default]
    Open,
    /// They were closed.
    Closed,
    /// The last client has left since; the servers are being closed.
    Over,
}

impl Worker {
    /// Gives an order to end to the whole group, this worker included.
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
            scope: DrainScope::All,
            given: unix_milliseconds(),
            rate: settings.goaway_rate,
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

    /// Obeys an order, when it is first seen; says whether it is about anybody
    /// here.
    pub(super) fn obey(&mut self, order: DrainOrder) -> bool {
        let since = self.now + order.delay;
        self.obey_since(order, since)
    }

    /// Obeys an order of which the delay is over at `since`.
    pub(super) fn obey_since(&mut self, order: DrainOrder, since: Instant) -> bool {
        let ours = match order.scope {
            DrainScope::Worker(slot) => slot == self.slot,
            _ => true,
        };
        let kind = order.kind;
        if kind.is_shutdown() && !ours {
            return false;
        }
        if kind == DrainKind::Immediate {
            self.exit = Some(0);
            return true;
        }
        let timeout = order.timeout;
        let (pools, claims) = (&self.pools, &self.claims);
        let clients = self.clients.iter().filter(|_| ours);
        let members = clients.filter_map(|(id, client)| member(id, client, pools, claims));
        let Some(covered) = self.drains.obey(order, since, members, self.now) else {
            return true;
        };
        if kind.is_shutdown() {
            log::info!(
                "draining: clients={} servers={} timeout={}s",
                self.clients.len(),
                self.servers.len(),
                timeout.as_secs(),
            );
            self.cell.set_state(WorkerState::Draining);
            self.ending.leaving_since.get_or_insert(self.now);
            self.move_all();
        } else {
            log::debug!("asking {covered} clients to go");
        }
        self.ticker.within(Duration::ZERO);
        self.ask_clients();
        covered > 0
    }

    /// A client has a session from now on.
    pub(super) fn begin_session(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get(id)
            && let Some(member) = member(id, client, &self.pools, &self.claims)
        {
            self.drains.on_login(&member, self.now);
            if self.is_draining() {
                self.moves.join(id);
            }
            self.ask_clients();
        }
    }

    /// No client will come over TCP any more.
    pub(super) fn stop_accepting(&mut self) {
        self.stop_listening();
        self.refuse_sessions();
        if self.ending.listening == Listening::Open {
            self.ending.listening = Listening::Closed;
        }
    }

    /// New sessions are refused from now on; who is queued already is not.
    pub(super) fn refuse_sessions(&mut self) {
        self.accept_queued();
        self.ending.refusing.get_or_insert(self.now);
    }

    /// A successor accepts from the same sockets: whoever waits there is its.
    pub(super) fn hand_over_listeners(&mut self) {
        self.listeners.leave_all(self.poll.registry());
        self.ending.handed_over = Some(self.now);
        self.ending.refusing.get_or_insert(self.now);
        if self.ending.listening == Listening::Open {
            self.ending.listening = Listening::Closed;
        }
    }

    /// The supervisor has been gone for long: drain without an order.
    pub(super) fn drain_as_orphan(&mut self) {
        let settings = &self.config.settings;
        self.obey(DrainOrder {
            id: [0; 16],
            kind: DrainKind::WaitForClients,
            scope: DrainScope::All,
            given: unix_milliseconds(),
            rate: settings.goaway_rate,
            delay: Duration::ZERO,
            timeout: settings.drain_timeout,
            kill_timeout: settings.drain_kill_timeout,
        });
        self.stop_accepting();
    }

    /// Whether the worker is to end.
    pub(super) fn is_draining(&self) -> bool {
        self.drains.is_shutdown()
    }

    /// Whether a client has come too late for a session.
    pub(super) fn refuses_session(&self, id: ClientId) -> bool {
        let client = self.clients.get(id);
        let refusing = self.ending.refusing;
        refusing.is_some_and(|at| client.is_none_or(|client| client.accepted > at))
    }

    /// Whether no client of another worker may come any more.
    pub(super) fn takes_no_clients(&self) -> bool {
        self.is_draining() || self.ending.refusing.is_some()
    }

    /// Whether clients get no server any more.
    #[inline]
    pub(super) fn refuses_servers(&self) -> bool {
        self.drains.refuses_servers(self.now)
    }

    /// Asks whose turn it is, closes whose time is over, and ends when nobody is
    /// left.
    pub(super) fn drain_turn(&mut self) {
        if self.drains.is_empty() {
            return;
        }
        self.ending.slow_turns.note(self.now, Instant::now());
        self.ask_clients();
        self.close_overdue();
        if self.refuses_servers() && !self.ending.shut {
            self.ending.shut = true;
            self.shut_servers();
        }
        if self.is_draining() {
            self.end_turn();
        }
        self.drains.forget_ended(self.now);
        while let Some(report) = self.drains.poll_report(self.now) {
            self.tell_supervisor(&ToSupervisor::Drain(report));
        }
        let heard = self.control.as_ref().is_none_or(Link::has_sent_all);
        if self.ending.listening == Listening::Over && self.servers.is_empty() && heard {
            self.exit = Some(0);
        }
        if let Some(at) = self.drains.next_deadline(self.now) {
            let left = at.saturating_duration_since(self.now);
            self.ticker.within(left.max(SHORTEST_WAIT));
        }
    }

    fn close_overdue(&mut self) {
        if self.ending.next_look.is_some_and(|at| self.now < at) {
            return;
        }
        let overdue = self.drains.overdue(self.now);
        if self.drains.ends_logins(self.now) {
            let logins = self.clients.ids(|client| {
                matches!(client.stage, Stage::Login(_)) && !client.is_before_cancel()
            });
            self.close_waiting(logins, &Reason::DrainDeadline);
        }
        if overdue.is_empty() {
            return;
        }
        self.ending.next_look = Some(self.now + QUIET_INTERVAL);
        self.ticker.within(QUIET_INTERVAL);
        for client in overdue {
            if self.moves.is_in_flight(client.client) {
                continue;
            }
            let reason = if client.shutdown {
                Reason::DrainDeadline
            } else {
                Reason::AskedToGo
            };
            if client.at_once || self.is_quiet(client.client) {
                self.close_client(client.client, &reason);
            }
        }
    }

    /// Goes on with ending.
    fn end_turn(&mut self) {
        if self.ending.listening == Listening::Over {
            return;
        }
        let over = self.drains.stops_at().is_some_and(|at| at <= self.now);
        if self.control.is_none() && over && self.ending.listening == Listening::Open {
            // Nobody will say when its listeners are the last.
            self.stop_accepting();
        }
        let settled = self.is_settled();
        let alone = settled && self.ending.listening == Listening::Closed;
        self.ending.alone = alone.then(|| self.ending.alone.unwrap_or(self.now));
        if settled != self.ending.settled {
            self.ending.settled = settled;
            self.tell_supervisor(&ToSupervisor::Settled { settled });
        }
        if draining_done(self) {
            log::info!("drained");
            self.ending.listening = Listening::Over;
            let sessions = self.clients.ids(|client| client.session().is_some());
            self.close_waiting(sessions, &Reason::ServerShuttingDown);
            for id in self.servers.ids(|_| true) {
                self.close_server(id, &ServerReason::Drained);
            }
            self.ticker.within(Duration::ZERO);
        }
    }

    /// Whether nobody is left to be waited for but those who come to be refused.
    fn is_settled(&self) -> bool {
        let Some(refusing) = self.ending.refusing else {
            return false;
        };
        if self.hands_over() {
            return false;
        }
        if self.refuses_servers() {
            return no_server_in_use(self);
        }
        self.clients.iter().all(|(_, client)| match client.stage {
            Stage::Session(_) => false,
            Stage::Login(_) => client.is_before_cancel() || client.accepted > refusing,
            _ => true,
        })
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

/// The time of the wall, in milliseconds since 1970.
pub(crate) fn unix_milliseconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX)
}

/// A client as far as orders are about it, once it is logged in.
pub(super) fn member<'a>(
    id: ClientId,
    client: &Client,
    pools: &'a Pools,
    claims: &'a Claims,
) -> Option<Member<'a>> {
    let session = client.session()?;
    let pool = pools.get(session.pool)?;
    Some(Member {
        id,
        number: client.number,
        database: &pool.key.database,
        user: claims.user(client.number).unwrap_or(&pool.key.user),
        told: session.carrier == Carrier::Told,
    })
}

/// Whether a drain is over: nobody is left whom it waits for.
fn draining_done(worker: &Worker) -> bool {
    if worker.ending.listening != Listening::Closed {
        return false;
    }
    if worker.refuses_servers() {
        return no_server_in_use(worker);
    }
    let cancels_over = waits_no_more(worker);
    let clients_over = worker
        .clients
        .iter()
        .all(|(id, client)| match client.stage {
            Stage::Console(_) => !worker.moves.is_in_flight(id) && !holds_up(worker, client),
            Stage::Session(_) => false,
            _ => client.is_before_cancel() || cancels_over,
        });
    let errands = || worker.errands.iter();
    let idle = || {
        worker.peers.is_idle()
            && worker.stalled.is_empty()
            && errands().all(|(_, errand)| errand.is_of_console())
    };
    clients_over && (cancels_over || idle()) && !worker.hands_over()
}

/// Whether those who come to be refused or to cancel something, and may come for
/// ever, have been waited for long enough since the others have left. Whatever
/// came before has had its time.
fn waits_no_more(worker: &Worker) -> bool {
    let since = |at: Instant| worker.now.saturating_duration_since(at);
    let alone = worker.ending.alone.map(since);
    alone.is_some_and(|alone| alone > worker.cancel_time())
}

/// Whether a console may be in the middle of a conversation. A group that ends
/// does not care; a worker that has a successor waits a moment for it, since it
/// may have come by a socket that is the successor's by now.
fn holds_up(worker: &Worker, console: &Client) -> bool {
    let since = |at: Instant| worker.now.saturating_duration_since(at);
    let handed_over = worker.ending.handed_over;
    handed_over.is_some_and(|at| since(at) < CONSOLES_AT_MOST)
        && since(console.heard) < CONSOLE_PAUSE
}

fn no_server_in_use(worker: &Worker) -> bool {
    worker.servers.iter().all(|(_, server)| {
        matches!(
            server.state,
            ServerState::Idle | ServerState::Closing { .. }
        )
    })
}

/// How long a console may think about its next command.
const CONSOLE_PAUSE: Duration = Duration::from_secs(1);

/// How long consoles hold up a worker that leaves, at most.
const CONSOLES_AT_MOST: Duration = Duration::from_secs(10);

/// How often it is looked who is quiet.
const QUIET_INTERVAL: Duration = Duration::from_millis(20);

/// Turns that come sooner are taken together.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

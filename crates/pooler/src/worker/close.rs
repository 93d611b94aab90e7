//! Close: how connections end.
//!
//! A client that is closed by us is told why, then our side is shut down and
//! what it still sends is read and thrown away, so that no reset overtakes the
//! error. A server is sent Terminate; its lease goes back when the server has
//! closed its side, since only then PostgreSQL counts one connection less.
//!
//! Source: PostgreSQL documentation, "Termination".

use std::time::Duration;

use log::Level;
use pgskein_pool::control::{HostReport, ToSupervisor};
use pgskein_pool::drain::Leaving;
use pgskein_pool::pools::Failure;
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{Report, write};

use super::Worker;
use super::client::{Client, Rest, Session, SessionState, Stage, session_of};
use super::quiet::is_between;
use super::reason::{Reason, ServerReason};
use super::server::{Farewell, Retire, Server, ServerState};
use super::stream::{Filled, Stream};

impl Worker {
    /// Closes a client, after telling it why where that is possible.
    pub(super) fn close_client(&mut self, id: ClientId, reason: &Reason) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        if matches!(client.stage, Stage::Closing { .. }) {
            return self.drop_client(id);
        }
        if client.is_offered() {
            return self.undecided.close_later(id, reason);
        }
        let may_tell = !matches!(client.stage, Stage::Cancelling { .. })
            && self.between_messages(client.linked());
        let quiet = matches!(reason, Reason::DrainDeadline | Reason::AskedToGo);
        if !quiet {
            self.log_closed_client(client, reason);
        }
        // One that was quiet just now may not be for long.
        let told = may_tell && self.tell_why(id, reason);
        if quiet && let Some(client) = self.clients.get(id) {
            self.log_closed_client(client, reason);
        }
        self.note_leaving(id, reason);
        self.leave_stage(id, *reason == Reason::TerminatedInFlight);
        let deadline = self.now + LAST_WORDS_TIMEOUT;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.stage = Stage::Closing {
            deadline,
            shut: false,
        };
        client.inbox = Vec::new();
        let read = matches!(reason, Reason::ServerSaidWhy | Reason::ServerTorn);
        let alerted = matches!(reason, Reason::Tls(_));
        if !told && !read && !alerted {
            return self.drop_client(id);
        }
        self.closing_turn(id);
    }

    /// Tells a client why it is closed; false if there is nothing to tell, or
    /// nobody to be told.
    fn tell_why(&mut self, id: ClientId, reason: &Reason) -> bool {
        let (Some(client), Some(sqlstate)) = (self.clients.get_mut(id), reason.sqlstate()) else {
            return false;
        };
        let report = Report {
            severity: "FATAL",
            sqlstate,
            message: &reason.text(),
            detail: None,
            hint: reason.hint(),
        };
        write::error(client.outbox.buffer(), &report);
        client.outbox.flush(&mut client.stream).is_ok()
    }

    /// Goes on with closing: flush, shut our side down, read to the end.
    pub(super) fn closing_turn(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if client.outbox.flush(&mut client.stream).is_err() {
            return self.drop_client(id);
        }
        if client.outbox.is_empty()
            && let Stage::Closing { shut, .. } = &mut client.stage
            && !*shut
        {
            *shut = true;
            client.stream.shutdown_write();
        }
        if discard(&mut client.stream) {
            self.drop_client(id);
        } else if client.stream.readable() {
            self.wake_client(id);
        }
    }

    /// Forgets a client and closes its socket.
    pub(super) fn drop_client(&mut self, id: ClientId) {
        self.leave_stage(id, false);
        if let Some(mut client) = self.clients.remove(id) {
            client.stream.deregister(self.poll.registry());
            if client.counted {
                self.scoreboard.leave_place(self.cell);
            }
            self.forget_claim(client.number);
            self.for_cancels.remove(&id);
        }
    }

    /// Counts a client that a drain closes.
    fn note_leaving(&mut self, id: ClientId, reason: &Reason) {
        let drained = matches!(
            reason,
            Reason::DrainDeadline | Reason::AskedToGo | Reason::ServerShuttingDown
        );
        if drained && let Some(client) = self.clients.get(id) {
            let between = is_between(client, &self.servers);
            let waiting = client.session().is_some_and(Session::is_waiting);
            let how = if between || waiting {
                Leaving::ClosedIdle
            } else {
                Leaving::ClosedInTransaction
            };
            self.drains.on_left(id, how);
        }
    }

    /// Gives back all that a client has by its stage.
    fn leave_stage(&mut self, id: ClientId, good_bye: bool) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let closing = Stage::Closing {
            deadline: self.now,
            shut: false,
        };
        match std::mem::replace(&mut client.stage, closing) {
            Stage::Session(session) => {
                self.moves.on_left(id);
                if !self.drains.is_empty() {
                    self.drains.on_left(id, Leaving::ByItself);
                }
                self.keys.remove(session.key.process_id, id);
                self.parameters.release(session.parameters);
                if let Some(prepared) = session.prepared {
                    prepared.release(&mut self.statements);
                }
                match session.state {
                    SessionState::Linked(server) => {
                        self.count_unfinished(server);
                        self.abandon(server, session.rest, good_bye);
                    }
                    SessionState::Waiting => {
                        if let Some(pool) = self.pools.get_mut(session.pool) {
                            pool.forget_client(id);
                        }
                        self.wish(session.pool);
                    }
                    SessionState::Lost => {
                        self.lost.remove(&id);
                    }
                    SessionState::Idle
                    | SessionState::Skipping
                    | SessionState::Offered(_)
                    | SessionState::Coming(_) => {}
                }
            }
            Stage::Login(login) => {
                if let Some(server) = login.replication.and_then(|own| own.server()) {
                    self.lose_server(server, &ServerReason::OwnerLeft);
                }
                if let Some(pool_id) = login.pool {
                    if let Some(pool) = self.pools.get_mut(pool_id) {
                        pool.forget_client(id);
                    }
                    self.wish(pool_id);
                }
            }
            Stage::Console(console) => {
                self.moves.on_left(id);
                self.forget_gathering(console.state());
                self.console_left(id);
            }
            Stage::Cancelling { .. } | Stage::Closing { .. } => {}
        }
    }

    /// Closes a server in good order.
    pub(super) fn close_server(&mut self, id: ServerId, reason: &ServerReason) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if matches!(
            server.state,
            ServerState::Connecting { .. } | ServerState::LoggingIn { .. }
        ) {
            return self.lose_server(id, reason);
        }
        if matches!(server.state, ServerState::Closing { .. }) {
            return;
        }
        if server.is_offered() {
            // Once it is decided whose it is, whoever has it closes it.
            server.retire.get_or_insert(Retire::Changed);
            return;
        }
        let opening = server.is_opening();
        let (pool, lease) = (server.pool, server.lease);
        self.question_lost(id, reason);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.state = ServerState::Closing {
            deadline: self.now + TERMINATE_TIMEOUT,
        };
        // Behind half a message Terminate would be taken for its other half.
        let unclean = *reason == ServerReason::Unclean;
        if !unclean {
            write::terminate(server.outbox.buffer());
        }
        let failed = server.outbox.flush(&mut server.stream).is_err();
        if unclean {
            server.stream.shutdown_write();
        }
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.forget_idle(id);
            if opening {
                pool.on_open_failed(None, self.now);
            }
        }
        self.log_closed_server(id, reason);
        self.wake_cancels(id);
        if failed {
            return self.drop_server(id);
        }
        self.tell_supervisor(&ToSupervisor::Closing { lease });
        self.wish(pool);
    }

    /// Reads to the end of a server that was told to go.
    pub(super) fn server_closing_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let failed = server.outbox.flush(&mut server.stream).is_err();
        if failed || discard(&mut server.stream) {
            self.drop_server(id);
        } else if server.stream.readable() {
            self.wake_server(id);
        }
    }

    /// Gives up a server whose connection is of no use any more.
    pub(super) fn lose_server(&mut self, id: ServerId, reason: &ServerReason) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let client = server.client();
        let owner = server.owner;
        // What ends a stream is for the client to see, and nothing else.
        let said_why = server.farewell == Some(Farewell::Told) || owner.is_some();
        let torn = server.rest != Rest::None;
        let opening = server.is_opening();
        let new = !matches!(server.state, ServerState::Own { .. }) && opening;
        let (pool_id, lease) = (server.pool, server.lease);
        let target = || server.target.to_string();
        let host = reason.host().map_or_else(target, str::to_owned);
        if matches!(server.state, ServerState::Closing { .. }) {
            return self.drop_server(id);
        }
        self.log_closed_server(id, reason);
        self.question_lost(id, reason);
        if let Some(owner) = owner {
            self.refuse_owner(owner, reason);
        }
        let gone = matches!(
            reason,
            ServerReason::Lost | ServerReason::SocketFailed(_) | ServerReason::Tls(_)
        );
        if let Some(client) = client
            && !(gone && self.outlives(client, id))
        {
            let reason = if said_why {
                Reason::ServerSaidWhy
            } else if torn {
                Reason::ServerTorn
            } else {
                Reason::ServerLost
            };
            self.count_unfinished(id);
            if let Some(session) = session_of(&mut self.clients, client) {
                session.state = SessionState::Idle;
            }
            self.close_client(client, &reason);
        }
        let declined = *reason == ServerReason::Paused;
        let failure = (new && !declined).then(|| Failure {
            sqlstate: reason.sqlstate().to_owned(),
            message: reason.text().into_owned(),
        });
        let full = reason.is_too_many_connections();
        // Whether its host leaves is known to the ledger only.
        let unreachable = reason.unreachable().filter(|_| self.control.is_some());
        let leaving = self.pools.get(pool_id).and_then(|pool| pool.leaving());
        if failure.is_some() && reason.is_of_host() && leaving.is_some() {
            let host = host.clone();
            self.tell_supervisor(&ToSupervisor::Host(HostReport::Answered { lease, host }));
        }
        if opening && let Some(pool) = self.pools.get_mut(pool_id) {
            match &failure {
                Some(failure) if full => {
                    // The clients wait, and it is tried again.
                    pool.on_refused();
                    pool.on_too_many(failure.clone(), self.now);
                }
                Some(failure) if unreachable.is_some() => pool.on_unreachable(failure.clone()),
                _ => pool.on_open_failed(failure.clone(), self.now),
            }
        }
        match (failure, unreachable) {
            (Some(Failure { message, .. }), _) if full => {
                self.tell_supervisor(&ToSupervisor::TooMany { lease, message });
            }
            (Some(Failure { message, .. }), Some(says)) => {
                let report = HostReport::Unreachable {
                    lease,
                    host,
                    says,
                    message,
                };
                self.tell_supervisor(&ToSupervisor::Host(report));
            }
            (Some(_), None) => self.refuse_greeting(pool_id),
            (None, _) => {}
        }
        self.drop_server(id);
    }

    /// Forgets a server, closes its socket and gives its lease back.
    pub(super) fn drop_server(&mut self, id: ServerId) {
        let Some(mut server) = self.servers.remove(id) else {
            return;
        };
        self.count_servers();
        self.wake_cancels(id);
        server.stream.deregister(self.poll.registry());
        self.parameters.release(server.parameters);
        self.forget_statements(&mut server);
        if let Some(pool) = self.pools.get_mut(server.pool) {
            pool.forget_idle(id);
            pool.statistics.on_traffic(&server.traffic);
        }
        let pool = self.pools.on_returned(server.pool);
        self.wish(pool);
        drop(server.stream);
        if self.control.is_none() {
            // Nobody else can use the lease any more.
            self.spare_leases.push((pool, server.lease));
        }
        self.tell_supervisor(&ToSupervisor::Returned {
            lease: server.lease,
        });
    }

    /// `shop/alice@address` of a server, for the log.
    pub(super) fn server_name(&self, server: &Server) -> String {
        match self.pools.get(server.pool) {
            Some(pool) => format!("{}@{}", pool.key, server.target),
            None => server.target.to_string(),
        }
    }

    /// `shop/alice@address` of a client, for the log.
    pub(super) fn client_name(&self, client: &Client) -> String {
        let named = |database: &str, user: &str| format!("{database}/{user}@{}", client.origin);
        match &client.stage {
            Stage::Login(login) => named(&login.database, &login.user),
            Stage::Console(console) => named("pgskein", console.user()),
            Stage::Session(session) => match self.pools.get(session.pool) {
                Some(pool) => {
                    let own = self.claims.user(client.number);
                    named(&pool.key.database, own.unwrap_or(&pool.key.user))
                }
                None => named("", ""),
            },
            Stage::Cancelling { .. } | Stage::Closing { .. } => named("", ""),
        }
    }

    fn log_closed_client(&self, client: &Client, reason: &Reason) {
        let settings = &self.config.settings;
        let wanted = match reason {
            Reason::CancelDone => false,
            _ if reason.is_ours() => settings.log_pooler_errors || settings.log_disconnections,
            _ => settings.log_disconnections,
        };
        if wanted {
            log::log!(
                reason.level(),
                "c{} {}: closed: {}{}{}, age={}s",
                client.number,
                self.client_name(client),
                reason.text(),
                reason
                    .detail()
                    .map_or_else(String::new, |detail| format!(" ({detail})")),
                client.known_by(),
                self.now
                    .saturating_duration_since(client.accepted)
                    .as_secs(),
            );
        }
    }

    fn log_closed_server(&self, id: ServerId, reason: &ServerReason) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        // Whoever waits for it wants to know why it does not come.
        let failed = server.is_opening() && reason.is_failure();
        if failed || self.config.settings.log_disconnections {
            log::log!(
                if failed { Level::Warn } else { Level::Info },
                "s{} {}: closed: {}, age={}s",
                server.number,
                self.server_name(server),
                reason.text(),
                self.now.saturating_duration_since(server.opened).as_secs(),
            );
        }
    }
}

impl Server {
    /// Whether the pool still counts it as one that is on its way.
    pub(super) fn is_opening(&self) -> bool {
        use super::server::OwnQuery;
        self.owner.is_none()
            && matches!(
                self.state,
                ServerState::Connecting { .. }
                    | ServerState::LoggingIn { .. }
                    | ServerState::Own {
                        query: OwnQuery::Connect | OwnQuery::Check,
                        ..
                    }
            )
    }
}

/// Throws away what comes; true at the end of the stream.
fn discard(stream: &mut Stream) -> bool {
    let mut nothing = Vec::new();
    let mut scratch = [0; 4096];
    for _ in 0..DISCARD_READS {
        if !stream.readable() {
            return false;
        }
        match stream.fill(&mut nothing, &mut scratch) {
            Ok(Filled::Nothing) => return false,
            Ok(Filled::End) | Err(_) => return true,
            Ok(_) => {}
        }
    }
    false
}

/// How long a client that was told why may take to close its side.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a server may take to close its side after Terminate.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(1);

/// Reads of one turn of a connection that is thrown away.
const DISCARD_READS: usize = 16;

//! Relay: the way of a byte.
//!
//! What was read into the scratch buffer goes from there to the other socket
//! in one write. Each frame gets a verdict from the server's flow; runs of
//! frames with the same verdict are written together. Only what a socket does
//! not take, and a header that is not whole yet, is copied.

use pgskein_config::PoolMode;
use pgskein_pool::parameters::Parameters;
use pgskein_pool::pools::Request;
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{Header, TransactionStatus, write};

use super::clean::is_pinned;
use super::client::{Rest, Session, SessionState, Stage, session_of};
use super::prepared::Step;
use super::reason::{Reason, ServerReason};
use super::scan::{Stop, scan_linked, scan_unlinked};
use super::server::{OwnQuery, Server, ServerState};
use super::stream::Filled;
use super::{Runnable, Worker};

impl Worker {
    /// Gives a client its turn.
    #[inline]
    pub(super) fn client_turn(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.queued = false;
        if !client.outbox.is_empty() {
            if let Err(error) = client.outbox.flush(&mut client.stream) {
                return self.close_client(id, &Reason::SocketFailed(error.kind()));
            }
            if client.outbox.is_empty()
                && let Some(server) = client.linked()
                && let Some(server_to_wake) = self.servers.get_mut(server)
                && !server_to_wake.queued
            {
                server_to_wake.queued = true;
                self.runnable.push(Runnable::Server(server));
            }
        }
        match client.stage {
            Stage::Session(_) => self.session_turn(id),
            Stage::Login(_) => self.login_turn(id),
            Stage::Console(_) => self.console_turn(id),
            Stage::Closing { .. } => self.closing_turn(id),
            Stage::Cancelling { .. } => {}
        }
    }

    /// Gives a server its turn.
    #[inline]
    pub(super) fn server_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.queued = false;
        match server.state {
            ServerState::Connecting { .. } => return self.connect_turn(id),
            ServerState::LoggingIn { .. } => return self.server_login_turn(id),
            ServerState::Closing { .. } => return self.server_closing_turn(id),
            ServerState::Own {
                query: OwnQuery::Secret,
                ..
            } => return self.question_turn(id),
            ServerState::Offered(_) | ServerState::Coming(_) => return,
            _ => {}
        }
        if !server.outbox.is_empty() {
            if let Err(error) = server.outbox.flush(&mut server.stream) {
                return self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
            }
            if server.outbox.is_empty()
                && let Some(client) = server.client()
            {
                self.wake_client(client);
            }
        }
        self.read_server(id);
    }

    /// Puts a client into the run queue.
    #[inline]
    pub(super) fn wake_client(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && !client.queued
        {
            client.queued = true;
            self.runnable.push(Runnable::Client(id));
        }
    }

    /// Puts a server into the run queue.
    #[inline]
    pub(super) fn wake_server(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get_mut(id)
            && !server.queued
        {
            server.queued = true;
            self.runnable.push(Runnable::Server(id));
        }
    }

    #[inline]
    fn session_turn(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if !client.inbox.is_empty() {
            return self.session_turn_with_inbox(id);
        }
        self.read_session(id);
    }

    /// The inbox has what was sent while the client waited or logged in, or
    /// the beginning of a header.
    #[cold]
    fn session_turn_with_inbox(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && client
                .session()
                .is_some_and(|session| session.state != SessionState::Waiting)
        {
            let bytes = std::mem::take(&mut client.inbox);
            if let Err(reason) = self.take_inbox(id, bytes) {
                return self.close_client(id, &reason);
            }
        }
        self.read_session(id);
    }

    #[inline]
    fn read_session(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let Stage::Session(session) = &client.stage else {
            return;
        };
        if !client.stream.readable() {
            return;
        }
        if !client.outbox.is_empty() && !client.stream.read_closed() {
            // Who does not read is not read either.
            return;
        }
        match session.state {
            _ if session.held
                && (!client.stream.read_closed() || client.inbox.len() > self.scratch.len()) =>
            {
                return;
            }
            // What waits is not read on, unless to see that the client left.
            SessionState::Waiting if !client.stream.read_closed() => return,
            SessionState::Waiting if client.inbox.len() > self.scratch.len() => return,
            SessionState::Offered(_) | SessionState::Coming(_) => return,
            SessionState::Linked(server)
                if self
                    .servers
                    .get(server)
                    .is_some_and(|server| !server.outbox.is_empty()) =>
            {
                return;
            }
            _ => {}
        }
        client.heard = self.now;
        let mut scratch = std::mem::take(&mut self.scratch);
        let filled = client.stream.fill(&mut client.inbox, &mut scratch);
        let more = client.stream.readable();
        let outcome = match filled {
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(Reason::Left),
            Ok(Filled::Scratch(end)) => {
                self.take_from_client(id, scratch.get(..end).unwrap_or_default())
            }
            Ok(Filled::Inbox(bytes)) => self.take_inbox(id, bytes),
            Err(error) => Err(Reason::of_socket(&error)),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) if more => self.wake_client(id),
            Ok(()) => {}
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// Takes what a client has sent, and keeps what cannot be used yet.
    pub(super) fn take_from_client(&mut self, id: ClientId, bytes: &[u8]) -> Result<(), Reason> {
        if self.config.settings.disable_pqexec && self.holds_simple_query(id, bytes) {
            return Err(Reason::SimpleQuery);
        }
        let used = self.forward(id, bytes)?;
        if let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
            && let Some(client) = self.clients.get_mut(id)
        {
            client.inbox.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes what was kept of a client, and keeps it where it is while nothing
    /// of it can be used.
    fn take_inbox(&mut self, id: ClientId, bytes: Vec<u8>) -> Result<(), Reason> {
        let used = self.forward(id, &bytes)?;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        if used == 0 && client.inbox.is_empty() {
            client.inbox = bytes;
        } else if let Some(rest) = bytes.get(used..) {
            client.inbox.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Passes frames of a client on; gives the number of bytes used.
    fn forward(&mut self, id: ClientId, bytes: &[u8]) -> Result<usize, Reason> {
        let max = self.config.settings.max_packet_size;
        let now = self.now;
        let (mut at, mut from) = (0, 0);
        loop {
            let Some(session) = session_of(&mut self.clients, id) else {
                return Ok(bytes.len());
            };
            session.held = false;
            let (stop, linked) = match session.state {
                SessionState::Linked(linked) => {
                    let Some(server) = self.servers.get_mut(linked) else {
                        return Err(Reason::ServerLost);
                    };
                    let mut fresh = false;
                    if server.flow.at_rest() {
                        session.turned = now;
                        if server.flow.status() == TransactionStatus::Idle {
                            session.since = now;
                            fresh = true;
                        }
                    }
                    let begun = at;
                    let mut stop =
                        scan_linked(session, server, &self.parameters, bytes, &mut at, max);
                    if let Stop::Plan(header) = stop {
                        self.flight.begin(fresh && at == from);
                        stop = self.put_together(id, linked, header, bytes, from, &mut at)?;
                        from = at;
                    }
                    let Some(server) = self.servers.get_mut(linked) else {
                        from = at;
                        continue;
                    };
                    server.traffic.received += (at - begun) as u64;
                    let run = bytes.get(from..at).unwrap_or_default();
                    if !run.is_empty() {
                        server.replay.forget();
                    }
                    let sent = if run.is_empty() && !server.outbox.is_empty() {
                        // What linking has put there does not wait for the rest
                        // of a message.
                        server.outbox.flush(&mut server.stream)
                    } else {
                        server.outbox.send(&mut server.stream, run)
                    };
                    if let Err(error) = sent {
                        self.lose_server(linked, &ServerReason::SocketFailed(error.kind()));
                        from = at;
                        continue;
                    }
                    if server.flow.take_flush() && server.rest == Rest::None {
                        self.give_answers(Some(id), linked);
                        self.flush_and_wake(id);
                    } else if server.flow.at_rest() {
                        self.release_late(id, linked);
                    }
                    (stop, true)
                }
                _ => (scan_unlinked(session, bytes, &mut at, max), false),
            };
            from = at;
            match stop {
                Stop::Tail => return Ok(at),
                Stop::Drop | Stop::SkippedToSync => {
                    if let Some(session) = session_of(&mut self.clients, id) {
                        session.rest.take(bytes.len(), &mut at);
                        let pool = session.pool;
                        self.count_dropped(pool, at - from);
                    }
                    from = at;
                    if matches!(stop, Stop::SkippedToSync) {
                        self.answer_skipped_sync(id)?;
                    }
                }
                Stop::Hold => {
                    if let Some(session) = session_of(&mut self.clients, id) {
                        session.held = true;
                    }
                    return Ok(at);
                }
                Stop::NeedsServer if linked => {}
                Stop::NeedsServer => {
                    if !self.request(id)? {
                        return Ok(at);
                    }
                }
                Stop::Lost(header) => {
                    let frame = bytes.get(at..).unwrap_or_default();
                    match self.answer_lost(id, header, frame)? {
                        Some(used) => at += used,
                        None => return Ok(at),
                    }
                }
                Stop::Terminate if at > 0 => return Err(Reason::TerminatedInFlight),
                Stop::Terminate => return Err(Reason::Terminated),
                Stop::Bad(fault) => return Err(Reason::Protocol(fault.to_string())),
                _ => return Ok(at),
            }
        }
    }

    /// [`scan_linked`] for what follows in the same turn.
    #[inline(never)]
    fn scan_on(
        session: &mut Session,
        server: &mut Server,
        parameters: &Parameters,
        bytes: &[u8],
        at: &mut usize,
        max: u32,
    ) -> Stop {
        scan_linked(session, server, parameters, bytes, at, max)
    }

    /// Puts together what is sent from the first message on that may name a
    /// prepared statement, and sends it; gives why that stopped.
    fn put_together(
        &mut self,
        id: ClientId,
        linked: ServerId,
        first: Header,
        bytes: &[u8],
        mut from: usize,
        at: &mut usize,
    ) -> Result<Stop, Reason> {
        let max = self.config.settings.max_packet_size;
        let mut header = first;
        let stop = loop {
            let frame = bytes.get(*at..).unwrap_or_default();
            let run = bytes.get(from..*at).unwrap_or_default();
            self.flight.bytes.extend_from_slice(run);
            from = *at;
            match self.plan(id, linked, header, frame)? {
                Step::Hold => break Stop::Hold,
                Step::More => break Stop::Tail,
                Step::Sent(replaced) => from += replaced,
            }
            let (Some(session), Some(server)) = (
                session_of(&mut self.clients, id),
                self.servers.get_mut(linked),
            ) else {
                return Err(Reason::ServerLost);
            };
            server.look_at(header, frame, &self.parameters);
            if frame.len() < header.total() {
                session.rest = Rest::Forward(header.total() - frame.len());
            }
            *at = bytes.len().min(*at + header.total());
            match Self::scan_on(session, server, &self.parameters, bytes, at, max) {
                Stop::Plan(next) => header = next,
                stop => break stop,
            }
        };
        let run = bytes.get(from..*at).unwrap_or_default();
        self.flight.bytes.extend_from_slice(run);
        if let Some(server) = self.servers.get_mut(linked)
            && !self.flight.bytes.is_empty()
        {
            server.replay.forget();
            if let Err(error) = server.outbox.send(&mut server.stream, &self.flight.bytes) {
                self.lose_server(linked, &ServerReason::SocketFailed(error.kind()));
            } else {
                self.flight.keep(&mut server.replay);
            }
        }
        Ok(stop)
    }

    /// Finds a server for a client; false when it has to wait.
    #[inline]
    fn request(&mut self, id: ClientId) -> Result<bool, Reason> {
        if self.refuses_servers() {
            return Err(Reason::ServerShuttingDown);
        }
        let settings = &self.config.settings;
        let round_robin = settings.server_round_robin;
        let stale = self.stale;
        let now = self.now;
        let Some(session) = session_of(&mut self.clients, id) else {
            return Err(Reason::Left);
        };
        let pool_id = session.pool;
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return Err(Reason::DatabaseRemoved);
        };
        match pool.request(id, round_robin, stale, now) {
            Request::Link(server)
                if self
                    .servers
                    .get(server)
                    .is_some_and(|server| server.stream.readable()) =>
            {
                // It may have said that it goes, or be gone.
                if self.hear_idle(server) {
                    self.link(id, server);
                    return Ok(true);
                }
                self.request(id)
            }
            Request::Link(server) => {
                self.link(id, server);
                Ok(true)
            }
            waits => {
                session.state = SessionState::Waiting;
                session.since = now;
                if let Request::Test(server) = waits {
                    self.run_own(server, OwnQuery::Check);
                }
                self.wish(pool_id);
                self.check_hope(pool_id).map(|()| false)
            }
        }
    }

    /// Lends a server to a client and brings it to the client's parameters.
    #[inline(always)]
    pub(super) fn link(&mut self, id: ClientId, server_id: ServerId) {
        let now = self.now;
        let (Some(session), Some(server)) = (
            session_of(&mut self.clients, id),
            self.servers.get_mut(server_id),
        ) else {
            return;
        };
        session.state = SessionState::Linked(server_id);
        session.since = now;
        session.turned = now;
        server.state = ServerState::Linked(id);
        server.used = true;
        let pool = self.pools.get_mut(session.pool).map(|pool| {
            pool.statistics.on_assigned();
            &pool.settings
        });
        let mode = pool.map_or(PoolMode::Session, |pool| pool.pool_mode);
        server.watch.begin(pool, &self.config.settings);
        let renames = mode != PoolMode::Session
            && (self.config.settings.max_prepared_statements > 0 || session.prepared.is_some());
        server.flow.on_link(renames, mode == PoolMode::Statement);
        if session.parameters != server.parameters {
            let queries = self
                .parameters
                .difference(session.parameters, server.parameters);
            for sql in queries {
                // In the same flight as the client's own message.
                write::query(server.outbox.buffer(), sql);
                server.flow.on_own_query();
            }
        }
    }

    /// Releases a server whose client has just finished, with bytes that
    /// nobody waits for, a frame that was begun before its last answer.
    fn release_late(&mut self, id: ClientId, server_id: ServerId) {
        let Some(session) = session_of(&mut self.clients, id) else {
            return;
        };
        let Some(server) = self.servers.get(server_id) else {
            return;
        };
        let pool = self.pools.get(session.pool);
        let mode = pool.map(|pool| pool.settings.pool_mode);
        if session.rest == Rest::None
            && server.rest == Rest::None
            && mode != Some(PoolMode::Session)
            && server.flow.status() == TransactionStatus::Idle
            && is_pinned(pool, session.state, &self.servers, &self.parameters).is_none()
        {
            session.state = SessionState::Idle;
            session.since = self.now;
            self.free(server_id);
            self.tell(id);
        }
    }
}

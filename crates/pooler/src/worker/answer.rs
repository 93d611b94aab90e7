//! Answer: the way of a byte from a server to its client.
//!
//! A ReadyForQuery after which nothing is due, outside a transaction, gives
//! the server back; what answers a query of ours goes nowhere.

use pgskein_config::PoolMode;
use pgskein_pool::flow::Ready;
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{ErrorFields, TransactionStatus, backend as messages, write};

use super::Worker;
use super::clean::is_pinned;
use super::client::{Rest, SessionState, Stage, session_of};
use super::prepared::Told;
use super::reason::{Reason, ServerReason};
use super::role::IN_HOT_STANDBY;
use super::scan::{HEADER, Stop, scan_server};
use super::server::ServerState;
use super::stream::Filled;

/// What is to be done once the bytes of a server are used up.
#[derive(Debug, Default)]
struct Backward {
    used: usize,
    /// Bytes for the client.
    sent: usize,
    /// It may be lent to the next client.
    released: bool,
    /// A query of ours has ended, and whether it failed.
    own: Option<bool>,
    /// Nothing is due from it any more.
    settled: bool,
    /// The client is given answers of ours.
    answered: bool,
    /// A batch of its client is to be sent once more.
    again: bool,
    /// The client's socket failed.
    client_failed: Option<std::io::ErrorKind>,
    /// The client began a transaction block in statement mode.
    in_block: bool,
}

impl Worker {
    /// Reads what a server has sent, unless its client does not read.
    pub(super) fn read_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if !server.stream.readable() {
            return;
        }
        if let Some(client) = server.client()
            && self
                .clients
                .get(client)
                .is_some_and(|client| !client.outbox.is_empty())
        {
            // The client does not read: its server waits, and nobody else.
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let filled = server.stream.fill(&mut server.inbox, &mut scratch);
        let more = server.stream.readable();
        let outcome = match filled {
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(ServerReason::Lost),
            Ok(Filled::Scratch(end)) => {
                self.take_from_server(id, scratch.get(..end).unwrap_or_default())
            }
            Ok(Filled::Inbox(bytes)) => self.take_from_server(id, &bytes),
            Err(error) => Err(ServerReason::of_socket(&error)),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) if more => self.wake_server(id),
            Ok(()) => {}
            Err(reason) => self.lose_server(id, &reason),
        }
    }

    /// Takes what a server has sent, and keeps what cannot be used yet.
    pub(super) fn take_from_server(
        &mut self,
        id: ServerId,
        bytes: &[u8],
    ) -> Result<(), ServerReason> {
        let mut done = self.backward(id, bytes)?;
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        server.traffic.sent += done.sent as u64;
        if let Some(rest) = bytes.get(done.used..)
            && !rest.is_empty()
        {
            server.inbox.extend_from_slice(rest);
        }
        let client = server.client();
        let dirty = server.dirty.any();
        if server.flow.unfinished() {
            // Never in the middle of a message.
            if server.rest == Rest::None {
                self.give_answers(client, id);
                done.answered = true;
            }
            self.settle_statements(client, id);
        }
        if done.answered
            && let Some(client) = client.and_then(|id| self.clients.get_mut(id))
            && let Err(error) = client.outbox.flush(&mut client.stream)
        {
            done.client_failed = Some(error.kind());
        }
        if done.again {
            self.send_again(client, id)?;
        }
        if let Some(server) = self.servers.get(id)
            && server.flow.skipping()
            && let Some(client) = client
            && session_of(&mut self.clients, client).is_some_and(|session| session.held)
        {
            // What it waits for was skipped, and its Sync has to come.
            self.wake_client(client);
        }
        if let Some(kind) = done.client_failed {
            if let Some(client) = client {
                self.close_client(client, &Reason::SocketFailed(kind));
            }
        } else if done.in_block {
            if let Some(client) = client {
                self.close_client(client, &Reason::TransactionInStatementMode);
            }
        } else if done.released {
            if dirty || self.config.settings.server_reset_query_always {
                self.free(id);
            } else {
                self.lend(id);
            }
        } else if let Some(failed) = done.own {
            self.own_query_done(id, failed);
        } else if done.settled {
            self.settled(id);
        } else if client.is_none() {
            self.recover(id);
        }
        Ok(())
    }

    /// Passes frames of a server on.
    fn backward(&mut self, id: ServerId, bytes: &[u8]) -> Result<Backward, ServerReason> {
        let mut done = Backward::default();
        let (mut at, mut from) = (0, 0);
        loop {
            let Some(server) = self.servers.get_mut(id) else {
                return Ok(done);
            };
            let gone = done.released || done.in_block;
            let client = if gone { None } else { server.client() };
            let stop = scan_server(server, client.is_some(), bytes, &mut at);
            if let Stop::Ready(ready) = stop
                && !ready.own
                && !ready.retry
                && !ready.settled
                && ready.status == TransactionStatus::Idle
            {
                if let Some(client) = client {
                    self.ready_in_pipeline(client);
                }
                continue;
            }
            if let Some(client) = client
                && at > from
            {
                let mut end = at;
                if let Stop::Ready(ready) = stop
                    && ready.status != TransactionStatus::Idle
                    && !ready.own
                    && !ready.retry
                    && self.refuses_blocks(id)
                {
                    // The error that is the answer comes in its place.
                    done.in_block = true;
                    end -= READY_LEN;
                }
                self.pass(client, bytes.get(from..end).unwrap_or_default(), &mut done);
            }
            from = at;
            match stop {
                Stop::Drop | Stop::GoAway => {
                    if let Some(server) = self.servers.get_mut(id) {
                        server.rest.take(bytes.len(), &mut at);
                    }
                    from = at;
                    if matches!(stop, Stop::GoAway) {
                        self.on_go_away(id);
                    }
                }
                Stop::Ready(ready) if ready.own => {
                    at += READY_LEN;
                    from = at;
                    self.wake_cancels(id);
                    match client {
                        Some(client) => self.parameters_set(client, id),
                        None if self.runs_own(id) => done.own = Some(ready.own_failed),
                        // A SET whose client has left meanwhile.
                        None => done.settled |= ready.settled,
                    }
                }
                Stop::Ready(ready) if ready.retry => {
                    at += READY_LEN;
                    from = at;
                    done.again = client.is_some();
                    done.settled |= client.is_none();
                }
                Stop::Ready(ready) if !ready.expected && self.is_free(id) => {
                    return Err(ServerReason::Protocol(
                        "unexpected ReadyForQuery".to_owned(),
                    ));
                }
                Stop::Ready(ready) => {
                    self.ready(client, ready, &mut done);
                    if at == bytes.len() {
                        done.used = at;
                        return Ok(done);
                    }
                }
                Stop::Parameter(header) => {
                    let end = at + header.total();
                    let body = bytes.get(at + HEADER..end).unwrap_or_default();
                    let wanted = self.parameter_reported(id, client, body)?;
                    at = end;
                    if !wanted || client.is_none() {
                        from = at;
                    }
                }
                Stop::OwnError(header) => {
                    let body = bytes
                        .get(at + HEADER..at + header.total())
                        .unwrap_or_default();
                    self.own_query_refused(id, &ErrorFields::parse(body));
                    at += header.total();
                    from = at;
                }
                Stop::Answer => {
                    self.give_answers(client, id);
                    done.answered = true;
                }
                Stop::Deallocated(header) => {
                    if let Some(client) = client.and_then(|id| self.clients.get_mut(id)) {
                        let out = client.outbox.buffer();
                        let before = out.len();
                        write::command_complete(out, "DEALLOCATE");
                        done.sent += out.len() - before;
                    }
                    done.answered = true;
                    at += header.total();
                    from = at;
                }
                Stop::Error(header) => {
                    let end = at + header.total();
                    let body = bytes.get(at + HEADER..end).unwrap_or_default();
                    let told = self.told_of_error(client, id, body);
                    at = end;
                    if told != Told::AsItIs || client.is_none() {
                        from = at;
                    }
                    if let (Told::Instead(error), Some(client)) = (told, client) {
                        self.pass(client, &error, &mut done);
                    }
                }
                Stop::Farewell(header) => {
                    let end = at + header.total();
                    let body = bytes.get(at + HEADER..end).unwrap_or_default();
                    if self.note_farewell(id, client, body) {
                        at = end;
                        from = at;
                    }
                }
                Stop::Bad(fault) => return Err(ServerReason::Protocol(fault.to_string())),
                _ => {
                    done.used = at;
                    return Ok(done);
                }
            }
        }
    }

    /// Writes to a client.
    #[inline]
    fn pass(&mut self, id: ClientId, bytes: &[u8], done: &mut Backward) {
        done.sent += bytes.len();
        if let Some(client) = self.clients.get_mut(id)
            && let Err(error) = client.outbox.send(&mut client.stream, bytes)
        {
            done.client_failed = Some(error.kind());
        }
    }

    /// Decides what a ReadyForQuery means for the client that it went to.
    #[inline]
    fn ready(&mut self, client: Option<ClientId>, ready: Ready, done: &mut Backward) {
        let now = self.now;
        let Some(id) = client else {
            done.settled |= ready.settled;
            return;
        };
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let partial = !client.inbox.is_empty();
        let Stage::Session(session) = &mut client.stage else {
            return;
        };
        let idle = ready.status == TransactionStatus::Idle;
        let (since, turned) = (session.since, session.turned);
        session.turned = now;
        let pool = self.pools.get_mut(session.pool).map(|pool| {
            pool.statistics.on_answered(since, turned, now, idle);
            &*pool
        });
        if done.client_failed.is_some() || done.in_block {
            // It is closed with its server still linked to it.
            return;
        }
        let mode = pool.map_or(PoolMode::Session, |pool| pool.settings.pool_mode);
        let whole = session.rest == Rest::None;
        let mut pinned = None;
        if idle && mode != PoolMode::Session && whole {
            pinned = is_pinned(pool, session.state, &self.servers, &self.parameters);
            if pinned.is_none() {
                session.state = SessionState::Idle;
                session.since = now;
                done.released = true;
            }
        }
        if session.held || client.stream.readable() {
            self.wake_client(id);
        }
        if whole && !partial && (self.drains.has_due() || self.moves.has_busy()) {
            self.tell(id);
        }
        if let Some(server) = pinned {
            self.note_pinned(server);
        }
    }

    /// Notes a ReadyForQuery behind which more answers are due.
    #[inline(never)]
    fn ready_in_pipeline(&mut self, id: ClientId) {
        let Some(session) = session_of(&mut self.clients, id) else {
            return;
        };
        let now = self.now;
        let (since, turned) = (session.since, session.turned);
        // What comes next is a transaction of its own.
        (session.since, session.turned) = (now, now);
        if let Some(pool) = self.pools.get_mut(session.pool) {
            pool.statistics.on_answered(since, turned, now, true);
        }
        if session.held {
            self.wake_client(id);
        }
    }

    /// Whether clients of this server may not begin transaction blocks.
    fn refuses_blocks(&self, id: ServerId) -> bool {
        let pool = self.servers.get(id).map(|server| server.pool);
        pool.and_then(|pool| self.pools.get(pool))
            .is_some_and(|pool| pool.settings.pool_mode == PoolMode::Statement)
    }

    /// Whether a server runs a query of ours for itself.
    fn runs_own(&self, id: ServerId) -> bool {
        self.servers
            .get(id)
            .is_some_and(|server| matches!(server.state, ServerState::Own { .. }))
    }

    /// Whether nothing at all is due from a server.
    fn is_free(&self, id: ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| {
            matches!(
                server.state,
                ServerState::Idle | ServerState::BeingCancelled { .. }
            )
        })
    }

    /// A server has reported a parameter; true when its client wants to know.
    #[inline(never)]
    fn parameter_reported(
        &mut self,
        id: ServerId,
        client: Option<ClientId>,
        body: &[u8],
    ) -> Result<bool, ServerReason> {
        let Some((name, value)) = messages::parameter_status(body) else {
            return Err(ServerReason::Protocol(
                "malformed ParameterStatus".to_owned(),
            ));
        };
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(false);
        };
        let own = server.flow.answers_own();
        if name == DISCONNECT_REQUESTED {
            if value == b"on" {
                self.asked_to_go(id);
            }
            return Ok(false);
        }
        if name == IN_HOT_STANDBY {
            self.role_changed(id, value == b"on");
            return Ok(!own);
        }
        let Some(position) = self.parameters.position(name) else {
            return Ok(!own);
        };
        server.parameters = self.parameters.with(server.parameters, position, value);
        if !own
            && let Some(session) = client
                .and_then(|client| self.clients.get_mut(client))
                .and_then(|client| client.session_mut())
        {
            session.parameters = self.parameters.with(session.parameters, position, value);
        }
        Ok(!own)
    }

    /// A query of ours in front of a client's first message has ended.
    #[inline(never)]
    fn parameters_set(&mut self, client: ClientId, id: ServerId) {
        let (Some(session), Some(server)) = (
            session_of(&mut self.clients, client),
            self.servers.get_mut(id),
        ) else {
            return;
        };
        if !server.flow.answers_own() {
            (session.parameters, server.parameters) =
                self.parameters.agree(session.parameters, server.parameters);
        }
    }

    /// A server has refused a query of ours.
    #[inline(never)]
    fn own_query_refused(&mut self, id: ServerId, fields: &ErrorFields<'_>) {
        self.own_query_failed(id, fields);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if matches!(fields.severity(), Some("FATAL" | "PANIC")) {
            // The connection ends, and nobody was told why.
            server.farewell = None;
        } else if let Some(client) = server.client() {
            // The transaction that has failed keeps what the client has sent
            // in the same flight from being carried out.
            let reason = Reason::InvalidServerParameter {
                sqlstate: fields.sqlstate().unwrap_or("22023").to_owned(),
                message: fields.message().unwrap_or_default().into_owned(),
            };
            self.close_client(client, &reason);
        }
    }
}

/// Length of a ReadyForQuery.
const READY_LEN: usize = 6;

/// The parameter by which a server asks to be left; never passed on.
pub(super) const DISCONNECT_REQUESTED: &[u8] = b"disconnect_requested";

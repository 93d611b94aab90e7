//! Relay: the way of a byte.
//!
//! What was read into the scratch buffer goes from there to the other socket
//! in one write. Each frame gets a verdict from the server's flow; runs of
//! frames with the same verdict are written together. Only what a socket does
//! not take, and a header that is not whole yet, is copied.

use pgskein_config::PoolMode;
use pgskein_pool::flow::{ClientVerdict, Flow, Ready, ServerVerdict};
use pgskein_pool::pools::Request;
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::tag::{backend, frontend};
use pgskein_protocol::{ErrorFields, Header, TransactionStatus, backend as messages, write};

use super::client::{Rest, Session, SessionState, Stage};
use super::reason::{Reason, ServerReason};
use super::server::{OwnQuery, Server, ServerState};
use super::stream::Filled;
use super::{Runnable, Worker};

/// Why a scan of frames stopped.
#[derive(Debug)]
enum Stop {
    /// The rest is less than a header, or less than the whole that is needed.
    Tail,
    /// The next bytes are dropped; the session or server says how many.
    Drop,
    /// The next message needs a server.
    NeedsServer,
    /// A Sync ends what the client is made to skip.
    SkippedToSync,
    /// The client says good-bye.
    Terminate,
    /// The next frame ends the connection.
    Bad(String),
    /// A ReadyForQuery; one of ours is still to be dropped.
    Ready(Ready),
    /// A whole ParameterStatus, not consumed yet.
    Parameter(Header),
    /// A whole error that answers a query of ours, not consumed yet.
    OwnError(Header),
}

/// What is to be done once the bytes of a server are used up.
#[derive(Debug, Default)]
struct Backward {
    used: usize,
    /// It may be lent to the next client.
    released: bool,
    /// A query of ours has ended, and whether it failed.
    own: Option<bool>,
    /// Nothing is due from it any more.
    settled: bool,
    /// The client's socket failed.
    client_failed: Option<std::io::ErrorKind>,
    /// The client began a transaction block in statement mode.
    in_block: bool,
}

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
            {
                self.wake_server(server);
            }
        }
        match self.clients.get(id).map(|client| &client.stage) {
            Some(Stage::Session(_)) => self.session_turn(id),
            Some(Stage::Login(_)) => self.login_turn(id),
            Some(Stage::Console(_)) => self.console_turn(id),
            Some(Stage::Closing { .. }) => self.closing_turn(id),
            Some(Stage::Cancelling) | None => {}
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
            self.runnable.push_back(Runnable::Client(id));
        }
    }

    /// Puts a server into the run queue.
    #[inline]
    pub(super) fn wake_server(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get_mut(id)
            && !server.queued
        {
            server.queued = true;
            self.runnable.push_back(Runnable::Server(id));
        }
    }

    fn session_turn(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let Stage::Session(session) = &client.stage else {
            return;
        };
        if !client.stream.readable() && client.inbox.is_empty() {
            return;
        }
        match session.state {
            // What waits is not read on, unless to see that the client left.
            SessionState::Waiting if !client.stream.read_closed() => return,
            SessionState::Waiting if client.inbox.len() > self.scratch.len() => return,
            SessionState::Linked(server) => {
                if self
                    .servers
                    .get(server)
                    .is_some_and(|server| !server.outbox.is_empty())
                {
                    return;
                }
            }
            _ => {}
        }
        client.heard = self.now;
        if !client.inbox.is_empty() && client.linked().is_some() {
            // What it sent while it waited.
            let bytes = std::mem::take(&mut client.inbox);
            if let Err(reason) = self.take_from_client(id, &bytes) {
                return self.close_client(id, &reason);
            }
        }
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = match client.stream.fill(&mut client.inbox, &mut scratch) {
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(Reason::Left),
            Ok(Filled::Scratch(end)) => {
                self.take_from_client(id, scratch.get(..end).unwrap_or_default())
            }
            Ok(Filled::Inbox(bytes)) => self.take_from_client(id, &bytes),
            Err(error) => Err(Reason::SocketFailed(error.kind())),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) => {
                if self
                    .clients
                    .get(id)
                    .is_some_and(|client| client.stream.readable())
                {
                    self.wake_client(id);
                }
            }
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// Takes what a client has sent, and keeps what cannot be used yet.
    pub(super) fn take_from_client(&mut self, id: ClientId, bytes: &[u8]) -> Result<(), Reason> {
        let used = self.forward(id, bytes)?;
        if let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
            && let Some(client) = self.clients.get_mut(id)
        {
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
            let Some(session) = self
                .clients
                .get_mut(id)
                .and_then(|client| client.session_mut())
            else {
                return Ok(bytes.len());
            };
            let (stop, linked) = match session.state {
                SessionState::Linked(linked) => {
                    let Some(server) = self.servers.get_mut(linked) else {
                        return Err(Reason::ServerLost);
                    };
                    if server.flow.at_rest() {
                        session.turned = now;
                    }
                    let stop = scan_linked(session, &mut server.flow, bytes, &mut at, max);
                    let run = bytes.get(from..at).unwrap_or_default();
                    if let Err(error) = server.outbox.send(&mut server.stream, run) {
                        self.lose_server(linked, &ServerReason::SocketFailed(error.kind()));
                        return Ok(bytes.len());
                    }
                    if server.flow.at_rest() {
                        self.release_late(id, linked);
                    }
                    (stop, true)
                }
                _ => (scan_unlinked(session, bytes, &mut at, max), false),
            };
            from = at;
            match stop {
                Stop::Tail => return Ok(at),
                Stop::Drop => {
                    if let Some(session) = self
                        .clients
                        .get_mut(id)
                        .and_then(|client| client.session_mut())
                    {
                        session.rest.take(bytes.len(), &mut at);
                    }
                    from = at;
                }
                Stop::NeedsServer if linked => {}
                Stop::NeedsServer => {
                    if !self.request(id)? {
                        return Ok(at);
                    }
                }
                Stop::SkippedToSync => {
                    self.answer_skipped_sync(id)?;
                }
                Stop::Terminate => return Err(Reason::Terminated),
                Stop::Bad(text) => return Err(Reason::Protocol(text)),
                Stop::Ready(_) | Stop::Parameter(_) | Stop::OwnError(_) => return Ok(at),
            }
        }
    }

    /// Finds a server for a client; false when it has to wait.
    fn request(&mut self, id: ClientId) -> Result<bool, Reason> {
        if self.refuses_servers() {
            return Err(Reason::ServerShuttingDown);
        }
        let settings = &self.config.settings;
        let round_robin = settings.server_round_robin;
        let check_delay =
            (!settings.server_check_query.is_empty()).then_some(settings.server_check_delay);
        let now = self.now;
        let Some(session) = self
            .clients
            .get_mut(id)
            .and_then(|client| client.session_mut())
        else {
            return Err(Reason::Left);
        };
        let pool_id = session.pool;
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return Err(Reason::DatabaseRemoved);
        };
        match pool.request(id, round_robin, check_delay, now) {
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
                Ok(false)
            }
        }
    }

    /// Lends a server to a client and brings it to the client's parameters.
    pub(super) fn link(&mut self, id: ClientId, server_id: ServerId) {
        let now = self.now;
        let (Some(session), Some(server)) = (
            self.clients
                .get_mut(id)
                .and_then(|client| client.session_mut()),
            self.servers.get_mut(server_id),
        ) else {
            return;
        };
        session.state = SessionState::Linked(server_id);
        session.since = now;
        server.state = ServerState::Linked(id);
        if session.parameters != server.parameters
            && let Some(sql) = self
                .parameters
                .difference(session.parameters, server.parameters)
        {
            // In the same flight as the client's own message.
            write::query(server.outbox.buffer(), &sql);
            server.flow.on_own_query();
        }
    }

    /// Releases a server whose client has just finished, with bytes that
    /// nobody waits for, a frame that was begun before its last answer.
    fn release_late(&mut self, id: ClientId, server_id: ServerId) {
        let Some(session) = self
            .clients
            .get_mut(id)
            .and_then(|client| client.session_mut())
        else {
            return;
        };
        let Some(server) = self.servers.get(server_id) else {
            return;
        };
        let mode = self
            .pools
            .get(session.pool)
            .map(|pool| pool.settings.pool_mode);
        if session.rest == Rest::None
            && mode != Some(PoolMode::Session)
            && server.flow.status() == TransactionStatus::Idle
        {
            session.state = SessionState::Idle;
            session.since = self.now;
            self.free(server_id);
        }
    }

    /// Answers the Sync up to which a cancelled client was made to skip.
    fn answer_skipped_sync(&mut self, id: ClientId) -> Result<(), Reason> {
        let now = self.now;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        if let Stage::Session(session) = &mut client.stage {
            session.state = SessionState::Idle;
            session.since = now;
        }
        write::ready_for_query(client.outbox.buffer(), TransactionStatus::Idle);
        client
            .outbox
            .flush(&mut client.stream)
            .map_err(|error| Reason::SocketFailed(error.kind()))
    }

    fn read_server(&mut self, id: ServerId) {
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
        let outcome = match server.stream.fill(&mut server.inbox, &mut scratch) {
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(ServerReason::Lost),
            Ok(Filled::Scratch(end)) => {
                self.take_from_server(id, scratch.get(..end).unwrap_or_default())
            }
            Ok(Filled::Inbox(bytes)) => self.take_from_server(id, &bytes),
            Err(error) => Err(ServerReason::SocketFailed(error.kind())),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) => {
                if self
                    .servers
                    .get(id)
                    .is_some_and(|server| server.stream.readable())
                {
                    self.wake_server(id);
                }
            }
            Err(reason) => self.lose_server(id, &reason),
        }
    }

    /// Takes what a server has sent, and keeps what cannot be used yet.
    pub(super) fn take_from_server(
        &mut self,
        id: ServerId,
        bytes: &[u8],
    ) -> Result<(), ServerReason> {
        let done = self.backward(id, bytes)?;
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        if let Some(rest) = bytes.get(done.used..)
            && !rest.is_empty()
        {
            server.inbox.extend_from_slice(rest);
        }
        let client = server.client();
        if let Some(kind) = done.client_failed {
            if let Some(client) = client {
                self.close_client(client, &Reason::SocketFailed(kind));
            }
        } else if done.in_block {
            if let Some(client) = client {
                self.close_client(client, &Reason::TransactionInStatementMode);
            }
        } else if done.released {
            self.free(id);
        } else if let Some(failed) = done.own {
            self.own_query_done(id, failed);
        } else if done.settled {
            self.settled(id);
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
            let client = if done.released { None } else { server.client() };
            let stop = scan_server(server, client.is_some(), bytes, &mut at);
            if let Stop::Ready(ready) = stop
                && !ready.own
                && !ready.settled
            {
                continue;
            }
            if let Some(client) = client
                && at > from
            {
                self.pass(client, bytes.get(from..at).unwrap_or_default(), &mut done);
            }
            from = at;
            match stop {
                Stop::Drop => {
                    if let Some(server) = self.servers.get_mut(id) {
                        server.rest.take(bytes.len(), &mut at);
                    }
                    from = at;
                }
                Stop::Ready(ready) if ready.own => {
                    at += READY_LEN;
                    from = at;
                    done.own = Some(ready.own_failed);
                    if let Some(client) = client {
                        self.parameters_set(client, id, ready.own_failed)?;
                        done.own = None;
                    }
                }
                Stop::Ready(ready) => self.ready(client, ready, &mut done),
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
                    self.own_query_failed(id, &ErrorFields::parse(body));
                    at += header.total();
                    from = at;
                }
                Stop::Bad(text) => return Err(ServerReason::Protocol(text)),
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
            done.settled = true;
            return;
        };
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let partial = !client.inbox.is_empty();
        let Stage::Session(session) = &mut client.stage else {
            return;
        };
        session.turned = now;
        let mode = self
            .pools
            .get(session.pool)
            .map_or(PoolMode::Session, |pool| pool.settings.pool_mode);
        let whole = session.rest == Rest::None;
        if ready.status == TransactionStatus::Idle {
            if mode != PoolMode::Session && whole {
                session.state = SessionState::Idle;
                session.since = now;
                done.released = true;
            }
        } else if mode == PoolMode::Statement {
            done.in_block = true;
        }
        if client.stream.readable() {
            self.wake_client(id);
        }
        if whole && !partial && self.draining.is_some() {
            self.tell(id);
        }
    }

    /// A server has reported a parameter; true when its client wants to know.
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
            return Ok(false);
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

    /// The SET before a client's first message is done.
    fn parameters_set(
        &mut self,
        client: ClientId,
        server: ServerId,
        failed: bool,
    ) -> Result<(), ServerReason> {
        if failed {
            self.close_client(client, &Reason::InvalidServerParameter);
            return Err(ServerReason::OwnQueryFailed);
        }
        let (Some(session), Some(server)) = (
            self.clients
                .get_mut(client)
                .and_then(|client| client.session_mut()),
            self.servers.get(server),
        ) else {
            return Ok(());
        };
        // The server's spelling of the values is the one that counts.
        session.parameters = self
            .parameters
            .replace(session.parameters, server.parameters);
        Ok(())
    }
}

impl Rest {
    /// Moves `at` over the bytes that are there, up to `end`.
    #[inline]
    fn take(&mut self, end: usize, at: &mut usize) {
        let (Self::Forward(left) | Self::Drop(left)) = self else {
            return;
        };
        let step = (*left).min(end - *at);
        *at += step;
        *left -= step;
        if *left == 0 {
            *self = Self::None;
        }
    }
}

/// Walks over the frames of a linked client that go to its server.
#[inline]
fn scan_linked(
    session: &mut Session,
    flow: &mut Flow,
    bytes: &[u8],
    at: &mut usize,
    max: u32,
) -> Stop {
    loop {
        match session.rest {
            Rest::None => {}
            Rest::Forward(_) => {
                session.rest.take(bytes.len(), at);
                if session.rest != Rest::None {
                    return Stop::Tail;
                }
            }
            Rest::Drop(_) => return Stop::Drop,
        }
        let header = match Header::peek(bytes.get(*at..).unwrap_or_default()) {
            Ok(Some(header)) if header.length <= max => header,
            Ok(Some(header)) => return too_large(header),
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(error.to_string()),
        };
        match flow.on_client(header.tag) {
            ClientVerdict::Forward => session.rest = Rest::Forward(header.total()),
            ClientVerdict::Drop => session.rest = Rest::Drop(header.total()),
            ClientVerdict::Terminate => return Stop::Terminate,
            ClientVerdict::Unknown => return unknown(header),
        }
    }
}

/// Walks over the frames of a client without a server.
#[inline]
fn scan_unlinked(session: &mut Session, bytes: &[u8], at: &mut usize, max: u32) -> Stop {
    if session.state == SessionState::Waiting {
        return Stop::Tail;
    }
    match session.rest {
        Rest::None => {}
        Rest::Forward(left) | Rest::Drop(left) => {
            session.rest = Rest::Drop(left);
            return if *at < bytes.len() {
                Stop::Drop
            } else {
                Stop::Tail
            };
        }
    }
    let header = match Header::peek(bytes.get(*at..).unwrap_or_default()) {
        Ok(Some(header)) if header.length <= max => header,
        Ok(Some(header)) => return too_large(header),
        Ok(None) => return Stop::Tail,
        Err(error) => return Stop::Bad(error.to_string()),
    };
    let skipping = session.state == SessionState::Skipping;
    match Flow::unlinked(header.tag) {
        ClientVerdict::Forward if !skipping => Stop::NeedsServer,
        ClientVerdict::Forward | ClientVerdict::Drop => {
            session.rest = Rest::Drop(header.total());
            if skipping && header.tag == frontend::SYNC {
                Stop::SkippedToSync
            } else {
                Stop::Drop
            }
        }
        ClientVerdict::Terminate => Stop::Terminate,
        ClientVerdict::Unknown => unknown(header),
    }
}

/// Walks over the frames of a server that go to its client.
#[inline]
fn scan_server(server: &mut Server, client: bool, bytes: &[u8], at: &mut usize) -> Stop {
    loop {
        match server.rest {
            Rest::None => {}
            Rest::Forward(_) => {
                server.rest.take(bytes.len(), at);
                if server.rest != Rest::None {
                    return Stop::Tail;
                }
            }
            Rest::Drop(_) => {
                return if *at < bytes.len() {
                    Stop::Drop
                } else {
                    Stop::Tail
                };
            }
        }
        let here = bytes.get(*at..).unwrap_or_default();
        let header = match Header::peek(here) {
            Ok(Some(header)) => header,
            Ok(None) => return Stop::Tail,
            Err(error) => return Stop::Bad(error.to_string()),
        };
        let whole = here.len() >= header.total();
        match server.flow.on_server(header.tag) {
            ServerVerdict::Forward if client => {
                if header.tag == backend::ERROR && whole {
                    let fields =
                        ErrorFields::parse(here.get(HEADER..header.total()).unwrap_or_default());
                    server.said_why |= fields
                        .severity()
                        .is_some_and(|severity| severity == "FATAL");
                }
                server.rest = Rest::Forward(header.total());
            }
            ServerVerdict::Forward | ServerVerdict::Drop => {
                server.rest = Rest::Drop(header.total());
            }
            ServerVerdict::Whole if header.total() > WHOLE_MAX => {
                return Stop::Bad(format!("message of {} bytes is too large", header.length));
            }
            ServerVerdict::Whole if !whole => return Stop::Tail,
            ServerVerdict::Whole => {
                let body = here.get(HEADER..header.total()).unwrap_or_default();
                return match header.tag {
                    backend::PARAMETER_STATUS => Stop::Parameter(header),
                    backend::READY_FOR_QUERY => {
                        let Some(status) = TransactionStatus::parse(body) else {
                            return Stop::Bad("malformed ReadyForQuery".to_owned());
                        };
                        let ready = server.flow.on_ready(status);
                        if !ready.own {
                            *at += header.total();
                        }
                        Stop::Ready(ready)
                    }
                    _ => Stop::OwnError(header),
                };
            }
        }
    }
}

fn too_large(header: Header) -> Stop {
    Stop::Bad(format!(
        "message of {} bytes is larger than max_packet_size",
        header.length
    ))
}

fn unknown(header: Header) -> Stop {
    Stop::Bad(format!("unknown pkt: {:#04x}", header.tag))
}

const HEADER: usize = pgskein_protocol::HEADER_LEN;

/// Length of a ReadyForQuery.
const READY_LEN: usize = 6;

/// Largest message from a server that is kept until it is whole.
const WHOLE_MAX: usize = 16 * 1024 * 1024;

/// The parameter by which a server asks to be left; never passed on.
pub(super) const DISCONNECT_REQUESTED: &[u8] = b"disconnect_requested";

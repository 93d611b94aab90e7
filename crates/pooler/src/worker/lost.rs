//! Lost: sessions whose server is gone, and that go on.
//!
//! A client that shares servers has lost no more than its transaction, if it is
//! in one. What it has sent is answered with the error of the server, once, and
//! never sent again; at rest in a transaction it gets that error with its next
//! message. Until it has ended the transaction it is answered here; see
//! [`pgskein_pool::lost`].
//!
//! Closed is, with what the server said last, who keeps its server until it
//! leaves, who is in COPY or in the middle of an answer, and who is owed an answer
//! outside a transaction: what was lost may have begun one, and more of that may
//! be on its way, which another server would carry out alone.

use std::time::Duration;

use pgskein_config::PoolMode;
use pgskein_pool::flow::Open;
use pgskein_pool::lost::{ABORTED, Lost, Step};
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{Header, Report, TransactionStatus, write};

use super::Worker;
use super::clean::is_pinned;
use super::client::{Rest, SessionState, Stage};
use super::reason::{CONNECTION_FAILURE, Reason};
use super::scan::HEADER;
use super::server::{Farewell, ServerState};

impl Worker {
    /// Goes on with the session of a client whose server is gone; false if that
    /// cannot be.
    #[cold]
    pub(super) fn outlives(&mut self, id: ClientId, server_id: ServerId) -> bool {
        if !self.may_outlive(id, server_id) {
            return false;
        }
        self.count_unfinished(server_id);
        let now = self.now;
        let Some(server) = self.servers.get_mut(server_id) else {
            return false;
        };
        let error = match server.farewell.take() {
            Some(Farewell::Kept(error)) => error,
            _ => server_lost(),
        };
        server.farewell = Some(Farewell::Told);
        let deadline = now + END_TIMEOUT;
        server.state = ServerState::Recovering { deadline };
        let owed = server.flow.lose();
        self.settle_statements(Some(id), server_id);
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        let Stage::Session(session) = &mut client.stage else {
            return false;
        };
        let out = client.outbox.buffer();
        let mut error = Some(error);
        let mut fail = |out: &mut Vec<u8>| match error.take() {
            Some(error) => out.extend_from_slice(&error),
            None => write::error(out, &ABORTED),
        };
        for _ in 0..owed.rounds {
            fail(out);
            write::ready_for_query(out, TransactionStatus::Failed);
        }
        if owed.open == Some(Open::Unanswered) {
            fail(out);
        }
        if let Rest::Forward(left) = session.rest {
            session.rest = Rest::Drop(left);
        }
        (session.since, session.turned) = (now, now);
        session.held = false;
        session.state = if owed.in_transaction {
            let lost = Lost::new(error, owed.open.is_some());
            self.lost.insert(id, lost);
            SessionState::Lost
        } else {
            SessionState::Idle
        };
        log::debug!("c{}: goes on without its server", client.number);
        match client.outbox.flush(&mut client.stream) {
            Ok(_) => {
                self.wake_client(id);
                self.tell(id);
            }
            Err(error) => self.close_client(id, &Reason::SocketFailed(error.kind())),
        }
        true
    }

    /// Answers a message in a transaction whose server is gone, which `frame`
    /// begins with; gives how many bytes are used up, none if more are needed.
    #[cold]
    pub(super) fn answer_lost(
        &mut self,
        id: ClientId,
        header: Header,
        frame: &[u8],
    ) -> Result<Option<usize>, Reason> {
        let whole = frame.get(HEADER..header.total());
        if whole.is_none() && header.total() <= END_MAX {
            return Ok(None);
        }
        let (Some(client), Some(lost)) = (self.clients.get_mut(id), self.lost.get_mut(&id)) else {
            return Err(Reason::ServerLost);
        };
        let Stage::Session(session) = &mut client.stage else {
            return Ok(None);
        };
        let step = lost.answer(
            header.tag,
            whole.unwrap_or_default(),
            session.prepared.as_deref_mut(),
            &mut self.statements,
            client.outbox.buffer(),
        );
        let used = match (step, whole) {
            (Step::Elsewhere, _) => 0,
            (_, Some(_)) => header.total(),
            (_, None) => {
                session.rest = Rest::Drop(header.total());
                0
            }
        };
        let pool = session.pool;
        (session.since, session.turned) = (self.now, self.now);
        if step != Step::Answered {
            session.state = SessionState::Idle;
            self.lost.remove(&id);
        }
        client
            .outbox
            .flush(&mut client.stream)
            .map_err(|error| Reason::SocketFailed(error.kind()))?;
        self.count_dropped(pool, used);
        if used == frame.len() {
            self.tell(id);
        }
        Ok(Some(used))
    }

    /// Answers the Sync up to which a client was made to skip.
    pub(super) fn answer_skipped_sync(&mut self, id: ClientId) -> Result<(), Reason> {
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
            .map_err(|error| Reason::SocketFailed(error.kind()))?;
        self.tell(id);
        Ok(())
    }

    /// Whether a client has lost no more with its server than its transaction.
    fn may_outlive(&self, id: ClientId, server_id: ServerId) -> bool {
        let (Some(client), Some(server)) = (self.clients.get(id), self.servers.get(server_id))
        else {
            return false;
        };
        let Some(session) = client.session() else {
            return false;
        };
        let pool = self.pools.get(session.pool);
        let shares = pool.is_some_and(|pool| pool.settings.pool_mode != PoolMode::Session)
            && server.owner.is_none()
            && is_pinned(pool, session.state, &self.servers, &self.parameters).is_none();
        let flow = &server.flow;
        session.state == SessionState::Linked(server_id)
            && shares
            && server.rest == Rest::None
            && server.farewell != Some(Farewell::Told)
            && !flow.copying()
            && (flow.at_rest() || flow.status() != TransactionStatus::Idle)
    }
}

/// The error of a server that has said nothing.
fn server_lost() -> Vec<u8> {
    let mut out = Vec::new();
    let report = Report {
        severity: "ERROR",
        sqlstate: CONNECTION_FAILURE,
        message: &Reason::ServerLost.text(),
        detail: None,
        hint: None,
    };
    write::error(&mut out, &report);
    out
}

/// A message that is longer than this, in bytes, is not looked at for the end of a
/// transaction.
const END_MAX: usize = 4096;

/// How long a server that has said its last word may take to close its side.
const END_TIMEOUT: Duration = Duration::from_secs(1);

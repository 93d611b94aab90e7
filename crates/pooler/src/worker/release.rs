//! Release: what happens to a server between two clients.
//!
//! A server is cleaned where the mode asks for it, or of what its client has
//! changed, then lent to the client that waited longest, or rests. One whose
//! client has left in the middle ends what is running first, and is never
//! handed on before that.

use std::borrow::Cow;
use std::time::Duration;

use pgskein_config::PoolMode;
use pgskein_pool::pools::Free;
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_pool::text::{self, Classes};
use pgskein_protocol::tag::frontend;
use pgskein_protocol::{ErrorFields, TransactionStatus, write};

use super::Worker;
use super::cancel::Purpose;
use super::client::Rest;
use super::reason::{Reason, ServerReason};
use super::server::{OwnQuery, Retire, Server, ServerState};
use super::sweep::after;

impl Worker {
    /// Takes a server back that is at rest outside a transaction.
    #[inline]
    pub(super) fn free(&mut self, id: ServerId) {
        if self.waits_for_cancel(id, false) {
            return;
        }
        let settings = &self.config.settings;
        if !settings.server_reset_query.is_empty() {
            let mode = self
                .servers
                .get(id)
                .and_then(|server| self.pools.get(server.pool))
                .map(|pool| pool.settings.pool_mode);
            if settings.server_reset_query_always || mode == Some(PoolMode::Session) {
                return self.run_own(id, OwnQuery::Reset);
            }
        }
        if !self.clean(id) {
            self.lend(id);
        }
    }

    /// Lends a clean server to the next client, or lets it rest.
    #[inline(always)]
    pub(super) fn lend(&mut self, id: ServerId) {
        let now = self.now;
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if let Some(retire) = server.retire
            // One that asks for it at its login already is used once.
            && (server.used || retire != Retire::AsksToGo)
        {
            return self.close_server(id, &retire.into());
        }
        if server.cancels > 0 {
            server.state = ServerState::BeingCancelled { clean: true };
            return;
        }
        server.state = ServerState::Idle;
        let pool_id = server.pool;
        let new = !server.used;
        let expired = !new && now >= server.expires;
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return self.close_server(id, &ServerReason::DatabaseChanged);
        };
        if expired && self.control.is_some() && pool.may_retire(now) {
            return self.close_server(id, &ServerReason::Lifetime);
        }
        let free = if new {
            pool.free_new(id, now)
        } else {
            pool.free(id, now)
        };
        match free {
            Free::Link(client) => self.lend_to(client, id),
            Free::Idle => {}
            Free::GiveUp(to) => self.give_up_one(id, to),
            Free::GiveWay => self.close_server(id, &ServerReason::Evicted),
        }
    }

    /// Lends a server to a client that has waited for it.
    fn lend_to(&mut self, client: ClientId, server: ServerId) {
        self.link(client, server);
        if self.servers.get(server).and_then(|server| server.client()) != Some(client) {
            if self.asks(server) {
                return self.put_question(client, server);
            }
            // The queue names nobody who is gone; should it, the server is
            // not lost.
            debug_assert!(false, "a client that is gone was in the queue");
            return self.lend(server);
        }
        self.wake_client(client);
    }

    /// Sends a query of ours; its answer is seen by nobody else.
    pub(super) fn run_own(&mut self, id: ServerId, query: OwnQuery) {
        let now = self.now;
        let settings = &self.config.settings;
        let Some(pool) = self.servers.get(id).map(|server| server.pool) else {
            return;
        };
        let sql: Cow<'_, str> = match query {
            OwnQuery::Connect | OwnQuery::ConnectAgain => self.connect_query(pool).into(),
            OwnQuery::Check => settings.check_query().unwrap_or_default().into(),
            OwnQuery::Reset => settings.server_reset_query.as_str().into(),
            OwnQuery::Rollback => "ROLLBACK".into(),
            // It is put by whoever has its question.
            OwnQuery::Secret => return,
            OwnQuery::Clean { classes, .. } => text::undo(classes).into(),
        };
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        write::query(server.outbox.buffer(), sql.as_bytes());
        server.flow.on_own_query();
        server.state = ServerState::Own {
            query,
            deadline: now + OWN_QUERY_TIMEOUT,
        };
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
    }

    /// A query of ours has ended.
    pub(super) fn own_query_done(&mut self, id: ServerId, failed: bool) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let ServerState::Own { query, .. } = server.state else {
            return;
        };
        let idle = server.flow.status() == TransactionStatus::Idle;
        let pool = server.pool;
        match query {
            OwnQuery::Connect | OwnQuery::Check => {
                if !idle || (failed && query == OwnQuery::Check) {
                    return self.lose_server(id, &ServerReason::OwnQueryFailed);
                }
                if let Some(pool) = self.pools.get_mut(pool) {
                    pool.on_opened();
                }
                self.lend(id);
            }
            OwnQuery::Reset | OwnQuery::Clean { .. } if failed || !idle => {
                self.close_server(id, &ServerReason::OwnQueryFailed);
            }
            OwnQuery::ConnectAgain if !idle => {
                self.close_server(id, &ServerReason::OwnQueryFailed);
            }
            OwnQuery::Reset => {
                server.dirty = Classes::NONE;
                self.lend(id);
            }
            OwnQuery::Clean { again: true, .. } => self.run_own(id, OwnQuery::ConnectAgain),
            OwnQuery::Clean { .. } | OwnQuery::ConnectAgain => self.lend(id),
            OwnQuery::Secret => {}
            OwnQuery::Rollback if failed || !idle => {
                self.close_server(id, &ServerReason::Unclean);
            }
            OwnQuery::Rollback => self.free(id),
        }
    }

    /// Notes in the log what a server said to a query of ours.
    pub(super) fn own_query_failed(&self, id: ServerId, fields: &ErrorFields<'_>) {
        if let Some(server) = self.servers.get(id) {
            log::warn!(
                "s{} {}: a query of ours failed: {} {}",
                server.number,
                self.server_name(server),
                fields.sqlstate().unwrap_or_default(),
                fields.message().unwrap_or_default(),
            );
        }
    }

    /// Nothing is due any more from a server that no client uses.
    pub(super) fn settled(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if matches!(server.state, ServerState::Recovering { .. }) {
            self.roll_back(id);
        }
    }

    /// Frees a server that is at rest, after ending its transaction.
    pub(super) fn roll_back(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        if server.flow.status() == TransactionStatus::Idle {
            self.free(id);
        } else if !self.waits_for_cancel(id, false) {
            self.run_own(id, OwnQuery::Rollback);
        }
    }

    /// Whether a cancel request to a server is on its way: nothing of ours
    /// runs there before that has ended.
    fn waits_for_cancel(&mut self, id: ServerId, clean: bool) -> bool {
        match self.servers.get_mut(id) {
            Some(server) if server.cancels > 0 => {
                server.state = ServerState::BeingCancelled { clean };
                true
            }
            _ => false,
        }
    }

    /// Ends what a server whose client has left still waits for.
    pub(super) fn recover(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if !matches!(server.state, ServerState::Recovering { .. }) || !server.flow.copying_in() {
            return;
        }
        end_copy(server);
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
    }

    /// Takes a server from a client that has left, or was closed.
    ///
    /// What runs is cancelled, unless the client has said good-bye behind it;
    /// what is open is rolled back; if that is not possible the connection is
    /// closed.
    pub(super) fn abandon(&mut self, id: ServerId, client_rest: Rest, good_bye: bool) {
        let now = self.now;
        // It may have been waiting for its client to read.
        self.wake_server(id);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if server.owner.is_some() {
            return self.close_owned(id, client_rest);
        }
        if let Rest::Forward(left) = server.rest {
            server.rest = Rest::Drop(left);
        }
        server.flow.forget_client();
        if matches!(client_rest, Rest::Forward(_)) {
            if server.flow.running() {
                server.state = ServerState::Recovering { deadline: now };
                self.cancel_server(id, Purpose::ClientLeft);
            }
            return self.close_server(id, &ServerReason::Unclean);
        }
        if server.flow.at_rest() {
            return self.roll_back(id);
        }
        let copying = server.flow.copying_in();
        if copying {
            end_copy(server);
        }
        if server.flow.needs_sync() {
            write::sync(server.outbox.buffer());
            server.flow.on_client(frontend::SYNC);
        }
        let deadline = if good_bye {
            let limits = self.pools.get(server.pool).map(|pool| pool.settings);
            after(
                now,
                limits.map_or(Duration::ZERO, |limits| limits.query_timeout),
            )
        } else {
            now + RECOVERY_TIMEOUT
        };
        server.state = ServerState::Recovering { deadline };
        let running = server.flow.running();
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            return self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
        if running && !copying && !good_bye {
            self.cancel_server(id, Purpose::ClientLeft);
        }
    }

    /// Whether what a client has read from its server ends with whole
    /// messages, so that an error may follow.
    pub(super) fn between_messages(&self, server: Option<ServerId>) -> bool {
        server
            .and_then(|server| self.servers.get(server))
            .is_none_or(|server| server.rest == Rest::None)
    }

    /// Closes what waits in a pool's queue, each for the same reason.
    pub(super) fn close_waiting(&mut self, clients: Vec<ClientId>, reason: &Reason) {
        for client in clients {
            self.close_client(client, reason);
        }
    }
}

/// Ends a COPY whose client has left.
fn end_copy(server: &mut Server) {
    write::copy_fail(server.outbox.buffer(), "client has left");
    server.flow.on_client(frontend::COPY_FAIL);
    if server.flow.needs_sync() {
        write::sync(server.outbox.buffer());
        server.flow.on_client(frontend::SYNC);
    }
}

/// How long a query of ours may take.
const OWN_QUERY_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a server may take to end what its client left behind.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(5);

//! Going: servers that ask to be left.
//!
//! A server asks by GoAway, where that was negotiated, or by the parameter
//! `disconnect_requested`; idle ones are read as well. It stays usable, is closed
//! when it is free, and another takes its place. A client that keeps its server
//! until it leaves is asked to go in turn; others never hear of it.
//!
//! Source: PostgreSQL documentation, "Message Formats"; the proposals "Add GoAway
//! protocol message" and "disconnect_requested".

use pgskein_config::PoolMode;
use pgskein_pool::control::ToSupervisor;
use pgskein_pool::slab::ServerId;
use pgskein_protocol::TransactionStatus;

use super::Worker;
use super::client::SessionState;
use super::reason::ServerReason;
use super::server::{Retire, ServerState};

impl Worker {
    /// A server has sent GoAway.
    #[cold]
    pub(super) fn on_go_away(&mut self, id: ServerId) {
        // Unasked it means nothing.
        if self.servers.get(id).is_some_and(|s| s.bid.goaway()) {
            self.asked_to_go(id);
        }
    }

    /// A server asks to be left: it is closed when it is free, which an idle one
    /// is now.
    #[cold]
    pub(super) fn asked_to_go(&mut self, id: ServerId) {
        self.note_request(id);
        match self.servers.get(id).map(|server| &server.state) {
            Some(ServerState::Idle) => self.close_server(id, &ServerReason::AskedToGo),
            Some(ServerState::Linked(_)) => self.ask_in_turn(id),
            _ => {}
        }
    }

    /// Notes that a server asks to be left, once.
    pub(super) fn note_request(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if server.retire == Some(Retire::AsksToGo) || !server.is_working() {
            return;
        }
        server.retire = Some(Retire::AsksToGo);
        let Some(server) = self.servers.get(id) else {
            return;
        };
        log::info!(
            "s{} {}: asks to be left",
            server.number,
            self.server_name(server)
        );
        let message = ToSupervisor::AskedToGo {
            lease: server.lease,
            host: server.target.to_string(),
        };
        self.tell_supervisor(&message);
    }

    /// Asks clients that keep such a server and were not at rest before.
    pub(super) fn ask_in_turn_again(&mut self) {
        let kept = |server: &super::server::Server| {
            server.retire == Some(Retire::AsksToGo) && server.client().is_some()
        };
        for id in self.servers.ids(kept) {
            self.ask_in_turn(id);
        }
    }

    /// Tells a new supervisor which servers have asked.
    pub(super) fn report_requests(&mut self) {
        let servers = self.servers.iter().map(|(_, server)| server);
        let asked = servers.filter(|s| s.retire == Some(Retire::AsksToGo) && s.is_working());
        let messages = asked.map(|server| ToSupervisor::AskedToGo {
            lease: server.lease,
            host: server.target.to_string(),
        });
        for message in messages.collect::<Vec<_>>() {
            self.tell_supervisor(&message);
        }
    }

    /// Asks the client of a server to go as well, if it keeps the server until it
    /// leaves.
    fn ask_in_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let Some(client) = server.client() else {
            return;
        };
        let session = self.clients.get(client).and_then(|client| client.session());
        let linked = session.is_some_and(|session| session.state == SessionState::Linked(id));
        let pool = self.pools.get(server.pool);
        // In other modes only one that is pinned has it outside a transaction.
        let keeps = pool.is_some_and(|pool| pool.settings.pool_mode == PoolMode::Session)
            || (server.used
                && server.flow.at_rest()
                && server.flow.status() == TransactionStatus::Idle);
        if linked && keeps {
            self.ask_to_go(client);
        }
    }
}

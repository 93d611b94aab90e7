//! Going: servers that ask to be left, and hosts that leave.
//!
//! A server asks by GoAway, where that was negotiated, or by the parameter
//! `disconnect_requested`; idle ones are read as well. It stays usable, is closed
//! when it is free, and another takes its place. A client that keeps its server
//! until it leaves is asked to go in turn; others never hear of it.
//!
//! Source: PostgreSQL documentation, "Message Formats"; the proposals "Add GoAway
//! protocol message" and "disconnect_requested".

use pgskein_config::PoolMode;
use pgskein_pool::control::{HostNotice, HostReport, ToSupervisor};
use pgskein_pool::lost::as_error;
use pgskein_pool::pools::{Failure, Leaving};
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{ErrorFields, TransactionStatus};

use super::Worker;
use super::client::SessionState;
use super::reason::{CONNECTION_FAILURE, ServerReason};
use super::server::{Farewell, Retire, ServerState};
use super::stream::Filled;

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
        // One that is to be closed by order is waited for.
        let known = !matches!(server.retire, None | Some(Retire::Paused));
        if known || !server.is_working() {
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
        let report = HostReport::AskedToGo {
            lease: server.lease,
            host: server.target.to_string(),
        };
        self.tell_supervisor(&ToSupervisor::Host(report));
    }

    /// A server has ended the connection and said why; it is lent to nobody any
    /// more. Whether its client goes on without it, and is not to read that.
    #[cold]
    pub(super) fn note_farewell(
        &mut self,
        id: ServerId,
        client: Option<ClientId>,
        body: &[u8],
    ) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        server.farewell = Some(Farewell::Kept(as_error(body)));
        if server.retire != Some(Retire::Changed) {
            server.retire = Some(Retire::Ended);
        }
        let fields = ErrorFields::parse(body);
        if fields.sqlstate().is_some_and(is_shutdown) {
            let report = HostReport::Farewell {
                lease: server.lease,
                host: server.target.to_string(),
            };
            self.tell_supervisor(&ToSupervisor::Host(report));
        }
        let outlives = client.is_some_and(|client| self.outlives(client, id));
        if !outlives && let Some(server) = self.servers.get_mut(id) {
            server.farewell = Some(Farewell::Told);
        }
        outlives
    }

    /// Reads what an idle server has to say before it is lent; whether it still
    /// can be.
    #[cold]
    pub(super) fn hear_idle(&mut self, id: ServerId) -> bool {
        let mut scratch = [0; 1024];
        while let Some(server) = self.servers.get_mut(id)
            && server.stream.readable()
        {
            let heard = match server.stream.fill(&mut server.inbox, &mut scratch) {
                Ok(Filled::Nothing) => break,
                Ok(Filled::End) => Err(ServerReason::Lost),
                Ok(Filled::Scratch(end)) => {
                    self.take_from_server(id, scratch.get(..end).unwrap_or_default())
                }
                Ok(Filled::Inbox(bytes)) => self.take_from_server(id, &bytes),
                Err(error) => Err(ServerReason::of_socket(&error)),
            };
            if let Err(reason) = heard {
                self.lose_server(id, &reason);
            }
        }
        let server = self.servers.get(id);
        let free = server.is_some_and(|s| matches!(s.state, ServerState::Idle));
        let stays = free && server.is_some_and(|s| s.farewell.is_none());
        if free && !stays {
            self.close_server(id, &ServerReason::Lost);
        }
        stays
    }

    /// The supervisor says something of a host.
    pub(super) fn on_host_notice(&mut self, notice: HostNotice) {
        let key = match &notice {
            HostNotice::Failed {
                host,
                order,
                last_for,
            } => {
                let until = self.now + *last_for;
                return self.places.fails(host.clone(), *order, until, self.now);
            }
            HostNotice::Leaves { pool, .. }
            | HostNotice::Back { pool }
            | HostNotice::Fails { pool } => pool,
        };
        let Some(id) = self.pools.lookup(key) else {
            return;
        };
        let now = self.now;
        let Some(pool) = self.pools.get_mut(id) else {
            return;
        };
        match notice {
            HostNotice::Leaves { host, message, .. } => {
                let failure = Failure {
                    sqlstate: CONNECTION_FAILURE.to_owned(),
                    message,
                };
                pool.on_host_leaves(Leaving { host, failure });
            }
            HostNotice::Back { .. } => pool.on_host_back(),
            HostNotice::Fails { .. } => {
                pool.on_failure_known(now);
                self.refuse_greeting(id);
            }
            HostNotice::Failed { .. } => {}
        }
        self.wish(id);
    }

    /// Nobody is left to say whether hosts leave.
    pub(super) fn judge_hosts_alone(&mut self) {
        let mut judged = Vec::new();
        for (id, pool) in self.pools.iter_mut() {
            pool.on_failure_known(self.now);
            judged.push(id);
        }
        for id in judged {
            self.refuse_greeting(id);
        }
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

    /// Tells a new supervisor which servers have asked, and which hosts leave.
    pub(super) fn report_hosts(&mut self) {
        // It counts failures anew.
        self.places.forget_failures();
        let servers = self.servers.iter().map(|(_, server)| server);
        let asked = servers.filter(|s| s.retire == Some(Retire::AsksToGo) && s.is_working());
        let asked = asked.map(|server| HostReport::AskedToGo {
            lease: server.lease,
            host: server.target.to_string(),
        });
        let leaving = self.pools.iter().filter_map(|(_, pool)| {
            let leaving = pool.leaving()?;
            Some(HostReport::Leaving {
                pool: pool.key.clone(),
                host: leaving.host.clone(),
                message: leaving.failure.message.clone(),
            })
        });
        for report in asked.chain(leaving).collect::<Vec<_>>() {
            self.tell_supervisor(&ToSupervisor::Host(report));
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

/// Whether a SQLSTATE says that PostgreSQL shuts down or starts:
/// `admin_shutdown`, `crash_shutdown`, `cannot_connect_now`.
pub(super) fn is_shutdown(sqlstate: &str) -> bool {
    matches!(sqlstate, "57P01" | "57P02" | "57P03")
}

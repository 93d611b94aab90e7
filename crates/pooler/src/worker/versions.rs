//! Versions: what of the protocol a host is asked for.
//!
//! Each host is asked for 3.2 and GoAway, and gives what it has. Old servers,
//! and some poolers and services, refuse such a session instead of saying what
//! they have: they end the connection, or send an error, before anything else.
//! They are asked once more, with the same lease, for plain 3.0; if that is
//! what helps, the whole group remembers it until the next configuration.
//!
//! Source: PostgreSQL documentation, "Protocol Versions".

use std::io::{self, ErrorKind};

use pgskein_config::ServerProtocol;
use pgskein_pool::control::ToSupervisor;
use pgskein_pool::slab::ServerId;
use pgskein_protocol::{Bid, ErrorFields, Version};

use super::Worker;
use super::connect::open_socket;
use super::going::is_shutdown;
use super::reason::ServerReason;
use super::server::{Server, ServerState, Target};
use super::stream::{Outbox, Stream};
use super::token::Subject;

impl Worker {
    /// What to ask a host for.
    pub(super) fn bid(&self, target: &Target) -> Bid {
        match self.config.settings.server_protocol {
            ServerProtocol::V3_0 => Bid::plain(),
            ServerProtocol::V3_2 => Bid::newest(),
            ServerProtocol::Auto if self.old_hosts.contains(&target.to_string()) => Bid::plain(),
            ServerProtocol::Auto => Bid::newest(),
        }
    }

    /// Whether a server that has refused its login may be asked for less.
    pub(super) fn may_ask_for_less(&self, server: &Server) -> bool {
        self.config.settings.server_protocol == ServerProtocol::Auto
            && server.bid.after_refusal().is_some()
    }

    /// Connects anew to a server that has ended the connection in its login,
    /// for this reason, to ask it for plain 3.0; false if that is no use.
    pub(super) fn ask_for_less(&mut self, id: ServerId, reason: &ServerReason) -> bool {
        let Some(server) = self.servers.get(id) else {
            return false;
        };
        if !self.may_ask_for_less(server) {
            return false;
        }
        let Some(bid) = server.bid.after_refusal() else {
            return false;
        };
        log::debug!(
            "s{}: asking again for protocol 3.0: {}",
            server.number,
            reason.text()
        );
        self.connect_again(id, bid)
    }

    /// Connects anew to a server in the middle of its login, to ask it for
    /// something else; false if that cannot be done.
    pub(super) fn connect_again(&mut self, id: ServerId, bid: Bid) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let ServerState::LoggingIn { deadline, .. } = server.state else {
            return false;
        };
        let Ok(socket) = open_socket(&server.target, &self.config.settings) else {
            return false;
        };
        let registry = self.poll.registry();
        server.stream.deregister(registry);
        server.stream = Stream::to_server(socket);
        server.inbox = Vec::new();
        server.outbox = Outbox::default();
        server.bid = bid;
        server.state = ServerState::Connecting { deadline };
        let token = Subject::Server(id).token();
        if server.stream.register(registry, token).is_err() {
            return false;
        }
        self.wake_server(id);
        true
    }

    /// A server has sent an Authentication message: its version is settled.
    ///
    /// # Errors
    ///
    /// [`ServerReason::LoginFailed`] when it speaks less than it has to.
    pub(super) fn settle_version(&mut self, id: ServerId) -> Result<(), ServerReason> {
        let demanded = self.config.settings.server_protocol;
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        if server.bid.is_settled() {
            return Ok(());
        }
        if server.bid.on_authentication() {
            let host = server.target.to_string();
            self.old_hosts.insert(&host);
            let version = self.config_version;
            self.tell_supervisor(&ToSupervisor::OldHost { version, host });
        } else if demanded == ServerProtocol::V3_2 && server.bid.version() < Version::V3_2 {
            let spoken = server.bid.version();
            return Err(ServerReason::login_failed(format!(
                "server speaks protocol {spoken}, not 3.2 (server_protocol)"
            )));
        }
        Ok(())
    }
}

/// Whether a read has failed because the other side has closed, with bytes of
/// ours unread.
pub(super) fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// Whether an error before authentication may be the answer of a host that
/// does not know what it was asked for: not when it only has no room now, or
/// no right for us.
pub(super) fn may_mean_the_version(fields: &ErrorFields<'_>) -> bool {
    fields.sqlstate().is_none_or(|sqlstate| {
        !is_shutdown(sqlstate) && sqlstate != "53300" && !sqlstate.starts_with("28")
    })
}

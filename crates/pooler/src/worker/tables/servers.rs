//! SHOW SERVERS: a row for each connection to PostgreSQL.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Instant;

use pgskein_pool::console::Row;
use pgskein_pool::slab::ServerId;

use super::clients::{local_place, login_mode, unix_place};
use super::clock::Clock;
use super::sockets::{Buffers, Connection, Form, Link, Side};
use crate::worker::Worker;
use crate::worker::client::{Carrier, Stage};
use crate::worker::server::{OwnQuery, Retire, Server, ServerState, Target, Use};
use crate::worker::tls::Tls;

/// What a server is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ServerPhase {
    /// It is connected to and logged in.
    New,
    /// It is idle, and has to be tested before it is lent.
    Used,
    /// It is idle.
    Idle,
    /// A client uses it, or did and is gone.
    Active,
    /// It runs a query of ours.
    Tested,
    /// It is not lent before a cancel has ended.
    BeingCancelled,
}

impl ServerPhase {
    /// PgBouncer's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Used => "used",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Tested => "tested",
            Self::BeingCancelled => "being_canceled",
        }
    }

    /// PgBouncer's word in the tables of sockets.
    pub(super) fn socket_word(self) -> &'static str {
        match self {
            Self::New => "sv_login",
            Self::Used => "sv_used",
            Self::Idle => "sv_idle",
            Self::Active => "sv_active",
            Self::Tested => "sv_tested",
            Self::BeingCancelled => "sv_being_canceled",
        }
    }
}

impl Worker {
    /// The row of a server; none for one that was told to go. `idle` is since
    /// when it is idle, if it is.
    pub(super) fn server_row(
        &self,
        server: &Server,
        idle: Option<Instant>,
        form: Form,
        clock: &Clock,
    ) -> Option<Row> {
        let phase = self.phase_of(server, idle)?;
        let pool = self.pools.get(server.pool)?;
        let client = match server.state {
            ServerState::Offered(Use::Linked(client)) => Some(client),
            _ => server.client(),
        };
        let client = client.and_then(|client| self.clients.get(client));
        let idle = match server.state {
            ServerState::Offered(Use::Idle(since)) => Some(since),
            _ => idle,
        };
        let (place, local) = match &server.target {
            Target::Tcp(address) => (
                (address.ip().to_string(), address.port()),
                local_place(&server.stream),
            ),
            Target::Unix(path) => (unix_place(port(path)), unix_place(port(path))),
        };
        let requested = match client {
            Some(client) => client.heard,
            None => idle.unwrap_or(server.opened),
        };
        let link = client.map(|client| Link {
            number: client.number,
            descriptor: client.stream.as_raw_fd(),
        });
        let connection = Connection {
            side: Side::Server(phase),
            user: &pool.key.shown(),
            database: &pool.key.database,
            replication: self.replication_of(server),
            place,
            local,
            connected: server.opened,
            requested,
            waits: None,
            close_needed: matches!(
                server.retire,
                Some(Retire::Changed | Retire::AsksToGo | Retire::WrongRole)
            ),
            link,
            remote_pid: server.key.as_ref().map_or(0, |(pid, _)| *pid),
            parameters: Some(server.parameters),
            tls: server
                .stream
                .tls()
                .map_or_else(String::new, Tls::description),
            prepared_statements: server.known.len(),
            number: server.number,
            descriptor: server.stream.as_raw_fd(),
            buffers: Buffers::of(server.inbox.len(), server.rest, server.outbox.progress()),
        };
        self.connection_row(&connection, form, clock)
    }

    /// What a server is doing; none for one that was told to go.
    pub(super) fn phase_of(&self, server: &Server, idle: Option<Instant>) -> Option<ServerPhase> {
        Some(match server.state {
            ServerState::Connecting { .. }
            | ServerState::LoggingIn { .. }
            | ServerState::Own {
                query: OwnQuery::Connect | OwnQuery::ConnectAgain,
                ..
            } => ServerPhase::New,
            ServerState::Idle if self.stale.is_some() && idle < self.stale => ServerPhase::Used,
            ServerState::Idle | ServerState::Offered(Use::Idle(_)) => ServerPhase::Idle,
            ServerState::Linked(_)
            | ServerState::Offered(Use::Linked(_))
            | ServerState::Recovering { .. } => ServerPhase::Active,
            ServerState::Own {
                query: OwnQuery::Secret,
                ..
            } => ServerPhase::Active,
            ServerState::Own { .. } => ServerPhase::Tested,
            ServerState::BeingCancelled { .. } => ServerPhase::BeingCancelled,
            ServerState::Coming(_) | ServerState::Closing { .. } => return None,
        })
    }

    /// Since when each idle server is.
    pub(super) fn idle_since(&self) -> HashMap<ServerId, Instant> {
        self.pools
            .iter()
            .flat_map(|(_, pool)| pool.idle())
            .collect()
    }

    fn replication_of(&self, server: &Server) -> Option<String> {
        match &self.clients.get(server.owner?)?.stage {
            Stage::Login(login) => login_mode(login),
            Stage::Session(session) => match session.carrier {
                Carrier::Never(mode) => Some(mode.to_string()),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The port in the name of a unix socket.
fn port(path: &Path) -> u16 {
    let port = path.extension().and_then(|port| port.to_str());
    port.and_then(|port| port.parse().ok()).unwrap_or(0)
}

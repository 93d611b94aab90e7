//! SHOW CLIENTS: a row for each client that has a pool, and for consoles.

use std::os::fd::AsRawFd;
use std::time::Instant;

use pgskein_pool::console::Row;
use pgskein_pool::parameters::ParametersId;

use super::clock::Clock;
use super::sockets::{Buffers, Connection, Form, Link, Side};
use crate::worker::Worker;
use crate::worker::client::{Carrier, Client, Origin, Rest, SessionState, Stage};
use crate::worker::login::Login;
use crate::worker::stream::Stream;
use crate::worker::tls::Tls;

/// The name of the console as a database.
pub(in crate::worker) const CONSOLE: &str = "pgbouncer";

/// What a client is doing, as far as its stage tells.
struct Doing<'a> {
    user: &'a str,
    database: &'a str,
    phase: ClientPhase,
    replication: Option<String>,
    waits: Option<Instant>,
    link: Option<Link>,
    parameters: Option<ParametersId>,
    prepared: usize,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClientPhase {
    /// It is between transactions.
    Idle,
    /// It has a server, or is a console.
    Active,
    /// It waits for a server.
    Waiting,
    /// It is a cancel request.
    CancelRequest,
}

impl ClientPhase {
    /// PgBouncer's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::CancelRequest => "active_cancel_req",
        }
    }

    /// PgBouncer's word in the tables of sockets.
    pub(super) fn socket_word(self) -> &'static str {
        match self {
            Self::Idle | Self::Active => "cl_active",
            Self::Waiting => "cl_waiting",
            Self::CancelRequest => "cl_active_cancel_req",
        }
    }
}

impl Worker {
    /// The row of a client; none for one that has not logged in yet, or is
    /// being closed.
    pub(super) fn client_row(&self, client: &Client, form: Form, clock: &Clock) -> Option<Row> {
        let doing = self.doing(client)?;
        let listen_port = self.config.settings.listen_port;
        let (place, local) = match client.origin {
            Origin::Tcp(address) => (
                (address.ip().to_string(), address.port()),
                local_place(&client.stream),
            ),
            Origin::Unix { .. } => (unix_place(listen_port), unix_place(listen_port)),
        };
        let remote_pid = match client.origin {
            Origin::Unix { pid: Some(pid), .. } => u32::try_from(pid).unwrap_or(0),
            _ => 0,
        };
        let rest = client.session().map_or(Rest::None, |session| session.rest);
        let connection = Connection {
            side: Side::Client(doing.phase),
            user: doing.user,
            database: doing.database,
            replication: doing.replication,
            place,
            local,
            connected: client.accepted,
            requested: client.heard,
            waits: doing.waits,
            close_needed: false,
            link: doing.link,
            remote_pid,
            parameters: doing.parameters,
            tls: client
                .stream
                .tls()
                .map_or_else(String::new, Tls::description),
            prepared_statements: doing.prepared,
            number: client.number,
            descriptor: client.stream.as_raw_fd(),
            buffers: Buffers::of(client.inbox.len(), rest, client.outbox.progress()),
        };
        self.connection_row(&connection, form, clock)
    }

    fn doing<'a>(&'a self, client: &'a Client) -> Option<Doing<'a>> {
        let named = |user, database, phase| Doing {
            user,
            database,
            phase,
            replication: None,
            waits: None,
            link: None,
            parameters: None,
            prepared: 0,
        };
        match &client.stage {
            Stage::Login(login) => login.pool.map(|_| Doing {
                waits: Some(client.heard),
                replication: login_mode(login),
                ..named(&login.user, &login.database, ClientPhase::Waiting)
            }),
            // It is in the table of another worker.
            _ if client.is_coming() => None,
            Stage::Console(console) => Some(named(console.user(), CONSOLE, ClientPhase::Active)),
            Stage::Cancelling { .. } => Some(named("", "", ClientPhase::CancelRequest)),
            Stage::Closing { .. } => None,
            Stage::Session(session) => {
                let pool = self.pools.get(session.pool)?;
                let user = self.claims.user(client.number).unwrap_or(&pool.key.user);
                let (phase, waits, link) = match session.state {
                    SessionState::Idle
                    | SessionState::Skipping
                    | SessionState::Lost
                    | SessionState::Offered(None)
                    | SessionState::Coming(_) => (ClientPhase::Idle, None, None),
                    SessionState::Waiting => (ClientPhase::Waiting, Some(session.since), None),
                    SessionState::Linked(server) | SessionState::Offered(Some(server)) => {
                        let server = self.servers.get(server);
                        (
                            ClientPhase::Active,
                            None,
                            server.map(|server| Link {
                                number: server.number,
                                descriptor: server.stream.as_raw_fd(),
                            }),
                        )
                    }
                };
                let replication = match session.carrier {
                    Carrier::Never(mode) => Some(mode.to_string()),
                    _ => None,
                };
                Some(Doing {
                    replication,
                    waits,
                    link,
                    parameters: Some(session.parameters),
                    prepared: session
                        .prepared
                        .as_ref()
                        .map_or(0, |prepared| prepared.len()),
                    ..named(user, &pool.key.database, phase)
                })
            }
        }
    }
}

/// The mode that a login for a server of its own asks for.
pub(super) fn login_mode(login: &Login) -> Option<String> {
    login.replication.as_ref().map(|own| own.mode().to_string())
}

/// Our side of a TCP connection.
pub(super) fn local_place(stream: &Stream) -> (String, u16) {
    match stream.local_address() {
        Some(address) => (address.ip().to_string(), address.port()),
        None => (String::new(), 0),
    }
}

/// Either side of a connection over a unix socket, as PgBouncer writes it.
pub(super) fn unix_place(port: u16) -> (String, u16) {
    ("unix".to_owned(), port)
}

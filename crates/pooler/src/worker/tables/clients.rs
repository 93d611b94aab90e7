//! SHOW CLIENTS: a row for each client that has a pool, and for consoles.

use std::time::Instant;

use pgskein_pool::console::{Row, Value};
use pgskein_pool::parameters::ParametersId;

use super::clock::Clock;
use crate::worker::Worker;
use crate::worker::client::{Carrier, Client, Origin, SessionState, Stage};
use crate::worker::login::Login;
use crate::worker::stream::Stream;

/// The name of the console as a database.
pub(in crate::worker) const CONSOLE: &str = "pgbouncer";

/// What a row says of a connection, whichever side it is on.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub kind: &'static str,
    pub user: &'a str,
    pub database: &'a str,
    pub replication: String,
    pub state: &'static str,
    pub place: (String, u16),
    pub local: (String, u16),
    pub connected: Instant,
    pub requested: Instant,
    /// Since when it waits.
    pub waits: Option<Instant>,
    pub close_needed: bool,
    pub ptr: String,
    pub link: String,
    pub remote_pid: u32,
    pub application_name: String,
    pub prepared_statements: usize,
    pub number: u64,
}

/// What a client is doing, as far as its stage tells.
struct Doing<'a> {
    user: &'a str,
    database: &'a str,
    state: &'static str,
    replication: Option<String>,
    waits: Option<Instant>,
    link: Option<String>,
    parameters: Option<ParametersId>,
    prepared: usize,
}

impl Worker {
    /// The row of a client; none for one that has not logged in yet, or is
    /// being closed.
    pub(super) fn client_row(&self, client: &Client, clock: &Clock) -> Option<Row> {
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
        let connection = Connection {
            kind: "C",
            user: doing.user,
            database: doing.database,
            replication: doing.replication.unwrap_or_else(|| "none".to_owned()),
            state: doing.state,
            place,
            local,
            connected: client.accepted,
            requested: client.heard,
            waits: doing.waits,
            close_needed: false,
            ptr: format!("c{}", client.number),
            link: doing.link.unwrap_or_default(),
            remote_pid,
            application_name: self.application_name(doing.parameters),
            prepared_statements: doing.prepared,
            number: client.number,
        };
        Some(self.connection_row(&connection, clock))
    }

    /// The row of a connection.
    pub(super) fn connection_row(&self, connection: &Connection<'_>, clock: &Clock) -> Row {
        let waits = connection.waits.unwrap_or(clock.now());
        let waited = clock.now().saturating_duration_since(waits);
        vec![
            Value::from(connection.kind),
            Value::from(connection.user),
            Value::from(connection.database),
            Value::text(connection.replication.as_str()),
            Value::from(connection.state),
            Value::text(connection.place.0.as_str()),
            Value::number(connection.place.1),
            Value::text(connection.local.0.as_str()),
            Value::number(connection.local.1),
            Value::text(clock.text(connection.connected)),
            Value::text(clock.text(connection.requested)),
            Value::number(waited.as_secs()),
            Value::number(waited.subsec_micros()),
            Value::number(u8::from(connection.close_needed)),
            Value::text(connection.ptr.as_str()),
            Value::text(connection.link.as_str()),
            Value::number(connection.remote_pid),
            // Connections are not encrypted.
            Value::from(""),
            Value::text(connection.application_name.as_str()),
            Value::number(connection.prepared_statements),
            Value::number(connection.number),
            Value::number(self.slot.get()),
        ]
    }

    /// The `application_name` among the values of a set.
    pub(super) fn application_name(&self, parameters: Option<ParametersId>) -> String {
        let mut values = parameters
            .into_iter()
            .flat_map(|id| self.parameters.values(id));
        let value = values.find(|(name, _)| *name == "application_name");
        value.map_or_else(String::new, |(_, value)| {
            String::from_utf8_lossy(value).into_owned()
        })
    }

    fn doing<'a>(&'a self, client: &'a Client) -> Option<Doing<'a>> {
        let named = |user, database, state| Doing {
            user,
            database,
            state,
            replication: None,
            waits: None,
            link: None,
            parameters: None,
            prepared: 0,
        };
        match &client.stage {
            Stage::Login(login) => login.pool.map(|_| Doing {
                waits: Some(client.heard),
                replication: login.replication.as_ref().map(|own| own.mode().to_string()),
                ..named(&login.user, &login.database, "waiting")
            }),
            Stage::Console(console) => Some(named(console.user(), CONSOLE, "active")),
            Stage::Cancelling => Some(named("", "", "active_cancel_req")),
            Stage::Closing { .. } => None,
            Stage::Session(session) => {
                let pool = self.pools.get(session.pool)?;
                let user = self.claims.user(client.number).unwrap_or(&pool.key.user);
                let (state, waits, link) = match session.state {
                    SessionState::Idle | SessionState::Skipping => ("idle", None, None),
                    SessionState::Waiting => ("waiting", Some(session.since), None),
                    SessionState::Linked(server) => {
                        let server = self.servers.get(server);
                        (
                            "active",
                            None,
                            server.map(|server| format!("s{}", server.number)),
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
                    ..named(user, &pool.key.database, state)
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

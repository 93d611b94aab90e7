//! The row of a connection, whichever side it is on, in the form of each table.

use std::time::Instant;

use pgskein_pool::console::{Row, Value};
use pgskein_pool::parameters::ParametersId;

use super::clients::ClientPhase;
use super::clock::Clock;
use super::servers::ServerPhase;
use crate::worker::Worker;
use crate::worker::client::Rest;

/// For which table a row is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// SHOW CLIENTS and SHOW SERVERS.
    Plain,
    /// SHOW SOCKETS.
    Buffers,
    /// SHOW ACTIVE_SOCKETS.
    Active,
    /// SHOW FDS.
    Descriptors,
}

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection<'a> {
    pub side: Side,
    pub user: &'a str,
    pub database: &'a str,
    pub replication: Option<String>,
    pub place: (String, u16),
    pub local: (String, u16),
    pub connected: Instant,
    pub requested: Instant,
    /// Since when it waits.
    pub waits: Option<Instant>,
    pub close_needed: bool,
    pub link: Option<Link>,
    pub remote_pid: u32,
    pub parameters: Option<ParametersId>,
    /// Version and cipher, if it is encrypted.
    pub tls: String,
    pub prepared_statements: usize,
    pub number: u64,
    pub descriptor: i32,
    pub buffers: Buffers,
}

/// Which side a connection is on, and what it is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client(ClientPhase),
    Server(ServerPhase),
}

/// The connection that another one is linked to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub number: u64,
    pub descriptor: i32,
}

/// What is in the buffers of a connection, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    /// Read and not yet parsed.
    pub inbox: usize,
    /// Still to come of a message that has begun.
    pub rest: usize,
    /// Written already, of what had to wait.
    pub written: usize,
    /// Still to be written.
    pub unwritten: usize,
}

impl Worker {
    /// The row of a connection; none if the table leaves it out.
    pub(super) fn connection_row(
        &self,
        connection: &Connection<'_>,
        form: Form,
        clock: &Clock,
    ) -> Option<Row> {
        let mut row = match form {
            Form::Plain => self.plain_row(connection, connection.side.word(), clock),
            Form::Buffers | Form::Active => {
                if form == Form::Active && !connection.side.is_active() {
                    return None;
                }
                let state = connection.side.socket_word();
                let mut row = self.plain_row(connection, state, clock);
                row.extend(connection.buffers.values());
                row
            }
            Form::Descriptors => self.descriptor_row(connection),
        };
        row.push(Value::number(self.slot.get()));
        Some(row)
    }

    /// The columns that PgBouncer has of every connection.
    fn plain_row(&self, connection: &Connection<'_>, state: &str, clock: &Clock) -> Row {
        let waits = connection.waits.unwrap_or(clock.now());
        let waited = clock.now().saturating_duration_since(waits);
        let (kind, own, other) = match connection.side {
            Side::Client(_) => ("C", 'c', 's'),
            Side::Server(_) => ("S", 's', 'c'),
        };
        let link = connection
            .link
            .map(|link| format!("{other}{}", link.number));
        let replication = connection.replication.as_deref().unwrap_or("none");
        let name = self.parameter(connection.parameters, "application_name");
        vec![
            Value::from(kind),
            Value::from(connection.user),
            Value::from(connection.database),
            Value::from(replication),
            Value::from(state),
            Value::text(connection.place.0.as_str()),
            Value::number(connection.place.1),
            Value::text(connection.local.0.as_str()),
            Value::number(connection.local.1),
            Value::text(clock.text(connection.connected)),
            Value::text(clock.text(connection.requested)),
            Value::number(waited.as_secs()),
            Value::number(waited.subsec_micros()),
            Value::number(u8::from(connection.close_needed)),
            Value::text(format!("{own}{}", connection.number)),
            Value::text(link.unwrap_or_default()),
            Value::number(connection.remote_pid),
            Value::text(connection.tls.as_str()),
            Value::text(name.unwrap_or_default()),
            Value::number(connection.prepared_statements),
            Value::number(connection.number),
        ]
    }

    /// The row of SHOW FDS; secrets are nobody's business.
    fn descriptor_row(&self, connection: &Connection<'_>) -> Row {
        let parameter = |name| {
            let value = self.parameter(connection.parameters, name);
            value.map_or(Value::Null, Value::text)
        };
        let task = match connection.side {
            Side::Client(_) => "client",
            Side::Server(_) => "server",
        };
        let link = connection.link.map_or(0, |link| link.descriptor);
        vec![
            Value::number(self.slot.get()),
            Value::number(connection.descriptor),
            Value::from(task),
            Value::from(connection.user),
            Value::from(connection.database),
            Value::text(connection.place.0.as_str()),
            Value::number(connection.place.1),
            Value::Null,
            Value::number(link),
            parameter("client_encoding"),
            parameter("standard_conforming_strings"),
            parameter("DateStyle"),
            parameter("TimeZone"),
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    }

    /// The value of a parameter in a set, if it is known.
    fn parameter(&self, parameters: Option<ParametersId>, name: &str) -> Option<String> {
        let mut values = self.parameters.values(parameters?);
        let (_, value) = values.find(|(known, _)| *known == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

impl Side {
    /// PgBouncer's word for what it is doing.
    fn word(self) -> &'static str {
        match self {
            Self::Client(phase) => phase.word(),
            Self::Server(phase) => phase.word(),
        }
    }

    /// The same in the tables of sockets.
    fn socket_word(self) -> &'static str {
        match self {
            Self::Client(phase) => phase.socket_word(),
            Self::Server(phase) => phase.socket_word(),
        }
    }

    /// Linked, or at work in any other way.
    fn is_active(self) -> bool {
        match self {
            Self::Client(phase) => phase != ClientPhase::Idle,
            Self::Server(phase) => !matches!(phase, ServerPhase::Idle | ServerPhase::Used),
        }
    }
}

impl Buffers {
    /// Buffers of a connection with this in its inbox and outbox.
    pub(super) fn of(inbox: usize, rest: Rest, (written, unwritten): (usize, usize)) -> Self {
        let rest = match rest {
            Rest::None => 0,
            Rest::Forward(rest) | Rest::Drop(rest) => rest,
        };
        Self {
            inbox,
            rest,
            written,
            unwritten,
        }
    }

    /// The columns `recv_pos` to `send_avail`.
    fn values(self) -> [Value; 7] {
        [
            self.inbox,
            0,
            self.rest,
            self.written,
            self.unwritten,
            self.inbox,
            self.unwritten,
        ]
        .map(Value::number)
    }
}

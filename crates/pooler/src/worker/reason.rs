//! Reasons: why a connection is closed, each with its text and SQLSTATE.
//!
//! The text for the log, the error for the client and its SQLSTATE come from
//! here; nobody writes a reason at the place where a connection is closed.
//! Texts are PgBouncer's, states are PostgreSQL's.
//!
//! Source: PostgreSQL documentation, "PostgreSQL Error Codes".

use std::borrow::Cow;

use log::Level;
use pgskein_pool::pools::Failure;
use pgskein_protocol::ProxyError;

use super::denied::Denied;
use super::unconfirmed::Unconfirmed;

pub(super) use server::{CONNECTION_FAILURE, ServerReason};

mod server;

/// Why a client is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// It sent Terminate.
    Terminated,
    /// It sent Terminate in one flight with its last query, which is to end.
    TerminatedInFlight,
    /// It closed its connection.
    Left,
    /// Its socket failed, with this error.
    SocketFailed(std::io::ErrorKind),
    /// A cancel request was carried out, or nobody knew its key.
    CancelDone,
    /// It does not keep to TLS, or not to what is asked of it there.
    Tls(String),
    /// It sent something else where only cancel requests are taken.
    NoCancelRequest,
    /// It came through a proxy that did not say whose connection it is.
    Proxy(ProxyError),
    /// `cancel_wait_timeout`: where cancel requests are taken it sent none.
    CancelWaitTimeout,
    /// Others had more right to one of the places for cancel requests.
    TooManyCancels,
    /// The database that it asked for does not exist.
    NoSuchDatabase(String),
    /// It may not use the console.
    NotAllowed,
    /// It could not prove who it is, or may not come in.
    Denied(Denied),
    /// Who knows its password has not confirmed it.
    Unconfirmed(Unconfirmed),
    /// Nobody could be asked whether it may come in.
    Unanswered {
        /// SQLSTATE of what went wrong.
        sqlstate: String,
        /// What went wrong.
        problem: String,
    },
    /// It asked for something that the protocol does not allow.
    Protocol(String),
    /// Its startup packet was refused.
    Startup {
        /// SQLSTATE of the refusal.
        sqlstate: &'static str,
        /// Text of the refusal.
        message: String,
        /// Hint of the refusal.
        hint: Option<String>,
    },
    /// `max_client_conn` is reached.
    TooManyClients,
    /// `max_db_client_connections` is reached.
    TooManyOfDatabase,
    /// `max_user_client_connections` is reached.
    TooManyOfUser,
    /// It came during a drain.
    ShuttingDown,
    /// It was still there when a drain had to end.
    DrainDeadline,
    /// It was asked to go, and was still there when its time was over.
    AskedToGo,
    /// It needs a server, and servers are being shut down.
    ServerShuttingDown,
    /// `query_wait_timeout`.
    QueryWaitTimeout,
    /// `query_timeout`.
    QueryTimeout,
    /// `client_idle_timeout`.
    ClientIdleTimeout,
    /// `client_login_timeout`.
    ClientLoginTimeout,
    /// `idle_transaction_timeout`.
    IdleTransactionTimeout,
    /// `transaction_timeout`.
    TransactionTimeout,
    /// It was cancelled before it was logged in.
    Cancelled,
    /// No server could be had; what the last attempt said.
    ServerFailed {
        /// SQLSTATE of the failure.
        sqlstate: String,
        /// Text of the failure.
        message: String,
    },
    /// It has waited for longer than this setting allows, while no server could
    /// be opened.
    Unserved {
        /// What the last attempt said.
        failure: Failure,
        /// Name of the setting.
        timeout: &'static str,
    },
    /// Its server connection was lost.
    ServerLost,
    /// Its server said why it closes, and the client has read it.
    ServerSaidWhy,
    /// Its server connection was lost in the middle of a message.
    ServerTorn,
    /// Its settings could not be brought to its server.
    InvalidServerParameter {
        /// SQLSTATE of the server's refusal.
        sqlstate: String,
        /// Text of the server's refusal.
        message: String,
    },
    /// It began a transaction block in statement mode.
    TransactionInStatementMode,
    /// It sent a simple query, which `disable_pqexec` refuses.
    SimpleQuery,
    /// A statement of this length, in bytes, cannot be kept, or its name is too
    /// long.
    StatementTooLarge(u32),
    /// Its database was taken out of the configuration.
    DatabaseRemoved,
    /// Its database was configured anew, and it keeps its server for ever.
    DatabaseChanged,
    /// It was logging in by what a new configuration has changed.
    LoginOutdated,
    /// Its database is disabled.
    DatabaseDisabled(String),
    /// The console has closed it.
    Killed,
    /// What was begun could not be written before everything stands still.
    SuspendTimeout,
}

impl Reason {
    /// The last attempt to open a server has failed, not long ago.
    pub(super) fn login_failing(failure: &Failure) -> Self {
        Self::ServerFailed {
            sqlstate: failure.sqlstate.clone(),
            message: format!(
                "server login has been failing, cached error: {} (server_login_retry)",
                failure.message
            ),
        }
    }

    /// What a client is told that has waited for longer than the reason allows,
    /// and what went wrong meanwhile.
    pub(super) fn unserved(self, trouble: Option<&Failure>) -> Self {
        let timeout = match self {
            Self::QueryWaitTimeout => "query_wait_timeout",
            Self::ClientLoginTimeout => "client_login_timeout",
            other => return other,
        };
        match trouble.cloned() {
            Some(failure) => Self::Unserved { failure, timeout },
            None => self,
        }
    }

    /// SQLSTATE of the final ErrorResponse, if the client still gets one.
    pub(super) fn sqlstate(&self) -> Option<&str> {
        Some(match self {
            Self::Terminated
            | Self::TerminatedInFlight
            | Self::Left
            | Self::SocketFailed(_)
            | Self::CancelDone
            | Self::Tls(_)
            | Self::NoCancelRequest
            | Self::Proxy(_)
            | Self::CancelWaitTimeout
            | Self::TooManyCancels
            | Self::ServerSaidWhy
            | Self::ServerTorn => return None,
            Self::NoSuchDatabase(_) => "3D000",
            Self::NotAllowed => "28000",
            Self::Denied(denied) => denied.sqlstate(),
            Self::Unconfirmed(unconfirmed) => unconfirmed.sqlstate(),
            Self::Unanswered { sqlstate, .. } => sqlstate,
            Self::Protocol(_) => "08P01",
            Self::Startup { sqlstate, .. } => sqlstate,
            Self::TooManyClients
            | Self::TooManyOfDatabase
            | Self::TooManyOfUser
            | Self::QueryWaitTimeout => "53300",
            Self::ShuttingDown | Self::DatabaseDisabled(_) | Self::LoginOutdated => "57P03",
            Self::DrainDeadline
            | Self::AskedToGo
            | Self::ServerShuttingDown
            | Self::DatabaseRemoved
            | Self::DatabaseChanged
            | Self::Killed
            | Self::SuspendTimeout => "57P01",
            Self::QueryTimeout | Self::ClientLoginTimeout | Self::Cancelled => "57014",
            Self::ClientIdleTimeout => "57P05",
            Self::IdleTransactionTimeout => "25P03",
            Self::TransactionTimeout => "25P04",
            Self::ServerFailed { sqlstate, .. } => sqlstate,
            Self::Unserved { failure, .. } => &failure.sqlstate,
            Self::StatementTooLarge(_) => "53200",
            Self::ServerLost => "08006",
            Self::InvalidServerParameter { sqlstate, .. } => sqlstate,
            Self::TransactionInStatementMode | Self::SimpleQuery => "0A000",
        })
    }

    /// Whether it is us who do not want to go on, and not the client.
    pub(super) fn is_ours(&self) -> bool {
        let untold = matches!(
            self,
            Self::Tls(_)
                | Self::NoCancelRequest
                | Self::Proxy(_)
                | Self::CancelWaitTimeout
                | Self::TooManyCancels
        );
        untold || self.sqlstate().is_some()
    }

    /// How the log calls it: what a client is told that it did not ask for is a
    /// warning, unless an operator has asked for it.
    pub(super) fn level(&self) -> Level {
        match self {
            Self::ShuttingDown
            | Self::DrainDeadline
            | Self::AskedToGo
            | Self::ServerShuttingDown => Level::Info,
            _ if self.is_ours() => Level::Warn,
            _ => Level::Info,
        }
    }

    /// Text for the client and the log.
    pub(super) fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Terminated | Self::TerminatedInFlight => "client close request",
            Self::Left => "client unexpected eof",
            Self::SocketFailed(kind) => return Cow::Owned(format!("client socket failed: {kind}")),
            Self::CancelDone => "cancel request done",
            Self::Tls(text) => return Cow::Owned(format!("TLS: {text}")),
            Self::Proxy(error) => return Cow::Owned(error.to_string()),
            Self::NoCancelRequest => "only cancel requests are taken here",
            Self::CancelWaitTimeout => "cancel_wait_timeout",
            Self::TooManyCancels => "too many connections for cancel requests",
            Self::NoSuchDatabase(name) => {
                return Cow::Owned(format!("no such database: {name}"));
            }
            Self::NotAllowed => "not allowed",
            Self::Denied(denied) => denied.text(),
            Self::Unconfirmed(unconfirmed) => unconfirmed.text(),
            // It has not proved who it is.
            Self::Unanswered { .. } => "authentication query failed",
            Self::Protocol(text) => text,
            Self::Startup { message, .. } => message,
            Self::TooManyClients => "no more connections allowed (max_client_conn)",
            Self::TooManyOfDatabase => "client connections exceeded (max_db_client_connections)",
            Self::TooManyOfUser => "client connections exceeded (max_user_client_connections)",
            Self::ShuttingDown | Self::DrainDeadline => "pooler is shutting down",
            Self::AskedToGo => "terminating connection due to administrator command",
            Self::ServerShuttingDown => "server shutting down",
            Self::QueryWaitTimeout => "query_wait_timeout",
            Self::QueryTimeout => "query_timeout",
            Self::ClientIdleTimeout => "client_idle_timeout",
            Self::ClientLoginTimeout => "client_login_timeout",
            Self::IdleTransactionTimeout => "idle transaction timeout",
            Self::TransactionTimeout => "transaction timeout",
            Self::Cancelled => "canceling statement due to user request",
            Self::ServerFailed { message, .. } => message,
            Self::Unserved { failure, timeout } => {
                return Cow::Owned(format!("{} ({timeout})", failure.message));
            }
            Self::ServerLost | Self::ServerTorn => "server conn crashed?",
            Self::ServerSaidWhy => "server closed the connection",
            Self::InvalidServerParameter { message, .. } => {
                return Cow::Owned(format!("invalid server parameter: {message}"));
            }
            Self::TransactionInStatementMode => {
                "transaction blocks not allowed in statement pooling mode"
            }
            Self::SimpleQuery => "PQexec disallowed",
            Self::StatementTooLarge(length) => {
                return Cow::Owned(format!(
                    "message of {length} bytes about a prepared statement is too large (prepared_statement_memory)"
                ));
            }
            Self::DatabaseRemoved => "database removed",
            Self::DatabaseChanged => "database configuration changed",
            Self::LoginOutdated => "configuration changed during the login",
            Self::DatabaseDisabled(name) => {
                return Cow::Owned(format!("database \"{name}\" is disabled"));
            }
            Self::Killed => "admin forced disconnect",
            Self::SuspendTimeout => "suspend_timeout",
        })
    }

    /// Hint for the client.
    pub(super) fn hint(&self) -> Option<&str> {
        match self {
            Self::Startup { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_nothing_to_a_client_that_left() {
        assert_eq!(Reason::Left.sqlstate(), None);
        assert_eq!(Reason::Terminated.sqlstate(), None);
    }

    #[test]
    fn uses_the_sqlstate_of_postgresql() {
        assert_eq!(Reason::QueryWaitTimeout.sqlstate(), Some("53300"));
        assert_eq!(
            Reason::NoSuchDatabase("shop".to_owned()).text(),
            "no such database: shop"
        );
    }
}

//! Why a connection to a server is closed.

use std::borrow::Cow;

use pgskein_pool::pools::Failure;
use pgskein_pool::role::Misfit;

use crate::worker::going::is_shutdown;
use crate::worker::server::Retire;

/// Why a server connection is closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::worker) enum ServerReason {
    /// It ended the connection.
    Lost,
    /// Its socket failed, with this error.
    SocketFailed(std::io::ErrorKind),
    /// The TLS on it failed.
    Tls(String),
    /// `server_connect_timeout`.
    ConnectTimeout,
    /// It could not be reached.
    ConnectFailed(String),
    /// None of the hosts could be used.
    NoHost {
        /// What has failed at each.
        message: String,
        /// One of them that may be leaving.
        host: String,
        /// That says it itself.
        says: bool,
    },
    /// It is no server that its database asks for.
    Unfit(Misfit),
    /// It is none any more.
    WrongRole,
    /// It refused our login.
    LoginFailed {
        /// SQLSTATE, the server's own where it gave one.
        sqlstate: String,
        /// What was said.
        message: String,
    },
    /// `server_lifetime`.
    Lifetime,
    /// `server_idle_timeout`.
    Idle,
    /// The lease is wanted elsewhere.
    Recalled,
    /// Its database was configured anew.
    DatabaseChanged,
    /// Its pool is paused.
    Paused,
    /// It has asked to be left.
    AskedToGo,
    /// The replication client that it was opened for has left.
    OwnerLeft,
    /// Its lease is wanted for a replication client.
    Evicted,
    /// The client left in the middle of something that cannot be undone.
    Unclean,
    /// `server_check_query`, `server_reset_query` or a SET of ours failed.
    OwnQueryFailed,
    /// What it sent is not the protocol.
    Protocol(String),
    /// The worker ends.
    Drained,
}

impl ServerReason {
    /// A failed login without a SQLSTATE of the server's.
    pub(in crate::worker) fn login_failed(message: impl Into<String>) -> Self {
        Self::LoginFailed {
            sqlstate: CONNECTION_FAILURE.to_owned(),
            message: message.into(),
        }
    }

    /// PostgreSQL takes no more connections for now, and says this.
    pub(in crate::worker) fn too_many_connections(message: String) -> Failure {
        Failure {
            sqlstate: TOO_MANY_CONNECTIONS.to_owned(),
            message,
        }
    }

    /// Whether something has gone wrong, and nobody of us has closed it.
    pub(in crate::worker) fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Lost
                | Self::SocketFailed(_)
                | Self::Tls(_)
                | Self::ConnectTimeout
                | Self::ConnectFailed(_)
                | Self::NoHost { .. }
                | Self::Unfit(_)
                | Self::LoginFailed { .. }
                | Self::OwnQueryFailed
                | Self::Protocol(_)
        )
    }

    /// Whether this may be because the host leaves, when it keeps a server from
    /// being opened: if so, whether the host says it itself.
    pub(in crate::worker) fn unreachable(&self) -> Option<bool> {
        match self {
            Self::Lost
            | Self::SocketFailed(_)
            | Self::Tls(_)
            | Self::ConnectTimeout
            | Self::ConnectFailed(_) => Some(false),
            Self::NoHost { says, .. } => Some(*says),
            Self::LoginFailed { sqlstate, .. } => is_shutdown(sqlstate).then_some(true),
            _ => None,
        }
    }

    /// The host that may be leaving, where it is not that of the server.
    pub(in crate::worker) fn host(&self) -> Option<&str> {
        match self {
            Self::NoHost { host, .. } => Some(host)
                .filter(|host| !host.is_empty())
                .map(|host| &**host),
            _ => None,
        }
    }

    /// Whether PostgreSQL itself keeps a server from being opened, and goes on.
    pub(in crate::worker) fn is_of_host(&self) -> bool {
        matches!(self, Self::LoginFailed { sqlstate, .. } if !is_shutdown(sqlstate))
    }

    /// Whether PostgreSQL takes no more connections for now.
    pub(in crate::worker) fn is_too_many_connections(&self) -> bool {
        matches!(self, Self::LoginFailed { sqlstate, .. } if sqlstate == TOO_MANY_CONNECTIONS)
    }

    /// SQLSTATE for clients that waited for this server's login.
    pub(in crate::worker) fn sqlstate(&self) -> &str {
        match self {
            Self::LoginFailed { sqlstate, .. } => sqlstate,
            _ => CONNECTION_FAILURE,
        }
    }

    /// Text for the log.
    pub(in crate::worker) fn text(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Lost => "server conn crashed?",
            Self::SocketFailed(kind) => return Cow::Owned(format!("server socket failed: {kind}")),
            Self::Tls(problem) => return Cow::Owned(format!("server TLS failed: {problem}")),
            Self::ConnectTimeout => "connect timeout",
            Self::LoginFailed { message, .. } | Self::NoHost { message, .. } => message,
            Self::Unfit(misfit) => return Cow::Owned(misfit.to_string()),
            Self::WrongRole => "server's role has changed",
            Self::ConnectFailed(text) | Self::Protocol(text) => text,
            Self::Lifetime => "server lifetime over",
            Self::Idle => "server idle timeout",
            Self::Recalled => "connection wanted by another worker",
            Self::DatabaseChanged => "database configuration changed",
            Self::Paused => "pause mode",
            Self::AskedToGo => "server asked to be left",
            Self::OwnerLeft => "replication client was closed",
            Self::Evicted => "evicted",
            Self::Unclean => "client disconnected with query in progress",
            Self::OwnQueryFailed => "test or reset query failed",
            Self::Drained => "pooler is shutting down",
        })
    }
}

impl From<Retire> for ServerReason {
    fn from(retire: Retire) -> Self {
        match retire {
            Retire::Paused => Self::Paused,
            Retire::Changed => Self::DatabaseChanged,
            Retire::AsksToGo => Self::AskedToGo,
            Retire::WrongRole => Self::WrongRole,
            Retire::Ended => Self::Lost,
        }
    }
}

/// SQLSTATE `too_many_connections`.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// SQLSTATE `connection_failure`.
pub(in crate::worker) const CONNECTION_FAILURE: &str = "08006";

//! Servers: connections to PostgreSQL.
//!
//! ```text
//! Connecting ──> LoggingIn ──> Own(connect query) ──> Idle <──> Linked
//!                                                      │  ^        │
//!                             Own(check) <─────────────┘  │        v
//!                                  └──────────────────────┴── Own(reset)
//!                                                         ^        │
//!                                    BeingCancelled ──────┘        v
//!                                                              Recovering
//! Idle, Linked <──> Offered ──> (another worker's)
//! Coming ──> Idle, Linked
//! any ──> Closing ──> (gone, the lease goes back)
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use pgskein_pool::control::LeaseId;
use pgskein_pool::flow::Flow;
use pgskein_pool::parameters::ParametersId;
use pgskein_pool::pools::PoolId;
use pgskein_pool::prepared::Known;
use pgskein_pool::slab::ClientId;
use pgskein_pool::statistics::Traffic;
use pgskein_pool::text::Classes;
use pgskein_protocol::Bid;

use super::client::Rest;
use super::flight::Replay;
use super::server_login::ServerLogin;
use super::stream::{Outbox, Stream};
use super::tour::ServerTour;
use super::watch::Watch;

/// One connection to PostgreSQL.
#[derive(Debug)]
pub(super) struct Server {
    /// Its socket.
    pub stream: Stream,
    /// Whether it is in the run queue.
    pub queued: bool,
    /// Whether it was ever lent.
    pub used: bool,
    /// Why it is closed at its next release, if it is.
    pub retire: Option<Retire>,
    /// Whether it has ended the connection, and said why.
    pub farewell: Option<Farewell>,
    /// What it is doing.
    pub state: ServerState,
    /// Where it is tried, until it has logged in.
    pub tour: Option<Box<ServerTour>>,
    /// What it owes.
    pub flow: Flow,
    /// Which statements it has prepared.
    pub known: Known,
    /// What may be sent once more.
    pub replay: Replay,
    /// What its clients have changed.
    pub dirty: Classes,
    /// Looks at the texts that are sent to it.
    pub watch: Watch,
    /// Body bytes of a frame that has begun and must go the same way.
    pub rest: Rest,
    /// Bytes read and not yet parsed.
    pub inbox: Vec<u8>,
    /// Bytes to write.
    pub outbox: Outbox,
    /// What its settings are.
    pub parameters: ParametersId,
    /// Its number in the group's one sequence.
    pub number: u64,
    /// What is counted of it.
    pub traffic: Traffic,
    /// Its pool.
    pub pool: PoolId,
    /// The client that it was opened for, if it is for no other.
    pub owner: Option<ClientId>,
    /// The right to it.
    pub lease: LeaseId,
    /// Where it is.
    pub target: Target,
    /// What of the protocol it was asked for and, once it is logged in, grants.
    pub bid: Bid,
    /// Its cancel key, if it has sent one.
    pub key: Option<(u32, Box<[u8]>)>,
    /// Cancel connections to it that have not ended.
    pub cancels: u32,
    /// When its connection was opened.
    pub opened: Instant,
    /// When it has reached `server_lifetime`.
    pub expires: Instant,
}

/// What a server has said when it ended the connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Farewell {
    /// It is kept for the client, as an error that does not end the session.
    Kept(Vec<u8>),
    /// The client has it.
    Told,
}

/// Why a server is closed when it is free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Retire {
    /// Its pool is paused; a RESUME before that lets it live.
    Paused,
    /// It leads elsewhere than a new one would, or may.
    Changed,
    /// It asks to be left.
    AsksToGo,
    /// It is no server any more that its database asks for.
    WrongRole,
    /// It has ended the connection.
    Ended,
}

/// Where a server is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// At an address.
    Tcp(SocketAddr),
    /// Behind a unix socket.
    Unix(PathBuf),
}

/// What a server connection is doing.
#[derive(Debug)]
pub(super) enum ServerState {
    /// The connect is under way.
    Connecting {
        /// When it has failed.
        deadline: Instant,
    },
    /// The startup packet was sent; its first ReadyForQuery was not seen yet.
    LoggingIn {
        /// What the login needs.
        login: Box<ServerLogin>,
        /// When it has failed.
        deadline: Instant,
    },
    /// Free to be lent.
    Idle,
    /// Lent to one client.
    Linked(ClientId),
    /// It runs a query of ours before it may be lent again.
    Own {
        /// Which.
        query: OwnQuery,
        /// When it has failed.
        deadline: Instant,
    },
    /// Its client left in the middle; what is still running ends first.
    Recovering {
        /// When it is closed instead.
        deadline: Instant,
    },
    /// Free, but a cancel request to it has not ended.
    BeingCancelled {
        /// Whether it was cleaned already, and only has to be lent.
        clean: bool,
    },
    /// It is offered to another worker; until that is decided nothing is done
    /// about it.
    Offered(Use),
    /// Another worker offers it.
    Coming(Use),
    /// Terminate was sent; the lease is kept until it closes its side.
    Closing {
        /// When it is closed whatever it does.
        deadline: Instant,
    },
}

/// What a server is doing that goes to another worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Use {
    /// It is idle since then.
    Idle(Instant),
    /// It is lent to a client that goes there as well.
    Linked(ClientId),
}

/// A query of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OwnQuery {
    /// `connect_query`.
    Connect,
    /// `server_check_query`.
    Check,
    /// `auth_query`, for a login.
    Secret,
    /// `server_reset_query`.
    Reset,
    /// The ROLLBACK of a transaction whose client has left.
    Rollback,
    /// What undoes session state.
    Clean {
        /// Of which kinds.
        classes: Classes,
        /// Whether `connect_query` follows.
        again: bool,
    },
    /// `connect_query` once more.
    ConnectAgain,
}

impl Server {
    /// Has it closed when it is free, because its pool is paused.
    pub(super) fn pause(&mut self) {
        self.retire.get_or_insert(Retire::Paused);
    }

    /// Whether it is not decided yet which worker has it.
    pub(super) fn is_offered(&self) -> bool {
        matches!(self.state, ServerState::Offered(_) | ServerState::Coming(_))
    }

    /// Whether what it still sends is looked at.
    pub(super) fn is_working(&self) -> bool {
        !matches!(self.state, ServerState::Closing { .. })
    }

    /// The client that it is lent to.
    #[inline]
    pub(super) fn client(&self) -> Option<ClientId> {
        match self.state {
            ServerState::Linked(client) => Some(client),
            _ => None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

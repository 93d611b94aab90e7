//! Clients: connections from applications.
//!
//! ```text
//!            ┌─> Cancelling ──────────────────┐
//! Login ─────┼─> Session ──┐                  ├─> (gone)
//!            └─> Console ──┴─> Closing ───────┘
//!
//! Session:  Idle ──> Waiting ──> Linked ──> Idle
//!           Idle, Linked <──> Offered ──> (another worker's)
//!           Coming ──> Idle, Linked
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use pgskein_pool::parameters::ParametersId;
use pgskein_pool::pools::PoolId;
use pgskein_pool::prepared::Prepared;
use pgskein_pool::slab::{ClientId, ServerId, Slab};
use pgskein_protocol::key::CancelKey;
use pgskein_protocol::{ProxyHeader, Replication};

use super::console::Console;
use super::login::{Login, Step};
use super::stream::{Outbox, Stream};

/// One connection from an application.
#[derive(Debug)]
pub(super) struct Client {
    /// Its socket.
    pub stream: Stream,
    /// Whether it is in the run queue.
    pub queued: bool,
    /// Whether it counts towards `max_client_conn`.
    pub counted: bool,
    /// Where it is in its life.
    pub stage: Stage,
    /// Bytes read and not yet parsed.
    pub inbox: Vec<u8>,
    /// Bytes to write.
    pub outbox: Outbox,
    /// Its number in the group's one sequence.
    pub number: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// When it was accepted.
    pub accepted: Instant,
    /// When something was last received from it.
    pub heard: Instant,
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// An address.
    Tcp(SocketAddr),
    /// The unix socket; user and process of the other side, where known.
    Unix {
        /// User id.
        uid: Option<u32>,
        /// Process id.
        pid: Option<i32>,
    },
}

/// Where a client is in its life.
#[derive(Debug)]
pub(super) enum Stage {
    /// Startup packet, authentication, greeting.
    Login(Box<Login>),
    /// Logged in to a pool.
    Session(Session),
    /// Logged in to the console.
    Console(Box<Console>),
    /// Its cancel request is being carried out.
    Cancelling {
        /// Another host may have forwarded it, and waits for its end.
        forwarded: bool,
    },
    /// It was told why it is closed; what it still sends is thrown away.
    Closing {
        /// When it is closed whatever it does.
        deadline: Instant,
        /// Whether our side was shut down already.
        shut: bool,
    },
}

/// A client that is logged in to a pool.
#[derive(Debug)]
pub(super) struct Session {
    /// Its pool.
    pub pool: PoolId,
    /// What it is doing.
    pub state: SessionState,
    /// Body bytes of a frame that has begun and must go the same way.
    pub rest: Rest,
    /// What it sent next waits until its server has answered.
    pub held: bool,
    /// What it has prepared.
    pub prepared: Option<Box<Prepared>>,
    /// What it believes the settings to be.
    pub parameters: ParametersId,
    /// Its cancel key.
    pub key: CancelKey,
    /// How it can be asked to go.
    pub carrier: Carrier,
    /// Since when it is in its state; for a linked one, in its transaction.
    pub since: Instant,
    /// When its last query began, or its last answer ended.
    pub turned: Instant,
}

/// What a logged-in client is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SessionState {
    /// It needs no server.
    Idle,
    /// It is in its pool's queue.
    Waiting,
    /// It has a server.
    Linked(ServerId),
    /// It was cancelled while it waited, in the middle of a batch, or has lost
    /// its server there: everything up to the next Sync is thrown away.
    Skipping,
    /// It has lost its server in a transaction that it has not ended.
    Lost,
    /// It is offered to another worker, with the server that it keeps; until
    /// that is decided nothing is done about it.
    Offered(Option<ServerId>),
    /// Another worker offers it, with the server that it keeps.
    Coming(Option<ServerId>),
}

/// Body bytes of the current frame that are still to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rest {
    /// None.
    None,
    /// So many, to be passed on.
    Forward(usize),
    /// So many, to be thrown away.
    Drop(usize),
}

/// How a client is asked to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    /// By GoAway, which it asked for.
    GoAway,
    /// By the parameter `disconnect_requested`.
    Parameter,
    /// It has been asked.
    Told,
    /// Not at all: it speaks replication, as it would with PostgreSQL.
    Never(Replication),
}

impl Session {
    /// Whether it waits for a server.
    pub(super) fn is_waiting(&self) -> bool {
        self.state == SessionState::Waiting
    }
}

impl Client {
    /// The session, once it is logged in to a pool.
    #[inline]
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        }
    }

    /// The session, once it is logged in to a pool.
    #[inline]
    pub(super) fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        }
    }

    /// A proxy has said whose connection it is.
    pub(super) fn passed_through(&mut self, header: ProxyHeader) {
        if let ProxyHeader::Client(address) = header {
            self.origin = Origin::Tcp(address);
        }
        if let Stage::Login(login) = &mut self.stage {
            login.step = Step::Startup;
        }
    }

    /// Whether it may bring a cancel request, and has not: nobody waits for it.
    pub(super) fn is_before_cancel(&self) -> bool {
        matches!(&self.stage, Stage::Login(login) if matches!(login.step, Step::CancelOnly))
    }

    /// Whether it waits in its login for a thread.
    pub(super) fn is_deriving(&self) -> bool {
        matches!(&self.stage, Stage::Login(login) if login.step.is_deriving())
    }

    /// Whether it is not decided yet which worker has it.
    pub(super) fn is_offered(&self) -> bool {
        match &self.stage {
            Stage::Session(session) => matches!(
                session.state,
                SessionState::Offered(_) | SessionState::Coming(_)
            ),
            Stage::Console(console) => console.is_offered(),
            Stage::Login(login) => login.passed_on,
            _ => false,
        }
    }

    /// Whether it is another worker's still.
    pub(super) fn is_coming(&self) -> bool {
        match &self.stage {
            Stage::Session(session) => matches!(session.state, SessionState::Coming(_)),
            Stage::Console(console) => console.is_coming(),
            _ => false,
        }
    }

    /// The server that it is linked to.
    #[inline]
    pub(super) fn linked(&self) -> Option<ServerId> {
        match self.session()?.state {
            SessionState::Linked(server) => Some(server),
            _ => None,
        }
    }
}

/// The session of a client, once it is logged in to a pool.
#[inline]
pub(super) fn session_of(
    clients: &mut Slab<ClientId, Client>,
    id: ClientId,
) -> Option<&mut Session> {
    clients.get_mut(id)?.session_mut()
}

impl Origin {
    /// Where a client is, as PgBouncer writes it behind an `application_name`;
    /// a unix socket has the port in its name.
    pub(super) fn place(&self, port: u16) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix { pid: Some(pid), .. } => {
                let host = nix::unistd::gethostname().unwrap_or_default();
                format!("unix({pid}@{}):{port}", host.to_string_lossy())
            }
            Self::Unix { pid: None, .. } => format!("unix:{port}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { pid: Some(pid), .. } => write!(f, "unix({pid})"),
            Self::Unix { pid: None, .. } => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_less_memory_than_half_a_kibibyte() {
        assert!(size_of::<Client>() < 400, "{} bytes", size_of::<Client>());
    }
}

//! Messages of the control link between the supervisor and a worker.
//!
//! A frame is Int32 length of what follows, one byte version (1), one byte
//! kind, one byte number of descriptors that travel with it, body. Whoever
//! sends the frame fills in the number of descriptors. The processes of a
//! group may be of two versions of the program: an unknown version or kind is
//! an error that names it.

mod to_supervisor;
mod to_worker;

use std::fmt;
use std::time::Duration;

use pgskein_protocol::key::Slot;

use crate::drain_order::DrainOrder;
use crate::octets::{Octets, Truncated, put_bytes};

/// A pool's name: servers of one database entry and one server-side user.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolKey {
    /// Name of the entry in `[databases]`, or what a client asked `*` for.
    pub database: String,
    /// User the pool's servers log in as.
    pub user: String,
}

/// The name of one lease.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId {
    /// Number of the lease, never used twice by one group.
    pub id: u64,
    /// Changes whenever the lease changes hands, so that a late message about
    /// an earlier holder finds nothing.
    pub epoch: u32,
}

/// What a pool of a worker wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Demand {
    /// Leases wanted beyond those that the worker has; 0 for none.
    pub wanted: u32,
    /// How long the oldest waiting client waits already.
    pub oldest_wait: Duration,
    /// Number of the last lease that the worker was granted and knows of: it
    /// has not counted on those that are on their way.
    pub last_lease: u64,
}

/// A process of PostgreSQL, and how it is cancelled.
#[derive(Clone, Eq, PartialEq)]
pub struct Backend {
    /// Where it listens: an address with its port, or the path of a unix
    /// socket.
    pub target: String,
    /// First half of its cancel key.
    pub process_id: u32,
    /// Second half of its cancel key.
    pub secret: Vec<u8>,
}

/// Whether a client gets a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClaimAnswer {
    /// It has one.
    Granted,
    /// Its database has as many clients as it may have.
    DatabaseFull,
    /// Its user has as many clients as it may have.
    UserFull,
}

/// What a worker tells the supervisor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToSupervisor {
    /// Serving and accepting.
    Ready,
    /// How many more servers the pool could use now; replaces what was said
    /// before.
    Wanted {
        /// The pool.
        pool: PoolKey,
        /// What it wants.
        demand: Demand,
    },
    /// Whether the pool has clients here; said only where its minimum matters.
    InUse {
        /// The pool.
        pool: PoolKey,
        /// It has.
        in_use: bool,
    },
    /// The lease's server has logged in.
    Held {
        /// The lease.
        lease: LeaseId,
        /// How it is cancelled, if it has said so.
        backend: Option<Backend>,
    },
    /// The lease's server was not used for long; may it be closed?
    MayClose {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease's server is in use again and was not closed, though it might
    /// have been.
    Kept {
        /// The lease.
        lease: LeaseId,
    },
    /// What the server of a dead worker ran is cancelled.
    OrphanCancelled {
        /// Its lease.
        lease: LeaseId,
    },
    /// The lease's server is opened for one client, and is closed after it.
    Dedicated {
        /// The lease.
        lease: LeaseId,
    },
    /// PostgreSQL has refused the lease's server because it has too many
    /// connections; [`ToSupervisor::Returned`] follows.
    TooMany {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease's server was told to go and still counts.
    Closing {
        /// The lease.
        lease: LeaseId,
    },
    /// The lease's server is gone, or never was.
    Returned {
        /// The lease.
        lease: LeaseId,
    },
    /// A client asks for a place under the limits of its database and user.
    Claim {
        /// Its number in the group's one sequence.
        client: u64,
        /// The database that it asks for.
        database: String,
        /// The user that it has logged in as.
        user: String,
    },
    /// A client was there before it had to ask for a place.
    Present {
        /// Its number in the group's one sequence.
        client: u64,
        /// The database that it asked for.
        database: String,
        /// The user that it has logged in as.
        user: String,
    },
    /// A client that had a place, or had asked for one, has left.
    Left {
        /// Its number in the group's one sequence.
        client: u64,
    },
    /// The configuration was understood and can be put into effect.
    Prepared {
        /// Version of the configuration.
        version: u64,
    },
    /// The configuration cannot be put into effect.
    Refused {
        /// Version of the configuration.
        version: u64,
        /// Why, as text for the log.
        reason: String,
    },
    /// The console asks to read the configuration again.
    Reload {
        /// Number that the answer carries.
        request: u64,
    },
    /// Accepting from the listeners of this slot as well.
    Adopted {
        /// The slot.
        slot: Slot,
    },
    /// No longer accepting from the listeners of this slot.
    DroppedListener {
        /// The slot.
        slot: Slot,
    },
    /// A host has refused the newest protocol and taken plain 3.0.
    OldHost {
        /// Version of the configuration in which it was asked.
        version: u64,
        /// Its address.
        host: String,
    },
    /// What do servers of the pool report at their login?
    AskWelcome {
        /// The pool.
        pool: PoolKey,
    },
    /// What a server of the pool has reported at its login.
    Welcome {
        /// Version of the configuration in which it was opened.
        version: u64,
        /// The pool.
        pool: PoolKey,
        /// ParameterStatus messages.
        burst: Vec<u8>,
    },
}

/// What the supervisor tells a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToWorker {
    /// One server connection may be opened.
    Grant {
        /// The lease for it.
        lease: LeaseId,
        /// The pool it is for.
        pool: PoolKey,
    },
    /// One server connection is to be opened, whether or not anybody waits.
    Open {
        /// The lease for it.
        lease: LeaseId,
        /// The pool it is for.
        pool: PoolKey,
    },
    /// The lease's server may be closed, if it is still unused; the answer to
    /// [`ToSupervisor::MayClose`].
    LetGo {
        /// The lease.
        lease: LeaseId,
    },
    /// The server of a dead worker is to be cancelled.
    CancelOrphan {
        /// Its lease.
        lease: LeaseId,
        /// How it is cancelled.
        backend: Backend,
    },
    /// Servers of the pool to give up; replaces what was said before, and is
    /// repeated after every server that was.
    Recall {
        /// The pool.
        pool: PoolKey,
        /// How many, 0 withdraws it: unused ones first, then those in use
        /// after their quantum.
        count: u32,
        /// How many more, but only of those that nobody uses.
        unused: u32,
    },
    /// The answer to [`ToSupervisor::Claim`].
    Claimed {
        /// Number of the client.
        client: u64,
        /// Whether it gets a place.
        answer: ClaimAnswer,
    },
    /// Get ready to put this configuration into effect.
    Prepare {
        /// Version of the configuration.
        version: u64,
        /// Every file of it, encoded.
        sources: Vec<u8>,
    },
    /// Put the prepared configuration into effect.
    Commit {
        /// Version of the configuration.
        version: u64,
    },
    /// Forget the prepared configuration.
    Abandon {
        /// Version of the configuration.
        version: u64,
    },
    /// Accept from the TCP listeners of this slot as well; they come along as
    /// descriptors.
    Adopt {
        /// The slot.
        slot: Slot,
    },
    /// Stop accepting from an adopted slot; it has an acceptor again.
    DropListener {
        /// The slot.
        slot: Slot,
    },
    /// Drain.
    Drain(DrainOrder),
    /// The supervisor has closed its TCP listeners: accept what is queued,
    /// then close yours.
    StopAccepting,
    /// End at once.
    Exit,
    /// Open the log file again: it may have been moved away. A
    /// [`ToWorker::Commit`] asks for the same, with the new settings.
    ReopenLog,
    /// The configuration was read again, or not.
    Reloaded {
        /// Number from the request.
        request: u64,
        /// A notice, may be empty, or why the old configuration stays.
        outcome: Result<String, String>,
    },
    /// Ask this host for plain 3.0, until the next configuration.
    OldHost {
        /// Its address.
        host: String,
    },
    /// What servers of the pool report at their login.
    Welcome {
        /// The pool.
        pool: PoolKey,
        /// ParameterStatus messages; none when nobody knows yet, which is told
        /// again then.
        burst: Vec<u8>,
    },
}

/// Why a frame is not a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ControlError {
    /// The frame's length field does not fit the frame.
    Length,
    /// The frame is of a version that is not known here.
    Version(u8),
    /// The frame is of a kind that is not known here.
    Kind(u8),
    /// The body does not fit the kind.
    Body(u8),
}

/// Length of the frame's header, in bytes.
pub const CONTROL_HEADER_LEN: usize = 7;

/// Where in a frame the number of its descriptors is.
pub const DESCRIPTORS_AT: usize = 6;

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.database, self.user)
    }
}

impl fmt::Debug for Backend {
    /// Shows which it is, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("target", &self.target)
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("control message of a wrong length"),
            Self::Version(version) => write!(f, "control message of unknown version {version}"),
            Self::Kind(kind) => write!(f, "control message of unknown kind {kind}"),
            Self::Body(kind) => write!(f, "invalid body of control message {kind}"),
        }
    }
}

impl std::error::Error for ControlError {}

fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let mut frame = vec![VERSION, kind, 0];
    body(&mut frame);
    put_bytes(out, &frame);
}

fn put_number(out: &mut Vec<u8>, kind: u8, number: u64) {
    put_frame(out, kind, |out| {
        out.extend_from_slice(&number.to_be_bytes());
    });
}

pub(crate) fn put_pool(out: &mut Vec<u8>, pool: &PoolKey) {
    put_bytes(out, pool.database.as_bytes());
    put_bytes(out, pool.user.as_bytes());
}

fn put_claim(out: &mut Vec<u8>, client: u64, database: &str, user: &str) {
    out.extend_from_slice(&client.to_be_bytes());
    put_bytes(out, database.as_bytes());
    put_bytes(out, user.as_bytes());
}

fn put_lease(out: &mut Vec<u8>, lease: LeaseId) {
    out.extend_from_slice(&lease.id.to_be_bytes());
    out.extend_from_slice(&lease.epoch.to_be_bytes());
}

fn read_frame<T>(
    frame: &[u8],
    message: impl FnOnce(u8, &mut Octets<'_>) -> Result<Option<T>, Truncated>,
) -> Result<T, ControlError> {
    let mut outer = Octets(frame);
    let (Ok(inner), Ok(())) = (outer.bytes(), outer.end()) else {
        return Err(ControlError::Length);
    };
    let Some((&[version, kind, _descriptors], body)) = inner.split_first_chunk::<3>() else {
        return Err(ControlError::Length);
    };
    if version != VERSION {
        return Err(ControlError::Version(version));
    }
    let mut octets = Octets(body);
    let read = message(kind, &mut octets)
        .and_then(|message| match message {
            Some(message) => octets.end().map(|()| Some(message)),
            None => Ok(None),
        })
        .map_err(|Truncated| ControlError::Body(kind))?;
    read.ok_or(ControlError::Kind(kind))
}

pub(crate) fn pool(octets: &mut Octets<'_>) -> Result<PoolKey, Truncated> {
    Ok(PoolKey {
        database: octets.text()?,
        user: octets.text()?,
    })
}

pub(crate) fn put_backend(out: &mut Vec<u8>, backend: &Backend) {
    put_bytes(out, backend.target.as_bytes());
    out.extend_from_slice(&backend.process_id.to_be_bytes());
    put_bytes(out, &backend.secret);
}

pub(crate) fn backend(octets: &mut Octets<'_>) -> Result<Backend, Truncated> {
    Ok(Backend {
        target: octets.text()?,
        process_id: octets.u32()?,
        secret: octets.bytes()?.to_vec(),
    })
}

fn lease(octets: &mut Octets<'_>) -> Result<LeaseId, Truncated> {
    Ok(LeaseId {
        id: octets.u64()?,
        epoch: octets.u32()?,
    })
}

fn slot(octets: &mut Octets<'_>) -> Result<Slot, Truncated> {
    octets
        .u8()
        .and_then(|number| Slot::new(number).ok_or(Truncated))
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests;

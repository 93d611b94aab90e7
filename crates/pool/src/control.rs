//! Messages of the control link between the supervisor and a worker.
//!
//! A frame is Int32 length of what follows, one byte version (1), one byte
//! kind, one byte number of descriptors that travel with it, body. Whoever
//! sends the frame fills in the number of descriptors. The processes of a
//! group may be of two versions of the program: an unknown version or kind is
//! an error that names it.

mod asked;
mod handoffs;
mod hosts;
mod pool_key;
mod to_supervisor;
mod to_worker;

use std::fmt;
use std::time::Duration;

use pgskein_protocol::key::Slot;

pub use self::asked::Asked;
pub use self::handoffs::HandoffReport;
pub use self::hosts::{HostNotice, HostReport};
pub use self::pool_key::PoolKey;
pub use self::to_supervisor::ToSupervisor;
pub use self::to_worker::ToWorker;
use crate::console::Topic;
use crate::octets::{Octets, Truncated, put_bytes};

/// The name of one lease.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LeaseId {
    /// Number of the lease, never used twice by one group.
    pub id: u64,
    /// Changes whenever the lease changes hands, so that a late message about
    /// an earlier holder finds nothing.
    pub epoch: u32,
}

impl LeaseId {
    /// The lease in the hands of whoever has it next.
    #[must_use]
    pub fn handed_on(self) -> Self {
        Self {
            id: self.id,
            epoch: self.epoch.wrapping_add(1),
        }
    }

    /// Whether this is a later hand than the one of `epoch`; epochs begin anew
    /// after the last one.
    pub(crate) fn is_after(self, epoch: u32) -> bool {
        let ahead = self.epoch.wrapping_sub(epoch);
        ahead != 0 && ahead <= u32::MAX / 2
    }
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

pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
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

pub(crate) fn put_lease(out: &mut Vec<u8>, lease: LeaseId) {
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

pub(crate) fn lease(octets: &mut Octets<'_>) -> Result<LeaseId, Truncated> {
    Ok(LeaseId {
        id: octets.u64()?,
        epoch: octets.u32()?,
    })
}

fn topic(octets: &mut Octets<'_>) -> Result<Topic, Truncated> {
    octets
        .u8()
        .and_then(|code| Topic::of_code(code).ok_or(Truncated))
}

pub(crate) fn slot(octets: &mut Octets<'_>) -> Result<Slot, Truncated> {
    octets
        .u8()
        .and_then(|number| Slot::new(number).ok_or(Truncated))
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests;

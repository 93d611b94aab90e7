//! Messages about runtime state, part of those of the control link.

use super::{Order, RuntimeState};
use crate::control::put_frame;
use crate::octets::{Octets, Truncated};

/// What a worker says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FromWorker {
    /// The order of this version is carried out here.
    Applied {
        /// The version.
        version: u64,
        /// What it was about was here.
        found: bool,
    },
    /// What held when the supervisor was lost that this worker had.
    State {
        /// Version of the state.
        version: u64,
        /// The state.
        state: RuntimeState,
    },
}

/// What the supervisor says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FromSupervisor {
    /// Carry out this order, after which this state holds.
    Runtime {
        /// Version of the state.
        version: u64,
        /// The state.
        state: RuntimeState,
        /// The order that has made it.
        order: Order,
    },
}

impl FromWorker {
    /// Appends the message as one frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Applied { version, found } => put_frame(out, APPLIED, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                out.push(u8::from(*found));
            }),
            Self::State { version, state } => put_frame(out, STATE, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                state.encode(out);
            }),
        }
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            APPLIED => Self::Applied {
                version: octets.u64()?,
                found: octets.u8()? != 0,
            },
            STATE => Self::State {
                version: octets.u64()?,
                state: RuntimeState::take(octets)?,
            },
            _ => return Ok(None),
        }))
    }
}

impl FromSupervisor {
    /// Appends the message as one frame to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Runtime {
                version,
                state,
                order,
            } => put_frame(out, RUNTIME, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                state.encode(out);
                order.encode(out);
            }),
        }
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            RUNTIME => Self::Runtime {
                version: octets.u64()?,
                state: RuntimeState::take(octets)?,
                order: Order::take(octets)?,
            },
            _ => return Ok(None),
        }))
    }
}

const APPLIED: u8 = 33;
const STATE: u8 = 35;
const RUNTIME: u8 = 95;

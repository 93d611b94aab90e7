//! Messages about runtime state, part of those of the control link.

use super::{Order, RuntimeState};
use crate::octets::{Octets, Truncated, put_bytes};

/// What a worker says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FromWorker {
    /// A console gives an order.
    Order {
        /// Number that the answer carries.
        request: u64,
        /// The order.
        order: Order,
    },
    /// A console gives a setting another value, for the whole group.
    Set {
        /// Number that the answer carries.
        request: u64,
        /// The setting.
        name: String,
        /// Its value, as it would be written in the file.
        value: String,
    },
    /// The console that has asked for this is no longer there.
    Gone {
        /// Number of the request.
        request: u64,
    },
    /// The order of this version is carried out here.
    Applied {
        /// The version.
        version: u64,
        /// What it was about was here.
        found: bool,
    },
    /// The configuration is in effect here.
    Committed {
        /// Version of the configuration.
        version: u64,
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
    /// An order was carried out by all, or not.
    Ordered {
        /// Number from the request.
        request: u64,
        /// Lines of a notice, may be empty, or an error and its detail.
        outcome: Result<String, String>,
    },
}

impl FromWorker {
    /// Kind of the frame, and its body.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Self::Order { request, order } => {
                out.extend_from_slice(&request.to_be_bytes());
                order.encode(&mut out);
                30
            }
            Self::Set {
                request,
                name,
                value,
            } => {
                out.extend_from_slice(&request.to_be_bytes());
                put_bytes(&mut out, name.as_bytes());
                put_bytes(&mut out, value.as_bytes());
                31
            }
            Self::Gone { request } => {
                out.extend_from_slice(&request.to_be_bytes());
                32
            }
            Self::Applied { version, found } => {
                out.extend_from_slice(&version.to_be_bytes());
                out.push(u8::from(*found));
                33
            }
            Self::Committed { version } => {
                out.extend_from_slice(&version.to_be_bytes());
                34
            }
            Self::State { version, state } => {
                out.extend_from_slice(&version.to_be_bytes());
                state.encode(&mut out);
                35
            }
        };
        (kind, out)
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            30 => Self::Order {
                request: octets.u64()?,
                order: Order::take(octets)?,
            },
            31 => Self::Set {
                request: octets.u64()?,
                name: octets.text()?,
                value: octets.text()?,
            },
            32 => Self::Gone {
                request: octets.u64()?,
            },
            33 => Self::Applied {
                version: octets.u64()?,
                found: octets.u8()? != 0,
            },
            34 => Self::Committed {
                version: octets.u64()?,
            },
            35 => Self::State {
                version: octets.u64()?,
                state: RuntimeState::take(octets)?,
            },
            _ => return Ok(None),
        }))
    }
}

impl FromSupervisor {
    /// Kind of the frame, and its body.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        let kind = match self {
            Self::Runtime {
                version,
                state,
                order,
            } => {
                out.extend_from_slice(&version.to_be_bytes());
                state.encode(&mut out);
                order.encode(&mut out);
                95
            }
            Self::Ordered { request, outcome } => {
                out.extend_from_slice(&request.to_be_bytes());
                out.push(u8::from(outcome.is_ok()));
                let (Ok(text) | Err(text)) = outcome;
                put_bytes(&mut out, text.as_bytes());
                96
            }
        };
        (kind, out)
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(crate) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            95 => Self::Runtime {
                version: octets.u64()?,
                state: RuntimeState::take(octets)?,
                order: Order::take(octets)?,
            },
            96 => Self::Ordered {
                request: octets.u64()?,
                outcome: match octets.u8()? {
                    0 => Err(octets.text()?),
                    _ => Ok(octets.text()?),
                },
            },
            _ => return Ok(None),
        }))
    }
}

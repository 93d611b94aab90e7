//! What a worker tells the supervisor, as frames.

use super::{
    ControlError, ToSupervisor, lease, pool, put_frame, put_lease, put_number, put_pool,
    read_frame, slot,
};
use crate::octets::{put_bytes, put_duration};

impl ToSupervisor {
    /// Appends the message as one frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready => put_frame(out, 1, |_| {}),
            Self::Wanted {
                pool,
                wanted,
                oldest_wait,
            } => put_frame(out, 2, |out| {
                put_pool(out, pool);
                out.extend_from_slice(&wanted.to_be_bytes());
                put_duration(out, *oldest_wait);
            }),
            Self::Held {
                lease,
                process_id,
                secret,
            } => put_frame(out, 3, |out| {
                put_lease(out, *lease);
                out.extend_from_slice(&process_id.to_be_bytes());
                put_bytes(out, secret);
            }),
            Self::Closing { lease } => put_frame(out, 4, |out| put_lease(out, *lease)),
            Self::Returned { lease } => put_frame(out, 5, |out| put_lease(out, *lease)),
            Self::Prepared { version } => put_number(out, 6, *version),
            Self::Refused { version, reason } => put_frame(out, 7, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_bytes(out, reason.as_bytes());
            }),
            Self::Reload { request } => put_number(out, 8, *request),
            Self::Adopted { slot } => put_frame(out, 9, |out| out.push(slot.get())),
            Self::DroppedListener { slot } => put_frame(out, 10, |out| out.push(slot.get())),
            Self::AskWelcome { pool } => put_frame(out, 20, |out| put_pool(out, pool)),
            Self::Welcome {
                version,
                pool,
                burst,
            } => put_frame(out, 21, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_pool(out, pool);
                put_bytes(out, burst);
            }),
            Self::OldHost { version, host } => put_frame(out, 11, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_bytes(out, host.as_bytes());
            }),
            Self::Dedicated { lease } => put_frame(out, 12, |out| put_lease(out, *lease)),
        }
    }

    /// Reads the message of one whole frame.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; the frame can be skipped, the link is still good.
    pub fn decode(frame: &[u8]) -> Result<Self, ControlError> {
        read_frame(frame, |kind, octets| {
            Ok(Some(match kind {
                1 => Self::Ready,
                2 => Self::Wanted {
                    pool: pool(octets)?,
                    wanted: octets.u32()?,
                    oldest_wait: octets.duration()?,
                },
                3 => Self::Held {
                    lease: lease(octets)?,
                    process_id: octets.u32()?,
                    secret: octets.bytes()?.to_vec(),
                },
                4 => Self::Closing {
                    lease: lease(octets)?,
                },
                5 => Self::Returned {
                    lease: lease(octets)?,
                },
                6 => Self::Prepared {
                    version: octets.u64()?,
                },
                7 => Self::Refused {
                    version: octets.u64()?,
                    reason: octets.text()?,
                },
                8 => Self::Reload {
                    request: octets.u64()?,
                },
                9 => Self::Adopted {
                    slot: slot(octets)?,
                },
                10 => Self::DroppedListener {
                    slot: slot(octets)?,
                },
                20 => Self::AskWelcome {
                    pool: pool(octets)?,
                },
                21 => Self::Welcome {
                    version: octets.u64()?,
                    pool: pool(octets)?,
                    burst: octets.bytes()?.to_vec(),
                },
                11 => Self::OldHost {
                    version: octets.u64()?,
                    host: octets.text()?,
                },
                12 => Self::Dedicated {
                    lease: lease(octets)?,
                },
                _ => return Ok(None),
            }))
        })
    }
}

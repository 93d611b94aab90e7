//! Messages about hosts that leave or fail, part of those of the control link.

use std::time::Duration;

use super::{LeaseId, PoolKey, lease, pool, put_frame, put_lease, put_pool};
use crate::octets::{Octets, Truncated, put_bytes, put_duration};

/// What a worker says of the host of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostReport {
    /// The lease's server asks to be left: it is closed when it is free, and
    /// another is to take its place.
    AskedToGo {
        /// The lease.
        lease: LeaseId,
        /// Address of the host.
        host: String,
    },
    /// The lease's server has ended the connection because it shuts down.
    Farewell {
        /// The lease.
        lease: LeaseId,
        /// Address of the host.
        host: String,
    },
    /// The lease's server could not be opened, and it may be because its host
    /// leaves: a [`HostNotice`] says what it is;
    /// [`ToSupervisor::Returned`](super::ToSupervisor::Returned) follows.
    Unreachable {
        /// The lease.
        lease: LeaseId,
        /// Address of the host.
        host: String,
        /// The host itself says that it shuts down or starts.
        says: bool,
        /// What was said, or has failed.
        message: String,
    },
    /// The lease's server could not be opened, for a reason that only a host gives
    /// that serves.
    Answered {
        /// The lease.
        lease: LeaseId,
        /// Address of the host.
        host: String,
    },
    /// A host has not let the lease's server in, which is tried at others.
    Refused {
        /// The lease.
        lease: LeaseId,
        /// Address of the host.
        host: String,
        /// The host itself says that it shuts down or starts.
        says: bool,
    },
    /// The last supervisor had said of this pool that its host leaves.
    Leaving {
        /// The pool.
        pool: PoolKey,
        /// Address of the host.
        host: String,
        /// What was said, or has failed.
        message: String,
    },
}

/// What the supervisor says of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostNotice {
    /// The host of a pool leaves: clients wait until it is back.
    Leaves {
        /// The pool.
        pool: PoolKey,
        /// Address of the host.
        host: String,
        /// What was said, or has failed.
        message: String,
    },
    /// It is back.
    Back {
        /// The pool.
        pool: PoolKey,
    },
    /// It does not leave: what has failed is a failure.
    Fails {
        /// The pool.
        pool: PoolKey,
    },
    /// A host has failed, whichever pools are there: others are tried before.
    Failed {
        /// Its address.
        host: String,
        /// Its number in the order of all failures.
        order: u64,
        /// For how long from now on.
        last_for: Duration,
    },
}

impl HostReport {
    /// Appends the message as one frame to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::AskedToGo { lease, host } => put_frame(out, ASKED_TO_GO, |out| {
                put_lease(out, *lease);
                put_bytes(out, host.as_bytes());
            }),
            Self::Farewell { lease, host } => put_frame(out, FAREWELL, |out| {
                put_lease(out, *lease);
                put_bytes(out, host.as_bytes());
            }),
            Self::Unreachable {
                lease,
                host,
                says,
                message,
            } => put_frame(out, UNREACHABLE, |out| {
                put_lease(out, *lease);
                put_bytes(out, host.as_bytes());
                out.push(u8::from(*says));
                put_bytes(out, message.as_bytes());
            }),
            Self::Answered { lease, host } => put_frame(out, ANSWERED, |out| {
                put_lease(out, *lease);
                put_bytes(out, host.as_bytes());
            }),
            Self::Refused { lease, host, says } => put_frame(out, REFUSED, |out| {
                put_lease(out, *lease);
                put_bytes(out, host.as_bytes());
                out.push(u8::from(*says));
            }),
            Self::Leaving {
                pool,
                host,
                message,
            } => put_frame(out, LEAVING, |out| put_leaving(out, pool, host, message)),
        }
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(super) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            ASKED_TO_GO => Self::AskedToGo {
                lease: lease(octets)?,
                host: octets.text()?,
            },
            FAREWELL => Self::Farewell {
                lease: lease(octets)?,
                host: octets.text()?,
            },
            UNREACHABLE => Self::Unreachable {
                lease: lease(octets)?,
                host: octets.text()?,
                says: octets.u8()? != 0,
                message: octets.text()?,
            },
            ANSWERED => Self::Answered {
                lease: lease(octets)?,
                host: octets.text()?,
            },
            REFUSED => Self::Refused {
                lease: lease(octets)?,
                host: octets.text()?,
                says: octets.u8()? != 0,
            },
            LEAVING => Self::Leaving {
                pool: pool(octets)?,
                host: octets.text()?,
                message: octets.text()?,
            },
            _ => return Ok(None),
        }))
    }
}

impl HostNotice {
    /// Appends the message as one frame to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Leaves {
                pool,
                host,
                message,
            } => put_frame(out, LEAVES, |out| put_leaving(out, pool, host, message)),
            Self::Back { pool } => put_frame(out, BACK, |out| put_pool(out, pool)),
            Self::Fails { pool } => put_frame(out, FAILS, |out| put_pool(out, pool)),
            Self::Failed {
                host,
                order,
                last_for,
            } => put_frame(out, FAILED, |out| {
                put_bytes(out, host.as_bytes());
                out.extend_from_slice(&order.to_be_bytes());
                put_duration(out, *last_for);
            }),
        }
    }

    /// Takes the body of a frame of this kind, if it is one of these.
    pub(super) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            LEAVES => Self::Leaves {
                pool: pool(octets)?,
                host: octets.text()?,
                message: octets.text()?,
            },
            BACK => Self::Back {
                pool: pool(octets)?,
            },
            FAILS => Self::Fails {
                pool: pool(octets)?,
            },
            FAILED => Self::Failed {
                host: octets.text()?,
                order: octets.u64()?,
                last_for: octets.duration()?,
            },
            _ => return Ok(None),
        }))
    }
}

fn put_leaving(out: &mut Vec<u8>, pool: &PoolKey, host: &str, message: &str) {
    put_pool(out, pool);
    put_bytes(out, host.as_bytes());
    put_bytes(out, message.as_bytes());
}

const ASKED_TO_GO: u8 = 41;
const FAREWELL: u8 = 42;
const UNREACHABLE: u8 = 43;
const LEAVING: u8 = 44;
const ANSWERED: u8 = 47;
const REFUSED: u8 = 72;

const LEAVES: u8 = 130;
const BACK: u8 = 131;
const FAILS: u8 = 132;
const FAILED: u8 = 150;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{ToSupervisor, ToWorker};

    const LEASE: LeaseId = LeaseId { id: 7, epoch: 2 };

    fn pool() -> PoolKey {
        PoolKey {
            database: "shop".to_owned(),
            user: "bob".to_owned(),
        }
    }

    /// Version 1 as it was first written; it never changes.
    fn reports() -> Vec<(HostReport, &'static [u8])> {
        let host = || "/s".to_owned();
        let message = || "no".to_owned();
        vec![
            (
                HostReport::AskedToGo {
                    lease: LEASE,
                    host: host(),
                },
                b"\0\0\0\x15\x01\x29\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02/s",
            ),
            (
                HostReport::Farewell {
                    lease: LEASE,
                    host: host(),
                },
                b"\0\0\0\x15\x01\x2a\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02/s",
            ),
            (
                HostReport::Unreachable {
                    lease: LEASE,
                    host: host(),
                    says: true,
                    message: message(),
                },
                b"\0\0\0\x1c\x01\x2b\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02/s\x01\0\0\0\x02no",
            ),
            (
                HostReport::Answered {
                    lease: LEASE,
                    host: host(),
                },
                b"\0\0\0\x15\x01\x2f\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02/s",
            ),
            (
                HostReport::Refused {
                    lease: LEASE,
                    host: host(),
                    says: true,
                },
                b"\0\0\0\x16\x01\x48\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x02/s\x01",
            ),
            (
                HostReport::Leaving {
                    pool: pool(),
                    host: host(),
                    message: message(),
                },
                b"\0\0\0\x1e\x01\x2c\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x02/s\0\0\0\x02no",
            ),
        ]
    }

    /// Version 1 as it was first written; it never changes.
    fn notices() -> Vec<(HostNotice, &'static [u8])> {
        vec![
            (
                HostNotice::Leaves {
                    pool: pool(),
                    host: "/s".to_owned(),
                    message: "no".to_owned(),
                },
                b"\0\0\0\x1e\x01\x82\0\0\0\0\x04shop\0\0\0\x03bob\0\0\0\x02/s\0\0\0\x02no",
            ),
            (
                HostNotice::Back { pool: pool() },
                b"\0\0\0\x12\x01\x83\0\0\0\0\x04shop\0\0\0\x03bob",
            ),
            (
                HostNotice::Fails { pool: pool() },
                b"\0\0\0\x12\x01\x84\0\0\0\0\x04shop\0\0\0\x03bob",
            ),
            (
                HostNotice::Failed {
                    host: "/s".to_owned(),
                    order: 7,
                    last_for: Duration::from_millis(5),
                },
                b"\0\0\0\x19\x01\x96\0\0\0\0\x02/s\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x13\x88",
            ),
        ]
    }

    #[test]
    fn writes_and_reads_frames_as_recorded() {
        for (report, frame) in reports() {
            let mut out = Vec::new();
            let message = ToSupervisor::Host(report);
            message.encode(&mut out);
            assert_eq!(out, frame, "{message:?}");
            assert_eq!(ToSupervisor::decode(frame), Ok(message));
        }
        for (notice, frame) in notices() {
            let mut out = Vec::new();
            let message = ToWorker::Host(notice);
            message.encode(&mut out);
            assert_eq!(out, frame, "{message:?}");
            assert_eq!(ToWorker::decode(frame), Ok(message));
        }
    }
}

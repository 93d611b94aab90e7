//! Messages about connections that change hands, part of those of the control
//! link.
//!
//! Workers name each other by the number of their process, which a connected
//! socket tells: a place may have had several.

use pgskein_protocol::key::Slot;

use super::to_supervisor::{put_report, report};
use super::{LeaseId, lease, put_frame, put_lease, slot};
use crate::ledger;
use crate::octets::{Octets, Truncated};

/// What a worker says of connections that it gives or takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HandoffReport {
    /// The lease's server is about to be handed over for good.
    Lent {
        /// The lease, as it was.
        lease: LeaseId,
        /// Process id of the worker that takes it.
        to: u32,
    },
    /// A server has been taken from another worker, and with it this lease, in
    /// its next epoch.
    Received(ledger::Report),
    /// A client is about to be handed over for good;
    /// [`ToSupervisor::Present`](super::ToSupervisor::Present) follows from the
    /// worker that takes it.
    Client {
        /// Its number in the group's one sequence.
        client: u64,
        /// Process id of the worker that takes it.
        to: u32,
    },
    /// A stream of handoffs to this worker has ended, and all that came on it was
    /// taken, or let go.
    Over {
        /// Slot of the worker that has given.
        slot: Slot,
        /// Its generation.
        generation: u32,
        /// Its process id.
        process: u32,
    },
}

impl HandoffReport {
    /// Appends the message as one frame to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Lent { lease, to } => put_frame(out, LENT, |out| {
                put_lease(out, *lease);
                out.extend_from_slice(&to.to_be_bytes());
            }),
            Self::Received(report) => put_frame(out, RECEIVED, |out| put_report(out, report)),
            Self::Client { client, to } => put_frame(out, CLIENT, |out| {
                out.extend_from_slice(&client.to_be_bytes());
                out.extend_from_slice(&to.to_be_bytes());
            }),
            Self::Over {
                slot,
                generation,
                process,
            } => put_frame(out, OVER, |out| {
                out.push(slot.get());
                out.extend_from_slice(&generation.to_be_bytes());
                out.extend_from_slice(&process.to_be_bytes());
            }),
        }
    }

    /// Reads the body of a message of this kind, if it is one of these.
    pub(super) fn take(kind: u8, octets: &mut Octets<'_>) -> Result<Option<Self>, Truncated> {
        Ok(Some(match kind {
            LENT => Self::Lent {
                lease: lease(octets)?,
                to: octets.u32()?,
            },
            RECEIVED => Self::Received(report(octets)?),
            CLIENT => Self::Client {
                client: octets.u64()?,
                to: octets.u32()?,
            },
            OVER => Self::Over {
                slot: slot(octets)?,
                generation: octets.u32()?,
                process: octets.u32()?,
            },
            _ => return Ok(None),
        }))
    }
}

const LENT: u8 = 64;
const RECEIVED: u8 = 65;
const CLIENT: u8 = 66;
const OVER: u8 = 67;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Backend, PoolKey, ToSupervisor, ToWorker};
    use crate::ledger::{Report, ReportedServer, WorkerId};

    const LEASE: LeaseId = LeaseId { id: 7, epoch: 2 };

    fn pool() -> PoolKey {
        PoolKey {
            database: "a".to_owned(),
            user: "x".to_owned(),
        }
    }

    /// Version 1 as it was first written; it never changes.
    fn samples() -> Vec<(HandoffReport, &'static [u8])> {
        vec![
            (
                HandoffReport::Lent {
                    lease: LEASE,
                    to: 258,
                },
                b"\0\0\0\x13\x01\x40\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\x01\x02",
            ),
            (
                HandoffReport::Received(Report {
                    lease: LEASE,
                    pool: pool(),
                    dedicated: false,
                    server: ReportedServer::Held(Some(Backend {
                        target: "/s".to_owned(),
                        process_id: 4711,
                        secret: b"\x01\x02\x03\x04".to_vec(),
                    })),
                }),
                b"\0\0\0\x2d\x01\x41\0\0\0\0\0\0\0\0\x07\0\0\0\x02\0\0\0\x01a\0\0\0\x01x\
                  \0\x04\0\0\0\x02/s\0\0\x12\x67\0\0\0\x04\x01\x02\x03\x04",
            ),
            (
                HandoffReport::Client { client: 9, to: 258 },
                b"\0\0\0\x0f\x01\x42\0\0\0\0\0\0\0\0\x09\0\0\x01\x02",
            ),
            (
                HandoffReport::Over {
                    slot: Slot::new(3).unwrap(),
                    generation: 4,
                    process: 258,
                },
                b"\0\0\0\x0c\x01\x43\0\x03\0\0\0\x04\0\0\x01\x02",
            ),
        ]
    }

    #[test]
    fn writes_and_accepts_the_recorded_frames() {
        for (report, frame) in samples() {
            let message = ToSupervisor::Handoff(report);
            let mut out = Vec::new();
            message.encode(&mut out);
            assert_eq!(out, frame, "{message:?}");
            assert_eq!(ToSupervisor::decode(frame), Ok(message));
        }
        let lend = ToWorker::Lend {
            pool: pool(),
            to: vec![WorkerId {
                slot: Slot::new(3).unwrap(),
                generation: 4,
                incarnation: 5,
            }],
        };
        let frame: &[u8] = b"\0\0\0\x1a\x01\x8c\0\0\0\0\x01a\0\0\0\x01x\0\0\0\x01\
                            \x03\0\0\0\x04\0\0\0\x05";
        let mut out = Vec::new();
        lend.encode(&mut out);
        assert_eq!(out, frame);
        assert_eq!(ToWorker::decode(frame), Ok(lend));
    }

    #[test]
    fn rejects_every_prefix() {
        for (_, frame) in samples() {
            let mut short = frame[..frame.len() - 1].to_vec();
            let length = u32::try_from(short.len() - 4).unwrap();
            short[..4].copy_from_slice(&length.to_be_bytes());
            assert!(ToSupervisor::decode(&short).is_err());
        }
    }
}

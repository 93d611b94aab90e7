//! What the supervisor tells a worker, as frames.

use pgskein_protocol::key::Slot;

use super::{
    Backend, ClaimAnswer, ControlError, HostNotice, LeaseId, PoolKey, backend, lease, pool,
    put_backend, put_frame, put_lease, put_number, put_pool, read_frame, slot,
};
use crate::drain_order::DrainOrder;
use crate::ledger::{WorkerId, put_worker, worker};
use crate::moves;
use crate::octets::{Truncated, put_bytes, put_count};
use crate::runtime::FromSupervisor;
use crate::tickets::TicketSecrets;
use crate::usual_secrets::UsualSecrets;

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
    /// Workers that want the servers of the pool that are to be given up, which
    /// they get alive where that is possible; replaces what was said before, and
    /// comes before the [`ToWorker::Recall`].
    Lend {
        /// The pool.
        pool: PoolKey,
        /// The neediest first, once for every server.
        to: Vec<WorkerId>,
    },
    /// PostgreSQL has refused a server of the pool because it has too many
    /// connections, and is asked again; who waits longer than allowed is told.
    TooMany {
        /// The pool.
        pool: PoolKey,
        /// What it said.
        message: String,
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
    /// The group ends, and its listeners stay: accept what is queued, then
    /// refuse new sessions.
    RefuseSessions,
    /// The supervisor has closed its TCP listeners: accept what is queued,
    /// then close yours.
    StopAccepting,
    /// End at once.
    Exit,
    /// Open the log file again: it may have been moved away. A
    /// [`ToWorker::Commit`] asks for the same, with the new settings.
    ReopenLog,
    /// The answer to [`ToSupervisor::Ask`](super::ToSupervisor::Ask).
    Answered {
        /// Number from the request.
        request: u64,
        /// Lines of a notice, may be empty, or an error and its detail.
        outcome: Result<String, String>,
    },
    /// Ask this host for plain 3.0, until the next configuration.
    OldHost {
        /// Its address.
        host: String,
    },
    /// Use this scoreboard from now on; it comes along as a descriptor.
    Board,
    /// What servers of the pool report at their login.
    Welcome {
        /// The pool.
        pool: PoolKey,
        /// ParameterStatus messages; none when nobody knows yet, which is told
        /// again then.
        burst: Vec<u8>,
    },
    /// The answer to [`ToSupervisor::Show`](super::ToSupervisor::Show).
    Shown {
        /// Number from the request.
        request: u64,
        /// The stream of all rows.
        rows: Vec<u8>,
    },
    /// Say what you have counted.
    Count {
        /// Number that the answer carries.
        round: u64,
        /// Whether a period of the statistics has ended.
        period: bool,
    },
    /// Something about runtime state.
    Runtime(FromSupervisor),
    /// Something about the host of a pool.
    Host(HostNotice),
    /// Something about clients that move.
    Move(moves::ToWorker),
    /// Another program is the supervisor now, and wants to know what the worker
    /// has: every [`ToSupervisor::Lease`](super::ToSupervisor::Lease), then
    /// [`ToSupervisor::Reported`](super::ToSupervisor::Reported), then what it
    /// wants.
    Report,
    /// A successor accepts from the worker's listeners: close them, and the unix
    /// socket, without accepting what is queued.
    HandOver,
    /// Make and read tickets by these secrets from now on.
    Tickets(TicketSecrets),
    /// What kind of secrets the database has, as another worker has seen.
    Usual(UsualSecrets),
}

impl ToWorker {
    /// Appends the message as one frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Grant { lease, pool } => put_frame(out, 65, |out| {
                put_lease(out, *lease);
                put_pool(out, pool);
            }),
            Self::Recall {
                pool,
                count,
                unused,
            } => put_frame(out, 66, |out| {
                put_pool(out, pool);
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&unused.to_be_bytes());
            }),
            Self::Lend { pool, to } => put_frame(out, 140, |out| {
                put_pool(out, pool);
                put_count(out, to.len());
                for worker in to {
                    put_worker(out, *worker);
                }
            }),
            Self::Prepare { version, sources } => put_frame(out, 67, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_bytes(out, sources);
            }),
            Self::Commit { version } => put_number(out, 68, *version),
            Self::Abandon { version } => put_number(out, 69, *version),
            Self::Adopt { slot } => put_frame(out, 70, |out| out.push(slot.get())),
            Self::DropListener { slot } => put_frame(out, 71, |out| out.push(slot.get())),
            Self::Drain(order) => put_frame(out, 120, |out| order.encode(out)),
            Self::RefuseSessions => put_frame(out, 121, |_| {}),
            Self::StopAccepting => put_frame(out, 73, |_| {}),
            Self::Exit => put_frame(out, 74, |_| {}),
            Self::Answered { request, outcome } => put_frame(out, 96, |out| {
                out.extend_from_slice(&request.to_be_bytes());
                out.push(u8::from(outcome.is_ok()));
                let (Ok(text) | Err(text)) = outcome;
                put_bytes(out, text.as_bytes());
            }),
            Self::ReopenLog => put_frame(out, 76, |_| {}),
            Self::Shown { request, rows } => put_frame(out, 90, |out| {
                out.extend_from_slice(&request.to_be_bytes());
                put_bytes(out, rows);
            }),
            Self::Board => put_frame(out, 115, |_| {}),
            Self::Welcome { pool, burst } => put_frame(out, 85, |out| {
                put_pool(out, pool);
                put_bytes(out, burst);
            }),
            Self::Open { lease, pool } => put_frame(out, 78, |out| {
                put_lease(out, *lease);
                put_pool(out, pool);
            }),
            Self::Claimed { client, answer } => put_frame(out, 81, |out| {
                out.extend_from_slice(&client.to_be_bytes());
                out.push(match answer {
                    ClaimAnswer::Granted => 0,
                    ClaimAnswer::DatabaseFull => 1,
                    ClaimAnswer::UserFull => 2,
                });
            }),
            Self::LetGo { lease } => put_frame(out, 79, |out| put_lease(out, *lease)),
            Self::CancelOrphan { lease, backend } => put_frame(out, 80, |out| {
                put_lease(out, *lease);
                put_backend(out, backend);
            }),
            Self::TooMany { pool, message } => put_frame(out, 110, |out| {
                put_pool(out, pool);
                put_bytes(out, message.as_bytes());
            }),
            Self::Usual(usual) => put_frame(out, 177, |out| usual.encode(out)),
            Self::OldHost { host } => put_frame(out, 77, |out| put_bytes(out, host.as_bytes())),
            Self::Count { round, period } => put_frame(out, 105, |out| {
                out.extend_from_slice(&round.to_be_bytes());
                out.push(u8::from(*period));
            }),
            Self::Report => put_frame(out, 125, |_| {}),
            Self::HandOver => put_frame(out, 126, |_| {}),
            Self::Tickets(secrets) => put_frame(out, 170, |out| secrets.encode(out)),
            Self::Runtime(message) => message.encode(out),
            Self::Host(notice) => notice.encode(out),
            Self::Move(message) => message.encode(out),
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
                65 => Self::Grant {
                    lease: lease(octets)?,
                    pool: pool(octets)?,
                },
                66 => Self::Recall {
                    pool: pool(octets)?,
                    count: octets.u32()?,
                    unused: octets.u32()?,
                },
                140 => Self::Lend {
                    pool: pool(octets)?,
                    to: octets.list(worker)?,
                },
                67 => Self::Prepare {
                    version: octets.u64()?,
                    sources: octets.bytes()?.to_vec(),
                },
                68 => Self::Commit {
                    version: octets.u64()?,
                },
                69 => Self::Abandon {
                    version: octets.u64()?,
                },
                70 => Self::Adopt {
                    slot: slot(octets)?,
                },
                71 => Self::DropListener {
                    slot: slot(octets)?,
                },
                72 => Self::Drain(DrainOrder::decode_v1(octets)?),
                120 => Self::Drain(DrainOrder::decode(octets)?),
                121 => Self::RefuseSessions,
                73 => Self::StopAccepting,
                74 => Self::Exit,
                96 => Self::Answered {
                    request: octets.u64()?,
                    outcome: match octets.u8()? {
                        0 => Err(octets.text()?),
                        _ => Ok(octets.text()?),
                    },
                },
                76 => Self::ReopenLog,
                115 => Self::Board,
                85 => Self::Welcome {
                    pool: pool(octets)?,
                    burst: octets.bytes()?.to_vec(),
                },
                90 => Self::Shown {
                    request: octets.u64()?,
                    rows: octets.bytes()?.to_vec(),
                },
                177 => Self::Usual(UsualSecrets::decode(octets)?),
                77 => Self::OldHost {
                    host: octets.text()?,
                },
                78 => Self::Open {
                    lease: lease(octets)?,
                    pool: pool(octets)?,
                },
                81 => Self::Claimed {
                    client: octets.u64()?,
                    answer: match octets.u8()? {
                        0 => ClaimAnswer::Granted,
                        1 => ClaimAnswer::DatabaseFull,
                        2 => ClaimAnswer::UserFull,
                        _ => return Err(Truncated),
                    },
                },
                110 => Self::TooMany {
                    pool: pool(octets)?,
                    message: octets.text()?,
                },
                79 => Self::LetGo {
                    lease: lease(octets)?,
                },
                80 => Self::CancelOrphan {
                    lease: lease(octets)?,
                    backend: backend(octets)?,
                },
                105 => Self::Count {
                    round: octets.u64()?,
                    period: octets.u8()? != 0,
                },
                125 => Self::Report,
                126 => Self::HandOver,
                170 => Self::Tickets(TicketSecrets::decode(octets)?),
                kind => {
                    if let Some(notice) = HostNotice::take(kind, octets)? {
                        return Ok(Some(Self::Host(notice)));
                    }
                    if let Some(message) = moves::ToWorker::take(kind, octets)? {
                        return Ok(Some(Self::Move(message)));
                    }
                    return Ok(FromSupervisor::take(kind, octets)?.map(Self::Runtime));
                }
            }))
        })
    }
}

//! What a worker tells the supervisor, as frames.

use pgskein_protocol::key::Slot;

use super::{
    Asked, Backend, ControlError, Demand, HandoffReport, HostReport, LeaseId, PoolKey, backend,
    lease, pool, put_backend, put_claim, put_frame, put_lease, put_number, put_pool, read_frame,
    slot, topic,
};
use crate::console::Topic;
use crate::drain;
use crate::ledger::{self, ReportedServer};
use crate::moves;
use crate::octets::{Octets, Truncated, put_bytes, put_duration};
use crate::prepared::StatementKey;
use crate::runtime::FromWorker;
use crate::statistics::Report;
use crate::usual_secrets::UsualSecrets;

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
    /// A lease that a worker holds which has joined the group, see
    /// [`PeerRequest::Join`](crate::peer::PeerRequest::Join).
    Lease(ledger::Report),
    /// All leases are reported.
    Reported {
        /// Last number of a client or server that it knows of.
        last_id: u64,
        /// Number of the last lease that it was granted.
        last_lease: u64,
        /// What its servers' names of prepared statements are made of.
        statement_key: StatementKey,
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
        /// What it said.
        message: String,
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
    /// The pool was not used for long and is gone here.
    Unused {
        /// The pool.
        pool: PoolKey,
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
    /// The configuration is in effect here.
    Committed {
        /// Version of the configuration.
        version: u64,
    },
    /// How far a drain has come here.
    Drain(drain::Report),
    /// Whether nobody is left here for whom the end of the group waits, but for
    /// those who come to be refused; said where it changes.
    Settled {
        /// Nobody is.
        settled: bool,
    },
    /// A console asks something of the whole group.
    Ask {
        /// Number that the answer carries.
        request: u64,
        /// What it asks.
        asked: Asked,
    },
    /// The console that has asked for this is no longer there.
    Gone {
        /// Number of the request.
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
    /// A console asks for what the supervisor knows of a table.
    Show {
        /// Number that the answer carries.
        request: u64,
        /// The table.
        topic: Topic,
    },
    /// What the worker has counted.
    Counted(Report),
    /// Something about runtime state.
    Runtime(FromWorker),
    /// Something about a host that leaves.
    Host(HostReport),
    /// Something about clients that move.
    Move(moves::FromWorker),
    /// Something about a connection that changes hands.
    Handoff(HandoffReport),
    /// What kind of secrets the database has.
    Usual(UsualSecrets),
}

impl ToSupervisor {
    /// Appends the message as one frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready => put_frame(out, 1, |_| {}),
            Self::Closing { lease } => put_frame(out, 4, |out| put_lease(out, *lease)),
            Self::Returned { lease } => put_frame(out, 5, |out| put_lease(out, *lease)),
            Self::Prepared { version } => put_number(out, 6, *version),
            Self::Refused { version, reason } => put_frame(out, 7, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_bytes(out, reason.as_bytes());
            }),
            Self::Committed { version } => put_number(out, 34, *version),
            Self::Ask { request, asked } => put_frame(out, 36, |out| {
                out.extend_from_slice(&request.to_be_bytes());
                asked.encode(out);
            }),
            Self::Gone { request } => put_number(out, 32, *request),
            Self::Show { request, topic } => put_frame(out, 26, |out| {
                out.extend_from_slice(&request.to_be_bytes());
                out.push(topic.code());
            }),
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
            Self::Usual(usual) => put_frame(out, 97, |out| usual.encode(out)),
            Self::OldHost { version, host } => put_frame(out, 11, |out| {
                out.extend_from_slice(&version.to_be_bytes());
                put_bytes(out, host.as_bytes());
            }),
            Self::Dedicated { lease } => put_frame(out, 12, |out| put_lease(out, *lease)),
            Self::Held { lease, backend } => put_frame(out, 13, |out| {
                put_lease(out, *lease);
                out.push(u8::from(backend.is_some()));
                if let Some(backend) = backend {
                    put_backend(out, backend);
                }
            }),
            Self::TooMany { lease, message } => put_frame(out, 45, |out| {
                put_lease(out, *lease);
                put_bytes(out, message.as_bytes());
            }),
            Self::Unused { pool } => put_frame(out, 46, |out| put_pool(out, pool)),
            Self::Claim {
                client,
                database,
                user,
            } => put_frame(out, 22, |out| put_claim(out, *client, database, user)),
            Self::Present {
                client,
                database,
                user,
            } => put_frame(out, 23, |out| put_claim(out, *client, database, user)),
            Self::Left { client } => put_number(out, 24, *client),
            Self::Lease(report) => put_frame(out, 50, |out| put_report(out, report)),
            Self::Reported {
                last_id,
                last_lease,
                statement_key,
            } => put_frame(out, 51, |out| {
                out.extend_from_slice(&last_id.to_be_bytes());
                out.extend_from_slice(&last_lease.to_be_bytes());
                out.extend_from_slice(&statement_key.0);
            }),
            Self::Wanted { pool, demand } => put_frame(out, 18, |out| {
                put_pool(out, pool);
                out.extend_from_slice(&demand.wanted.to_be_bytes());
                put_duration(out, demand.oldest_wait);
                out.extend_from_slice(&demand.last_lease.to_be_bytes());
            }),
            Self::InUse { pool, in_use } => put_frame(out, 14, |out| {
                put_pool(out, pool);
                out.push(u8::from(*in_use));
            }),
            Self::MayClose { lease } => put_frame(out, 15, |out| put_lease(out, *lease)),
            Self::Kept { lease } => put_frame(out, 16, |out| put_lease(out, *lease)),
            Self::OrphanCancelled { lease } => put_frame(out, 17, |out| put_lease(out, *lease)),
            Self::Drain(report) => put_frame(out, 70, |out| report.encode(out)),
            Self::Settled { settled } => put_frame(out, 57, |out| out.push(u8::from(*settled))),
            Self::Counted(report) => put_frame(out, 40, |out| report.encode(out)),
            Self::Runtime(message) => message.encode(out),
            Self::Host(report) => report.encode(out),
            Self::Move(message) => message.encode(out),
            Self::Handoff(report) => report.encode(out),
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
                34 => Self::Committed {
                    version: octets.u64()?,
                },
                36 => Self::Ask {
                    request: octets.u64()?,
                    asked: Asked::take(octets)?,
                },
                32 => Self::Gone {
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
                97 => Self::Usual(UsualSecrets::decode(octets)?),
                11 => Self::OldHost {
                    version: octets.u64()?,
                    host: octets.text()?,
                },
                12 => Self::Dedicated {
                    lease: lease(octets)?,
                },
                13 => Self::Held {
                    lease: lease(octets)?,
                    backend: match octets.u8()? {
                        0 => None,
                        _ => Some(backend(octets)?),
                    },
                },
                14 => Self::InUse {
                    pool: pool(octets)?,
                    in_use: octets.u8()? != 0,
                },
                15 => Self::MayClose {
                    lease: lease(octets)?,
                },
                16 => Self::Kept {
                    lease: lease(octets)?,
                },
                17 => Self::OrphanCancelled {
                    lease: lease(octets)?,
                },
                45 => Self::TooMany {
                    lease: lease(octets)?,
                    message: octets.text()?,
                },
                46 => Self::Unused {
                    pool: pool(octets)?,
                },
                22 => Self::Claim {
                    client: octets.u64()?,
                    database: octets.text()?,
                    user: octets.text()?,
                },
                23 => Self::Present {
                    client: octets.u64()?,
                    database: octets.text()?,
                    user: octets.text()?,
                },
                24 => Self::Left {
                    client: octets.u64()?,
                },
                26 => Self::Show {
                    request: octets.u64()?,
                    topic: topic(octets)?,
                },
                50 => Self::Lease(report(octets)?),
                51 => Self::Reported {
                    last_id: octets.u64()?,
                    last_lease: octets.u64()?,
                    statement_key: StatementKey(octets.array()?),
                },
                18 => Self::Wanted {
                    pool: pool(octets)?,
                    demand: Demand {
                        wanted: octets.u32()?,
                        oldest_wait: octets.duration()?,
                        last_lease: octets.u64()?,
                    },
                },
                56 => Self::Drain(drain::Report::take_v1(octets)?),
                70 => Self::Drain(drain::Report::take(octets)?),
                57 => Self::Settled {
                    settled: octets.u8()? != 0,
                },
                40 => Self::Counted(Report::decode(octets)?),
                kind => {
                    if let Some(report) = HostReport::take(kind, octets)? {
                        return Ok(Some(Self::Host(report)));
                    }
                    if let Some(message) = moves::FromWorker::take(kind, octets)? {
                        return Ok(Some(Self::Move(message)));
                    }
                    if let Some(report) = HandoffReport::take(kind, octets)? {
                        return Ok(Some(Self::Handoff(report)));
                    }
                    return Ok(FromWorker::take(kind, octets)?.map(Self::Runtime));
                }
            }))
        })
    }
}

pub(super) fn put_report(out: &mut Vec<u8>, report: &ledger::Report) {
    put_lease(out, report.lease);
    put_pool(out, &report.pool);
    out.push(u8::from(report.dedicated));
    match &report.server {
        ReportedServer::Opening => out.push(1),
        ReportedServer::Held(None) => out.push(2),
        ReportedServer::Closing => out.push(3),
        ReportedServer::Held(Some(backend)) => {
            out.push(4);
            put_backend(out, backend);
        }
    }
}

pub(super) fn report(octets: &mut Octets<'_>) -> Result<ledger::Report, Truncated> {
    Ok(ledger::Report {
        lease: lease(octets)?,
        pool: pool(octets)?,
        dedicated: octets.u8()? != 0,
        server: match octets.u8()? {
            1 => ReportedServer::Opening,
            2 => ReportedServer::Held(None),
            3 => ReportedServer::Closing,
            4 => ReportedServer::Held(Some(backend(octets)?)),
            _ => return Err(Truncated),
        },
    })
}

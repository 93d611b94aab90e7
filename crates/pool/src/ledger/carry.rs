//! Carry: the ledger in the hands of the next supervisor.
//!
//! A supervisor that executes itself anew writes the book down, and its
//! successor reads it. What was on its way to or from a worker at that moment
//! is missing there. So every worker is asked what it holds, and what it
//! reports is what counts; until then it gets nothing. What workers want is
//! not written down: they say it again.
//!
//! Layout, version 1, all big-endian: version (1), last lease (8), number of
//! pools (4), pools, number of leases (4), leases. Version 2 has moving leases
//! and, after the leases, the number of ended streams (4) with two workers each;
//! it is written only where there are some of these, so that an older program
//! can read the book.
//!
//! ```text
//! pool    database and user (texts), pool size, minimum, reserve, limits of
//!         database and user (4 each), timeout of the reserve, login retry
//!         (8 each), kept (1), time to open a server (1 and 8)
//! lease   id (8), epoch (4), database and user (texts), dedicated (1), then
//!         1: opening     worker, age (8), ordered (1)
//!         2: held        worker, age (8), leaving (1), backend
//!         3: closing     worker, backend
//!         4: orphaned    time that is left (8), backend
//!         5: moving      worker that gives and worker that takes, whether the
//!                        giver is dead (1), time that is left (1 and 8), backend
//! worker  slot (1), generation (4), incarnation (4)
//! backend there is none (0), or (1) target (text), process id (4), secret
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use pgskein_protocol::key::Slot;

use super::lease::{Lease, LeaseState};
use super::{Ledger, Limits, WorkerId};
use crate::control::{self, Backend, LeaseId, PoolKey};
use crate::octets::{Octets, Truncated, put_count, put_duration, put_option};

/// The book of another supervisor cannot be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CarryError {
    /// It is of a version that is not known here.
    Version(u8),
    /// It ends before it should, or holds something impossible.
    Malformed,
}

/// What a worker reports of one lease that it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The lease.
    pub lease: LeaseId,
    /// The pool of its server.
    pub pool: PoolKey,
    /// Its server is one client's.
    pub dedicated: bool,
    /// What its server is doing.
    pub server: ReportedServer,
}

/// What a server is doing, as far as the ledger wants to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ReportedServer {
    /// It is being connected to.
    Opening,
    /// It has logged in; how it is cancelled, if it has said so.
    Held(Option<Backend>),
    /// It was told to go.
    Closing,
}

impl Ledger {
    /// Appends the book, as it is at `now`, to `out`.
    ///
    /// What is still to be told to workers is not in it.
    pub fn encode(&self, now: Instant, out: &mut Vec<u8>) {
        debug_assert!(self.actions.is_empty(), "somebody was not told everything");
        let moves = !self.moving.is_empty() || !self.ended.0.is_empty();
        out.push(if moves { VERSION } else { WITHOUT_MOVES });
        out.extend_from_slice(&self.last_id.to_be_bytes());
        put_count(out, self.book.pools.len());
        for (key, pool) in &self.book.pools {
            control::put_pool(out, key);
            put_limits(out, pool.limits);
            out.push(u8::from(pool.kept));
            out.push(u8::from(pool.opening.is_some()));
            put_duration(out, pool.opening.unwrap_or_default());
        }
        put_count(out, self.leases.len());
        for (id, lease) in &self.leases {
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&lease.epoch.to_be_bytes());
            control::put_pool(out, &lease.pool);
            out.push(u8::from(lease.dedicated));
            put_state(out, &lease.state, now);
        }
        if moves {
            put_count(out, self.ended.0.len());
            for (from, to) in &self.ended.0 {
                put_worker(out, *from);
                put_worker(out, *to);
            }
        }
    }

    /// Reads a book that was written down just before `now`.
    ///
    /// These workers are asked to report; none of them gets anything before
    /// [`Ledger::adopt`] has its report.
    ///
    /// # Errors
    ///
    /// [`CarryError`] when it is not a book of a known version.
    pub fn decode(
        bytes: &[u8],
        asked: impl IntoIterator<Item = WorkerId>,
        now: Instant,
    ) -> Result<Self, CarryError> {
        let mut octets = Octets(bytes);
        let moves = match octets.u8() {
            Ok(WITHOUT_MOVES) => false,
            Ok(VERSION) => true,
            Ok(version) => return Err(CarryError::Version(version)),
            Err(Truncated) => return Err(CarryError::Malformed),
        };
        let mut ledger =
            Self::read(&mut octets, moves, now).map_err(|Truncated| CarryError::Malformed)?;
        ledger.awaited.extend(asked);
        Ok(ledger)
    }

    /// Takes note of a worker that another supervisor has started; it gets
    /// nothing before [`Ledger::adopt`] has its report.
    ///
    /// It knows of leases up to number `last_lease`; none of those numbers is
    /// given out again.
    pub fn join(&mut self, worker: WorkerId, last_lease: u64) {
        self.awaited.insert(worker);
        self.last_id = self.last_id.max(last_lease);
    }

    /// Leaves out so many numbers of leases: there are workers that hold some and
    /// have not said which.
    pub fn skip(&mut self, count: u64) {
        self.last_id = self.last_id.saturating_add(count);
    }

    /// Takes what a worker reports that it holds in place of what the book
    /// says about it.
    ///
    /// It is the answer to what the worker was asked after the last
    /// [`Ledger::decode`] or [`Ledger::join`], and not to anything before.
    pub fn adopt(
        &mut self,
        worker: WorkerId,
        reports: Vec<Report>,
        limits: impl Fn(&PoolKey) -> Limits,
        now: Instant,
    ) {
        if !self.awaited.remove(&worker) {
            return;
        }
        let mut reports: BTreeMap<u64, Report> = reports
            .into_iter()
            .map(|report| (report.lease.id, report))
            .collect();
        let held = self.leases.iter().filter_map(|(id, lease)| {
            let held = lease.state.worker() == Some(worker);
            held.then_some((*id, lease.epoch))
        });
        for (id, epoch) in held.collect::<Vec<_>>() {
            let lease = LeaseId { id, epoch };
            match reports.remove(&id).filter(|report| report.lease == lease) {
                Some(report) => self.correct(worker, report, now),
                None => self.returned(worker, lease, now),
            }
        }
        for report in reports.into_values() {
            if let Some(found) = self.leases.get(&report.lease.id) {
                if report.lease.is_after(found.epoch) {
                    let limits = limits(&report.pool);
                    self.take_over(worker, report, limits, now);
                }
                // Any other is of a group that went on without this worker: it
                // goes on uncounted.
                continue;
            }
            if self.has_passed(report.lease) {
                // It was given away since.
                continue;
            }
            self.book.enter(&report.pool, limits(&report.pool));
            let lease = Lease {
                epoch: report.lease.epoch,
                pool: report.pool.clone(),
                state: LeaseState::Opening {
                    worker,
                    since: now,
                    ordered: false,
                },
                dedicated: false,
            };
            self.insert(report.lease.id, lease, now);
            self.correct(worker, report, now);
        }
        for pool in self.book.pools.values_mut() {
            if let Some(share) = pool.shares.get_mut(&worker) {
                // What it wanted before it was asked it says again.
                share.forget_demand();
            }
        }
        self.worker_ready(worker);
    }

    /// Has a lease of the book say what its worker reports.
    fn correct(&mut self, worker: WorkerId, report: Report, now: Instant) {
        let lease = report.lease;
        if report.dedicated {
            self.dedicated(worker, lease);
        }
        match report.server {
            ReportedServer::Opening => {}
            ReportedServer::Held(backend) => {
                self.held(worker, lease, backend, now);
            }
            ReportedServer::Closing => self.closing(worker, lease, now),
        }
        // It may not have heard that it may close it.
        self.kept(worker, lease);
    }

    fn read(octets: &mut Octets<'_>, moves: bool, now: Instant) -> Result<Self, Truncated> {
        let mut ledger = Self {
            last_id: octets.u64()?,
            ..Self::default()
        };
        for _ in 0..octets.u32()? {
            let key = control::pool(octets)?;
            let limits = limits(octets)?;
            let kept = octets.u8()? != 0;
            let (known, opening) = (octets.u8()? != 0, octets.duration()?);
            let pool = ledger.book.enter(&key, limits);
            pool.kept = kept;
            pool.opening = known.then_some(opening);
            ledger.stale.insert(key);
        }
        for _ in 0..octets.u32()? {
            let id = octets.u64()?;
            let epoch = octets.u32()?;
            let pool = control::pool(octets)?;
            let dedicated = octets.u8()? != 0;
            let state = state(octets, now)?;
            if id > ledger.last_id || !ledger.book.pools.contains_key(&pool) {
                return Err(Truncated);
            }
            let lease = Lease {
                epoch,
                pool,
                state,
                dedicated,
            };
            ledger.note_place(&lease);
            ledger.insert(id, lease, now);
        }
        if moves {
            ledger.ended.0 = octets.list(|octets| Ok((worker(octets)?, worker(octets)?)))?;
        }
        octets.end()?;
        Ok(ledger)
    }
}

impl std::fmt::Display for CarryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "ledger of unknown version {version}"),
            Self::Malformed => f.write_str("malformed ledger"),
        }
    }
}

impl std::error::Error for CarryError {}

fn put_limits(out: &mut Vec<u8>, limits: Limits) {
    for count in [
        limits.pool_size,
        limits.min_pool_size,
        limits.reserve_pool_size,
        limits.max_db_connections,
        limits.max_user_connections,
    ] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    put_duration(out, limits.reserve_pool_timeout);
    put_duration(out, limits.login_retry);
}

fn limits(octets: &mut Octets<'_>) -> Result<Limits, Truncated> {
    Ok(Limits {
        pool_size: octets.u32()?,
        min_pool_size: octets.u32()?,
        reserve_pool_size: octets.u32()?,
        max_db_connections: octets.u32()?,
        max_user_connections: octets.u32()?,
        reserve_pool_timeout: octets.duration()?,
        login_retry: octets.duration()?,
    })
}

fn put_state(out: &mut Vec<u8>, state: &LeaseState, now: Instant) {
    match state {
        LeaseState::Opening {
            worker,
            since,
            ordered,
        } => {
            out.push(OPENING);
            put_worker(out, *worker);
            put_duration(out, now.saturating_duration_since(*since));
            out.push(u8::from(*ordered));
        }
        LeaseState::Held {
            worker,
            since,
            backend,
            leaving,
        } => {
            out.push(HELD);
            put_worker(out, *worker);
            put_duration(out, now.saturating_duration_since(*since));
            out.push(u8::from(*leaving));
            put_backend(out, backend.as_ref());
        }
        LeaseState::Closing { worker, backend } => {
            out.push(CLOSING);
            put_worker(out, *worker);
            put_backend(out, backend.as_ref());
        }
        LeaseState::Moving {
            from,
            to,
            backend,
            giver_died,
            until,
        } => {
            out.push(MOVING);
            put_worker(out, *from);
            put_worker(out, *to);
            out.push(u8::from(*giver_died));
            put_option(out, *until, |out, until| {
                put_duration(out, until.saturating_duration_since(now));
            });
            put_backend(out, backend.as_ref());
        }
        LeaseState::Orphaned { until, backend, .. } => {
            out.push(ORPHANED);
            put_duration(out, until.saturating_duration_since(now));
            put_backend(out, backend.as_ref());
        }
    }
}

fn state(octets: &mut Octets<'_>, now: Instant) -> Result<LeaseState, Truncated> {
    // What is older than the clock began when the clock did.
    let ago = |age| now.checked_sub(age).unwrap_or(now);
    Ok(match octets.u8()? {
        OPENING => LeaseState::Opening {
            worker: worker(octets)?,
            since: ago(octets.duration()?),
            ordered: octets.u8()? != 0,
        },
        HELD => LeaseState::Held {
            worker: worker(octets)?,
            since: ago(octets.duration()?),
            leaving: octets.u8()? != 0,
            backend: backend(octets)?,
        },
        CLOSING => LeaseState::Closing {
            worker: worker(octets)?,
            backend: backend(octets)?,
        },
        MOVING => LeaseState::Moving {
            from: worker(octets)?,
            to: worker(octets)?,
            giver_died: octets.u8()? != 0,
            until: octets
                .option(Octets::duration)?
                .map(|left| now.checked_add(left).ok_or(Truncated))
                .transpose()?,
            backend: backend(octets)?,
        },
        ORPHANED => LeaseState::Orphaned {
            until: now.checked_add(octets.duration()?).ok_or(Truncated)?,
            backend: backend(octets)?,
            asked: None,
        },
        _ => return Err(Truncated),
    })
}

/// Appends the name of a worker, as it is in every book that is carried.
pub(crate) fn put_worker(out: &mut Vec<u8>, worker: WorkerId) {
    out.push(worker.slot.get());
    out.extend_from_slice(&worker.generation.to_be_bytes());
    out.extend_from_slice(&worker.incarnation.to_be_bytes());
}

/// Takes the name of a worker.
pub(crate) fn worker(octets: &mut Octets<'_>) -> Result<WorkerId, Truncated> {
    Ok(WorkerId {
        slot: Slot::new(octets.u8()?).ok_or(Truncated)?,
        generation: octets.u32()?,
        incarnation: octets.u32()?,
    })
}

fn put_backend(out: &mut Vec<u8>, backend: Option<&Backend>) {
    out.push(u8::from(backend.is_some()));
    if let Some(backend) = backend {
        control::put_backend(out, backend);
    }
}

fn backend(octets: &mut Octets<'_>) -> Result<Option<Backend>, Truncated> {
    Ok(match octets.u8()? {
        0 => None,
        _ => Some(control::backend(octets)?),
    })
}

const VERSION: u8 = 2;
const WITHOUT_MOVES: u8 = 1;

const OPENING: u8 = 1;
const HELD: u8 = 2;
const CLOSING: u8 = 3;
const ORPHANED: u8 = 4;
const MOVING: u8 = 5;

#[cfg(test)]
mod tests;

//! What follows from the ledger for workers.

use super::WorkerId;
use crate::control::{Backend, HostNotice, LeaseId, PoolKey, ToWorker};

/// What a worker is to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LedgerAction {
    /// It may open one server connection.
    Grant {
        /// Who.
        worker: WorkerId,
        /// With which lease.
        lease: LeaseId,
        /// In which pool.
        pool: PoolKey,
    },
    /// It is to open a server connection, whether or not anybody waits.
    Open {
        /// Who.
        worker: WorkerId,
        /// With which lease.
        lease: LeaseId,
        /// In which pool.
        pool: PoolKey,
    },
    /// Who wants the servers that it is to give up of a pool; replaces what it
    /// was told before.
    Lend {
        /// Who.
        worker: WorkerId,
        /// Of which pool.
        pool: PoolKey,
        /// The neediest first, once for every server.
        to: Vec<WorkerId>,
    },
    /// It is to give up servers; replaces what it was told before.
    Recall {
        /// Who.
        worker: WorkerId,
        /// Of which pool.
        pool: PoolKey,
        /// How many, those in use as well.
        count: u32,
        /// How many more, but only unused ones.
        unused: u32,
    },
    /// It may close a server that it asked for, if that is still unused.
    LetGo {
        /// Who.
        worker: WorkerId,
        /// Whose server.
        lease: LeaseId,
    },
    /// It is to cancel what the server of a dead worker still runs.
    CancelOrphan {
        /// Who.
        worker: WorkerId,
        /// Whose server.
        lease: LeaseId,
        /// How it is cancelled.
        backend: Backend,
    },
    /// It is to know how the host of a pool is.
    Host {
        /// Who.
        worker: WorkerId,
        /// What it is to know.
        notice: HostNotice,
    },
}

impl LedgerAction {
    /// What it is told.
    pub fn into_message(self) -> ToWorker {
        match self {
            Self::Grant { lease, pool, .. } => ToWorker::Grant { lease, pool },
            Self::Open { lease, pool, .. } => ToWorker::Open { lease, pool },
            Self::LetGo { lease, .. } => ToWorker::LetGo { lease },
            Self::CancelOrphan { lease, backend, .. } => ToWorker::CancelOrphan { lease, backend },
            Self::Host { notice, .. } => ToWorker::Host(notice),
            Self::Lend { pool, to, .. } => ToWorker::Lend { pool, to },
            Self::Recall {
                pool,
                count,
                unused,
                ..
            } => ToWorker::Recall {
                pool,
                count,
                unused,
            },
        }
    }

    /// Who is to be told.
    pub fn worker(&self) -> WorkerId {
        match self {
            Self::Grant { worker, .. }
            | Self::Open { worker, .. }
            | Self::Lend { worker, .. }
            | Self::Recall { worker, .. }
            | Self::LetGo { worker, .. }
            | Self::CancelOrphan { worker, .. }
            | Self::Host { worker, .. } => *worker,
        }
    }
}

//! One lease: its states, and when it may be asked for.

use std::time::{Duration, Instant};

use super::WorkerId;
use super::book::Count;
use crate::control::{Backend, PoolKey};

/// One lease in the book.
#[derive(Debug)]
pub(super) struct Lease {
    pub epoch: u32,
    pub pool: PoolKey,
    pub state: LeaseState,
    /// Its server is one client's: it counts towards the limits, but is in
    /// nobody's share.
    pub dedicated: bool,
}

/// Where a lease is between grant and return.
#[derive(Debug)]
pub(super) enum LeaseState {
    /// Its server is being connected to.
    Opening {
        worker: WorkerId,
        since: Instant,
        /// To keep `min_pool_size`, not because somebody waits.
        ordered: bool,
    },
    /// Its server has logged in.
    Held {
        worker: WorkerId,
        since: Instant,
        /// How it is cancelled, if it has said so.
        backend: Option<Backend>,
        /// Its worker was told that it may close it.
        leaving: bool,
    },
    /// Its server was told to go.
    Closing {
        worker: WorkerId,
        backend: Option<Backend>,
    },
    /// Its worker is dead.
    Orphaned {
        /// When it returns, whatever is known.
        until: Instant,
        backend: Option<Backend>,
        /// Who was asked to cancel what its server still runs.
        asked: Option<WorkerId>,
    },
}

impl Lease {
    /// What it adds to the count of every limit that covers it.
    pub(super) fn counts(&self) -> Count {
        let closing = self.is_closing();
        let apart = !closing && self.sharer().is_none();
        Count {
            used: 1,
            closing: closing.into(),
            apart: apart.into(),
        }
    }

    /// In whose share it is, if in anybody's.
    pub(super) fn sharer(&self) -> Option<WorkerId> {
        match self.state {
            LeaseState::Opening { worker, .. } | LeaseState::Held { worker, .. }
                if !self.dedicated =>
            {
                Some(worker)
            }
            _ => None,
        }
    }

    /// It returns in a moment.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.state, LeaseState::Closing { .. })
    }

    /// Its server is being connected to.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, LeaseState::Opening { .. })
    }

    /// Who holds it and when it may be recalled for somebody else, if it can be
    /// at all and a server is used for `turn` before.
    pub(super) fn ripe_at(&self, turn: Duration) -> Option<(WorkerId, Instant)> {
        match self.state {
            LeaseState::Held {
                worker,
                since,
                leaving: false,
                ..
            } if !self.dedicated => Some((worker, since + turn)),
            _ => None,
        }
    }

    /// Its server stays unless something happens.
    pub(super) fn is_staying(&self) -> bool {
        matches!(
            self.state,
            LeaseState::Opening { .. } | LeaseState::Held { leaving: false, .. }
        )
    }
}

impl LeaseState {
    /// Who has it, if anybody who lives.
    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::Opening { worker, .. }
            | Self::Held { worker, .. }
            | Self::Closing { worker, .. } => Some(*worker),
            Self::Orphaned { .. } => None,
        }
    }

    /// How its server is cancelled, if it has said so.
    pub(super) fn take_backend(&mut self) -> Option<Backend> {
        match self {
            Self::Opening { .. } => None,
            Self::Held { backend, .. }
            | Self::Closing { backend, .. }
            | Self::Orphaned { backend, .. } => backend.take(),
        }
    }
}

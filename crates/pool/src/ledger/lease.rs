//! One lease: its states, and when it may be asked for.

use std::time::Instant;

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
    /// Its server is on its way to another worker. It is in the share of the
    /// one that takes it.
    Moving {
        from: WorkerId,
        to: WorkerId,
        backend: Option<Backend>,
        /// Who gives it is dead.
        giver_died: bool,
        /// When it is an orphan, if it may be lost already.
        until: Option<Instant>,
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
            _ if self.dedicated => None,
            LeaseState::Opening { worker, .. }
            | LeaseState::Held { worker, .. }
            | LeaseState::Moving { to: worker, .. } => Some(worker),
            LeaseState::Closing { .. } | LeaseState::Orphaned { .. } => None,
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

    /// Its server is on its way to another worker.
    pub(super) fn is_moving(&self) -> bool {
        matches!(self.state, LeaseState::Moving { .. })
    }

    /// Who holds it and since when, if it may be recalled for somebody else
    /// after it was used for a while.
    pub(super) fn held_since(&self) -> Option<(WorkerId, Instant)> {
        match self.state {
            LeaseState::Held {
                worker,
                since,
                leaving: false,
                ..
            } if !self.dedicated => Some((worker, since)),
            _ => None,
        }
    }

    /// Its server stays unless something happens.
    pub(super) fn is_staying(&self) -> bool {
        matches!(
            self.state,
            LeaseState::Opening { .. }
                | LeaseState::Held { leaving: false, .. }
                | LeaseState::Moving { .. }
        )
    }
}

impl LeaseState {
    /// Who has it, if anybody who lives; of one that moves nobody says anything
    /// before it has come.
    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::Opening { worker, .. }
            | Self::Held { worker, .. }
            | Self::Closing { worker, .. } => Some(*worker),
            Self::Moving { .. } | Self::Orphaned { .. } => None,
        }
    }

    /// How its server is cancelled, if it has said so.
    pub(super) fn take_backend(&mut self) -> Option<Backend> {
        match self {
            Self::Opening { .. } => None,
            Self::Held { backend, .. }
            | Self::Moving { backend, .. }
            | Self::Closing { backend, .. }
            | Self::Orphaned { backend, .. } => backend.take(),
        }
    }
}

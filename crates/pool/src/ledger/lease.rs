//! One lease: its states, and when it may be asked for.

use std::time::{Duration, Instant};

use super::WorkerId;
use crate::control::PoolKey;

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
    Opening {
        worker: WorkerId,
    },
    Held {
        worker: WorkerId,
        since: Instant,
        process_id: u32,
        secret: Box<[u8]>,
    },
    Closing {
        worker: WorkerId,
    },
    Lingering {
        until: Instant,
    },
}

impl Lease {
    /// It returns in a moment.
    pub(super) fn is_closing(&self) -> bool {
        matches!(self.state, LeaseState::Closing { .. })
    }

    /// When the lease may be recalled for another worker, if it is held and
    /// can be recalled at all.
    pub(super) fn ripe_at(&self) -> Option<(WorkerId, Instant)> {
        match self.state {
            LeaseState::Held { worker, since, .. } if !self.dedicated => {
                Some((worker, since + QUANTUM))
            }
            _ => None,
        }
    }
}

impl LeaseState {
    /// Who has it, if anybody who lives.
    pub(super) fn worker(&self) -> Option<WorkerId> {
        match self {
            Self::Opening { worker } | Self::Held { worker, .. } | Self::Closing { worker } => {
                Some(*worker)
            }
            Self::Lingering { .. } => None,
        }
    }
}

/// How long a server is used before another worker may get its lease, however
/// many wait for it: opening one takes milliseconds.
pub(super) const QUANTUM: Duration = Duration::from_millis(25);

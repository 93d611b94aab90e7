//! Turns: what pools may open while their host leaves.

use std::time::Instant;

use super::WorkerId;

/// What a pool may open, because of its host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    /// What the limits allow.
    Free,
    /// Nothing, until then if that is known.
    Wait(Option<Instant>),
    /// One server, for this worker or without need.
    Try(Option<WorkerId>),
}

impl Turn {
    /// How many servers this worker may get of those that it wants.
    pub(super) fn wanted(self, worker: WorkerId) -> u32 {
        match self {
            Self::Free => u32::MAX,
            Self::Try(next) => u32::from(next == Some(worker)),
            Self::Wait(_) => 0,
        }
    }

    /// For how many workers servers may be opened that nobody waits for.
    pub(super) fn orders(self) -> usize {
        match self {
            Self::Free => usize::MAX,
            Self::Try(next) => usize::from(next.is_none()),
            Self::Wait(_) => 0,
        }
    }

    /// How many of them for each.
    pub(super) fn most(self) -> u32 {
        if self == Self::Free { u32::MAX } else { 1 }
    }
}

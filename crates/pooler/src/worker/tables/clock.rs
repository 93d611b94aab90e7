//! Times of the loop, as an operator reads them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::logging::time_text;

/// What the clock on the wall said when the loop's clock was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    now: Instant,
    wall: SystemTime,
}

impl Clock {
    /// Reads the clock on the wall; `now` is the time of this turn.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now,
            wall: SystemTime::now(),
        }
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    /// A time by the clock on the wall.
    pub(super) fn wall(&self, at: Instant) -> SystemTime {
        let age = self.now.saturating_duration_since(at);
        self.wall.checked_sub(age).unwrap_or(UNIX_EPOCH)
    }

    /// A time as `2026-07-10 22:19:13 UTC`.
    pub(super) fn text(&self, at: Instant) -> String {
        let since = self.wall(at).duration_since(UNIX_EPOCH).unwrap_or_default();
        time_text(since.as_secs())
    }
}

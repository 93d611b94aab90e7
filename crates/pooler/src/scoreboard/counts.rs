//! What a worker counts for those who look at the scoreboard.

use std::sync::atomic::Ordering;

use super::{ARRIVED, CLEANED, Cell, MOVED, PREPARED, PREPARED_BYTES};

impl Cell {
    /// Counts one more server that was cleaned of session state.
    pub(crate) fn add_cleaned(&self) {
        self.set(CLEANED, self.load(CLEANED).wrapping_add(1));
    }

    /// Says how many different statements are prepared, and the bytes they need.
    pub(crate) fn set_prepared(&self, statements: usize, bytes: usize) {
        self.set(PREPARED, statements as u64);
        self.set(PREPARED_BYTES, bytes as u64);
    }

    /// Counts one more client that has gone to a sibling.
    pub(crate) fn add_moved(&self) {
        self.set(MOVED, self.load(MOVED).wrapping_add(1));
    }

    /// Counts one more client that should have gone to a sibling and could not.
    pub(crate) fn add_unmoved(&self) {
        self.set(MOVED, self.load(MOVED).wrapping_add(1 << 32));
    }

    /// Counts one more client that has come from a sibling.
    pub(crate) fn add_arrived(&self) {
        // Siblings change its upper half.
        self.words[ARRIVED].fetch_add(1, Ordering::Relaxed);
    }
}

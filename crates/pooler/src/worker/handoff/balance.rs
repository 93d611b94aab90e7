//! Balance: accepted clients that are passed on.
//!
//! The kernel spreads connections by a hash, which is uneven. Who accepts while
//! a sibling clearly has fewer clients passes the socket on, before it reads a
//! byte of it.

use pgskein_pool::slab::ClientId;

use super::super::Worker;
use super::{Cargo, Place};

impl Worker {
    /// Passes a client that was just accepted on to a sibling, if one clearly
    /// has fewer.
    pub(in super::super) fn pass_on(&mut self, id: ClientId) -> bool {
        if !self.config.settings.balance || self.takes_no_clients() {
            return false;
        }
        let since = self.swept_at.saturating_sub(STANDS_STILL);
        let least = self
            .scoreboard
            .least_busy(self.slot, self.generation, since);
        let Some((slot, cell, clients)) = least else {
            return false;
        };
        // This one is not counted yet.
        if clients + CLEARLY > self.cell.load_of_clients() + 1 {
            return false;
        }
        cell.expect_client();
        let to = Place {
            slot,
            generation: self.generation,
        };
        match self.hand_over(Cargo::Accepted(id), to) {
            Ok(()) => true,
            Err(why) => {
                cell.expected_no_more();
                log::trace!("a client is not passed on: {}", why.word());
                false
            }
        }
    }

    /// Forgets clients that were said to come and never did: who had accepted
    /// them has died.
    pub(in super::super) fn sweep_expected(&mut self) {
        if self.cell.expected() == 0 {
            self.missed = 0;
            return;
        }
        self.missed += 1;
        if self.missed >= MISSED {
            self.missed = 0;
            self.cell.forget_expected();
        }
    }
}

/// Passed on is to who has so many clients fewer, the new one included.
const CLEARLY: u64 = 2;

/// A worker that has not swept for this long is passed nothing on, in
/// milliseconds.
const STANDS_STILL: u64 = 1000;

/// Sweeps after which a client that has not come does not come any more.
const MISSED: u32 = 8;

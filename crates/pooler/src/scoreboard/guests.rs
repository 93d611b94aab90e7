//! Guests: which workers may have sessions that began in another slot.
//!
//! The key of a session names the slot where it began. Where no session has ever
//! gone to another slot, only the workers of that one can know a key, and nobody
//! else has to be asked about it. A worker that takes a guest says so before the
//! guest is its own, and that holds until its cell is used anew.

use std::sync::atomic::Ordering;

use pgskein_protocol::key::Slot;

use super::{CELLS, Scoreboard, index_of};

/// Who may have guests: a bit for each cell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Guests([u64; WORDS]);

impl Scoreboard {
    /// Says that this worker may have guests.
    pub(crate) fn note_guest(&self, slot: Slot, generation: u32) {
        let (word, bit) = place(slot, generation);
        if let Some(word) = self.words.get(FIRST + word) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Says that a worker which is about to begin has none.
    pub(crate) fn forget_guests(&self, slot: Slot, generation: u32) {
        let (word, bit) = place(slot, generation);
        if let Some(word) = self.words.get(FIRST + word) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Who may have guests now.
    pub(crate) fn guests(&self) -> Guests {
        let mut guests = Guests::default();
        let words = self.words.get(FIRST..).unwrap_or_default();
        for (read, word) in guests.0.iter_mut().zip(words) {
            *read = word.load(Ordering::SeqCst);
        }
        guests
    }
}

impl Guests {
    /// Whether this worker may have any.
    pub(crate) fn are_at(&self, slot: Slot, generation: u32) -> bool {
        let (word, bit) = place(slot, generation);
        self.0.get(word).is_none_or(|word| word & bit != 0)
    }
}

/// The word and the bit of a cell.
fn place(slot: Slot, generation: u32) -> (usize, u64) {
    let index = index_of(slot, generation);
    (index / 64, 1 << (index % 64))
}

/// The first word with bits.
const FIRST: usize = 6;

const WORDS: usize = CELLS.div_ceil(64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_who_may_have_guests_until_the_cell_is_used_anew() {
        let board = Scoreboard::create().unwrap();
        let slots = [1, 32, 33, 127].map(|n| Slot::new(n).unwrap());
        for slot in slots {
            assert!(!board.guests().are_at(slot, 1));
            let before = board.guests();
            board.note_guest(slot, 1);
            assert_ne!(board.guests(), before);
            assert!(board.guests().are_at(slot, 1));
            assert!(!board.guests().are_at(slot, 2));
            assert!(board.guests().are_at(slot, 3), "it has the same cell");
        }
        for slot in slots {
            board.forget_guests(slot, 3);
            assert!(!board.guests().are_at(slot, 1));
        }
        assert_eq!(board.guests(), Guests::default());
        // Nothing else was touched.
        assert!(Scoreboard::open(board.try_clone().unwrap().fd).is_ok());
        assert_eq!(board.last_id(), 0);
    }
}

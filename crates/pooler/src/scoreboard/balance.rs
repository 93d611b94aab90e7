//! Balance: which worker has the fewest clients.
//!
//! Clients that are being passed on to a worker count as its own from the
//! moment on that this is decided, so that not everybody passes theirs on to the
//! same one. They are only an estimate: places are counted when a client is
//! served.

use std::sync::atomic::Ordering;

use pgskein_protocol::key::Slot;

use super::{ARRIVED, CLIENTS, Cell, GENERATION, STATE, SWEPT, Scoreboard, WorkerState};

impl Scoreboard {
    /// The ready worker of this generation, other than that of `slot`, with the
    /// fewest clients, those included that are coming; and how many that are.
    ///
    /// One that has not swept since `since` stands still and is none of them. Of
    /// several the next one after `slot`.
    pub(crate) fn least_busy(
        &self,
        slot: Slot,
        generation: u32,
        since: u64,
    ) -> Option<(Slot, Cell, u64)> {
        let own = usize::from(slot.get());
        let after = (own + 1..=SLOTS).map_while(|number| self.used(number, generation));
        let before = (1..own).filter_map(|number| self.used(number, generation));
        after
            .chain(before)
            .filter(|(_, cell)| {
                cell.load(STATE) == WorkerState::Ready.number()
                    && cell.load(GENERATION) == u64::from(generation)
                    && cell.load(SWEPT) >= since
            })
            .map(|(slot, cell)| (slot, cell, cell.load_of_clients()))
            .min_by_key(|(_, _, clients)| *clients)
    }

    /// The cell of this generation, if the slot was ever used.
    fn used(&self, slot: usize, generation: u32) -> Option<(Slot, Cell)> {
        let slot = Slot::new(u8::try_from(slot).ok()?)?;
        let used = |cell: Cell| cell.load(STATE) != WorkerState::Empty.number();
        let cell = self.cell(slot, generation)?;
        (used(cell) || used(self.cell(slot, generation.wrapping_add(1))?)).then_some((slot, cell))
    }
}

impl Cell {
    /// Its clients, those included that are coming.
    pub(crate) fn load_of_clients(&self) -> u64 {
        self.load(CLIENTS) + self.expected()
    }

    /// A client is passed on to this worker.
    pub(crate) fn expect_client(&self) {
        self.words[ARRIVED].fetch_add(ONE, Ordering::SeqCst);
    }

    /// It has come, or will not come.
    pub(crate) fn expected_no_more(&self) {
        let less = |word: u64| word.checked_sub(ONE);
        // What was forgotten is not expected any more.
        let _ = self.words[ARRIVED].fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }

    /// Clients that are coming.
    pub(crate) fn expected(&self) -> u64 {
        self.load(ARRIVED) / ONE
    }

    /// Those who had passed them on are dead.
    pub(crate) fn forget_expected(&self) {
        self.words[ARRIVED].fetch_and(ONE - 1, Ordering::SeqCst);
    }
}

/// One client that is coming: they are counted in the upper half of a word.
const ONE: u64 = 1 << 32;

/// The most slots there can be.
const SLOTS: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u8) -> Slot {
        Slot::new(number).unwrap()
    }

    /// Ready workers of generation 1 with so many clients.
    fn board(clients: &[u32]) -> Scoreboard {
        let board = Scoreboard::create().unwrap();
        for (number, clients) in (1..).zip(clients) {
            let cell = board.cell(slot(number), 1).unwrap();
            cell.claim(slot(number), 1);
            cell.set_state(WorkerState::Ready);
            cell.set_swept(100);
            for _ in 0..*clients {
                assert!(board.take_place(cell, u32::MAX));
            }
        }
        board
    }

    fn least_busy(board: &Scoreboard, number: u8) -> Option<(u8, u64)> {
        let (slot, _, clients) = board.least_busy(slot(number), 1, 90)?;
        Some((slot.get(), clients))
    }

    #[test]
    fn finds_the_sibling_with_the_fewest_clients() {
        let board = board(&[0, 5, 3, 4]);
        assert_eq!(least_busy(&board, 1), Some((3, 3)));
        assert_eq!(least_busy(&board, 3), Some((1, 0)));
    }

    #[test]
    fn begins_behind_itself_among_equals() {
        let board = board(&[2, 2, 2, 2]);
        assert_eq!(least_busy(&board, 1), Some((2, 2)));
        assert_eq!(least_busy(&board, 4), Some((1, 2)));
    }

    #[test]
    fn passes_over_those_who_are_not_ready_or_stand_still() {
        let board = board(&[9, 0, 0, 7]);
        board
            .cell(slot(2), 1)
            .unwrap()
            .set_state(WorkerState::Draining);
        board.cell(slot(3), 1).unwrap().set_swept(80);
        assert_eq!(least_busy(&board, 1), Some((4, 7)));
        board.cell(slot(4), 1).unwrap().set_state(WorkerState::Dead);
        assert_eq!(least_busy(&board, 1), None);
    }

    #[test]
    fn counts_those_who_are_coming() {
        let board = board(&[9, 3, 4]);
        let cell = board.cell(slot(2), 1).unwrap();
        cell.expect_client();
        cell.expect_client();
        assert_eq!(least_busy(&board, 1), Some((3, 4)));
        cell.expected_no_more();
        cell.expected_no_more();
        cell.expected_no_more();
        assert_eq!(least_busy(&board, 1), Some((2, 3)));
    }

    #[test]
    fn knows_no_worker_of_another_generation() {
        let board = board(&[9, 0]);
        let next = board.cell(slot(1), 2).unwrap();
        next.claim(slot(1), 2);
        next.set_state(WorkerState::Ready);
        next.set_swept(100);
        assert!(board.least_busy(slot(2), 2, 90).is_some());
        assert!(board.least_busy(slot(1), 2, 90).is_none());
    }
}

//! Places: the clients of all workers that count towards `max_client_conn`.
//!
//! One word of the scoreboard says how many places are taken, so that of two
//! clients that race for the last one exactly one gets it. Each cell says how
//! many of them are its worker's, so that those of a dead worker can be given
//! back. The two differ only while a worker changes both, and says so in its
//! cell: one that is killed just then leaves a doubt, and the word is made
//! again of all cells.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{CELL_WORDS, CHANGING, CLIENTS, Cell, PID, PLACES, Scoreboard};

impl Scoreboard {
    /// Takes one of `most` places for a client of this worker, if one is free.
    pub(crate) fn take_place(&self, cell: Cell, most: u32) -> bool {
        let Some(places) = self.words.get(PLACES) else {
            return false;
        };
        cell.words[CHANGING].store(1, Ordering::SeqCst);
        let free = |word| (taken(word) < u64::from(most)).then(|| next(word, taken(word) + 1));
        let taken = places
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, free)
            .is_ok();
        if taken {
            cell.words[CLIENTS].fetch_add(1, Ordering::SeqCst);
        }
        cell.words[CHANGING].store(0, Ordering::SeqCst);
        taken
    }

    /// Gives the place of a client of this worker back.
    pub(crate) fn leave_place(&self, cell: Cell) {
        cell.words[CHANGING].store(1, Ordering::SeqCst);
        // In this order, so that whoever counts anew notices it.
        self.give_back(1);
        cell.words[CLIENTS].fetch_sub(1, Ordering::SeqCst);
        cell.words[CHANGING].store(0, Ordering::SeqCst);
    }

    /// Makes the place of a client of another worker that of `cell`; `pid` is the
    /// process of that worker. False if its places were given back already.
    ///
    /// No moment has a place more or less.
    pub(crate) fn hand_place(&self, from: Cell, pid: u32, cell: Cell) -> bool {
        cell.words[CHANGING].store(1, Ordering::SeqCst);
        // So that whoever counts anew notices it.
        self.give_back(0);
        let less = |count: u64| count.checked_sub(1);
        let handed = from.load(PID) == u64::from(pid)
            && from.words[CLIENTS]
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok();
        if handed {
            cell.words[CLIENTS].fetch_add(1, Ordering::SeqCst);
        }
        cell.words[CHANGING].store(0, Ordering::SeqCst);
        handed
    }

    /// Places that are taken.
    pub(crate) fn places_taken(&self) -> u32 {
        let places = self.words.get(PLACES);
        let word = places.map_or(0, |word| word.load(Ordering::SeqCst));
        u32::try_from(taken(word)).unwrap_or(u32::MAX)
    }

    /// Gives back the places of a worker that was reaped.
    pub(super) fn leave_places(&self, cell: Cell) {
        let left = cell.words[CLIENTS].swap(0, Ordering::SeqCst);
        if cell.words[CHANGING].swap(0, Ordering::SeqCst) == 0 {
            self.give_back(left);
        } else if (0..LOOKS).all(|_| !self.count_anew()) {
            log::warn!("the places of clients could not be counted");
        }
    }

    fn give_back(&self, count: u64) {
        if let Some(places) = self.words.get(PLACES) {
            let less = |word| Some(next(word, taken(word).saturating_sub(count)));
            let _always = places.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        }
    }

    /// Makes the word of all cells; false if somebody is changing it.
    fn count_anew(&self) -> bool {
        let Some(places) = self.words.get(PLACES) else {
            return true;
        };
        let before = places.load(Ordering::SeqCst);
        let value = |word: usize| {
            move |cell: &'static [AtomicU64; CELL_WORDS]| {
                cell.get(word).map_or(0, |word| word.load(Ordering::SeqCst))
            }
        };
        if self.cell_words().map(value(CHANGING)).any(|word| word != 0) {
            return false;
        }
        let sum = self.cell_words().map(value(CLIENTS)).sum();
        places
            .compare_exchange(
                before,
                next(before, sum),
                Ordering::SeqCst,
                Ordering::SeqCst,
            )
            .is_ok()
    }
}

/// The places in a word; its upper half counts its changes, so that none goes
/// unnoticed.
fn taken(word: u64) -> u64 {
    word & TAKEN
}

fn next(word: u64, taken: u64) -> u64 {
    let changes = (word >> 32).wrapping_add(1) << 32;
    changes | (taken & TAKEN)
}

const TAKEN: u64 = 0xffff_ffff;

/// How often it is tried to count: a change takes less than a microsecond.
const LOOKS: u32 = 100_000;

#[cfg(test)]
mod tests {
    use std::thread;

    use pgskein_protocol::key::Slot;

    use super::*;

    fn cell(board: &Scoreboard, slot: u8) -> Cell {
        board.cell(Slot::new(slot).unwrap(), 1).unwrap()
    }

    #[test]
    fn gives_the_last_place_to_exactly_one_of_those_who_race_for_it() {
        let board = Scoreboard::create().unwrap();
        for _ in 0..200 {
            let before = board.places_taken();
            let winners: u32 = thread::scope(|scope| {
                let racers = [1, 2, 3, 4].map(|slot| {
                    let board = &board;
                    scope.spawn(move || u32::from(board.take_place(cell(board, slot), before + 1)))
                });
                racers.map(|racer| racer.join().unwrap()).iter().sum()
            });
            assert_eq!(winners, 1);
            assert_eq!(board.places_taken(), before + 1);
        }
    }

    #[test]
    fn gives_back_the_places_of_the_dead() {
        let board = Scoreboard::create().unwrap();
        let (one, two) = (cell(&board, 1), cell(&board, 2));
        for place in 0..5 {
            assert!(board.take_place(if place < 3 { one } else { two }, 5));
        }
        assert!(!board.take_place(two, 5));
        board.leave_place(two);
        assert_eq!(board.places_taken(), 4);
        board.bury(one);
        assert_eq!((board.places_taken(), two.clients()), (1, 1));
    }

    #[test]
    fn hands_a_place_on_and_none_of_a_worker_that_was_reaped() {
        let board = Scoreboard::create().unwrap();
        let (one, two) = (cell(&board, 1), cell(&board, 2));
        one.set_pid(4711);
        assert!(board.take_place(one, 9));
        assert!(board.take_place(one, 9));
        assert!(!board.hand_place(one, 4712, two), "another process");
        assert!(board.hand_place(one, 4711, two));
        assert_eq!(
            (one.clients(), two.clients(), board.places_taken()),
            (1, 1, 2)
        );
        board.bury(one);
        assert!(!board.hand_place(one, 4711, two));
        assert_eq!((two.clients(), board.places_taken()), (1, 1));
    }

    #[test]
    fn counts_right_while_places_are_handed_on_and_workers_are_reaped() {
        let board = Scoreboard::create().unwrap();
        let cells = [1, 2, 3].map(|slot| cell(&board, slot));
        cells[0].set_pid(1);
        for _ in 0..2_000 {
            assert!(board.take_place(cells[0], u32::MAX));
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    assert!(board.hand_place(cells[0], 1, cells[1]));
                }
            });
            for _ in 0..100 {
                // It dies in the middle of a change that it has not begun.
                assert!(board.take_place(cells[2], u32::MAX));
                cells[2].words[CHANGING].store(1, Ordering::SeqCst);
                board.bury(cells[2]);
            }
        });
        assert_eq!((cells[0].clients(), cells[1].clients()), (1_000, 1_000));
        assert_eq!(board.places_taken(), 2_000);
    }

    #[test]
    fn counts_anew_when_a_worker_died_in_the_middle_of_a_change() {
        let board = Scoreboard::create().unwrap();
        let (one, two) = (cell(&board, 1), cell(&board, 2));
        assert!(board.take_place(two, 9));
        // It has taken a place and not noted it in its cell.
        assert!(board.take_place(one, 9));
        one.words[CLIENTS].store(0, Ordering::SeqCst);
        one.words[CHANGING].store(1, Ordering::SeqCst);
        assert!(!board.count_anew());
        board.bury(one);
        assert_eq!(board.places_taken(), 1);
    }
}

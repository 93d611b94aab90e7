//! Last words: where a worker that is being aborted was.
//!
//! A handler of SIGABRT may do next to nothing, so it only writes the addresses
//! of its frames here. The supervisor, which has the same program at the same
//! addresses because workers are forked without exec, turns them into names.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{LAST_WORDS, MOST_FRAMES, Scoreboard};

/// Where one process at a time leaves its last words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastWords {
    owner: &'static AtomicU64,
    count: &'static AtomicU64,
    frames: &'static [AtomicU64],
}

impl LastWords {
    /// Takes the place for the process `pid`; false if another one has it.
    ///
    /// Allowed in a signal handler.
    pub(crate) fn claim(&self, pid: u32) -> bool {
        let (order, failed) = (Ordering::SeqCst, Ordering::SeqCst);
        let claimed = self
            .owner
            .compare_exchange(0, pid.into(), order, failed)
            .is_ok();
        if claimed {
            self.count.store(0, Ordering::SeqCst);
        }
        claimed
    }

    /// Adds the address of the next frame; false if there is no room for more.
    ///
    /// Allowed in a signal handler, after [`LastWords::claim`].
    pub(crate) fn push(&self, address: usize) -> bool {
        let count = self.count.load(Ordering::SeqCst);
        let free = usize::try_from(count).map_or(None, |at| self.frames.get(at));
        if let Some(frame) = free {
            frame.store(address as u64, Ordering::SeqCst);
            self.count.store(count + 1, Ordering::SeqCst);
        }
        free.is_some()
    }
}

impl Scoreboard {
    /// The place for last words.
    pub(crate) fn last_words(&self) -> Option<LastWords> {
        let words = self.words.get(LAST_WORDS..)?;
        let ([owner, count], frames) = words.split_first_chunk::<2>()?;
        Some(LastWords {
            owner,
            count,
            frames: frames.get(..MOST_FRAMES)?,
        })
    }

    /// Takes the frames that the dead process `pid` has left, the innermost
    /// first, and frees the place.
    pub(crate) fn take_last_words(&self, pid: u32) -> Vec<usize> {
        let Some(words) = self.last_words() else {
            return Vec::new();
        };
        if words.owner.load(Ordering::SeqCst) != u64::from(pid) {
            return Vec::new();
        }
        let count = words.count.load(Ordering::SeqCst);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let frames = words.frames.iter().take(count);
        let frames = frames.map(|frame| frame.load(Ordering::SeqCst));
        let frames = frames.filter_map(|frame| usize::try_from(frame).ok());
        let frames = frames.collect();
        words.owner.store(0, Ordering::SeqCst);
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_last_words_of_one_process_until_they_are_taken() {
        let board = Scoreboard::create().unwrap();
        let words = board.last_words().unwrap();
        assert!(words.claim(7));
        assert!(!words.claim(8));
        assert!(words.push(70) && words.push(71));
        assert_eq!(board.take_last_words(8), []);
        assert_eq!(board.take_last_words(7), [70, 71]);
        assert_eq!(board.take_last_words(7), []);
        assert!(words.claim(8));
        assert_eq!(board.take_last_words(8), []);
    }

    #[test]
    fn has_room_for_so_many_frames_and_no_more() {
        let board = Scoreboard::create().unwrap();
        let words = board.last_words().unwrap();
        assert!(words.claim(7));
        let pushed = (0..100).take_while(|frame| words.push(*frame)).count();
        assert_eq!(pushed, MOST_FRAMES);
        assert_eq!(board.take_last_words(7).len(), MOST_FRAMES);
    }
}

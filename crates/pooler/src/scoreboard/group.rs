//! What there is once for the group: how it is, as its supervisor says.

use std::sync::atomic::Ordering;

use super::{BEAT, ENDING, GROUP, STATE, SWEPT, Scoreboard, WorkerState};

/// What the group is doing, as far as new clients are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum GroupState {
    /// Nobody has said anything yet.
    Unknown,
    /// New clients are served.
    Serving,
    /// Everything stands still.
    Suspended,
}

/// How the group is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct GroupView {
    pub state: GroupState,
    /// It was ordered to end.
    pub ending: bool,
    /// When the supervisor has turned last, on the clock of all processes, in
    /// milliseconds; 0 if never.
    pub beat: u64,
}

/// A worker that was not buried, as those see it who watch from outside.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LivingView {
    pub pid: u32,
    pub state: WorkerState,
    /// When it has swept last, as [`GroupView::beat`].
    pub swept: u64,
}

impl Scoreboard {
    /// Says what the group is doing, and that the supervisor turns.
    pub(crate) fn beat(&self, state: GroupState, now: u64) {
        self.store(GROUP, state.number());
        self.store(BEAT, now);
    }

    /// Says that the group was ordered to end; nothing takes that back.
    pub(crate) fn begin_to_end(&self) {
        self.store(ENDING, 1);
    }

    /// How the group is.
    pub(crate) fn group(&self) -> GroupView {
        GroupView {
            state: GroupState::of_number(self.load(GROUP)),
            ending: self.load(ENDING) != 0,
            beat: self.load(BEAT),
        }
    }

    /// Every worker that was started and not buried.
    pub(crate) fn living(&self) -> impl Iterator<Item = LivingView> {
        self.cell_words().filter_map(|words| {
            let cell = super::Cell { words };
            let state = WorkerState::of_number(cell.load(STATE))?;
            let living = !matches!(state, WorkerState::Empty | WorkerState::Dead);
            living.then(|| LivingView {
                pid: super::narrow(cell.load(super::PID)),
                state,
                swept: cell.load(SWEPT),
            })
        })
    }

    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::SeqCst);
        }
    }

    fn load(&self, word: usize) -> u64 {
        let word = self.words.get(word);
        word.map_or(0, |word| word.load(Ordering::SeqCst))
    }
}

impl GroupState {
    fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Serving => 1,
            Self::Suspended => 2,
        }
    }

    fn of_number(number: u64) -> Self {
        match number {
            1 => Self::Serving,
            2 => Self::Suspended,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use pgskein_protocol::key::Slot;

    use super::*;

    #[test]
    fn writes_how_the_group_is_where_version_4_has_it() {
        let board = Scoreboard::create().unwrap();
        let nothing = GroupView {
            state: GroupState::Unknown,
            ending: false,
            beat: 0,
        };
        assert_eq!(board.group(), nothing);
        board.beat(GroupState::Suspended, 77);
        board.begin_to_end();
        let words: Vec<u64> = (3..6).map(|word| board.load(word)).collect();
        assert_eq!(words, [2, 77, 1]);
        let view = board.group();
        assert_eq!((view.state, view.ending), (GroupState::Suspended, true));
    }

    #[test]
    fn shows_workers_until_they_are_buried() {
        let board = Scoreboard::create().unwrap();
        let cell = board.cell(Slot::new(1).unwrap(), 1).unwrap();
        assert_eq!(board.living().count(), 0);
        cell.claim(Slot::new(1).unwrap(), 1);
        cell.set_pid(4711);
        cell.set_swept(9);
        let starting = LivingView {
            pid: 4711,
            state: WorkerState::Starting,
            swept: 9,
        };
        assert!(board.living().eq([starting]));
        board.bury(cell);
        assert_eq!(board.living().count(), 0);
    }
}

//! Health: what is answered to whoever asks how the group is.
//!
//! `/ready` is about new clients: whether a balancer should send any here.
//! `/live` is about the group as such: whether anything of it still turns.

use std::time::Duration;

use nix::unistd::Pid;

use crate::scoreboard::{GroupState, Scoreboard, WorkerState};
use crate::sys::process::is_pgskein;

/// What is said, and whether that is good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub good: bool,
    pub why: String,
}

/// What there is to be seen of a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Health {
    state: GroupState,
    /// It was ordered to end.
    ending: bool,
    /// Since when the supervisor has not turned; `None` if there is none.
    supervisor: Option<Duration>,
    /// Workers that accept clients, or are about to.
    staying: usize,
    /// Workers that accept clients and turn.
    ready: usize,
    /// Workers that turn, whatever they do.
    turning: usize,
}

impl Health {
    /// Looks at the scoreboard; `orphaned` when its supervisor is gone. `now` is
    /// the clock of all processes, in milliseconds.
    pub(crate) fn look(board: &Scoreboard, orphaned: bool, now: u64) -> Self {
        // The supervisor may not have buried it yet, or may be gone itself.
        let lives = |pid: u32| i32::try_from(pid).is_ok_and(|pid| is_pgskein(Pid::from_raw(pid)));
        Self::look_with(board, orphaned, now, lives)
    }

    fn look_with(
        board: &Scoreboard,
        orphaned: bool,
        now: u64,
        lives: impl Fn(u32) -> bool,
    ) -> Self {
        let group = board.group();
        let silent = |since: u64| Duration::from_millis(now.saturating_sub(since));
        let (mut staying, mut ready, mut turning) = (0, 0, 0);
        for worker in board.living().filter(|worker| lives(worker.pid)) {
            let leaves = worker.state == WorkerState::Draining;
            staying += usize::from(!leaves);
            // One that is just ready has not swept yet.
            let turns = worker.swept == 0 || silent(worker.swept) < STILL;
            turning += usize::from(turns && worker.state != WorkerState::Starting);
            ready += usize::from(turns && worker.state == WorkerState::Ready);
        }
        Self {
            state: group.state,
            ending: group.ending,
            supervisor: (!orphaned && group.beat != 0).then(|| silent(group.beat)),
            staying,
            ready,
            turning,
        }
    }

    /// Whether new clients should come.
    pub(crate) fn ready(&self) -> Verdict {
        let (good, why) = if self.ending {
            (false, "draining".to_owned())
        } else if self.state == GroupState::Suspended {
            (false, "suspended".to_owned())
        } else if self.ready == 0 {
            (false, "no worker is ready".to_owned())
        } else {
            (true, format!("ready, workers={}", self.ready))
        };
        Verdict { good, why }
    }

    /// Whether anything turns.
    pub(crate) fn live(&self) -> Verdict {
        let turns = self.supervisor.is_some_and(|silent| silent < STILL);
        let workers = self.turning;
        let (good, why) = match self.supervisor {
            _ if turns => (true, format!("live, workers={workers}")),
            Some(silent) if workers == 0 => (
                false,
                format!("the supervisor does not turn for {} s", silent.as_secs()),
            ),
            None if workers == 0 => (false, "no supervisor and no worker".to_owned()),
            Some(_) => (true, format!("the supervisor hangs, workers={workers}")),
            None => (true, format!("no supervisor, workers={workers}")),
        };
        Verdict { good, why }
    }

    /// Whether any worker is there that does not leave.
    pub(crate) fn does_anybody_stay(&self) -> bool {
        self.staying > 0
    }
}

/// A process that has not turned for so long does not: workers sweep a few
/// times a second, the supervisor looks at them as often.
const STILL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health {
            state: GroupState::Serving,
            ending: false,
            supervisor: Some(Duration::ZERO),
            staying: 2,
            ready: 2,
            turning: 2,
        }
    }

    #[track_caller]
    fn says(verdict: &Verdict, good: bool, why: &str) {
        assert_eq!((verdict.good, verdict.why.as_str()), (good, why));
    }

    #[test]
    fn ready_as_long_as_a_worker_takes_clients_and_nothing_is_ordered() {
        says(&health().ready(), true, "ready, workers=2");
        let ending = Health {
            ending: true,
            ..health()
        };
        says(&ending.ready(), false, "draining");
        let suspended = Health {
            state: GroupState::Suspended,
            ..health()
        };
        says(&suspended.ready(), false, "suspended");
        let nobody = Health {
            ready: 0,
            ..health()
        };
        says(&nobody.ready(), false, "no worker is ready");
        // Nobody needs the supervisor for a new client.
        let orphans = Health {
            supervisor: None,
            ..health()
        };
        says(&orphans.ready(), true, "ready, workers=2");
    }

    #[test]
    fn live_as_long_as_the_supervisor_or_a_worker_turns() {
        says(&health().live(), true, "live, workers=2");
        let draining = Health {
            ending: true,
            ready: 0,
            turning: 0,
            ..health()
        };
        says(&draining.live(), true, "live, workers=0");
        let hangs = Health {
            supervisor: Some(Duration::from_secs(7)),
            ..health()
        };
        says(&hangs.live(), true, "the supervisor hangs, workers=2");
        let stuck = Health {
            turning: 0,
            ..hangs
        };
        says(&stuck.live(), false, "the supervisor does not turn for 7 s");
        let orphans = Health {
            supervisor: None,
            ..health()
        };
        says(&orphans.live(), true, "no supervisor, workers=2");
        let nobody = Health {
            turning: 0,
            ..orphans
        };
        says(&nobody.live(), false, "no supervisor and no worker");
    }

    #[test]
    fn counts_workers_that_turn() {
        let board = Scoreboard::create().unwrap();
        for (number, state, swept) in [
            (1, WorkerState::Ready, 9_000),
            (2, WorkerState::Ready, 4_000),
            (3, WorkerState::Draining, 9_000),
            (4, WorkerState::Starting, 0),
            (5, WorkerState::Ready, 0),
            (6, WorkerState::Ready, 9_000),
        ] {
            let slot = pgskein_protocol::key::Slot::new(number).unwrap();
            let cell = board.cell(slot, 1).unwrap();
            cell.claim(slot, 1);
            cell.set_state(state);
            cell.set_swept(swept);
            cell.set_pid(number.into());
        }
        let look = |orphaned| Health::look_with(&board, orphaned, 10_000, |pid| pid < 6);
        let health = look(false);
        assert_eq!((health.ready, health.turning, health.staying), (2, 3, 4));
        assert_eq!(health.supervisor, None);
        board.beat(GroupState::Serving, 9_500);
        assert_eq!(look(false).supervisor, Some(Duration::from_millis(500)));
        assert_eq!(look(true).supervisor, None);
        let nobody = Health::look_with(&board, true, 10_000, |_| false);
        assert_eq!((nobody.ready, nobody.does_anybody_stay()), (0, false));
    }
}

//! Workers that hang: noticed, relieved of their slot, killed and replaced.
//!
//! Every worker sweeps a few times a second, also when it has nothing else to
//! do, and says so on the scoreboard. The supervisor looks there from time to
//! time and counts the looks at which nothing had changed. Looks are counted and
//! not time, because a host or a group that was stopped as a whole makes a long
//! time pass in which nobody could have turned.
//!
//! ```text
//! turning ──> suspect: siblings accept for it ──> hung: SIGABRT, then SIGKILL
//!    ^            │
//!    └── turns ───┘
//! ```
//!
//! One that was stopped while it waited for events answers its clients as
//! little as one that is caught in a turn, so both are replaced. One at a time:
//! what keeps several from turning is more likely the host's fault than theirs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mio::Token;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pgskein_pool::control::ToWorker;
use pgskein_protocol::key::Slot;

use super::{LAST_WORDS, Place, Supervisor, Worker};
use crate::logging;
use crate::sys::{descriptors, last_words, process};

/// When the supervisor looks, and whom it has given up.
#[derive(Debug)]
pub(crate) struct Hangs {
    look_at: Instant,
    /// Asked for its last words, and not buried yet.
    victim: Option<Token>,
    /// Children that write backtraces.
    writers: BTreeSet<Pid>,
}

/// What the looks at one worker have shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Pulse {
    /// What the scoreboard said at the last look.
    swept: u64,
    /// Looks in a row at which that was the same.
    still: u32,
}

/// Why a worker is killed.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its loop does not turn.
    Hangs { looks: u32, running: bool },
    /// An elder, who is asked over its link, does not answer.
    Silent { looks: u32 },
    /// It has not become ready in time.
    NotReady,
}

impl Hangs {
    pub(crate) fn new(now: Instant) -> Self {
        let look_at = now + LOOK;
        Self {
            look_at,
            victim: None,
            writers: BTreeSet::new(),
        }
    }

    pub(crate) fn next_look(&self) -> Instant {
        self.look_at
    }

    /// A worker is dead: the next one may be killed.
    pub(crate) fn on_death(&mut self, token: Token) {
        self.victim.take_if(|victim| *victim == token);
    }

    /// A process is dead that is no worker.
    pub(crate) fn on_other_death(&mut self, pid: Pid) {
        self.writers.remove(&pid);
    }

    /// Ends the children that are still writing.
    pub(crate) fn end_writers(&mut self) {
        for pid in std::mem::take(&mut self.writers) {
            let _dead_already = kill(pid, Signal::SIGKILL);
            let _reaped_either_way = waitpid(pid, None);
        }
    }
}

impl Pulse {
    /// That of a worker for which others accept already.
    pub(crate) fn suspect(swept: u64) -> Self {
        let still = SUSPECT;
        Self { swept, still }
    }

    /// Looks once; true if something has changed.
    fn look(&mut self, swept: u64) -> bool {
        if self.swept == swept {
            self.still = self.still.saturating_add(1);
            return false;
        }
        *self = Self { swept, still: 0 };
        true
    }

    /// Nothing has changed for long enough to do without the worker.
    pub(crate) fn is_suspect(self) -> bool {
        self.still >= SUSPECT
    }

    /// Nothing has changed for `timeout`; zero is never.
    fn is_over(self, timeout: Duration) -> bool {
        !timeout.is_zero() && self.is_suspect() && LOOK * self.still >= timeout
    }
}

impl Supervisor {
    /// Looks at every worker, if it is time to.
    pub(crate) fn look_at_workers(&mut self) {
        if self.now < self.hangs.look_at {
            return;
        }
        self.hangs.look_at = self.now + LOOK;
        for token in self.worker_tokens() {
            let Some(worker) = self.workers.get_mut(&token) else {
                continue;
            };
            let was_suspect = worker.pulse.is_suspect();
            let sign = worker.sign_of_life();
            if worker.elder && !worker.pulse.is_suspect() {
                self.tell(token, &SPEAK);
            }
            let Some(worker) = self.workers.get_mut(&token) else {
                continue;
            };
            if worker.pulse.look(sign) {
                if was_suspect {
                    self.on_turning_again(token);
                }
            } else if worker.ready_since.is_some() && worker.pulse.is_suspect() && !was_suspect {
                self.on_suspect(token);
            }
            if let Some(fault) = self.fault(token) {
                self.abort(token, fault);
            }
        }
        self.look_at_the_silent();
    }

    /// Logs the backtrace that a dead worker has left, if it has.
    ///
    /// A child does that, which has the program at the same addresses too: to
    /// find the names may take a second, and the group needs its supervisor.
    /// One that was started by another program, `foreign`, had that at its own
    /// addresses.
    pub(crate) fn tell_backtrace(&mut self, slot: Slot, pid: Pid, foreign: bool) {
        let pid = u32::try_from(pid.as_raw()).unwrap_or_default();
        let frames = self.scoreboard.take_last_words(pid);
        if frames.is_empty() {
            return;
        }
        if foreign {
            let frames: Vec<String> = frames.iter().map(|at| format!("{at:#x}")).collect();
            let frames = frames.join(" ");
            return log::error!("worker {slot}: backtrace of another program: {frames}");
        }
        let child = process::spawn(|| {
            let mut needed = logging::descriptors();
            needed.extend([0, 1, 2]);
            if let Err(error) = descriptors::close_all_but(needed) {
                log::warn!("cannot close descriptors: {error}");
                return 1;
            }
            for (number, frame) in in_words(frames).iter().enumerate() {
                log::error!("worker {slot}: backtrace {number}: {frame}");
            }
            0
        });
        match child {
            Ok(pid) => drop(self.hangs.writers.insert(pid)),
            Err(error) => log::warn!("worker {slot}: no backtrace: {error}"),
        }
    }

    /// Siblings accept for it from now on.
    fn on_suspect(&mut self, token: Token) {
        let mut adopted = Vec::new();
        for (slot, place) in &mut self.places {
            if place.worker == Some(token) {
                log::warn!("worker {slot}: does not turn, others accept for it");
                place.vacant_since.get_or_insert(self.now);
            }
            if place.adopter.take_if(|adopter| *adopter == token).is_some() {
                adopted.push(*slot);
            }
        }
        for slot in adopted {
            self.tell(token, &ToWorker::DropListener { slot });
        }
    }

    fn on_turning_again(&mut self, token: Token) {
        let own = |(_, place): &(_, &Place)| place.worker == Some(token);
        let slot = self.places.iter().find(own).map(|(slot, _)| *slot);
        if let Some(slot) = slot {
            log::info!("worker {slot}: turns again");
            self.take_back(slot);
        }
    }

    fn fault(&self, token: Token) -> Option<Fault> {
        let worker = self.workers.get(&token)?;
        let settings = &self.config.settings;
        if worker.kill_at.is_some() || self.hangs.victim.is_some() {
            return None;
        }
        let hangs = worker.pulse.is_over(settings.worker_hang_timeout);
        if worker.elder {
            let looks = worker.pulse.still;
            return hangs.then_some(Fault::Silent { looks });
        }
        if worker.ready_since.is_none() {
            let limit = settings.worker_start_timeout;
            let late = !limit.is_zero() && self.now >= worker.started + limit;
            return late.then_some(Fault::NotReady);
        }
        hangs.then(|| worker.hang())
    }

    /// Asks a worker where it is; then it is killed.
    fn abort(&mut self, token: Token, fault: Fault) {
        let Some(worker) = self.workers.get_mut(&token) else {
            return;
        };
        let (slot, pid) = (worker.id.slot, worker.pid);
        match fault {
            Fault::Hangs { looks, running } => {
                let age = (LOOK * looks).as_secs();
                let where_it_is = if running {
                    "in the middle of a turn"
                } else {
                    "while it waited"
                };
                log::error!(
                    "worker {slot}: hangs: no turn for {age} s, {where_it_is}; killing it, pid={pid}"
                );
            }
            Fault::Silent { looks } => {
                let (generation, age) = (worker.id.generation, (LOOK * looks).as_secs());
                log::error!(
                    "worker {slot} of generation {generation}: no answer for {age} s; \
                     killing it, pid={pid}"
                );
            }
            Fault::NotReady => {
                let age = self.now.saturating_duration_since(worker.started);
                let age = age.as_secs();
                log::error!("worker {slot}: not ready after {age} s; killing it, pid={pid}");
            }
        }
        worker.kill_at = Some(self.now + LAST_WORDS);
        self.hangs.victim = Some(token);
        if matches!(fault, Fault::NotReady) {
            self.on_late(token);
        }
        if let Err(error) = last_words::ask(pid) {
            log::warn!("worker {slot}: cannot be asked for a backtrace: {error}");
        }
    }
}

impl Worker {
    /// Changes as long as its loop turns. An elder may count on a scoreboard
    /// that is not ours, so what it says is what counts.
    fn sign_of_life(&self) -> u64 {
        if self.elder {
            self.heard
        } else {
            self.cell.swept()
        }
    }

    fn hang(&self) -> Fault {
        Fault::Hangs {
            looks: self.pulse.still,
            running: self.cell.is_running(),
        }
    }
}

/// The names of these frames, without what the handler itself did and how the
/// supervisor came to fork.
fn in_words(frames: Vec<usize>) -> Vec<String> {
    let names = frames.into_iter().flat_map(last_words::name);
    let mut names: Vec<String> = names.collect();
    if let Some(handler) = names.iter().rposition(|name| name.contains(HANDLER)) {
        names.drain(..=handler);
    }
    if let Some(birth) = names.iter().position(|name| name.contains(BIRTH)) {
        names.truncate(birth);
    }
    names
}

/// What an elder is told at every look: it reports at once.
const SPEAK: ToWorker = ToWorker::Count {
    round: 0,
    period: false,
};

/// Time from one look to the next; more than a worker's from sweep to sweep.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// Looks after which siblings accept for a worker: two seconds.
const SUSPECT: u32 = 4;

/// Parts of the names of functions in a backtrace: where its interesting part
/// begins and ends.
const HANDLER: &str = "on_abort";
const BIRTH: &str = "be_worker";

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that has swept once and was looked at `looks` times since.
    fn still(looks: u32) -> Pulse {
        let mut pulse = Pulse::default();
        assert!(pulse.look(1));
        for _ in 0..looks {
            assert!(!pulse.look(1));
        }
        pulse
    }

    #[test]
    fn suspects_a_worker_that_does_not_sweep_and_forgets_it_when_it_does() {
        assert!(!still(SUSPECT - 1).is_suspect());
        let mut pulse = still(SUSPECT);
        assert!(pulse.is_suspect());
        assert!(pulse.look(2));
        assert!(!pulse.is_suspect());
    }

    #[test]
    fn worker_that_was_suspect_before_the_first_look_is_so_until_it_sweeps() {
        let mut pulse = Pulse::suspect(7);
        assert!(pulse.is_suspect());
        assert!(!pulse.look(7));
        assert!(pulse.is_suspect());
        assert!(pulse.look(8));
        assert!(!pulse.is_suspect());
    }

    #[test]
    fn gives_a_worker_up_after_the_timeout_in_looks() {
        let timeout = Duration::from_secs(30);
        assert!(!still(59).is_over(timeout));
        assert!(still(60).is_over(timeout));
        assert!(still(61).is_over(timeout));
    }

    #[test]
    fn never_gives_up_a_worker_that_is_not_suspect_or_without_a_timeout() {
        assert!(!still(SUSPECT - 1).is_over(Duration::from_millis(1)));
        assert!(!still(u32::MAX >> 8).is_over(Duration::ZERO));
    }
}

//! The supervisor's book of moves: which console waits for what.
//!
//! ```text
//! asked ──all workers have answered──> ended
//!   └─one has the client──> waits for it alone, however long ──> ended
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use pgskein_protocol::key::Slot;

use super::{MoveAnswer, Stay};
use crate::ledger::WorkerId;

/// The moves that consoles wait for; `A` is whoever asks.
#[derive(Debug)]
pub struct MoveBook<A> {
    next: u64,
    under_way: Vec<UnderWay<A>>,
}

/// What has come of what a console has asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The client was moved.
    Moved,
    /// Nobody has the client, of those who have answered.
    NoSuchClient(Vec<Slot>),
    /// The client was not moved.
    Stayed(Stay),
    /// So many were moved, by those who have answered.
    Balanced(u32, Vec<Slot>),
}

#[derive(Debug)]
struct UnderWay<A> {
    number: u64,
    asker: A,
    waiting_for: BTreeSet<WorkerId>,
    deadline: Option<Instant>,
    one: bool,
    moved: u32,
    /// What has come of the one client.
    decided: Option<Ended>,
}

impl<A> MoveBook<A> {
    /// A book whose first request has this number. One that takes the place of
    /// another goes on behind it, so that a late answer finds nothing.
    pub fn new(first: u64) -> Self {
        Self {
            next: first,
            under_way: Vec::new(),
        }
    }

    /// One client is to be moved, and these workers are asked; gives the number
    /// of the request. Who has the client says so until the deadline.
    pub fn ask(
        &mut self,
        asker: A,
        workers: impl IntoIterator<Item = WorkerId>,
        deadline: Option<Instant>,
    ) -> u64 {
        self.enter(asker, workers, deadline, true)
    }

    /// These workers are to give some of theirs; gives the number of the request.
    pub fn balance(
        &mut self,
        asker: A,
        workers: impl IntoIterator<Item = WorkerId>,
        deadline: Option<Instant>,
    ) -> u64 {
        self.enter(asker, workers, deadline, false)
    }

    /// A worker has answered.
    pub fn on_answer(&mut self, worker: WorkerId, number: u64, answer: MoveAnswer) {
        let mut all = self.under_way.iter_mut();
        let Some(asked) = all.find(|asked| asked.number == number) else {
            return;
        };
        match answer {
            MoveAnswer::Here => {
                asked.waiting_for.retain(|other| *other == worker);
                asked.deadline = None;
                return;
            }
            MoveAnswer::NotHere => {}
            MoveAnswer::Moved(_) if asked.one => asked.decided = Some(Ended::Moved),
            MoveAnswer::Moved(count) => asked.moved = asked.moved.saturating_add(count),
            MoveAnswer::Stayed(why) => asked.decided = Some(Ended::Stayed(why)),
        }
        asked.waiting_for.remove(&worker);
    }

    /// A worker has died, and its clients are gone with it.
    pub fn worker_died(&mut self, worker: WorkerId) {
        for asked in &mut self.under_way {
            let alone = asked.waiting_for.len() == 1 && asked.deadline.is_none();
            if asked.waiting_for.remove(&worker) && asked.one && alone {
                asked.decided = Some(Ended::Stayed(Stay::Left));
            }
        }
    }

    /// Those who asked are no longer there; what they wanted is done all the
    /// same.
    pub fn askers_gone(&mut self, gone: impl Fn(&A) -> bool) {
        self.under_way.retain(|asked| !gone(&asked.asker));
    }

    /// When time is over for the first request, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.under_way.iter().filter_map(|asked| asked.deadline);
        deadlines.min()
    }

    /// The next request that has ended.
    pub fn poll_ended(&mut self, now: Instant) -> Option<(A, Ended)> {
        let over = |asked: &UnderWay<A>| {
            let late = asked.deadline.is_some_and(|at| at <= now);
            asked.decided.is_some() || asked.waiting_for.is_empty() || late
        };
        let at = self.under_way.iter().position(over)?;
        let asked = self.under_way.remove(at);
        let silent = asked.waiting_for.iter().map(|worker| worker.slot).collect();
        let ended = match asked.decided {
            Some(ended) => ended,
            None if asked.one => Ended::NoSuchClient(silent),
            None => Ended::Balanced(asked.moved, silent),
        };
        Some((asked.asker, ended))
    }

    /// Gives up waiting for all that is under way; gives those who asked.
    pub fn give_up(&mut self) -> Vec<A> {
        let all = self.under_way.drain(..);
        all.map(|asked| asked.asker).collect()
    }

    fn enter(
        &mut self,
        asker: A,
        workers: impl IntoIterator<Item = WorkerId>,
        deadline: Option<Instant>,
        one: bool,
    ) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.under_way.push(UnderWay {
            number,
            asker,
            waiting_for: workers.into_iter().collect(),
            deadline,
            one,
            moved: 0,
            decided: None,
        });
        number
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn worker(number: u8) -> WorkerId {
        WorkerId {
            slot: Slot::new(number).unwrap(),
            generation: 1,
            incarnation: 1,
        }
    }

    fn asked(now: Instant) -> (MoveBook<&'static str>, u64) {
        let mut book = MoveBook::new(7);
        let number = book.ask("console", [1, 2].map(worker), Some(now + SECOND));
        (book, number)
    }

    #[test]
    fn waits_for_the_worker_that_has_the_client_however_long() {
        let now = Instant::now();
        let (mut book, number) = asked(now);
        book.on_answer(worker(2), number, MoveAnswer::Here);
        assert_eq!(book.poll_ended(now + 100 * SECOND), None);
        book.on_answer(worker(2), number, MoveAnswer::Moved(1));
        assert_eq!(book.poll_ended(now), Some(("console", Ended::Moved)));
        assert_eq!(book.poll_ended(now), None);
    }

    #[test]
    fn says_why_a_client_stays_or_that_there_is_none() {
        let now = Instant::now();
        let (mut book, number) = asked(now);
        book.on_answer(worker(2), number, MoveAnswer::Stayed(Stay::Replication));
        let ended = Some(("console", Ended::Stayed(Stay::Replication)));
        assert_eq!(book.poll_ended(now), ended);
        let (mut book, number) = asked(now);
        book.on_answer(worker(1), number, MoveAnswer::NotHere);
        assert_eq!(book.poll_ended(now), None);
        let silent = vec![worker(2).slot];
        let ended = Some(("console", Ended::NoSuchClient(silent)));
        assert_eq!(book.poll_ended(now + SECOND), ended);
    }

    #[test]
    fn takes_a_client_for_gone_whose_worker_has_died() {
        let now = Instant::now();
        let (mut book, number) = asked(now);
        book.on_answer(worker(2), number, MoveAnswer::Here);
        book.worker_died(worker(1));
        assert_eq!(book.poll_ended(now), None);
        book.worker_died(worker(2));
        let ended = Some(("console", Ended::Stayed(Stay::Left)));
        assert_eq!(book.poll_ended(now), ended);
    }

    #[test]
    fn sums_what_workers_have_given() {
        let now = Instant::now();
        let mut book = MoveBook::new(7);
        let number = book.balance("console", [1, 2, 3].map(worker), Some(now + SECOND));
        book.on_answer(worker(1), number, MoveAnswer::Moved(3));
        book.on_answer(worker(3), number, MoveAnswer::Moved(4));
        book.on_answer(worker(3), number + 1, MoveAnswer::Moved(4));
        assert_eq!(book.next_deadline(), Some(now + SECOND));
        let silent = vec![worker(2).slot];
        let ended = Some(("console", Ended::Balanced(7, silent)));
        assert_eq!(book.poll_ended(now + SECOND), ended);
    }

    #[test]
    fn forgets_who_is_gone_and_gives_up_the_others() {
        let now = Instant::now();
        let (mut book, _) = asked(now);
        book.askers_gone(|asker| *asker == "console");
        assert_eq!(book.poll_ended(now + SECOND), None);
        let (mut book, _) = asked(now);
        assert_eq!(book.give_up(), ["console"]);
        assert_eq!(book.next_deadline(), None);
    }
}

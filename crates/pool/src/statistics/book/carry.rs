//! Carry: the book in the hands of the next program.
//!
//! What every worker has reported is carried and nothing that is under way: who
//! waits for a table has it asked for again, and a period that was being ended
//! ends anew.
//!
//! Layout, version 1: version (1), number of the last round (8), length of a
//! period (8), how long the running one has lasted (8), totals of those that are
//! gone, age and totals of the two marks, number of workers (4), workers. Each
//! is its name, whether it is an elder (1), and its totals.

use std::time::{Duration, Instant};

use super::{Book, Mark, Purpose};
use crate::ledger::{put_worker, worker};
use crate::octets::{Octets, Truncated, put_count, put_duration};
use crate::statistics::totals::Totals;

impl Book {
    /// Appends the book, as it is at `now`, to `out`.
    pub(crate) fn encode(&self, now: Instant, out: &mut Vec<u8>) {
        let ending = self.rounds.iter();
        let ending = ending.filter(|round| round.purpose != Purpose::Tell);
        let ran = match ending.count() {
            0 => now.saturating_duration_since(self.begun),
            _ => self.length,
        };
        out.push(VERSION);
        out.extend_from_slice(&self.last_round.to_be_bytes());
        put_duration(out, self.length);
        put_duration(out, ran);
        self.gone.encode(out);
        for mark in [&self.before, &self.after] {
            put_duration(out, now.saturating_duration_since(mark.at));
            mark.totals.encode(out);
        }
        put_count(out, self.workers.len());
        for (name, totals) in &self.workers {
            put_worker(out, *name);
            out.push(u8::from(self.elders.contains(name)));
            totals.encode(out);
        }
    }

    /// Takes a book that was written down just before `now`.
    pub(crate) fn decode(octets: &mut Octets<'_>, now: Instant) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        // What is older than the clock began when the clock did.
        let ago = |age: Duration| now.checked_sub(age).unwrap_or(now);
        let last_round = octets.u64()?;
        let length = octets.duration()?;
        let mut book = Self::new(length, now);
        book.last_round = last_round;
        book.begun = ago(octets.duration()?);
        book.gone = Totals::decode(octets)?;
        for mark in [&mut book.before, &mut book.after] {
            *mark = Mark {
                at: ago(octets.duration()?),
                totals: Totals::decode(octets)?,
            };
        }
        for _ in 0..octets.u32()? {
            let name = worker(octets)?;
            if octets.u8()? != 0 {
                book.elders.insert(name);
            }
            book.workers.insert(name, Totals::decode(octets)?);
        }
        Ok(book)
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use pgskein_protocol::key::Slot;

    use super::*;
    use crate::ledger::WorkerId;
    use crate::statistics::{BookAction, Counters, Report};

    const PERIOD: Duration = Duration::from_secs(60);

    fn name(slot: u8) -> WorkerId {
        WorkerId {
            slot: Slot::new(slot).unwrap(),
            generation: 1,
            incarnation: slot.into(),
        }
    }

    fn report(queries: u64) -> Report {
        let mut totals = Totals::default();
        let counters = Counters {
            queries,
            ..Counters::default()
        };
        totals.add("a", &counters);
        Report { round: 0, totals }
    }

    fn carried(book: &Book, now: Instant) -> Book {
        let mut bytes = Vec::new();
        book.encode(now, &mut bytes);
        let mut octets = Octets(&bytes);
        let book = Book::decode(&mut octets, now).unwrap();
        assert_eq!(octets.end(), Ok(()));
        book
    }

    /// All queries that were counted, asked for when everybody has reported.
    fn sum(book: &mut Book, now: Instant) -> u64 {
        book.ask(Duration::ZERO, now);
        loop {
            match book.poll_action() {
                Some(BookAction::Tell { group, .. }) => return group.totals.sum().queries,
                Some(_) => {}
                None => panic!("nobody is told"),
            }
        }
    }

    #[test]
    fn carries_what_living_and_dead_workers_have_counted() {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut book = Book::new(PERIOD, now);
        for slot in [1, 2] {
            book.worker_ready(name(slot));
            book.report(name(slot), report(u64::from(slot)), now);
        }
        book.worker_died(name(1), now);
        let mut book = carried(&book, now);
        assert_eq!(sum(&mut book, now), 3);
        // A report replaces the last one of the same worker.
        book.report(name(2), report(9), now);
        assert_eq!(sum(&mut book, now), 10);
    }

    #[test]
    fn ends_a_period_when_it_would_have_ended_or_anew() {
        let begun = Instant::now() + Duration::from_secs(3600);
        let mut book = Book::new(PERIOD, begun);
        book.worker_ready(name(1));
        let early = begun + PERIOD / 3;
        assert_eq!(carried(&book, early).next_deadline(), begun + PERIOD);
        let over = begun + PERIOD;
        book.on_time(over);
        let mut book = carried(&book, over);
        assert_eq!(book.next_deadline(), over);
        book.on_time(over);
        let ask = BookAction::Ask {
            worker: name(1),
            round: 2,
            period: true,
        };
        assert_eq!(book.poll_action(), Some(ask));
    }
}

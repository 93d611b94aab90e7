//! Making a sequence that shows a difference smaller.

use std::time::{Duration, Instant};

use super::compare::Difference;
use super::sequence::{Sequence, Then};

/// Leaves out what is not needed for a difference, for a while.
///
/// `differs` runs a sequence and tells how its answers differ, if they do.
pub(super) fn shrink(
    sequence: Sequence,
    difference: Difference,
    differs: impl FnMut(&Sequence) -> Option<Difference>,
) -> (Sequence, Difference) {
    let mut search = Search {
        best: sequence,
        difference,
        differs,
        end: Instant::now() + LONGEST,
    };
    search.leave_out_the_end();
    loop {
        let before = search.best.len();
        search.leave_out_flights();
        search.leave_out_messages();
        if search.best.len() == before || search.is_over() {
            break;
        }
    }
    search.simplify();
    (search.best, search.difference)
}

/// A search under way.
struct Search<F> {
    best: Sequence,
    difference: Difference,
    differs: F,
    end: Instant,
}

impl<F: FnMut(&Sequence) -> Option<Difference>> Search<F> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Keeps a smaller sequence if it still differs.
    fn take(&mut self, candidate: Sequence) -> bool {
        if self.is_over() {
            return false;
        }
        match (self.differs)(&candidate) {
            Some(difference) => {
                self.best = candidate;
                self.difference = difference;
                true
            }
            None => false,
        }
    }

    /// Leaves out as much as possible of the end, but for the last flight.
    fn leave_out_the_end(&mut self) {
        let (mut enough, mut too_few) = (self.best.len(), 0);
        while enough - too_few > 1 && !self.is_over() {
            let middle = usize::midpoint(enough, too_few);
            if self.take(self.first_messages(middle)) {
                enough = middle;
            } else {
                too_few = middle;
            }
        }
    }

    /// The first messages of the sequence, with the rest of what belongs to
    /// them, and its last flight.
    fn first_messages(&self, count: usize) -> Sequence {
        let mut candidate = self.best.clone();
        let last = candidate.flights.pop();
        let mut left = count;
        let mut begun = None;
        candidate.flights.retain_mut(|flight| {
            let keep = left > 0 || (flight.whole.is_some() && flight.whole == begun);
            if flight.whole.is_none() {
                flight.messages.truncate(left);
            }
            left = left.saturating_sub(flight.messages.len());
            begun = flight.whole;
            keep
        });
        candidate.flights.extend(last);
        candidate
    }

    /// Leaves out runs of flights, from half of them down to single ones.
    fn leave_out_flights(&mut self) {
        let mut size = self.best.flights.len() / 2;
        while size > 0 {
            let mut at = 0;
            while at < self.best.flights.len() && !self.is_over() {
                let candidate = self.without_flights(at, size);
                let smaller = candidate.flights.len() < self.best.flights.len();
                if !smaller || !self.take(candidate) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    /// The sequence without so many flights from `at` on, and without what
    /// belongs to them.
    fn without_flights(&self, at: usize, size: usize) -> Sequence {
        let mut candidate = self.best.clone();
        let end = (at + size).min(candidate.flights.len());
        let gone = candidate.flights.drain(at..end);
        let groups: Vec<u32> = gone.filter_map(|flight| flight.whole).collect();
        candidate
            .flights
            .retain(|flight| flight.whole.is_none_or(|group| !groups.contains(&group)));
        candidate
    }

    /// Leaves out runs of messages within flights.
    fn leave_out_messages(&mut self) {
        for index in 0..self.best.flights.len() {
            if self.best.flights[index].whole.is_some() {
                continue;
            }
            let mut size = self.best.flights[index].messages.len().div_ceil(2);
            while size > 0 && !self.is_over() {
                let mut at = 0;
                while at < self.best.flights[index].messages.len() && !self.is_over() {
                    let mut candidate = self.best.clone();
                    let messages = &mut candidate.flights[index].messages;
                    let end = (at + size).min(messages.len());
                    messages.drain(at..end);
                    if !self.take(candidate) {
                        at += size;
                    }
                }
                size /= 2;
            }
        }
    }

    /// Waits wherever that does not matter, and cuts nothing.
    fn simplify(&mut self) {
        let mut candidate = self.best.clone();
        for flight in &mut candidate.flights {
            flight.cuts.clear();
        }
        self.take(candidate);
        let mut candidate = self.best.clone();
        for flight in &mut candidate.flights {
            flight.then = Then::Wait;
        }
        self.take(candidate);
    }
}

/// How long a search goes on: a report is better than the smallest report.
const LONGEST: Duration = Duration::from_secs(60);

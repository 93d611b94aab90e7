//! Desk: questions that may take long are answered by a few, and the others
//! wait in a queue that has an end.

use std::collections::VecDeque;

/// Who answers, and who waits.
#[derive(Debug)]
pub struct Desk<T> {
    /// How many questions are answered at the same time, at most.
    seats: usize,
    /// How many wait at most.
    room: usize,
    busy: usize,
    waiting: VecDeque<T>,
}

/// What becomes of a question.
#[derive(Debug, Eq, PartialEq)]
pub enum Asked<T> {
    /// It is to be answered now.
    Now(T),
    /// It waits.
    Waits,
    /// There is no room for it.
    Full,
}

impl<T> Desk<T> {
    /// Nobody asks yet.
    pub fn new(seats: usize, room: usize) -> Self {
        Self {
            seats,
            room,
            busy: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Takes a question. Those that nobody wants to be answered any more make
    /// room for it.
    pub fn ask(&mut self, question: T, wanted: impl FnMut(&T) -> bool) -> Asked<T> {
        if self.busy < self.seats {
            self.busy += 1;
            return Asked::Now(question);
        }
        if self.waiting.len() >= self.room {
            self.waiting.retain(wanted);
        }
        if self.waiting.len() >= self.room {
            return Asked::Full;
        }
        self.waiting.push_back(question);
        Asked::Waits
    }

    /// One was answered; gives the next that somebody still wants to be.
    pub fn on_answered(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Option<T> {
        while let Some(question) = self.waiting.pop_front() {
            if wanted(&question) {
                return Some(question);
            }
        }
        debug_assert!(self.busy > 0, "more was answered than asked");
        self.busy = self.busy.saturating_sub(1);
        None
    }

    /// Whether nobody asks.
    pub fn is_idle(&self) -> bool {
        self.busy == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: &u8) -> bool {
        true
    }

    #[test]
    fn answers_a_few_at_the_same_time_and_lets_the_others_wait_in_turn() {
        let mut desk = Desk::new(2, 2);
        assert!(desk.is_idle());
        assert_eq!(desk.ask(1, all), Asked::Now(1));
        assert_eq!(desk.ask(2, all), Asked::Now(2));
        assert_eq!(desk.ask(3, all), Asked::Waits);
        assert_eq!(desk.ask(4, all), Asked::Waits);
        assert_eq!(desk.ask(5, all), Asked::Full);
        assert_eq!(desk.on_answered(all), Some(3));
        assert_eq!(desk.ask(6, all), Asked::Waits);
        assert_eq!(desk.on_answered(all), Some(4));
        assert_eq!(desk.on_answered(all), Some(6));
        assert_eq!(desk.on_answered(all), None);
        assert_eq!(desk.ask(7, all), Asked::Now(7));
        assert_eq!(desk.on_answered(all), None);
        assert_eq!(desk.on_answered(all), None);
        assert!(desk.is_idle());
    }

    #[test]
    fn forgets_questions_that_nobody_wants_to_be_answered() {
        let mut desk = Desk::new(1, 2);
        let odd = |number: &u8| number % 2 == 1;
        for number in 0..3 {
            desk.ask(number, all);
        }
        assert_eq!(desk.ask(4, odd), Asked::Waits);
        assert_eq!(desk.ask(5, odd), Asked::Waits);
        assert_eq!(desk.on_answered(odd), Some(1));
        assert_eq!(desk.on_answered(odd), Some(5));
        assert_eq!(desk.on_answered(odd), None);
        assert!(desk.is_idle());
    }
}

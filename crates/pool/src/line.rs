//! Line: questions that take long are asked once for all who wait for the answer;
//! a few at the same time, and the others in a queue that has an end.

use std::collections::HashMap;
use std::hash::Hash;

use crate::desk::{Asked, Desk};

/// Questions, and who waits for the answers.
///
/// Always true: somebody is noted for every question that is being answered or in
/// the queue, and for no other.
#[derive(Debug)]
pub struct Line<K, W> {
    /// Some of them may have left.
    waiting: HashMap<K, Vec<W>>,
    desk: Desk<K>,
}

impl<K: Clone + Eq + Hash, W: Copy> Line<K, W> {
    /// Nobody waits yet; so many questions are answered at the same time, and so
    /// many are in the queue at most.
    pub fn new(seats: usize, room: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            desk: Desk::new(seats, room),
        }
    }

    /// Has somebody wait for the answer to a question. Those that nobody waits for
    /// any more, if `waits` says who still does, make room for it.
    pub fn wait(&mut self, question: K, who: W, waits: impl Fn(W) -> bool) -> Asked<K> {
        if let Some(all) = self.waiting.get_mut(&question) {
            if all.len() == all.capacity() {
                all.retain(|&one| waits(one));
            }
            all.push(who);
            return Asked::Waits;
        }
        let waiting = &mut self.waiting;
        let asked = self.desk.ask(question.clone(), |question| {
            is_wanted(waiting, question, &waits)
        });
        if !matches!(asked, Asked::Full) {
            self.waiting.insert(question, vec![who]);
        }
        asked
    }

    /// A question was answered: takes those who have waited for it, and gives the
    /// next that somebody still waits for.
    pub fn on_answered(&mut self, question: &K, waits: impl Fn(W) -> bool) -> (Vec<W>, Option<K>) {
        let all = self.waiting.remove(question).unwrap_or_default();
        let waiting = &mut self.waiting;
        let next = self
            .desk
            .on_answered(|question| is_wanted(waiting, question, &waits));
        (all, next)
    }
}

/// Whether somebody still waits; forgets those who do not, if nobody does.
fn is_wanted<K: Eq + Hash, W: Copy>(
    waiting: &mut HashMap<K, Vec<W>>,
    question: &K,
    waits: impl Fn(W) -> bool,
) -> bool {
    let all = waiting.get(question);
    let wanted = all.is_some_and(|all| all.iter().any(|&one| waits(one)));
    if !wanted {
        waiting.remove(question);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: u32) -> bool {
        true
    }

    #[test]
    fn asks_once_for_all_who_wait() {
        let mut line = Line::new(1, 1);
        assert_eq!(line.wait("a", 1, all), Asked::Now("a"));
        assert_eq!(line.wait("a", 2, all), Asked::Waits);
        assert_eq!(line.wait("b", 3, all), Asked::Waits);
        assert_eq!(line.wait("c", 4, all), Asked::Full);
        assert_eq!(line.wait("b", 5, all), Asked::Waits);
        assert_eq!(line.on_answered(&"a", all), (vec![1, 2], Some("b")));
        assert_eq!(line.wait("c", 6, all), Asked::Waits);
        assert_eq!(line.on_answered(&"b", all), (vec![3, 5], Some("c")));
        assert_eq!(line.on_answered(&"c", all), (vec![6], None));
        assert_eq!(line.wait("a", 7, all), Asked::Now("a"));
    }

    #[test]
    fn gives_the_places_of_those_who_have_left_to_others() {
        let mut line = Line::new(1, 2);
        let odd = |who: u32| who % 2 == 1;
        line.wait("a", 2, odd);
        assert_eq!(line.wait("b", 4, odd), Asked::Waits);
        assert_eq!(line.wait("c", 6, odd), Asked::Waits);
        assert_eq!(line.wait("c", 7, odd), Asked::Waits);
        assert_eq!(line.wait("d", 8, odd), Asked::Waits);
        assert_eq!(line.wait("e", 9, odd), Asked::Waits);
        assert_eq!(line.wait("f", 11, odd), Asked::Full);
        // What is being answered is not asked once more.
        assert_eq!(line.wait("a", 13, odd), Asked::Waits);
        assert_eq!(line.on_answered(&"a", odd), (vec![13], Some("c")));
        assert_eq!(line.on_answered(&"c", odd), (vec![7], Some("e")));
        assert_eq!(line.on_answered(&"e", odd), (vec![9], None));
        assert!(line.waiting.is_empty());
    }

    #[test]
    fn forgets_those_who_come_and_leave_while_an_answer_takes_long() {
        let mut line = Line::new(1, 1);
        for who in 0..1_000 {
            line.wait("a", who, |one| one == who);
            assert!(line.waiting["a"].len() <= 8);
        }
    }
}

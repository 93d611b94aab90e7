//! Away: where sessions have gone that were here a moment ago.
//!
//! A cancel that looks for one of them may have asked its new worker before it
//! came there. So the giver remembers each for a while, and sends cancels after
//! it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pgskein_protocol::key::CancelKey;

/// Sessions that have gone to other workers, by their cancel keys.
#[derive(Debug)]
pub struct Away<P> {
    /// By the process ids of their keys, which are not unique.
    gone: HashMap<u32, Vec<Gone<P>>>,
    /// In the order in which they are forgotten.
    queue: VecDeque<(Instant, u32, u64)>,
    /// The number of the last one.
    last: u64,
}

#[derive(Debug)]
struct Gone<P> {
    key: CancelKey,
    to: P,
    number: u64,
}

impl<P> Default for Away<P> {
    fn default() -> Self {
        Self {
            gone: HashMap::new(),
            queue: VecDeque::new(),
            last: 0,
        }
    }
}

impl<P: Copy> Away<P> {
    /// The session with this key has gone to `to`.
    pub fn insert(&mut self, key: CancelKey, to: P, now: Instant) {
        self.expire(now);
        while self.queue.len() >= MOST_AWAY {
            self.forget_first();
        }
        self.forget(&key);
        self.last += 1;
        let (process_id, number) = (key.process_id, self.last);
        let alike = self.gone.entry(process_id).or_default();
        alike.push(Gone { key, to, number });
        self.queue.push_back((now, process_id, number));
    }

    /// Where the session with this key has gone.
    pub fn find(&self, process_id: u32, secret: &[u8]) -> Option<P> {
        // All are compared, so that the time tells nothing about any.
        let alike = self.gone.get(&process_id)?.iter();
        let found = alike.filter(|gone| gone.key.matches(secret)).last()?;
        Some(found.to)
    }

    /// A session has this key here from now on.
    pub fn forget(&mut self, key: &CancelKey) {
        self.remove(key.process_id, |gone| gone.key.matches(key.secret()));
    }

    /// Forgets those who have gone some time ago.
    pub fn expire(&mut self, now: Instant) {
        while let Some((at, ..)) = self.queue.front()
            && now.saturating_duration_since(*at) >= REMEMBERED
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, process_id, number)) = self.queue.pop_front() {
            self.remove(process_id, |gone| gone.number == number);
        }
    }

    fn remove(&mut self, process_id: u32, is_it: impl Fn(&Gone<P>) -> bool) {
        if let Entry::Occupied(mut alike) = self.gone.entry(process_id) {
            alike.get_mut().retain(|gone| !is_it(gone));
            if alike.get().is_empty() {
                alike.remove();
            }
        }
    }
}

/// How long a session is remembered. A search asks all workers in less.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Sessions that are remembered at most.
const MOST_AWAY: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(process_id: u32) -> CancelKey {
        CancelKey::from_parts(process_id, &[1, 2, 3, 4], false).unwrap()
    }

    #[test]
    fn finds_a_session_by_its_whole_key_for_a_while() {
        let (mut away, now) = (Away::default(), Instant::now());
        away.insert(key(7), "2.1", now);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), Some("2.1"));
        assert_eq!(away.find(7, &[1, 2, 3, 5]), None);
        assert_eq!(away.find(8, &[1, 2, 3, 4]), None);
        away.expire(now + REMEMBERED);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), None);
        assert!(away.queue.is_empty());
    }

    #[test]
    fn remembers_where_it_went_last() {
        let (mut away, now) = (Away::default(), Instant::now());
        away.insert(key(7), "2.1", now);
        away.forget(&key(7));
        assert_eq!(away.find(7, &[1, 2, 3, 4]), None);
        away.insert(key(7), "3.1", now + REMEMBERED / 2);
        away.expire(now + REMEMBERED);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), Some("3.1"));
    }

    #[test]
    fn remembers_all_whose_keys_begin_alike() {
        let (mut away, now) = (Away::default(), Instant::now());
        let other = CancelKey::from_parts(7, &[1, 2, 3, 5], false).unwrap();
        away.insert(key(7), "2.1", now);
        away.insert(other, "3.1", now);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), Some("2.1"));
        assert_eq!(away.find(7, &[1, 2, 3, 5]), Some("3.1"));
        away.forget(&key(7));
        assert_eq!(away.find(7, &[1, 2, 3, 4]), None);
        assert_eq!(away.find(7, &[1, 2, 3, 5]), Some("3.1"));
        away.expire(now + REMEMBERED);
        assert!(away.gone.is_empty());
    }

    #[test]
    fn remembers_a_bounded_number() {
        let (mut away, now) = (Away::default(), Instant::now());
        for number in 0..70_000 {
            away.insert(key(number), (), now);
        }
        assert_eq!(away.gone.len(), MOST_AWAY);
        assert_eq!(away.find(0, &[1, 2, 3, 4]), None);
        assert_eq!(away.find(69_999, &[1, 2, 3, 4]), Some(()));
    }
}

//! Away: where sessions have gone that were here a moment ago.
//!
//! A cancel that looks for one of them may have asked its new worker before it
//! came there. So the giver remembers each for a while, and sends cancels after
//! it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pgskein_protocol::key::CancelKey;

/// Sessions that have gone to other workers, by their cancel keys.
#[derive(Debug)]
pub struct Away<P> {
    gone: HashMap<u32, Gone<P>>,
    /// In the order in which they are forgotten.
    queue: VecDeque<(Instant, u32)>,
}

#[derive(Debug)]
struct Gone<P> {
    key: CancelKey,
    to: P,
    at: Instant,
}

impl<P> Default for Away<P> {
    fn default() -> Self {
        Self {
            gone: HashMap::new(),
            queue: VecDeque::new(),
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
        let process_id = key.process_id;
        self.gone.insert(process_id, Gone { key, to, at: now });
        self.queue.push_back((now, process_id));
    }

    /// Where the session with this key has gone.
    pub fn find(&self, process_id: u32, secret: &[u8]) -> Option<P> {
        let gone = self.gone.get(&process_id)?;
        gone.key.matches(secret).then_some(gone.to)
    }

    /// A session has this key here from now on.
    pub fn forget(&mut self, process_id: u32) {
        self.gone.remove(&process_id);
    }

    /// Forgets those who have gone some time ago.
    pub fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.queue.front()
            && now.saturating_duration_since(*at) >= REMEMBERED
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((at, process_id)) = self.queue.pop_front()
            && self.gone.get(&process_id).is_some_and(|gone| gone.at == at)
        {
            self.gone.remove(&process_id);
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
        away.forget(7);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), None);
        away.insert(key(7), "3.1", now + REMEMBERED / 2);
        away.expire(now + REMEMBERED);
        assert_eq!(away.find(7, &[1, 2, 3, 4]), Some("3.1"));
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

//! Once: results that take long to find are found once, whoever waits for them.

use std::collections::HashMap;
use std::hash::Hash;

/// Results by what they are of, and who waits for those that are not there yet.
pub(super) struct Once<K, V, W> {
    found: HashMap<K, V>,
    waiting: HashMap<K, Vec<W>>,
}

impl<K: Clone + Eq + Hash, V, W> Once<K, V, W> {
    /// A result that is there.
    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.found.get(key)
    }

    /// Has somebody wait for a result; true if nobody else does, so that it has
    /// to be found.
    pub(super) fn wait(&mut self, key: &K, who: W) -> bool {
        match self.waiting.get_mut(key) {
            Some(waiting) => {
                waiting.push(who);
                false
            }
            None => {
                self.waiting.insert(key.clone(), vec![who]);
                true
            }
        }
    }

    /// Whether somebody waits for a result.
    pub(super) fn is_waited_for(&self, key: &K) -> bool {
        self.waiting.contains_key(key)
    }

    /// Forgets who does not wait any more, and what nobody waits for.
    pub(super) fn abandon(&mut self, mut waits: impl FnMut(&W) -> bool) {
        self.waiting.retain(|_, waiting| {
            waiting.retain(&mut waits);
            !waiting.is_empty()
        });
    }

    /// Takes those who wait, and keeps a result if there is one.
    pub(super) fn settle(&mut self, key: K, result: Option<V>) -> Vec<W> {
        let waiting = self.waiting.remove(&key).unwrap_or_default();
        if let Some(result) = result {
            if self.found.len() >= MOST {
                self.found.clear();
            }
            self.found.insert(key, result);
        }
        waiting
    }

    /// Forgets all results but these.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&K) -> bool) {
        self.found.retain(|key, _| keep(key));
    }
}

impl<K, V, W> Default for Once<K, V, W> {
    fn default() -> Self {
        Self {
            found: HashMap::new(),
            waiting: HashMap::new(),
        }
    }
}

/// Results that are remembered at most.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_result_once_for_all_who_wait() {
        let mut once = Once::default();
        assert_eq!(once.find(&"a"), None);
        assert!(once.wait(&"a", 1));
        assert!(!once.wait(&"a", 2));
        assert!(once.wait(&"b", 3));
        assert_eq!(once.settle("a", Some(7)), [1, 2]);
        assert_eq!(once.find(&"a"), Some(&7));
        assert_eq!(once.settle("b", None), [3]);
        assert_eq!(once.find(&"b"), None);
        assert!(once.wait(&"b", 4), "it has to be found again");
    }

    #[test]
    fn forgets_who_does_not_wait_any_more() {
        let mut once = Once::<_, (), _>::default();
        once.wait(&"a", 1);
        once.wait(&"a", 2);
        once.wait(&"b", 3);
        once.abandon(|&who| who == 2);
        assert!(once.is_waited_for(&"a") && !once.is_waited_for(&"b"));
        assert_eq!(once.settle("a", None), [2]);
    }

    #[test]
    fn forgets_what_has_no_use_and_is_bounded() {
        let mut once = Once::<_, _, ()>::default();
        for number in 0..25_000 {
            once.settle(number, Some(number));
            assert!(once.found.len() <= MOST);
        }
        once.retain(|number| number % 2 == 0);
        assert_eq!(once.find(&24_998), Some(&24_998));
        assert_eq!(once.find(&24_999), None);
    }
}

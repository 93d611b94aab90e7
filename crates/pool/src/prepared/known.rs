//! Known: which statements one server has prepared.

use std::hash::BuildHasherDefault;

use lru::LruCache;

use super::statements::{ENTRY_COST, Name, Spread, Statements};

/// The statements that a server has prepared, most recently used first.
#[derive(Debug, Default)]
pub struct Known {
    /// Made when the first statement is prepared.
    entries: Option<Box<Entries>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The batch that its Parse was sent in.
    batch: u64,
    /// It may be there or not, or must be made anew.
    stale: bool,
}

/// What is known of a statement on a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// It is prepared there.
    Ready,
    /// It was sent in an earlier batch that is not answered yet.
    Pending,
    /// It has to be closed before it is prepared again.
    Stale,
    /// It is not there.
    Missing,
}

impl Known {
    /// Looks a statement up and marks it as used.
    ///
    /// `current` is the batch that is being sent, `answered` the first one that
    /// is not answered yet.
    #[inline]
    pub fn find(&mut self, name: Name, current: u64, answered: u64) -> Found {
        let entry = self.entries.as_mut().and_then(|all| all.0.get(&name));
        match entry {
            None => Found::Missing,
            Some(entry) if entry.batch < answered || entry.batch == current => {
                if entry.stale {
                    Found::Stale
                } else {
                    Found::Ready
                }
            }
            Some(_) => Found::Pending,
        }
    }

    /// Notes that the Parse of a statement is sent in batch `current`.
    pub fn prepare(&mut self, name: Name, current: u64, memory: &mut Statements) {
        let entry = Entry {
            batch: current,
            stale: false,
        };
        let entries = &mut self.entries.get_or_insert_default().0;
        if entries.put(name, entry).is_none() {
            memory.charge_anyway(Self::ENTRY_COST);
        }
    }

    /// Notes that a server which another worker has used has a statement, and
    /// whether it is in doubt; those used last come last.
    pub fn adopt(&mut self, name: Name, stale: bool, memory: &mut Statements) {
        let entry = Entry { batch: 0, stale };
        let entries = &mut self.entries.get_or_insert_default().0;
        if entries.put(name, entry).is_none() {
            memory.charge_anyway(Self::ENTRY_COST);
        }
    }

    /// The statements, the one used longest ago first, and whether each is in
    /// doubt.
    pub fn all(&self) -> impl Iterator<Item = (Name, bool)> {
        let entries = self
            .entries
            .iter()
            .flat_map(|entries| entries.0.iter().rev());
        entries.map(|(name, entry)| (*name, entry.stale))
    }

    /// Takes out the statement that was used longest ago, if there are more
    /// than `max`, or more than one and no memory is left: it is to be closed.
    pub fn excess(&mut self, max: usize, memory: &mut Statements) -> Option<Name> {
        let entries = &mut self.entries.as_mut()?.0;
        if entries.len() <= max && (entries.len() <= 1 || memory.fits()) {
            return None;
        }
        let (name, _) = entries.pop_lru()?;
        memory.refund(Self::ENTRY_COST);
        Some(name)
    }

    /// Notes that a Parse failed or was skipped: what the server has is not
    /// known.
    pub fn doubt(&mut self, name: Name) {
        if let Some(entry) = self.entries.as_mut().and_then(|all| all.0.peek_mut(&name)) {
            *entry = Entry::STALE;
        }
    }

    /// Notes that a Close was skipped: the statement is still there.
    pub fn restore(&mut self, name: Name, memory: &mut Statements) {
        let entries = &mut self.entries.get_or_insert_default().0;
        if !entries.contains(&name) {
            memory.charge_anyway(Self::ENTRY_COST);
        }
        entries.put(name, Entry::STALE);
    }

    /// Notes that the server may have forgotten all statements.
    pub fn doubt_all(&mut self) {
        if let Some(entries) = &mut self.entries {
            for (_, entry) in entries.0.iter_mut() {
                *entry = Entry::STALE;
            }
        }
    }

    /// Forgets all statements, with the server.
    pub fn clear(&mut self, memory: &mut Statements) {
        if let Some(entries) = self.entries.take() {
            memory.refund(entries.0.len() * Self::ENTRY_COST);
        }
    }

    /// Number of statements.
    pub fn len(&self) -> usize {
        self.entries.as_ref().map_or(0, |entries| entries.0.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that a statement of a server is charged for.
    const ENTRY_COST: usize = 2 * ENTRY_COST;
}

impl Entry {
    /// In every batch that was ever answered.
    const STALE: Self = Self {
        batch: 0,
        stale: true,
    };
}

/// An [`LruCache`] without a bound of its own.
#[derive(Debug)]
struct Entries(LruCache<Name, Entry, BuildHasherDefault<Spread>>);

impl Default for Entries {
    fn default() -> Self {
        Self(LruCache::unbounded_with_hasher(
            BuildHasherDefault::default(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> Name {
        Name::of([0; 16].into(), &[number, 0])
    }

    #[test]
    fn closes_what_was_used_longest_ago() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        known.prepare(name(1), 0, &mut memory);
        known.prepare(name(2), 0, &mut memory);
        assert_eq!(known.excess(2, &mut memory), None);
        assert_eq!(known.find(name(1), 1, 1), Found::Ready);
        known.prepare(name(3), 1, &mut memory);
        assert_eq!(known.excess(2, &mut memory), Some(name(2)));
        assert_eq!(known.excess(2, &mut memory), None);
        assert_eq!(known.find(name(2), 1, 1), Found::Missing);
        known.clear(&mut memory);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn waits_for_the_answer_to_an_earlier_batch_only() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        known.prepare(name(1), 3, &mut memory);
        assert_eq!(known.find(name(1), 3, 2), Found::Ready);
        assert_eq!(known.find(name(1), 4, 2), Found::Pending);
        assert_eq!(known.find(name(1), 4, 4), Found::Ready);
    }

    #[test]
    fn makes_anew_what_is_in_doubt() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        known.prepare(name(1), 0, &mut memory);
        known.doubt(name(1));
        assert_eq!(known.find(name(1), 0, 0), Found::Stale);
        known.restore(name(2), &mut memory);
        assert_eq!(known.find(name(2), 1, 1), Found::Stale);
    }

    #[test]
    fn hands_its_statements_over_in_order() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        for number in 1..=3 {
            known.prepare(name(number), 0, &mut memory);
        }
        known.doubt(name(3));
        known.find(name(1), 1, 1);
        let mut taker = Known::default();
        for (name, stale) in known.all() {
            taker.adopt(name, stale, &mut memory);
        }
        let all: Vec<_> = taker.all().collect();
        assert_eq!(all, [(name(2), false), (name(3), true), (name(1), false)]);
        assert_eq!(taker.excess(2, &mut memory), Some(name(2)));
        known.clear(&mut memory);
        taker.clear(&mut memory);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn makes_room_when_memory_is_short() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        memory.limit(Known::ENTRY_COST);
        known.prepare(name(1), 0, &mut memory);
        assert_eq!(known.excess(9, &mut memory), None);
        known.prepare(name(2), 1, &mut memory);
        assert_eq!(known.excess(9, &mut memory), Some(name(1)));
        assert_eq!(memory.bytes(), Known::ENTRY_COST);
    }
}

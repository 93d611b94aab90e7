//! Slabs: connections by a small number that is never mistaken for another.
//!
//! An id is an index and a generation. A freed place gets a new generation, so
//! that a stale id finds nothing instead of a stranger.

use std::marker::PhantomData;

/// An id that a [`Slab`] hands out.
pub trait Id: Copy {
    /// Builds the id of place `index` in its `generation`.
    fn new(index: u32, generation: u32) -> Self;
    /// The place.
    fn index(self) -> u32;
    /// How often the place was freed before.
    fn generation(self) -> u32;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl Id for $name {
            #[inline]
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
            #[inline]
            fn index(self) -> u32 {
                self.index
            }
            #[inline]
            fn generation(self) -> u32 {
                self.generation
            }
        }
    )*};
}

ids! {
    /// A connection from an application, inside one worker.
    ClientId;
    /// A connection to PostgreSQL, inside one worker.
    ServerId;
    /// A connection that only carries a request between processes or a cancel.
    ErrandId;
    /// A stream over which one worker hands connections to another.
    WayId;
    /// A pool, inside one worker.
    PoolId;
}

/// Values by id, in one block of memory.
#[derive(Debug)]
pub struct Slab<K, T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
    key: PhantomData<K>,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<K: Id, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            len: 0,
            key: PhantomData,
        }
    }
}

impl<K: Id, T> Slab<K, T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps what `make` builds for the id that it is given.
    pub fn insert_with(&mut self, make: impl FnOnce(K) -> T) -> K {
        self.len += 1;
        if let Some(index) = self.free.pop()
            && let Some(entry) = self.entries.get_mut(index as usize)
        {
            let id = K::new(index, entry.generation);
            entry.value = Some(make(id));
            return id;
        }
        let index = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let id = K::new(index, 0);
        self.entries.push(Entry {
            generation: 0,
            value: Some(make(id)),
        });
        id
    }

    /// The value of `id`, unless it was removed.
    #[inline]
    pub fn get(&self, id: K) -> Option<&T> {
        match self.entries.get(id.index() as usize) {
            Some(entry) if entry.generation == id.generation() => entry.value.as_ref(),
            _ => None,
        }
    }

    /// The value of `id` to change, unless it was removed.
    #[inline]
    pub fn get_mut(&mut self, id: K) -> Option<&mut T> {
        match self.entries.get_mut(id.index() as usize) {
            Some(entry) if entry.generation == id.generation() => entry.value.as_mut(),
            _ => None,
        }
    }

    /// Takes the value of `id` out; the id finds nothing from now on.
    pub fn remove(&mut self, id: K) -> Option<T> {
        let entry = self.entries.get_mut(id.index() as usize)?;
        if entry.generation != id.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(id.index());
        self.len -= 1;
        Some(value)
    }

    /// All values with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        (0u32..).zip(&self.entries).filter_map(|(index, entry)| {
            Some((K::new(index, entry.generation), entry.value.as_ref()?))
        })
    }

    /// The places from `start` on, with the value of each that has one.
    pub fn iter_from(&self, start: u32) -> impl Iterator<Item = (K, Option<&T>)> {
        let entries = self.entries.iter().skip(start as usize);
        (start..).zip(entries).map(|(index, entry)| {
            let id = K::new(index, entry.generation);
            (id, entry.value.as_ref())
        })
    }

    /// Number of places, free ones included.
    pub fn places(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// Number of places that were used and are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// All values with their ids, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        (0u32..)
            .zip(&mut self.entries)
            .filter_map(|(index, entry)| {
                Some((K::new(index, entry.generation), entry.value.as_mut()?))
            })
    }

    /// The ids of the values for which `wanted` says yes.
    pub fn ids(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<K> {
        self.iter()
            .filter(|(_, value)| wanted(value))
            .map(|(id, _)| id)
            .collect()
    }
}

/// Generations fit 28 bits, so that an id fits an event token with its kind.
const GENERATION_MASK: u32 = 0x0fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_a_removed_value_even_when_its_place_is_used_again() {
        let mut slab = Slab::<ClientId, &str>::default();
        let first = slab.insert_with(|_| "first");
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert_with(|_| "second");
        assert_eq!(first.index(), second.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn walks_places_from_anywhere_free_ones_included() {
        let mut slab = Slab::<ServerId, u32>::default();
        let ids = [10, 20, 30].map(|value| slab.insert_with(|_| value));
        slab.remove(ids[1]);
        let walked: Vec<_> = slab
            .iter_from(1)
            .map(|(id, value)| (id.index(), value))
            .collect();
        assert_eq!(walked, [(1, None), (2, Some(&30))]);
        assert_eq!((slab.places(), slab.free()), (3, 1));
        assert_eq!(slab.iter_from(3).count(), 0);
    }

    #[test]
    fn lists_the_ids_of_matching_values() {
        let mut slab = Slab::<ServerId, u32>::default();
        let one = slab.insert_with(|_| 1);
        let two = slab.insert_with(|_| 2);
        slab.insert_with(|_| 3);
        slab.remove(one);
        assert_eq!(slab.ids(|value| *value < 3), vec![two]);
    }
}

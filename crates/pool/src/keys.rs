//! Keys: which clients have cancel keys that begin alike.
//!
//! Process ids are not unique. In a group with a `peer_id` a worker has 256 of
//! them, so whoever looks for a client compares the secrets of all that share one.

use std::collections::BTreeSet;

use crate::slab::{ClientId, Id};

/// Clients by the process ids of their cancel keys.
#[derive(Debug, Default)]
pub struct Keys {
    held: BTreeSet<(u32, ClientId)>,
}

impl Keys {
    /// A client has a key with this process id.
    pub fn insert(&mut self, process_id: u32, id: ClientId) {
        self.held.insert((process_id, id));
    }

    /// A client has it no more.
    pub fn remove(&mut self, process_id: u32, id: ClientId) {
        self.held.remove(&(process_id, id));
    }

    /// All clients that have a key with this process id.
    pub fn with(&self, process_id: u32) -> impl Iterator<Item = ClientId> {
        let first = (process_id, ClientId::new(0, 0));
        let last = (process_id, ClientId::new(u32::MAX, u32::MAX));
        self.held.range(first..=last).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_all_who_share_a_process_id() {
        let mut keys = Keys::default();
        let ids = [(0, 0), (7, 1), (u32::MAX, u32::MAX)].map(|(i, g)| ClientId::new(i, g));
        for id in ids {
            keys.insert(5, id);
        }
        keys.insert(4, ids[0]);
        keys.insert(6, ids[0]);
        assert!(keys.with(5).eq(ids));
        keys.remove(5, ids[1]);
        assert!(keys.with(5).eq([ids[0], ids[2]]));
        keys.remove(5, ids[0]);
        keys.remove(5, ids[2]);
        assert_eq!(keys.with(5).next(), None);
        assert!(keys.with(4).eq([ids[0]]));
    }
}

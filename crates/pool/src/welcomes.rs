//! Welcomes: what the servers of each pool reported at their login, shared by
//! all workers of a group.
//!
//! With it a worker can greet clients of a pool before it has a server of its
//! own. Who asks is answered at once; if nothing is known yet, again as soon as
//! it is.

use std::collections::BTreeMap;

use crate::control::{self, PoolKey, put_pool};
use crate::ledger::{WorkerId, put_worker, worker};
use crate::octets::{Octets, Truncated, put_bytes, put_count};

/// The newest welcome of each pool, and who waits for one.
#[derive(Debug, Default)]
pub struct Welcomes {
    known: BTreeMap<PoolKey, Vec<u8>>,
    /// Bytes of all that are known.
    size: usize,
    asking: BTreeMap<PoolKey, Vec<WorkerId>>,
}

impl Welcomes {
    /// A worker asks for the welcome of a pool; empty if there is none yet.
    pub fn ask(&mut self, worker: WorkerId, pool: &PoolKey) -> &[u8] {
        match self.known.get(pool) {
            Some(burst) => burst,
            None => {
                let asking = self.asking.entry(pool.clone()).or_default();
                if !asking.contains(&worker) {
                    asking.push(worker);
                }
                &[]
            }
        }
    }

    /// A server of a pool has logged in; gives the workers to tell.
    pub fn keep(&mut self, pool: &PoolKey, burst: &[u8]) -> Vec<WorkerId> {
        if self.size + burst.len() > MOST_BYTES {
            // Pools that came and went; whoever is left is heard of again.
            self.forget(|_| false);
        }
        if burst.len() <= MOST_BYTES {
            self.size += burst.len();
            let old = self.known.insert(pool.clone(), burst.to_vec());
            self.size -= old.map_or(0, |old| old.len());
        }
        self.asking.remove(pool).unwrap_or_default()
    }

    /// Forgets the welcomes of all pools but these.
    pub fn forget(&mut self, mut stays: impl FnMut(&PoolKey) -> bool) {
        self.known.retain(|pool, _| stays(pool));
        self.size = self.known.values().map(Vec::len).sum();
    }

    /// A worker does not care about a pool any more.
    pub fn stop_asking(&mut self, worker: WorkerId, pool: &PoolKey) {
        if let Some(asking) = self.asking.get_mut(pool) {
            asking.retain(|other| *other != worker);
            if asking.is_empty() {
                self.asking.remove(pool);
            }
        }
    }

    /// Appends them to `out`: version (1), number of welcomes (4), pool and
    /// bytes of each, number of pools that are asked for (4), pool and workers
    /// (their number in 4 bytes) of each.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_count(out, self.known.len());
        for (pool, burst) in &self.known {
            put_pool(out, pool);
            put_bytes(out, burst);
        }
        put_count(out, self.asking.len());
        for (pool, workers) in &self.asking {
            put_pool(out, pool);
            put_count(out, workers.len());
            for worker in workers {
                put_worker(out, *worker);
            }
        }
    }

    /// Takes them from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        let known: BTreeMap<_, _> =
            octets.list(|octets| Ok((control::pool(octets)?, octets.bytes()?.to_vec())))?;
        Ok(Self {
            size: known.values().map(Vec::len).sum(),
            known,
            asking: octets.list(|octets| Ok((control::pool(octets)?, octets.list(worker)?)))?,
        })
    }

    /// A worker has died: it asks for nothing any more.
    pub fn on_death(&mut self, worker: WorkerId) {
        self.asking.retain(|_, asking| {
            asking.retain(|other| *other != worker);
            !asking.is_empty()
        });
    }
}

const VERSION: u8 = 1;

/// Most bytes of welcomes that are kept.
const MOST_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use pgskein_protocol::key::Slot;

    use super::*;

    fn worker(slot: u8) -> WorkerId {
        WorkerId {
            slot: Slot::new(slot).unwrap(),
            generation: 1,
            incarnation: slot.into(),
        }
    }

    fn pool(database: &str) -> PoolKey {
        PoolKey {
            database: database.to_owned(),
            user: "bob".to_owned(),
        }
    }

    #[test]
    fn answers_again_once_something_is_known() {
        let mut welcomes = Welcomes::default();
        for _ in 0..2 {
            assert_eq!(welcomes.ask(worker(2), &pool("a")), b"");
        }
        assert_eq!(welcomes.ask(worker(3), &pool("b")), b"");
        assert_eq!(welcomes.keep(&pool("a"), b"old"), [worker(2)]);
        assert_eq!(welcomes.keep(&pool("a"), b"new"), []);
        assert_eq!(welcomes.ask(worker(2), &pool("a")), b"new");
    }

    #[test]
    fn forgets_what_is_no_longer_true_and_who_is_gone() {
        let mut welcomes = Welcomes::default();
        welcomes.keep(&pool("a"), b"x");
        welcomes.keep(&pool("b"), b"y");
        welcomes.forget(|pool| pool.database == "b");
        assert_eq!(welcomes.ask(worker(1), &pool("a")), b"");
        assert_eq!(welcomes.ask(worker(1), &pool("b")), b"y");
        welcomes.on_death(worker(1));
        assert_eq!(welcomes.keep(&pool("a"), b"x"), []);
    }

    #[test]
    fn forgets_who_asks_no_more() {
        let mut welcomes = Welcomes::default();
        for slot in [1, 2] {
            welcomes.ask(worker(slot), &pool("a"));
        }
        welcomes.stop_asking(worker(1), &pool("a"));
        assert_eq!(welcomes.keep(&pool("a"), b"x"), [worker(2)]);
        welcomes.ask(worker(1), &pool("b"));
        welcomes.stop_asking(worker(1), &pool("b"));
        assert!(welcomes.asking.is_empty());
    }

    #[test]
    fn keeps_a_bounded_number_of_bytes() {
        let mut welcomes = Welcomes::default();
        let burst = vec![1; MOST_BYTES / 10];
        for number in 0..25 {
            welcomes.keep(&pool(&number.to_string()), &burst);
            let total: usize = welcomes.known.values().map(Vec::len).sum();
            assert_eq!(welcomes.size, total);
            assert!(total <= MOST_BYTES);
        }
        assert_eq!(welcomes.ask(worker(1), &pool("24")), burst);
    }
}

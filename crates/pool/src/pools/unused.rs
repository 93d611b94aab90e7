//! Unused pools: those without a client and a server, which are removed after a
//! while, so that clients that name ever new databases and users do not fill the
//! memory.

use std::time::{Duration, Instant};

use super::{Pool, PoolId, Pools};

impl Pools {
    /// Whether there is a pool that could be removed one day, unless it has
    /// clients that need nothing at the moment.
    pub fn any_unused(&self) -> bool {
        self.iter().any(|(_, pool)| pool.is_unused())
    }

    /// Removes the pools that had neither a client nor a server for their
    /// `timeout`; 0 never.
    ///
    /// `has_client` says whether a client belongs to a pool now.
    pub fn remove_unused(
        &mut self,
        has_client: impl Fn(PoolId) -> bool,
        timeout: impl Fn(&Pool) -> Duration,
        now: Instant,
    ) -> Vec<(PoolId, Pool)> {
        let mut over = Vec::new();
        let dedicated = &self.dedicated;
        for (id, pool) in self.pools.iter_mut() {
            let has_client =
                |id| has_client(id) || dedicated.get(&id).is_some_and(|id| has_client(*id));
            if !pool.is_unused() || has_client(id) {
                pool.unused_since = None;
                continue;
            }
            let since = *pool.unused_since.get_or_insert(now);
            let timeout = timeout(pool);
            if !timeout.is_zero() && now.saturating_duration_since(since) >= timeout {
                over.push(id);
            }
        }
        over.into_iter()
            .filter_map(|id| Some((id, self.remove(id)?)))
            .collect()
    }

    fn remove(&mut self, id: PoolId) -> Option<Pool> {
        let mut pool = self.pools.remove(id)?;
        self.ids.remove(&pool.key);
        let dedicated = self.dedicated.remove(&id);
        if let Some(dedicated) = dedicated.and_then(|id| self.pools.remove(id)) {
            pool.statistics.take_over(&dedicated.statistics);
        }
        Some(pool)
    }
}

impl Pool {
    /// It has no server and nobody waits in it, and the ledger knows.
    fn is_unused(&self) -> bool {
        !self.is_dedicated()
            && self.held + self.dedicated + self.opening == 0
            && self.need() == 0
            && self.greeting.is_empty()
            && self.idle.is_empty()
            && self.told_nothing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::PoolKey;
    use crate::slab::{ClientId, Id, ServerId};

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn key(database: &str) -> PoolKey {
        PoolKey {
            database: database.to_owned(),
            user: "bob".to_owned(),
        }
    }

    fn find(pools: &mut Pools, database: &str) -> PoolId {
        let config = pgskein_config::Config::default();
        pools.find(&key(database), || config.pool(database, "bob"))
    }

    fn remove(pools: &mut Pools, now: Instant) -> Vec<String> {
        let removed = pools.remove_unused(|_| false, |_| TIMEOUT, now);
        removed
            .into_iter()
            .map(|(_, pool)| pool.key.database)
            .collect()
    }

    #[test]
    fn removes_a_pool_once_it_was_unused_for_long() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        find(&mut pools, "a");
        assert!(pools.any_unused());
        assert!(remove(&mut pools, now).is_empty());
        assert!(remove(&mut pools, now + TIMEOUT / 2).is_empty());
        assert_eq!(remove(&mut pools, now + TIMEOUT), ["a"]);
        assert_eq!((pools.iter().count(), pools.lookup(&key("a"))), (0, None));
        assert!(!pools.any_unused());
    }

    #[test]
    fn counts_from_the_last_use() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        let id = find(&mut pools, "a");
        remove(&mut pools, now);
        let later = now + TIMEOUT;
        let removed = pools.remove_unused(|used| used == id, |_| TIMEOUT, later);
        assert!(removed.is_empty());
        assert!(remove(&mut pools, later).is_empty());
        assert_eq!(remove(&mut pools, later + TIMEOUT), ["a"]);
    }

    #[test]
    fn keeps_a_pool_that_has_something_or_wants_it() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        let id = find(&mut pools, "a");
        let pool = pools.get_mut(id).unwrap();
        pool.request(ClientId::new(1, 0), false, None, now);
        assert!(!pools.any_unused());
        let pool = pools.get_mut(id).unwrap();
        assert!(pool.poll_wanted(TIMEOUT, now).is_some());
        pool.forget_client(ClientId::new(1, 0));
        assert!(!pools.any_unused(), "the ledger may send a lease");
        let pool = pools.get_mut(id).unwrap();
        let later = now + TIMEOUT;
        assert!(pool.poll_wanted(TIMEOUT, later).is_some());
        assert!(pools.any_unused());
        let pool = pools.get_mut(id).unwrap();
        pool.on_ordered();
        pool.on_opened();
        pool.free_new(ServerId::new(1, 0), now);
        assert!(!pools.any_unused());
    }

    #[test]
    fn takes_the_place_of_a_pool_that_was_removed() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        let id = find(&mut pools, "a");
        let dedicated = pools.dedicated(id);
        remove(&mut pools, now);
        remove(&mut pools, now + TIMEOUT);
        for round in 0..100 {
            let [one, other] = ["b", "c"].map(|name| find(&mut pools, &format!("{name}{round}")));
            assert_ne!(one, other);
            // Who still had the id of the old one finds nothing.
            assert!(pools.get(id).is_none() && pools.get(dedicated).is_none());
            let later = now + TIMEOUT * (round * 2 + 2);
            remove(&mut pools, later);
            assert_eq!(remove(&mut pools, later + TIMEOUT).len(), 2);
        }
        assert_eq!(pools.pools.places(), 2);
    }

    #[test]
    fn keeps_the_pool_of_a_client_with_a_server_of_its_own() {
        let (mut pools, now) = (Pools::default(), Instant::now());
        let id = find(&mut pools, "a");
        let dedicated = pools.dedicated(id);
        for at in [now, now + TIMEOUT] {
            let removed = pools.remove_unused(|used| used == dedicated, |_| TIMEOUT, at);
            assert!(removed.is_empty());
        }
    }
}

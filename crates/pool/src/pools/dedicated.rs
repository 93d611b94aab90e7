//! Dedicated servers: opened for one client, and closed after it.
//!
//! A client that speaks replication shares with nobody. It waits for a lease
//! like the others; when the login of a new server begins, the server is either
//! for the pool or for the client that waited longest for one of its own. In
//! that case it goes over to a second pool with the same key, which lends
//! nothing, wants nothing and has no timeouts for what runs.
//!
//! A shared server comes free by itself, a dedicated one never does. So where
//! no lease can be had, one of the pool's shared servers makes way: an idle
//! one, or the next that is released when nobody who shares has waited longer.

use std::time::{Duration, Instant};

use pgskein_config::{PoolMode, PoolSettings};

use super::{Pool, PoolId, Pools};
use crate::slab::{ClientId, ServerId};

/// A client that waits for a server of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suitor {
    pub client: ClientId,
    since: Instant,
    /// When a server was closed for it.
    made_way: Option<Instant>,
}

impl Pool {
    /// A client needs a server of its own.
    pub fn request_dedicated(&mut self, client: ClientId, now: Instant) {
        self.suitors.push_back(Suitor {
            client,
            since: now,
            made_way: None,
        });
    }

    /// The clients that wait for a server of their own, to be refused now.
    pub fn take_suitors(&mut self) -> Vec<ClientId> {
        self.suitors.drain(..).map(|suitor| suitor.client).collect()
    }

    /// How many clients wait for a server of their own.
    pub fn suitors(&self) -> usize {
        self.suitors.len()
    }

    /// Whether its servers belong to one client each.
    pub fn is_dedicated(&self) -> bool {
        self.source.is_some()
    }

    /// Puts the settings of a configuration into effect.
    pub fn configure(&mut self, settings: PoolSettings) {
        self.settings = if self.is_dedicated() {
            dedicated_settings(settings)
        } else {
            settings
        };
    }

    /// An idle server to close for a client that waits for one of its own.
    pub fn poll_way(&mut self, now: Instant) -> Option<ServerId> {
        if self.idle.is_empty() {
            return None;
        }
        self.hopeless(now)?.made_way = Some(now);
        self.idle.pop_front().map(|(server, _)| server)
    }

    /// Whether a server that comes free is closed for a client that waits for
    /// one of its own.
    #[cold]
    pub(super) fn makes_way(&mut self, now: Instant) -> bool {
        let oldest = self.waiting.front().map(|(_, since)| *since);
        match self.hopeless(now) {
            Some(suitor) if oldest.is_none_or(|oldest| suitor.since <= oldest) => {
                suitor.made_way = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Since when a client waits for a server of its own.
    pub(super) fn oldest_suit(&self) -> Option<Instant> {
        self.suitors.front().map(|suitor| suitor.since)
    }

    /// The first client that gets no server of its own unless another makes
    /// way: none is being opened for it, and none was closed for it.
    ///
    /// A lease comes at once where there is one, so a wait means a limit.
    fn hopeless(&mut self, now: Instant) -> Option<&mut Suitor> {
        let coming = self.opening.saturating_sub(self.shared_need());
        let full = self.held + self.dedicated >= self.settings.pool_size;
        let past = |since, limit| now.saturating_duration_since(since) >= limit;
        let mut waiting = self.suitors.iter_mut().skip(coming as usize);
        waiting.find(|suitor| {
            let waits = full || past(suitor.since, HOPE);
            waits && suitor.made_way.is_none_or(|at| past(at, WAY_TAKEN))
        })
    }
}

impl Pools {
    /// Says whom a server is for whose login begins: the client that gets it
    /// for itself, with the pool that it belongs to from now on, or nobody.
    pub fn claim(&mut self, id: PoolId) -> Option<(ClientId, PoolId)> {
        let pool = self.get_mut(id)?;
        let suitor = *pool.suitors.front()?;
        let surplus = pool.opening > pool.shared_need();
        let oldest = pool.waiting.front().map(|(_, since)| *since);
        let first = pool.greeting.is_empty() && oldest.is_none_or(|oldest| suitor.since <= oldest);
        if !surplus && !first {
            return None;
        }
        pool.suitors.pop_front();
        pool.opening = pool.opening.saturating_sub(1);
        pool.held = pool.held.saturating_sub(1);
        pool.dedicated += 1;
        Some((suitor.client, self.dedicated(id)))
    }

    /// A lease of this pool went back to the ledger; gives the pool that may
    /// use it again.
    pub fn on_returned(&mut self, id: PoolId) -> PoolId {
        match self.get_mut(id).map(|pool| pool.source) {
            Some(Some(source)) => {
                if let Some(pool) = self.get_mut(source) {
                    pool.dedicated = pool.dedicated.saturating_sub(1);
                }
                source
            }
            _ => {
                if let Some(pool) = self.get_mut(id) {
                    pool.on_returned();
                }
                id
            }
        }
    }

    /// The pool of the dedicated servers that come from `source`.
    pub(super) fn dedicated(&mut self, source: PoolId) -> PoolId {
        if let Some(&id) = self.dedicated.get(&source) {
            return id;
        }
        let Some(from) = self.get(source) else {
            return source;
        };
        let mut pool = Pool::new(from.key.clone(), dedicated_settings(from.settings));
        pool.source = Some(source);
        let id = self.insert(pool);
        self.dedicated.insert(source, id);
        id
    }
}

/// Settings of a client that has a server for itself, and may let a stream, or
/// the transaction of a snapshot, last for weeks.
fn dedicated_settings(settings: PoolSettings) -> PoolSettings {
    PoolSettings {
        pool_mode: PoolMode::Session,
        query_timeout: Duration::ZERO,
        idle_transaction_timeout: Duration::ZERO,
        transaction_timeout: Duration::ZERO,
        ..settings
    }
}

/// How long a client waits for a lease before a server makes way for it.
pub const HOPE: Duration = Duration::from_millis(200);

/// How long it waits for the lease of a server that was closed for it, before
/// another one makes way.
const WAY_TAKEN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::PoolKey;
    use crate::pools::Free;
    use crate::slab::Id;

    fn pools(pool_size: u32) -> (Pools, PoolId) {
        let mut config = pgskein_config::Config::default();
        config.settings.default_pool_size = pool_size;
        config.settings.pool_mode = PoolMode::Statement;
        config.settings.query_timeout = HOPE;
        let key = PoolKey {
            database: "shop".to_owned(),
            user: "alice".to_owned(),
        };
        let mut pools = Pools::default();
        let id = pools.find(&key, || config.pool("shop", "alice"));
        (pools, id)
    }

    fn client(number: u32) -> ClientId {
        ClientId::new(number, 0)
    }

    fn server(number: u32) -> ServerId {
        ServerId::new(number, 0)
    }

    /// A server of the pool, opened for a client that shares, and idle now.
    fn open(pool: &mut Pool, number: u32, now: Instant) {
        let sharing = client(1000 + number);
        pool.request_shared(sharing, now);
        assert!(pool.on_grant());
        pool.on_opened();
        assert_eq!(pool.free(server(number), now), Free::Link(sharing));
        assert_eq!(pool.free(server(number), now), Free::Idle);
    }

    impl Pool {
        fn request_shared(&mut self, client: ClientId, now: Instant) {
            self.waiting.push_back((client, now));
        }
    }

    #[test]
    fn wants_a_server_though_one_is_idle() {
        let (mut pools, id) = pools(2);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        open(pool, 1, now);
        pool.request_dedicated(client(1), now);
        assert_eq!(pool.poll_wanted(HOPE, now), Some((1, Duration::ZERO)));
        assert_eq!(pool.poll_way(now), None, "there is room for another");
        assert!(pool.on_grant());
        let (owner, dedicated) = pools.claim(id).unwrap();
        assert_eq!(owner, client(1));
        assert_eq!(pools.claim(id), None);
        let pool = pools.get(dedicated).unwrap();
        assert!(pool.is_dedicated());
        assert_eq!(pool.settings.pool_mode, PoolMode::Session);
    }

    #[test]
    fn has_an_idle_server_make_way_at_once_when_the_pool_is_full() {
        let (mut pools, id) = pools(1);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        open(pool, 1, now);
        pool.request_dedicated(client(1), now);
        assert_eq!(pool.poll_way(now), Some(server(1)));
        assert_eq!(pools.on_returned(id), id);
        let pool = pools.get_mut(id).unwrap();
        assert_eq!(pool.poll_wanted(HOPE, now), Some((1, Duration::ZERO)));
    }

    #[test]
    fn has_an_idle_server_make_way_when_no_lease_comes() {
        let (mut pools, id) = pools(3);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        open(pool, 1, now);
        open(pool, 2, now);
        pool.request_dedicated(client(1), now);
        assert_eq!(pool.poll_way(now), None);
        assert_eq!(pool.poll_way(now + HOPE), Some(server(1)));
        assert_eq!(pool.poll_way(now + HOPE), None, "one is enough");
        let later = now + HOPE + WAY_TAKEN;
        assert_eq!(pool.poll_way(later), Some(server(2)), "it was in vain");
    }

    #[test]
    fn has_a_released_server_make_way_unless_somebody_waits_longer() {
        let (mut pools, id) = pools(1);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        open(pool, 1, now);
        pool.forget_idle(server(1));
        pool.request_shared(client(2), now);
        let later = now + HOPE;
        pool.request_dedicated(client(3), later);
        pool.request_shared(client(4), later);
        assert_eq!(pool.free(server(1), later), Free::Link(client(2)));
        assert_eq!(pool.free(server(1), later), Free::GiveWay);
        assert_eq!(pool.free(server(1), later), Free::Link(client(4)));
    }

    #[test]
    fn gives_a_new_server_to_whoever_waits_longest() {
        let (mut pools, id) = pools(2);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        pool.request_shared(client(1), now);
        pool.request_dedicated(client(2), now + HOPE);
        assert!(pool.on_grant());
        assert_eq!(pools.claim(id), None);
        assert!(pools.get_mut(id).unwrap().on_grant());
        assert!(!pools.get_mut(id).unwrap().on_grant());
        assert!(pools.claim(id).is_some(), "the other one is for the pool");
    }

    #[test]
    fn forgets_a_client_that_left() {
        let (mut pools, id) = pools(2);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        pool.request_dedicated(client(1), now);
        pool.forget_client(client(1));
        assert_eq!(pool.suitors(), 0);
        assert!(!pool.on_grant());
        assert_eq!(pools.claim(id), None);
    }

    #[test]
    fn takes_a_dedicated_server_that_is_gone_off_its_source() {
        let (mut pools, id) = pools(2);
        let now = Instant::now();
        let mut dedicated = None;
        for number in 1..=2 {
            let pool = pools.get_mut(id).unwrap();
            pool.request_dedicated(client(number), now);
            assert!(pool.on_grant());
            dedicated = pools.claim(id);
        }
        let pool = pools.get_mut(id).unwrap();
        assert_eq!(pool.dedicated, 2);
        assert_eq!(pools.on_returned(dedicated.unwrap().1), id);
        let pool = pools.get_mut(id).unwrap();
        assert_eq!(pool.dedicated, 1);
    }

    #[test]
    fn keeps_the_timeouts_of_queries_away_over_a_reload() {
        let (mut pools, id) = pools(2);
        let now = Instant::now();
        let pool = pools.get_mut(id).unwrap();
        pool.request_dedicated(client(1), now);
        assert!(pool.on_grant());
        let settings = pool.settings;
        let (_, dedicated) = pools.claim(id).unwrap();
        let pool = pools.get_mut(dedicated).unwrap();
        assert_eq!(pool.settings.query_timeout, Duration::ZERO);
        pool.configure(settings);
        assert_eq!(pool.settings.query_timeout, Duration::ZERO);
    }
}

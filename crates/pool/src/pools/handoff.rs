//! Handoff: servers that come from other workers, and go to them.

use std::time::Instant;

use super::Pool;
use crate::slab::ServerId;

impl Pool {
    /// A server with its lease comes from another worker.
    pub fn on_taken(&mut self) {
        self.held += 1;
        self.was_granted_one();
    }

    /// A server with its lease has gone to another worker.
    pub fn on_given(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// An idle server has been so since `since`, with another worker.
    pub fn rests_since(&mut self, server: ServerId, since: Instant) {
        if self.forget_idle(server) {
            let at = self.idle.partition_point(|(_, other)| *other <= since);
            self.idle.insert(at, (server, since));
        }
    }

    /// Since when a server is idle, if it is.
    pub fn idle_since(&self, server: ServerId) -> Option<Instant> {
        let mut idle = self.idle.iter();
        idle.find_map(|(idle, since)| (*idle == server).then_some(*since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::PoolKey;
    use crate::pools::Free;
    use crate::slab::{ClientId, Id};

    fn pool() -> Pool {
        let key = PoolKey {
            database: "shop".to_owned(),
            user: "alice".to_owned(),
        };
        Pool::new(key, pgskein_config::Config::default().pool("shop", "alice"))
    }

    #[test]
    fn keeps_how_long_a_server_was_idle_elsewhere() {
        let mut pool = pool();
        let now = Instant::now();
        let [old, new, taken] = [1, 2, 3].map(|number| ServerId::new(number, 0));
        let earlier = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        assert_eq!(pool.free(old, earlier(9)), Free::Idle);
        assert_eq!(pool.free(new, now), Free::Idle);
        assert_eq!(pool.free(taken, now), Free::Idle);
        pool.rests_since(taken, earlier(5));
        let idle: Vec<_> = pool.idle().map(|(server, _)| server).collect();
        assert_eq!(idle, [old, taken, new]);
        assert_eq!(pool.idle_since(taken), Some(earlier(5)));
    }

    #[test]
    fn wants_no_more_for_whom_a_server_has_come() {
        let mut pool = pool();
        let (now, retry) = (Instant::now(), Duration::from_secs(1));
        let client = ClientId::new(1, 0);
        pool.request(client, false, None, now);
        assert!(pool.poll_wanted(retry, now).is_some());
        pool.on_taken();
        assert_eq!(pool.free(ServerId::new(1, 0), now), Free::Link(client));
        assert_eq!(pool.poll_wanted(retry, now), None);
        pool.on_given();
        assert_eq!(pool.held, 0);
    }
}

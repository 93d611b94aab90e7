//! Pause: a pool that lends no server.
//!
//! Its idle servers are closed, and the others when they come free; clients
//! wait. Nothing is asked of the ledger until the pause is over.

use super::Pool;

impl Pool {
    /// Opens no server from now on, and lends none: the idle ones are to be
    /// closed at once, and others when they are free, instead of being given
    /// back by [`Pool::free`].
    ///
    /// What has failed says nothing about what there will be after the pause,
    /// so nobody is refused for it.
    pub fn pause(&mut self) {
        self.paused = true;
        self.forget_failure();
    }

    /// Lends servers again.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether no server is lent.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// A server that was to be opened is not, though nothing has failed.
    pub fn on_open_declined(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::control::PoolKey;
    use crate::pools::{Failure, Free, Request};
    use crate::slab::{ClientId, Id, ServerId};

    #[test]
    fn wants_and_takes_nothing_until_it_is_resumed() {
        let config = pgskein_config::Config::default();
        let key = PoolKey {
            database: "shop".to_owned(),
            user: "alice".to_owned(),
        };
        let mut pool = Pool::new(key, config.pool("shop", "alice"));
        let (now, retry) = (Instant::now(), Duration::from_secs(1));
        let (client, server) = (ClientId::new(1, 0), ServerId::new(1, 0));
        assert_eq!(pool.free(server, now), Free::Idle);
        let failure = Failure {
            sqlstate: "08006".to_owned(),
            message: "connect failed".to_owned(),
        };
        pool.on_open_failed(Some(failure), now);
        pool.pause();
        assert_eq!(pool.failure(retry, now), None);
        pool.forget_idle(server);
        assert_eq!(pool.request(client, false, None, now), Request::Wait);
        assert_eq!(pool.poll_wanted(retry, now), None);
        assert!(!pool.on_grant(), "one that was on its way");
        pool.resume();
        assert_eq!(pool.poll_wanted(retry, now), Some((1, Duration::ZERO)));
        assert!(pool.on_grant());
    }
}

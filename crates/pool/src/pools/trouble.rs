//! Trouble: what keeps a pool from opening servers.
//!
//! After a failure nothing is tried for a while, and clients are told. When
//! PostgreSQL has too many connections they are not: they wait, and the ledger
//! knows when it is worth another attempt. Who has waited for too long is told
//! what went wrong meanwhile.

use std::time::{Duration, Instant};

use super::{Failure, Pool};

/// What keeps a pool from opening servers.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failed: Option<(Instant, Failure)>,
    /// PostgreSQL had too many connections.
    refused: Option<(Instant, Failure)>,
}

impl Pool {
    /// A server that was opened or tested is ready.
    pub fn on_opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
        self.trouble = Trouble::default();
    }

    /// A server could not be opened, or did not stand its test.
    pub fn on_open_failed(&mut self, failure: Option<Failure>, now: Instant) {
        self.opening = self.opening.saturating_sub(1);
        if let Some(failure) = failure {
            self.trouble.failed = Some((now, failure));
        }
    }

    /// PostgreSQL has refused a server because there are too many connections.
    pub fn on_refused(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// This is what PostgreSQL says to whoever in the group opens a server,
    /// because there are too many connections.
    pub fn on_too_many(&mut self, failure: Failure, now: Instant) {
        self.trouble.refused = Some((now, failure));
    }

    /// What has kept servers from being opened since then, if anything has.
    pub fn trouble_since(&self, since: Instant) -> Option<&Failure> {
        let Trouble { failed, refused } = &self.trouble;
        let both = failed.iter().chain(refused);
        let (at, failure) = both.max_by_key(|(at, _)| *at)?;
        (*at >= since).then_some(failure)
    }

    /// The failure that still holds back new attempts.
    pub fn failure(&self, retry: Duration, now: Instant) -> Option<&Failure> {
        let (at, failure) = self.trouble.failed.as_ref()?;
        (now.saturating_duration_since(*at) < retry).then_some(failure)
    }

    /// The failure that is told to who needs a server now: nothing is tried,
    /// and no server is there that may come free. Under a PAUSE, clients wait.
    pub fn hopeless_failure(&self, retry: Duration, now: Instant) -> Option<&Failure> {
        let failure = self.failure(retry, now)?;
        (self.held <= self.opening && !self.paused).then_some(failure)
    }

    /// Forgets past failures, so that the next attempt is made at once.
    pub fn forget_failure(&mut self) {
        self.trouble = Trouble::default();
    }
}

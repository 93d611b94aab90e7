//! Trouble: what keeps a pool from opening servers.
//!
//! After a failure nothing is tried for a while, and clients are told. When
//! PostgreSQL has too many connections they are not: they wait, and the ledger
//! knows when it is worth another attempt.

use std::time::{Duration, Instant};

use super::{Failure, Pool};

/// What keeps a pool from opening servers.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<(Instant, Failure)>);

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
            self.trouble = Trouble(Some((now, failure)));
        }
    }

    /// PostgreSQL has refused a server because there are too many connections.
    pub fn on_refused(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// The failure that still holds back new attempts.
    pub fn failure(&self, retry: Duration, now: Instant) -> Option<&Failure> {
        let Trouble(Some((at, failure))) = &self.trouble else {
            return None;
        };
        (now.saturating_duration_since(*at) < retry).then_some(failure)
    }

    /// Forgets past failures, so that the next attempt is made at once.
    pub fn forget_failure(&mut self) {
        self.trouble = Trouble::default();
    }
}

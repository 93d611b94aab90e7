//! Trouble: what keeps a pool from opening servers.
//!
//! After a failure nothing is tried for a while, and clients are told. When
//! PostgreSQL has too many connections they are not: they wait, and the ledger
//! knows when it is worth another attempt. The same holds while their host
//! leaves; whether it does the ledger knows, so that it is asked before anybody is
//! told of a failure that may mean that. Who has waited for too long is told what
//! went wrong meanwhile.

use std::time::{Duration, Instant};

use super::{Failure, Pool};

/// What keeps a pool from opening servers.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failed: Option<(Instant, Failure)>,
    /// PostgreSQL had too many connections.
    refused: Option<(Instant, Failure)>,
    /// Whether this is a failure is not known yet.
    asked: Option<Failure>,
}

/// The host of a pool leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leaving {
    /// Its address.
    pub host: String,
    /// What is told to who has waited for too long.
    pub failure: Failure,
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

    /// A server could not be opened, and it may be because its host leaves:
    /// nothing more is asked for until that is known.
    pub fn on_unreachable(&mut self, failure: Failure) {
        self.opening = self.opening.saturating_sub(1);
        self.trouble.asked = Some(failure);
    }

    /// The host does not leave: what was asked about is a failure.
    pub fn on_failure_known(&mut self, now: Instant) {
        if let Some(failure) = self.trouble.asked.take() {
            self.trouble.failed = Some((now, failure));
        }
    }

    /// The host leaves: clients wait until it is back, whatever has failed.
    pub fn on_host_leaves(&mut self, leaving: Leaving) {
        self.trouble.asked = None;
        self.trouble.failed = None;
        self.leaving = Some(leaving);
    }

    /// The host lets us in again.
    pub fn on_host_back(&mut self) {
        self.leaving = None;
        self.trouble.failed = None;
    }

    /// Whether the host leaves, as far as is known here.
    pub fn leaving(&self) -> Option<&Leaving> {
        self.leaving.as_ref()
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
        if let Some(leaving) = &self.leaving {
            return Some(&leaving.failure);
        }
        let Trouble {
            failed, refused, ..
        } = &self.trouble;
        let both = failed.iter().chain(refused);
        let (at, failure) = both.max_by_key(|(at, _)| *at)?;
        (*at >= since).then_some(failure)
    }

    /// The failure that still holds back new attempts, if clients are to be told
    /// of it.
    pub fn failure(&self, retry: Duration, now: Instant) -> Option<&Failure> {
        let (at, failure) = self.trouble.failed.as_ref()?;
        let lately = now.saturating_duration_since(*at) < retry;
        (lately && self.leaving.is_none()).then_some(failure)
    }

    /// Whether nothing is to be tried now.
    pub(super) fn holds_back(&self, retry: Duration, now: Instant) -> bool {
        let retry = match &self.leaving {
            // Only without a ledger there is a failure then.
            Some(_) => retry.min(LEAVING_RETRY),
            None => retry,
        };
        let failed = self.trouble.failed.as_ref();
        let lately = failed.is_some_and(|(at, _)| now.saturating_duration_since(*at) < retry);
        lately || self.trouble.asked.is_some()
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

/// How long nothing is tried at a host that leaves, by a worker without a
/// supervisor.
const LEAVING_RETRY: Duration = Duration::from_secs(1);

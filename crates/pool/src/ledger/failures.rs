//! Failures: hosts that have failed lately.
//!
//! A host that asks to be left, shuts down or cannot be reached is known to the
//! whole group for a while: where a database has others, these are tried before.
//! Each time that it fails again that lasts longer; a server that logs in ends
//! it. The order of all failures is kept, so that every worker goes from a host
//! that fails to the same one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Ledger, LedgerAction, WorkerId};
use crate::control::{HostNotice, LeaseId};

/// The hosts that have failed, by their address.
#[derive(Debug, Default)]
pub(super) struct Failures {
    hosts: BTreeMap<String, Failure>,
    /// Counts all failures.
    count: u64,
}

#[derive(Debug)]
struct Failure {
    order: u64,
    /// It is tried last before.
    until: Instant,
    pause: Duration,
}

impl Ledger {
    /// Takes note that a host has not let the lease's server in, which is tried
    /// at others; `says` if the host has said that it shuts down or starts.
    pub fn refused_at(
        &mut self,
        worker: WorkerId,
        lease: LeaseId,
        host: &str,
        says: bool,
        now: Instant,
    ) {
        if self.find(worker, lease).is_none() {
            return;
        }
        if says {
            self.book.hosts.says(host, now);
        }
        self.host_fails(host, now);
    }

    /// A host has failed: all workers are to try it last.
    pub(super) fn host_fails(&mut self, host: &str, now: Instant) {
        if let Some(notice) = self.failures.fails(host, now) {
            self.tell_all_of(&notice, None);
        }
    }

    /// A host lets us in.
    pub(super) fn host_fails_no_more(&mut self, host: &str, now: Instant) {
        if let Some(notice) = self.failures.serves(host, now) {
            self.tell_all_of(&notice, None);
        }
    }

    /// Tells a worker that is new what has failed.
    pub fn tell_of_failures(&mut self, worker: WorkerId, now: Instant) {
        for (host, failure) in &self.failures.hosts {
            let notice = failure.notice(host, now);
            self.actions
                .push_back(LedgerAction::Host { worker, notice });
        }
    }
}

impl Failures {
    /// Forgets all, since a new configuration may lead elsewhere.
    pub(super) fn forget(&mut self) {
        self.hosts.clear();
    }

    /// A host fails; gives what workers are to know, if they do not.
    fn fails(&mut self, host: &str, now: Instant) -> Option<HostNotice> {
        if self.hosts.len() >= MOST && !self.hosts.contains_key(host) {
            // Addresses that came and went.
            self.hosts.retain(|_, failure| failure.until > now);
        }
        let last = self.count;
        let failure = self
            .hosts
            .entry(host.to_owned())
            .or_insert_with(|| Failure {
                order: 0,
                until: now,
                pause: PAUSE_MIN / 2,
            });
        if failure.until > now && failure.order == last {
            return None;
        }
        if failure.until <= now {
            failure.pause = (failure.pause * 2).min(PAUSE_MAX);
            failure.until = now + failure.pause;
        }
        self.count += 1;
        failure.order = self.count;
        Some(failure.notice(host, now))
    }

    /// A host lets us in; gives what workers are to know, if they do not.
    fn serves(&mut self, host: &str, now: Instant) -> Option<HostNotice> {
        let failure = self.hosts.get_mut(host)?;
        let lately = failure.until > now;
        failure.pause = PAUSE_MIN / 2;
        failure.until = now;
        lately.then(|| failure.notice(host, now))
    }
}

impl Failure {
    fn notice(&self, host: &str, now: Instant) -> HostNotice {
        HostNotice::Failed {
            host: host.to_owned(),
            order: self.order,
            last_for: self.until.saturating_duration_since(now),
        }
    }
}

/// How long a host that fails is tried last, at first and at most.
const PAUSE_MIN: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Most hosts that are remembered, unless they have failed just now.
const MOST: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(notice: Option<HostNotice>) -> Option<(u64, Duration)> {
        match notice {
            Some(HostNotice::Failed {
                order, last_for, ..
            }) => Some((order, last_for)),
            _ => None,
        }
    }

    #[test]
    fn tells_once_what_fails_on_and_on() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let soon = now + PAUSE_MIN / 5;
        assert_eq!(failed(failures.fails("a", now)), Some((1, PAUSE_MIN)));
        assert_eq!(failures.fails("a", soon), None);
        assert_eq!(failed(failures.fails("b", now)), Some((2, PAUSE_MIN)));
        let left = PAUSE_MIN * 4 / 5;
        assert_eq!(failed(failures.fails("a", soon)), Some((3, left)));
    }

    #[test]
    fn lasts_longer_each_time_until_a_server_logs_in() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        let mut expected = PAUSE_MIN;
        for _ in 0..6 {
            let told = failed(failures.fails("a", now));
            assert_eq!(told.map(|(_, pause)| pause), Some(expected));
            now += expected;
            expected = (expected * 2).min(PAUSE_MAX);
        }
        assert_eq!(failures.serves("a", now), None, "that was over");
        failures.fails("a", now);
        let told = failed(failures.serves("a", now));
        assert_eq!(told, Some((7, Duration::ZERO)));
    }

    #[test]
    fn keeps_a_bounded_number() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        for number in 0..3 * MOST {
            failures.fails(&number.to_string(), now);
            now += PAUSE_MIN;
        }
        assert!(failures.hosts.len() <= MOST);
    }
}

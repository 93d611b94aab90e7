//! Replacements: servers in place of those that ask to be left.
//!
//! Such a server still counts until it is gone. Another is opened by the same
//! worker as soon as there is room, so that clients wait for neither.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::book::Pool;
use super::lease::{Lease, LeaseState};
use super::plan::Order;
use super::{Ledger, WorkerId};
use crate::control::{LeaseId, PoolKey};

impl Ledger {
    /// Takes note that the lease's server, at this host, asks to be left.
    ///
    /// Of one that has just logged in the next one would ask the same, so that
    /// only need opens it.
    pub fn asked_to_go(&mut self, worker: WorkerId, lease: LeaseId, host: &str, now: Instant) {
        self.book.hosts.says(host, now);
        self.host_fails(host, now);
        let Some(found) = self.find(worker, lease) else {
            return;
        };
        let pool = found.pool.clone();
        match found.state {
            LeaseState::Held { since, .. } if !found.dedicated => {
                if now.saturating_duration_since(since) < YOUNG {
                    self.order_later(&pool, now);
                } else if let Some(share) = self.book.share_mut(worker, &pool) {
                    share.owed += 1;
                }
            }
            _ => return,
        }
        self.stale.insert(pool);
    }
}

impl Pool {
    /// Servers that are to be opened though nobody waits for them, and how many.
    pub(super) fn orders(
        &self,
        key: &PoolKey,
        leases: &BTreeMap<u64, Lease>,
    ) -> impl Iterator<Item = (Order, u32)> {
        let order = |worker| Order {
            pool: key.clone(),
            worker,
        };
        let owed: u32 = self.shares.values().map(|share| share.owed).sum();
        let minimum = self.missing(leases).saturating_sub(owed);
        let owing = self.shares.iter().filter(|(_, share)| share.owed > 0);
        owing
            .map(move |(worker, share)| (order(Some(*worker)), share.owed))
            .chain((minimum > 0).then(|| (order(None), minimum)))
    }
}

/// A server that asks to be left within this time of its login is used up, and
/// not replaced.
const YOUNG: Duration = Duration::from_secs(1);

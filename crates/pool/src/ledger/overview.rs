//! Overview: what the ledger knows, for an operator.

use std::collections::BTreeMap;
use std::time::Duration;

use pgskein_protocol::key::Slot;

use super::lease::LeaseState;
use super::{Ledger, Limits};
use crate::control::PoolKey;

/// What one worker has of one pool, or what dead workers have left of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PoolShare {
    /// The pool.
    pub pool: PoolKey,
    /// Its limits.
    pub limits: Limits,
    /// The worker; `None` for those that have died.
    pub worker: Option<Slot>,
    /// Servers that are being connected to.
    pub opening: u32,
    /// Servers that are there.
    pub held: u32,
    /// Those among them that are one client's.
    pub dedicated: u32,
    /// Servers that are on their way here from another worker.
    pub moving: u32,
    /// Servers that were told to go.
    pub closing: u32,
    /// Servers that a dead worker has left behind.
    pub orphaned: u32,
    /// Servers that are wanted beyond those.
    pub wanted: u32,
    /// How long the oldest client had waited when that was said.
    pub oldest_wait: Duration,
    /// Servers that are asked back.
    pub recalled: u32,
}

impl Ledger {
    /// Every share of every pool in which there is something.
    pub fn overview(&self) -> Vec<PoolShare> {
        let mut rows = Vec::new();
        for (key, pool) in &self.book.pools {
            let mut shares = BTreeMap::<Option<Slot>, PoolShare>::new();
            let empty = |worker| PoolShare {
                pool: key.clone(),
                limits: pool.limits,
                worker,
                opening: 0,
                held: 0,
                dedicated: 0,
                moving: 0,
                closing: 0,
                orphaned: 0,
                wanted: 0,
                oldest_wait: Duration::ZERO,
                recalled: 0,
            };
            for lease in pool.leases.iter().filter_map(|id| self.leases.get(id)) {
                let worker = match lease.state {
                    LeaseState::Moving { to, .. } => Some(to.slot),
                    _ => lease.state.worker().map(|worker| worker.slot),
                };
                let row = shares.entry(worker).or_insert_with(|| empty(worker));
                let count = match lease.state {
                    LeaseState::Opening { .. } => &mut row.opening,
                    LeaseState::Held { .. } => &mut row.held,
                    LeaseState::Moving { .. } => &mut row.moving,
                    LeaseState::Closing { .. } => &mut row.closing,
                    LeaseState::Orphaned { .. } => &mut row.orphaned,
                };
                *count += 1;
                row.dedicated += u32::from(lease.dedicated && row.worker.is_some());
            }
            for (worker, share) in &pool.shares {
                let told = share.told.unwrap_or_default();
                let recalled = told.count + told.unused;
                if share.wanted == 0 && recalled == 0 {
                    continue;
                }
                let worker = Some(worker.slot);
                let row = shares.entry(worker).or_insert_with(|| empty(worker));
                row.wanted += share.wanted;
                row.oldest_wait = row.oldest_wait.max(share.oldest_wait);
                row.recalled += recalled;
            }
            rows.extend(shares.into_values());
        }
        rows
    }
}

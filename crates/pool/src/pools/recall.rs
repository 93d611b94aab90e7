//! Recall: servers that the ledger wants back for others.

use std::time::{Duration, Instant};

use super::Pool;
use crate::slab::ServerId;

/// Servers that the ledger wants back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recall {
    /// Of any, after their quantum if they are in use.
    count: u32,
    /// More, of those that nobody has used for long.
    unused: u32,
    /// Since when the quantum counts.
    since: Instant,
    transactions: u32,
}

impl Pool {
    /// The ledger wants `count` servers back, and `unused` more of those that
    /// nobody has used for long, in place of what it wanted so far. Returns the
    /// idle servers that are to be closed for it.
    pub fn on_recall(&mut self, count: u32, unused: u32, now: Instant) -> Vec<ServerId> {
        let before = self.recall.filter(|recall| recall.count > 0);
        self.recall = (count + unused > 0).then_some(Recall {
            count,
            unused,
            // A quantum that has begun is not begun anew.
            since: before.map_or(now, |recall| recall.since),
            transactions: before.map_or(0, |recall| recall.transactions),
        });
        let mut closed = Vec::new();
        while self.recall.is_some_and(|recall| recall.count > 0)
            && let Some((server, _)) = self.idle.pop_front()
        {
            self.gave_up_one(now);
            closed.push(server);
        }
        closed.extend(self.poll_unused(now));
        closed
    }

    /// The servers that nobody has used for long and the ledger wants back.
    pub fn poll_unused(&mut self, now: Instant) -> Vec<ServerId> {
        let mut closed = Vec::new();
        while self.recall.is_some_and(|recall| recall.unused > 0)
            && let Some((server, since)) = self.idle.front().copied()
            && now.saturating_duration_since(since) >= UNUSED
        {
            self.idle.pop_front();
            if let Some(recall) = &mut self.recall {
                recall.unused -= 1;
            }
            closed.push(server);
        }
        self.recall
            .take_if(|recall| recall.count + recall.unused == 0);
        closed
    }

    /// Whether a server that is free now goes back to the ledger.
    #[inline]
    pub(super) fn gives_up(&mut self, now: Instant) -> bool {
        let Some(recall) = &mut self.recall else {
            return false;
        };
        if recall.count == 0 {
            return false;
        }
        recall.transactions += 1;
        let over = recall.transactions > QUANTUM_TRANSACTIONS
            || now.saturating_duration_since(recall.since) > QUANTUM;
        let gives_up = over || self.waiting.is_empty();
        if gives_up {
            self.gave_up_one(now);
        }
        gives_up
    }

    /// One of the servers that are wanted in any case goes back.
    fn gave_up_one(&mut self, now: Instant) {
        if let Some(recall) = &mut self.recall {
            recall.count = recall.count.saturating_sub(1);
            recall.since = now;
            recall.transactions = 0;
        }
        self.recall
            .take_if(|recall| recall.count + recall.unused == 0);
    }
}

/// How long, and for how many transactions, a holder with clients of its own
/// serves them before it gives up a server that is wanted elsewhere.
pub(super) const QUANTUM: Duration = Duration::from_millis(2);
pub(super) const QUANTUM_TRANSACTIONS: u32 = 8;

/// A server that was idle for this long is one that the pool does not need.
pub(super) const UNUSED: Duration = Duration::from_secs(1);

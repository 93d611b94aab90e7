//! Recall: servers that the ledger wants back for others.

use std::time::{Duration, Instant};

use super::Pool;
use crate::ledger::WorkerId;
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

/// A server that is given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GivenUp {
    /// Which.
    pub server: ServerId,
    /// Who is to get it alive; it is closed where that is not possible.
    pub to: Option<WorkerId>,
}

impl Pool {
    /// These workers want the servers that the ledger wants back from now on, in
    /// place of those that wanted them so far; the first comes first.
    pub fn on_lend(&mut self, to: Vec<WorkerId>) {
        self.takers = to.into();
    }

    /// The ledger wants `count` servers back, and `unused` more of those that
    /// nobody has used for long, in place of what it wanted so far. Returns the
    /// idle servers that are given up for it.
    pub fn on_recall(&mut self, count: u32, unused: u32, now: Instant) -> Vec<GivenUp> {
        let before = self.recall.filter(|recall| recall.count > 0);
        self.recall = (count + unused > 0).then_some(Recall {
            count,
            unused,
            // A quantum that has begun is not begun anew.
            since: before.map_or(now, |recall| recall.since),
            transactions: before.map_or(0, |recall| recall.transactions),
        });
        let mut given = Vec::new();
        while self.recall.is_some_and(|recall| recall.count > 0)
            && let Some((server, _)) = self.idle.pop_front()
        {
            let to = self.gave_up_one(now);
            given.push(GivenUp { server, to });
        }
        given.extend(self.poll_unused(now));
        self.end_recall();
        given
    }

    /// The servers that nobody has used for long and the ledger wants back.
    pub fn poll_unused(&mut self, now: Instant) -> Vec<GivenUp> {
        let mut given = Vec::new();
        while self.recall.is_some_and(|recall| recall.unused > 0)
            && let Some((server, since)) = self.idle.front().copied()
            && now.saturating_duration_since(since) >= UNUSED
        {
            self.idle.pop_front();
            if let Some(recall) = &mut self.recall {
                recall.unused -= 1;
            }
            let to = self.takers.pop_front();
            given.push(GivenUp { server, to });
        }
        self.end_recall();
        given
    }

    /// A server that was to be given up is in use again: the next one goes.
    pub fn not_given_up(&mut self, now: Instant) {
        let recall = self.recall.get_or_insert(Recall {
            count: 0,
            unused: 0,
            since: now,
            transactions: 0,
        });
        recall.count += 1;
    }

    /// A server has come, which serves for a quantum from now on.
    pub fn begin_quantum(&mut self, now: Instant) {
        if let Some(recall) = &mut self.recall {
            recall.since = now;
            recall.transactions = 0;
        }
    }

    /// Whether a server that is free now is given up, and who is to get it.
    #[inline]
    pub(super) fn gives_up(&mut self, now: Instant) -> Option<Option<WorkerId>> {
        let recall = self.recall.as_mut().filter(|recall| recall.count > 0)?;
        recall.transactions += 1;
        let over = recall.transactions > QUANTUM_TRANSACTIONS
            || now.saturating_duration_since(recall.since) > QUANTUM;
        let gives_up = over || self.waiting.is_empty();
        gives_up.then(|| {
            let to = self.gave_up_one(now);
            self.end_recall();
            to
        })
    }

    /// One of the servers that are wanted in any case is given up; says to whom.
    fn gave_up_one(&mut self, now: Instant) -> Option<WorkerId> {
        if let Some(recall) = &mut self.recall {
            recall.count = recall.count.saturating_sub(1);
            recall.since = now;
            recall.transactions = 0;
        }
        self.takers.pop_front()
    }

    /// Forgets the recall, and for whom it was, once it is answered.
    fn end_recall(&mut self) {
        let over = |recall: &mut Recall| recall.count + recall.unused == 0;
        if self.recall.take_if(over).is_some() || self.recall.is_none() {
            self.takers.clear();
        }
    }
}

/// How long, and for how many transactions, a holder with clients of its own
/// serves them before it gives up a server that is wanted elsewhere.
pub(crate) const QUANTUM: Duration = Duration::from_millis(2);
pub(super) const QUANTUM_TRANSACTIONS: u32 = 8;

/// A server that was idle for this long is one that the pool does not need.
pub(super) const UNUSED: Duration = Duration::from_secs(1);

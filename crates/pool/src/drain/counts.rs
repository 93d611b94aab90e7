//! What has become of the clients that an order covers.

use std::fmt;

use super::Leaving;
use crate::octets::{Octets, Truncated};

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Clients that were asked to go.
    pub told: u32,
    /// Clients that have left by themselves, told or not.
    pub left: u32,
    /// Clients that a sibling has taken over.
    pub moved: u32,
    /// Clients that were closed between transactions.
    pub closed_idle: u32,
    /// Clients that were closed in the middle of one.
    pub closed_in_transaction: u32,
    /// Clients that are still there.
    pub remaining: u32,
}

/// What a worker tells of one order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report {
    /// The order.
    pub id: [u8; 16],
    /// What has become of its clients here.
    pub counts: Counts,
}

impl Counts {
    /// These and those of another worker.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in self.all_mut().into_iter().zip(other.all()) {
            *ours = ours.saturating_add(theirs);
        }
    }

    pub(super) fn on_left(&mut self, how: Leaving) {
        let count = match how {
            Leaving::ByItself => &mut self.left,
            Leaving::Moved => &mut self.moved,
            Leaving::ClosedIdle => &mut self.closed_idle,
            Leaving::ClosedInTransaction => &mut self.closed_in_transaction,
        };
        *count = count.saturating_add(1);
    }

    fn all(&self) -> [u32; 6] {
        [
            self.told,
            self.left,
            self.moved,
            self.closed_idle,
            self.closed_in_transaction,
            self.remaining,
        ]
    }

    fn all_mut(&mut self) -> [&mut u32; 6] {
        [
            &mut self.told,
            &mut self.left,
            &mut self.moved,
            &mut self.closed_idle,
            &mut self.closed_in_transaction,
            &mut self.remaining,
        ]
    }
}

impl Report {
    /// Appends the report to `out`: the id, then the counts, 4 bytes each.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        for count in self.counts.all() {
            out.extend_from_slice(&count.to_be_bytes());
        }
    }

    /// Takes a report from the start of `octets`.
    pub(crate) fn take(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let id = octets.array()?;
        let mut counts = Counts::default();
        for count in counts.all_mut() {
            *count = octets.u32()?;
        }
        Ok(Self { id, counts })
    }
}

impl fmt::Display for Counts {
    /// As it is written in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            told,
            left,
            moved,
            closed_idle,
            closed_in_transaction,
            remaining,
        } = self;
        write!(
            f,
            "told={told} left={left} moved={moved} closed_idle={closed_idle} \
             closed_in_transaction={closed_in_transaction} remaining={remaining}"
        )
    }
}

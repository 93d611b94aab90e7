//! What has become of the clients that an order covers.

use std::fmt;

use super::Leaving;
use crate::moves::Refused;
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
    /// Clients that should have moved and could not.
    pub refused: Refused,
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
        let Self { refused, .. } = other;
        let theirs = other.all().into_iter().chain(refused.all());
        for (ours, theirs) in self.all_mut().zip(theirs) {
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

    fn all_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        let Self {
            told,
            left,
            moved,
            closed_idle,
            closed_in_transaction,
            remaining,
            refused,
        } = self;
        let counts = [
            told,
            left,
            moved,
            closed_idle,
            closed_in_transaction,
            remaining,
        ];
        counts.into_iter().chain(refused.all_mut())
    }
}

impl Report {
    /// Appends the report to `out`: the id, then the counts, 4 bytes each, and
    /// those of refusals.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        let counts = self.counts.all().into_iter();
        for count in counts.chain(self.counts.refused.all()) {
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

    /// Takes a report as it was before clients moved.
    pub(crate) fn take_v1(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let id = octets.array()?;
        let mut counts = Counts::default();
        for count in counts.all_mut().take(COUNTS_V1) {
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
            refused,
        } = self;
        write!(
            f,
            "told={told} left={left} moved={moved} closed_idle={closed_idle} \
             closed_in_transaction={closed_in_transaction} remaining={remaining}"
        )?;
        match refused.total() {
            0 => Ok(()),
            total => write!(f, " refused={total}"),
        }
    }
}

/// How many counts a report had before clients moved.
const COUNTS_V1: usize = 6;

//! Numbers that follow from a seed.

use std::ops::Range;
use std::time::Duration;

/// A generator of numbers: SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range.
    pub(super) fn number(&mut self, range: Range<u32>) -> u32 {
        let span = u64::from(range.end - range.start);
        range.start + u32::try_from(self.next() % span).unwrap()
    }

    /// A time of the range, to the microsecond.
    pub(super) fn time(&mut self, range: &Range<Duration>) -> Duration {
        let span = u64::try_from((range.end - range.start).as_micros()).unwrap();
        range.start + Duration::from_micros(self.next() % span.max(1))
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: u32) -> bool {
        self.number(0..times) == 0
    }

    /// A position among so many.
    pub(super) fn position(&mut self, count: usize) -> usize {
        let at = self.next().checked_rem(count as u64).unwrap_or(0);
        usize::try_from(at).unwrap()
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.position(of.len())).copied()
    }
}

//! Histograms of times: how many took how long.
//!
//! The buckets are those of HDR histograms: the width of a bucket is at most
//! 1/64 of the values in it, whatever their size, so a quantile is off by less
//! than 1.6 %. To record is to find the highest bit and to add one; no memory is
//! owned before the first value, and 6.8 KiB at most.

/// How many times, in microseconds, fell into each bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u32>,
    max: u32,
}

impl Histogram {
    /// Notes a time; one of more than 71 minutes counts as that.
    #[inline]
    pub fn record(&mut self, micros: u64) {
        let value = u32::try_from(micros).unwrap_or(u32::MAX);
        let bucket = bucket(value);
        self.max = self.max.max(value);
        match self.counts.get_mut(bucket) {
            Some(count) => *count = count.saturating_add(1),
            None => self.record_beyond(bucket),
        }
    }

    /// The longest time, in microseconds.
    pub fn max(&self) -> u64 {
        self.max.into()
    }

    /// Adds the counts, one by one, to those of others.
    pub fn add_to(&self, counts: &mut Vec<u64>) {
        if counts.len() < self.counts.len() {
            counts.resize(self.counts.len(), 0);
        }
        for (sum, count) in counts.iter_mut().zip(&self.counts) {
            *sum += u64::from(*count);
        }
    }

    /// Forgets everything. Memory that was in use is kept for what comes next;
    /// what was not goes.
    pub fn clear(&mut self) {
        if self.max == 0 && self.counts.iter().all(|count| *count == 0) {
            self.counts = Vec::new();
        }
        self.counts.fill(0);
        self.max = 0;
    }

    #[cold]
    fn record_beyond(&mut self, bucket: usize) {
        // By whole powers of two, so that this is rare.
        let len = (bucket / SUB_BUCKETS + 1) * SUB_BUCKETS;
        self.counts.resize(len, 0);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = 1;
        }
    }
}

/// The time, in microseconds, that `per_mille` of those counted did not exceed;
/// `max` is the longest. 0 if none was counted.
pub fn quantile(counts: &[u64], per_mille: u32, max: u64) -> u64 {
    let total: u64 = counts.iter().sum();
    let rank = u128::from(total) * u128::from(per_mille);
    let rank = u64::try_from(rank.div_ceil(1000)).unwrap_or(u64::MAX);
    let mut seen = 0;
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        if *count > 0 && seen >= rank {
            return highest(bucket).min(max);
        }
    }
    0
}

/// The bucket of a time.
#[inline]
fn bucket(value: u32) -> usize {
    // Those of the lowest bits are as wide as one another.
    let shift = (value | 1 << PRECISION).ilog2() - PRECISION;
    (shift as usize) * SUB_BUCKETS + (value >> shift) as usize
}

/// The longest time in a bucket, in microseconds.
fn highest(bucket: usize) -> u64 {
    let shift = (bucket / SUB_BUCKETS).saturating_sub(1);
    let lowest = bucket - shift * SUB_BUCKETS;
    ((lowest as u64 + 1) << shift) - 1
}

/// Bits of a value, behind the highest, that tell buckets apart.
const PRECISION: u32 = 6;

/// Buckets for each power of two.
const SUB_BUCKETS: usize = 1 << PRECISION;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[u64]) -> (Vec<u64>, u64) {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.record(*value));
        let mut counts = Vec::new();
        histogram.add_to(&mut counts);
        (counts, histogram.max())
    }

    #[test]
    fn keeps_buckets_in_order_and_narrow() {
        let mut last = 0;
        for bit in 0..32 {
            for value in [1_u32 << bit, (1 << bit) + (1 << bit) / 3, (1 << bit) - 1] {
                let bucket = bucket(value);
                let value = u64::from(value);
                assert!(highest(bucket) >= value, "{value}");
                assert!(highest(bucket) <= value + value / 64, "{value}");
                assert!(bucket == 0 || highest(bucket - 1) < value, "{value}");
            }
            let first = bucket(1 << bit);
            assert!(first > last || bit == 0);
            last = first;
        }
        assert_eq!(highest(bucket(u32::MAX)), u64::from(u32::MAX));
    }

    #[test]
    fn gives_small_times_exactly() {
        let (counts, max) = counts(&(1..=100).collect::<Vec<_>>());
        for (per_mille, expected) in [
            (0, 1),
            (10, 1),
            (500, 50),
            (990, 99),
            (999, 100),
            (1000, 100),
        ] {
            assert_eq!(quantile(&counts, per_mille, max), expected, "{per_mille}");
        }
    }

    #[test]
    fn gives_a_single_time_as_every_quantile() {
        let (counts, max) = counts(&[100_003]);
        for per_mille in [1, 500, 999] {
            assert_eq!(quantile(&counts, per_mille, max), 100_003);
        }
        assert_eq!(quantile(&[], 500, 0), 0);
    }

    #[test]
    fn takes_very_long_times_for_71_minutes() {
        let (_, max) = counts(&[u64::MAX, 1]);
        assert_eq!(max, u64::from(u32::MAX));
    }

    #[test]
    fn owns_nothing_once_it_is_not_used() {
        let mut histogram = Histogram::default();
        histogram.record(5000);
        histogram.clear();
        assert!(!histogram.counts.is_empty());
        histogram.clear();
        assert_eq!(histogram.counts.capacity(), 0);
        histogram.record(0);
        histogram.clear();
        assert!(histogram.counts.iter().all(|count| *count == 0));
    }
}

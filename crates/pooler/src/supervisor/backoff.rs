//! How long a slot waits for its next worker.

use std::time::Duration;

/// How long to wait before a worker is started after `failures` deaths in a
/// row.
///
/// While nobody else accepts (`alone`), it is never long: a client that waits
/// in the queue is worth another try.
pub(crate) fn delay(failures: u32, alone: bool) -> Duration {
    let at = usize::try_from(failures).unwrap_or(usize::MAX);
    let delay = DELAYS.get(at).copied().unwrap_or(LONGEST);
    if alone { delay.min(ALONE) } else { delay }
}

/// Counts the deaths in a row after one more, of a worker that had been ready
/// for `ready`, if at all.
pub(crate) fn failures(before: u32, ready: Option<Duration>) -> u32 {
    if ready.is_some_and(|ready| ready >= LIVED) {
        0
    } else {
        before.saturating_add(1)
    }
}

const DELAYS: [Duration; 8] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
const LONGEST: Duration = Duration::from_secs(5);
const ALONE: Duration = Duration::from_millis(500);

/// A worker that was ready for this long has not died of its start.
const LIVED: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_longer_with_every_death_and_at_most_five_seconds() {
        let delays: Vec<u128> = (0..10).map(|n| delay(n, false).as_millis()).collect();
        assert_eq!(delays, [0, 0, 0, 100, 200, 500, 1000, 2000, 5000, 5000]);
        assert_eq!(delay(u32::MAX, false), LONGEST);
    }

    #[test]
    fn waits_at_most_half_a_second_while_nobody_else_accepts() {
        assert_eq!(delay(100, true), ALONE);
        assert_eq!(delay(3, true), Duration::from_millis(100));
    }

    #[test]
    fn forgets_deaths_before_a_worker_that_lived() {
        assert_eq!(failures(4, None), 5);
        assert_eq!(failures(4, Some(Duration::from_millis(999))), 5);
        assert_eq!(failures(4, Some(LIVED)), 0);
    }
}

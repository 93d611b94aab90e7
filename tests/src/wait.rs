//! Waiting: the only place of the tests that sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once: it guards against
/// hanging and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it still does not hold after `deadline`; `what` names it then.
pub fn wait_for(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    assert!(
        within(deadline, condition),
        "still waiting after {deadline:?} for: {what}"
    );
}

/// Tells whether `condition` came to hold before `deadline` had passed.
///
/// With a condition that must not come true this is how long a test looks.
pub fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= deadline {
            return false;
        }
        thread::sleep(STEP);
    }
}

/// Asserts that what was asked for at this moment was answered when `timeout`
/// had passed: not before, as somebody might still have said something, and
/// not because of a longer deadline.
///
/// # Panics
///
/// When it was answered before, or so late that something else has ended it.
pub fn assert_gave_up(asked: Instant, timeout: Duration) {
    let waited = asked.elapsed();
    assert!(waited >= timeout, "gave up after {waited:?} already");
    assert!(waited < timeout + SLOWNESS, "gave up after {waited:?} only");
}

/// A steady beat for load that a scenario spreads over time.
#[derive(Debug)]
pub struct Ticker {
    next: Instant,
    period: Duration,
}

impl Ticker {
    /// A beat every `period`, the first one now.
    pub fn every(period: Duration) -> Self {
        Self {
            next: Instant::now(),
            period,
        }
    }

    /// Returns at the next beat, at once when it is overdue.
    pub fn tick(&mut self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next += self.period;
    }
}

/// Tells threads of a scenario to come to an end.
///
/// A scope waits for its threads also when it panics, so whoever starts some
/// holds the [`Stop::guard`] too.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

/// Tells the threads when it goes out of scope.
#[derive(Debug)]
pub struct StopGuard<'a>(&'a Stop);

impl Stop {
    /// Tells the threads.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Tells whether they were told.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells them at the end of a scope, however that ends.
    pub fn guard(&self) -> StopGuard<'_> {
        StopGuard(self)
    }
}

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// How much later than it should a busy host may answer.
const SLOWNESS: Duration = Duration::from_secs(15);
/// Time between two looks at a condition.
const STEP: Duration = Duration::from_millis(5);

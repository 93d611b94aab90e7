//! Waiting: the only place of the tests that sleeps.

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

/// Time between two looks at a condition.
const STEP: Duration = Duration::from_millis(5);

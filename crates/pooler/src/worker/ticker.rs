//! Ticker: wakes the loop a few times a second, for the sweep.
//!
//! A timer of the kernel instead of a timeout of every wait: a wait without a
//! timeout arms nothing in the kernel and computes nothing here.
//!
//! Source: timerfd_create(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

/// The timer, and how soon it goes off.
#[derive(Debug)]
pub(super) struct Ticker {
    timer: TimerFd,
    interval: Duration,
    /// The shortest time that was asked for since it went off last.
    armed: Duration,
    /// It has gone off.
    due: bool,
}

impl Ticker {
    /// A timer that goes off at once, and then every `interval`.
    ///
    /// # Errors
    ///
    /// The error of `timerfd_create(2)`, `timerfd_settime(2)` or of the event
    /// loop.
    pub(super) fn new(registry: &Registry, token: Token, interval: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let descriptor = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        let ticker = Self {
            timer,
            interval,
            armed: interval,
            due: true,
        };
        ticker.arm(interval)?;
        Ok(ticker)
    }

    /// Notes that it has gone off.
    pub(super) fn on_event(&mut self) {
        // The kernel begins the next interval when the last one is read. A
        // timer set anew meanwhile has nothing to read.
        let _expirations = self.timer.wait();
        self.due = true;
    }

    /// Whether it has gone off and was not taken yet.
    #[inline]
    pub(super) fn due(&self) -> bool {
        self.due
    }

    /// Takes what it says; the next time is an interval away.
    pub(super) fn take(&mut self) {
        self.due = false;
        self.armed = self.interval;
    }

    /// Has it go off this soon, if it does not sooner.
    pub(super) fn within(&mut self, time: Duration) {
        if time.is_zero() {
            self.due = true;
        } else if time < self.armed {
            self.armed = time;
            if let Err(error) = self.arm(time) {
                // It goes off all the same, an interval after the last time.
                log::error!("cannot set the timer: {error}");
            }
        }
    }

    fn arm(&self, first: Duration) -> nix::Result<()> {
        let expiration = Expiration::IntervalDelayed(
            TimeSpec::from_duration(first),
            TimeSpec::from_duration(self.interval),
        );
        self.timer.set(expiration, TimerSetTimeFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn goes_off_every_interval() {
        let mut poll = Poll::new().unwrap();
        let mut ticker = Ticker::new(poll.registry(), Token(1), Duration::from_millis(2)).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            ticker.take();
            poll.poll(&mut events, Some(Duration::from_secs(60)))
                .unwrap();
            assert!(!events.is_empty());
            ticker.on_event();
            assert!(ticker.due());
        }
    }

    #[test]
    fn goes_off_again_and_again_and_sooner_when_asked() {
        let mut poll = Poll::new().unwrap();
        let long = Duration::from_secs(3600);
        let mut ticker = Ticker::new(poll.registry(), Token(1), long).unwrap();
        assert!(ticker.due());
        ticker.take();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            let began = Instant::now();
            ticker.within(Duration::from_millis(2));
            poll.poll(&mut events, Some(long)).unwrap();
            assert!(began.elapsed() >= Duration::from_millis(2));
            assert!(!events.is_empty());
            ticker.on_event();
            assert!(ticker.due());
            ticker.take();
        }
    }
}

//! One direction of a control link: first in, first out, and slow.

use std::collections::VecDeque;
use std::time::Instant;

/// Messages on their way, with the time of their arrival.
#[derive(Debug)]
pub(super) struct Link<T> {
    under_way: VecDeque<(Instant, T)>,
}

impl<T> Link<T> {
    pub(super) fn new() -> Self {
        Self {
            under_way: VecDeque::new(),
        }
    }

    /// Sends a message that would take until `at` on an empty link; returns
    /// when it arrives.
    pub(super) fn send(&mut self, at: Instant, message: T) -> Instant {
        let last = self.under_way.back().map(|(at, _)| *at);
        let at = last.map_or(at, |last| last.max(at));
        self.under_way.push_back((at, message));
        at
    }

    /// The next message that has arrived.
    pub(super) fn receive(&mut self, now: Instant) -> Option<T> {
        let (at, _) = self.under_way.front()?;
        if *at > now {
            return None;
        }
        self.under_way.pop_front().map(|(_, message)| message)
    }

    /// The next message, arrived or not.
    pub(super) fn take(&mut self) -> Option<T> {
        self.under_way.pop_front().map(|(_, message)| message)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &T> {
        self.under_way.iter().map(|(_, message)| message)
    }
}

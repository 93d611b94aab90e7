//! Waiting: for an event, or until something is due.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

/// Waits for events, until `deadline` at the latest; a signal ends it as well.
///
/// # Errors
///
/// The error of `epoll_wait(2)`.
pub(crate) fn wait_for_events(
    poll: &mut Poll,
    events: &mut Events,
    deadline: Option<Instant>,
    now: Instant,
) -> io::Result<()> {
    // Epoll counts in milliseconds and would wake too early.
    let timeout = deadline.map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        waited => waited,
    }
}

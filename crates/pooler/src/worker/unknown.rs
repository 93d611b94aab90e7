//! Cancel requests with keys that nobody knows.
//!
//! Some are honest: the query has ended, and its client has left. Whoever guesses
//! keys sends many. Theirs are slowed down by when their connections are closed;
//! a request whose key is known never comes here.

use pgskein_pool::slab::ClientId;
use pgskein_pool::unknown_keys::Source;

use super::Worker;
use super::cancel::Waiter;
use super::client::{Origin, Stage};

impl Worker {
    /// Nobody knows the key of a cancel request.
    pub(super) fn cancel_unknown(&mut self, waiter: Waiter) {
        let held = match waiter {
            Waiter::Client(id) => self.hold_back(id),
            // It was known here before, and its client has left meanwhile.
            Waiter::Peer(_) => false,
        };
        if !held {
            self.cancel_over(waiter);
        }
    }

    /// Says how many there were, now and then.
    pub(super) fn log_unknown_keys(&mut self) {
        if let Some(line) = self.unknown_keys.poll_line(self.now) {
            log::info!("cancel requests with unknown keys: {line}");
        }
    }

    /// Leaves a connection open for a while if many such keys came from there;
    /// false if it is to be closed at once.
    fn hold_back(&mut self, id: ClientId) -> bool {
        let now = self.now;
        let draining = self.is_draining();
        let Some(client) = self.clients.get_mut(id) else {
            return false;
        };
        // Other hosts forward good keys and bad ones, few at a time: who would
        // wait may have a good one. No drain waits for a bad one.
        let forwarded = matches!(client.stage, Stage::Cancelling { forwarded: true });
        let exempt = draining || forwarded || self.for_cancels.contains(&id);
        let source = match client.origin {
            Origin::Tcp(address) => Source::of(address.ip()),
            Origin::Unix { uid, .. } => Source::User(uid),
        };
        let delay = self.unknown_keys.on_unknown(source, now);
        let held = !exempt && !delay.is_zero() && self.unknown_keys.hold(delay, now);
        if held {
            // As if it was told so already: nothing is sent, and its end is seen.
            client.stage = Stage::Closing {
                deadline: now + delay,
                shut: true,
            };
            self.wake_client(id);
        }
        self.log_unknown_keys();
        held
    }
}

//! Notices: what clients are told beside their answers.

use std::time::Instant;

use pgskein_pool::pools::Pool;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{Report, write};

use super::Worker;
use super::client::{Session, SessionState};

impl Worker {
    /// Tells those who have waited in the queue for `query_wait_notify` since
    /// the sweep before, so that each is told once.
    pub(super) fn notify_waiting(&mut self, last_sweep: Instant) {
        let patience = self.config.settings.query_wait_notify;
        if patience.is_zero() {
            return;
        }
        let now = self.now;
        let due = |session: &Session| {
            let at = session.since + patience;
            let pool = self.pools.get(session.pool);
            session.state == SessionState::Waiting
                && last_sweep < at
                && at <= now
                // Who waits for the end of a pause does not lack a server.
                && !pool.is_some_and(Pool::is_paused)
        };
        let clients: Vec<ClientId> = self.clients.ids(|client| client.session().is_some_and(due));
        for id in clients {
            if let Some(client) = self.clients.get_mut(id) {
                // Who waits has read whole messages only.
                notice(client.outbox.buffer(), QUEUED);
                self.flush_and_wake(id);
            }
        }
    }
}

/// Appends a NoticeResponse that needs no attention.
pub(super) fn notice(out: &mut Vec<u8>, message: &str) {
    let report = Report {
        severity: "NOTICE",
        sqlstate: "00000",
        message,
        detail: None,
        hint: None,
    };
    write::notice(out, &report);
}

/// PgBouncer's words for a client in the queue.
const QUEUED: &str = "No server connection available in postgres backend, client being queued";

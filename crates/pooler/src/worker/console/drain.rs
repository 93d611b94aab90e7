//! Orders of the console to drain.

use std::time::Duration;

use pgskein_pool::control::Asked;
use pgskein_pool::drain_order::{DrainKind, DrainOrder};
use pgskein_pool::runtime::Order;
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::answers;
use super::goaway_words::Wish;
use crate::worker::auth::random;
use crate::worker::drain::unix_milliseconds;
use crate::worker::reason::Reason;

impl Worker {
    /// Has the whole group ask clients to go.
    pub(super) fn order_goaway(&mut self, id: ClientId, wish: Wish) -> Result<(), Reason> {
        let settings = &self.config.settings;
        let timeout = wish.timeout.unwrap_or_default();
        // Nobody is closed, unless that was said.
        let kill_timeout = match settings.drain_kill_timeout {
            Duration::ZERO => Duration::ZERO,
            _ if timeout.is_zero() => Duration::ZERO,
            kill_timeout => kill_timeout.max(timeout),
        };
        let order = DrainOrder {
            id: random()?,
            kind: DrainKind::GoAway,
            scope: wish.scope,
            given: unix_milliseconds(),
            rate: wish.rate.unwrap_or(settings.goaway_rate),
            delay: Duration::ZERO,
            timeout,
            kill_timeout,
        };
        self.ask_supervisor(id, Asked::Order(Order::GoAway(order)))
    }

    /// Has the whole group end.
    pub(super) fn order_shutdown(
        &mut self,
        id: ClientId,
        kind: DrainKind,
        timeout: Option<Duration>,
    ) -> Result<(), Reason> {
        let words = match kind {
            DrainKind::WaitForClients => "SHUTDOWN WAIT_FOR_CLIENTS",
            DrainKind::WaitForServers => "SHUTDOWN WAIT_FOR_SERVERS",
            DrainKind::Immediate | DrainKind::GoAway => "SHUTDOWN",
        };
        match timeout {
            Some(timeout) => {
                let words = format!("{words} TIMEOUT {}", timeout.as_secs_f64());
                self.log_order(id, &words);
            }
            None => self.log_order(id, words),
        }
        // Whoever is answered can be sure that nobody is told otherwise any more.
        self.scoreboard.begin_to_end();
        let answered = match kind {
            // Its answer is the end of the connection.
            DrainKind::Immediate => Ok(()),
            _ => self.answer_console(id, |out| answers::done(out, "SHUTDOWN")),
        };
        // Whoever cannot be answered any more has given the order all the same.
        self.order_drain(kind, timeout);
        answered
    }
}

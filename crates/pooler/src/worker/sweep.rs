//! Sweep: what is overdue.
//!
//! Nothing on the way of a byte sets a timer. A few times a second the sweep
//! looks at every connection and closes what has been in its state too long.

use std::time::{Duration, Instant};

use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::TransactionStatus;

use super::Worker;
use super::client::{Client, SessionState, Stage};
use super::login::Step;
use super::reason::{Reason, ServerReason};
use super::run::monotonic_milliseconds;
use super::server::{Server, ServerState};

impl Worker {
    /// Closes what is overdue.
    pub(super) fn sweep(&mut self) {
        self.ticker.take();
        let settings = &self.config.settings;
        self.stale = settings
            .check_query()
            .and_then(|_| self.now.checked_sub(settings.server_check_delay));
        if let Ok(now) = monotonic_milliseconds() {
            self.swept_at = now;
            self.cell.set_swept(now);
        }
        for search in std::mem::take(&mut self.stalled) {
            self.ask_sibling(search);
        }
        self.sweep_gathering();
        self.undecided.away.expire(self.now);
        self.sweep_ways();
        self.sweep_expected();
        self.listeners.look_again();
        self.peers_ready = true;
        let last_sweep = std::mem::replace(&mut self.last_sweep, self.now);
        if !self.orders.state().is_suspended() {
            self.sweep_clients();
            self.notify_waiting(last_sweep);
        }
        self.sweep_servers();
        self.ask_in_turn_again();
        self.sweep_errands();
        self.log_unknown_keys();
        self.sweep_forwards();
        self.make_way();
        self.tell_use();
        self.sweep_pools();
        self.report_now_and_then();
        let waiting: usize = self
            .pools
            .iter()
            .map(|(_, pool)| pool.waiting().count() + pool.suitors())
            .sum();
        self.cell
            .set_waiting(u32::try_from(waiting).unwrap_or(u32::MAX));
        self.cell
            .set_prepared(self.statements.len(), self.statements.bytes());
        let wishing: Vec<_> = self
            .pools
            .iter()
            .filter(|(_, pool)| pool.unreported(self.login_retry(), self.now))
            .map(|(id, _)| id)
            .collect();
        for pool in wishing {
            self.wish(pool);
        }
        self.orphan_due();
        self.sweep_moves();
        self.drain_turn();
    }

    fn sweep_clients(&mut self) {
        let overdue: Vec<(ClientId, Reason)> = self
            .clients
            .iter()
            .filter_map(|(id, client)| Some((id, self.client_overdue(client)?)))
            .collect();
        for (id, reason) in overdue {
            self.close_client(id, &reason);
        }
    }

    /// Why a client has to be closed now, if it has to.
    fn client_overdue(&self, client: &Client) -> Option<Reason> {
        let now = self.now;
        let settings = &self.config.settings;
        match &client.stage {
            Stage::Login(login) if matches!(login.step, Step::CancelOnly) => {
                past(client.accepted, settings.cancel_wait_timeout, now)
                    .then_some(Reason::CancelWaitTimeout)
            }
            Stage::Login(login) => {
                let reason = if self.waits_too_long_for_own(login) {
                    Reason::QueryWaitTimeout
                } else if past(client.accepted, settings.client_login_timeout, now) {
                    Reason::ClientLoginTimeout
                } else {
                    return None;
                };
                let pool = login.pool.and_then(|pool| self.pools.get(pool));
                let trouble = pool.and_then(|pool| pool.trouble_since(client.accepted));
                Some(match (trouble, &login.step) {
                    (Some(trouble), Step::Asking(_)) => Reason::unasked(trouble),
                    _ => reason.unserved(trouble),
                })
            }
            Stage::Closing { deadline, .. } => (now >= *deadline).then_some(Reason::Left),
            Stage::Console(_) | Stage::Cancelling { .. } => None,
            Stage::Session(session) => {
                let pool = self.pools.get(session.pool)?;
                let limits = pool.settings;
                match session.state {
                    SessionState::Waiting => past(session.since, limits.query_wait_timeout, now)
                        .then(|| {
                            let trouble = pool.trouble_since(session.since);
                            Reason::QueryWaitTimeout.unserved(trouble)
                        }),
                    SessionState::Idle | SessionState::Skipping | SessionState::Lost => past(
                        session.since.max(client.heard),
                        limits.client_idle_timeout,
                        now,
                    )
                    .then_some(Reason::ClientIdleTimeout),
                    SessionState::Offered(_) | SessionState::Coming(_) => None,
                    SessionState::Linked(server) => {
                        let flow = &self.servers.get(server)?.flow;
                        let in_transaction = flow.status() != TransactionStatus::Idle;
                        if !flow.at_rest() {
                            if past(session.turned, limits.query_timeout, now) {
                                return Some(Reason::QueryTimeout);
                            }
                        } else if in_transaction
                            && past(session.turned, limits.idle_transaction_timeout, now)
                        {
                            return Some(Reason::IdleTransactionTimeout);
                        } else if !in_transaction
                            && past(session.turned, limits.client_idle_timeout, now)
                        {
                            return Some(Reason::ClientIdleTimeout);
                        }
                        (in_transaction && past(session.since, limits.transaction_timeout, now))
                            .then_some(Reason::TransactionTimeout)
                    }
                }
            }
        }
    }

    fn sweep_servers(&mut self) {
        let overdue: Vec<(ServerId, ServerReason)> = self
            .servers
            .iter()
            .filter_map(|(id, server)| Some((id, self.server_overdue(server)?)))
            .collect();
        for (id, reason) in overdue {
            match reason {
                ServerReason::ConnectTimeout => self.leave_host(id, &reason),
                ServerReason::OwnQueryFailed => self.lose_server(id, &reason),
                ServerReason::Lost => self.give_up_closing(id),
                _ => self.close_server(id, &reason),
            }
        }
        self.sweep_idle();
    }

    /// Why a server has to be closed now, if it has to.
    fn server_overdue(&self, server: &Server) -> Option<ServerReason> {
        let now = self.now;
        match server.state {
            ServerState::Connecting { deadline } | ServerState::LoggingIn { deadline, .. } => {
                (now >= deadline).then_some(ServerReason::ConnectTimeout)
            }
            ServerState::Own { deadline, .. } => {
                (now >= deadline).then_some(ServerReason::OwnQueryFailed)
            }
            ServerState::Recovering { deadline } => {
                (now >= deadline).then_some(ServerReason::Unclean)
            }
            ServerState::Closing { deadline } => (now >= deadline).then_some(ServerReason::Lost),
            ServerState::Idle
            | ServerState::Linked(_)
            | ServerState::BeingCancelled { .. }
            | ServerState::Offered(_)
            | ServerState::Coming(_) => None,
        }
    }

    fn sweep_errands(&mut self) {
        let now = self.now;
        for id in self.errands.ids(|errand| now >= errand.deadline) {
            self.end_errand(id, false);
        }
    }
}

/// Whether `timeout`, if there is one, has passed since `since`.
pub(super) fn past(since: Instant, timeout: Duration, now: Instant) -> bool {
    !timeout.is_zero() && now.saturating_duration_since(since) >= timeout
}

/// When `timeout`, counted from `now`, is over; 0 is never.
pub(super) fn after(now: Instant, timeout: Duration) -> Instant {
    now + if timeout.is_zero() { NEVER } else { timeout }
}

/// As good as never: ten years.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How often the sweep looks; a timeout is noticed within this time.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

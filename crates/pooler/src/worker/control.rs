//! Control: the link to the supervisor.

use std::os::fd::OwnedFd;
use std::time::Duration;

use pgskein_pool::control::{Demand, PoolKey, ToSupervisor, ToWorker};
use pgskein_pool::pools::PoolId;

use super::Worker;
use super::reason::ServerReason;
use crate::link::LinkClosed;

impl Worker {
    /// Reads what the supervisor says.
    pub(super) fn control_turn(&mut self) {
        loop {
            let Some(control) = &mut self.control else {
                return;
            };
            if control.flush().is_err() {
                return self.orphaned();
            }
            match control.receive() {
                Ok(Some((frame, descriptors))) => match ToWorker::decode(&frame) {
                    Ok(message) => self.on_supervisor(message, descriptors),
                    Err(error) => log::warn!("message of the supervisor: {error}"),
                },
                Ok(None) => return,
                Err(closed) => {
                    if !matches!(closed, LinkClosed::End) {
                        log::warn!("{closed}");
                    }
                    return self.orphaned();
                }
            }
        }
    }

    /// Says something to the supervisor, if there is one.
    pub(super) fn tell_supervisor(&mut self, message: &ToSupervisor) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        if let Some(control) = &mut self.control
            && control.send(&frame, &[]).is_err()
        {
            // Its end is noticed where the link is read.
            self.control_ready = true;
        }
    }

    /// Notes that a pool may want another number of servers than before.
    #[inline]
    pub(super) fn wish(&mut self, pool: PoolId) {
        if !self.wishing.contains(&pool) {
            self.wishing.push(pool);
        }
    }

    /// Tells the ledger what has changed in what the pools want.
    pub(super) fn send_wishes(&mut self) {
        if self.wishing.is_empty() {
            return;
        }
        let retry = self.login_retry();
        let now = self.now;
        let mut later = Vec::new();
        for id in std::mem::take(&mut self.wishing) {
            let Some(pool) = self.pools.get_mut(id) else {
                continue;
            };
            match pool.poll_wanted(retry, now) {
                Some((wanted, oldest_wait)) => {
                    let pool = pool.key.clone();
                    let demand = Demand {
                        wanted,
                        oldest_wait,
                        last_lease: self.last_lease,
                    };
                    self.tell_supervisor(&ToSupervisor::Wanted { pool, demand });
                }
                None if pool.unreported(retry, now) => later.push(id),
                None => {}
            }
        }
        if !later.is_empty() {
            self.ticker.within(WISH_INTERVAL);
        }
        self.wishing.append(&mut later);
        if self.control.is_none() {
            self.use_spare_leases();
        }
    }

    /// Opens servers with the leases that a worker without a supervisor has.
    fn use_spare_leases(&mut self) {
        for (pool, lease) in std::mem::take(&mut self.spare_leases) {
            let wanting = self.pools.get_mut(pool);
            if wanting.is_some_and(|wanting| wanting.on_grant()) {
                self.open_server(pool, lease);
            } else {
                self.spare_leases.push((pool, lease));
            }
        }
    }

    /// How long no server is asked for after a failure.
    pub(super) fn login_retry(&self) -> Duration {
        self.config.settings.server_login_retry.max(RETRY_MIN)
    }

    fn on_supervisor(&mut self, message: ToWorker, descriptors: Vec<OwnedFd>) {
        match message {
            ToWorker::Grant { lease, pool } => self.on_grant(lease, &pool),
            ToWorker::Open { lease, pool } => self.on_ordered(lease, &pool),
            ToWorker::LetGo { lease } => self.let_go(lease),
            ToWorker::TooMany { pool, message } => self.on_too_many(&pool, message),
            ToWorker::Claimed { client, answer } => self.on_claimed(client, answer),
            ToWorker::CancelOrphan { lease, backend } => self.cancel_orphan(lease, &backend),
            ToWorker::Recall {
                pool,
                count,
                unused,
            } => self.on_recall(&pool, count, unused),
            ToWorker::Lend { pool, to } => self.on_lend(&pool, to),
            ToWorker::Prepare { version, sources } => self.prepare(version, &sources),
            ToWorker::Commit { version } => self.commit(version),
            ToWorker::Abandon { version } => {
                self.prepared
                    .take_if(|prepared| prepared.version == version);
            }
            ToWorker::Adopt { slot } => {
                let registry = self.poll.registry();
                match self.listeners.adopt(registry, slot, descriptors) {
                    Ok(()) => {
                        self.listeners.tune(&self.config.settings);
                        log::info!("accepting for worker {slot} as well");
                        self.tell_supervisor(&ToSupervisor::Adopted { slot });
                    }
                    Err(error) => log::error!("cannot accept for worker {slot}: {error}"),
                }
            }
            ToWorker::DropListener { slot } => {
                if slot != self.slot && self.listeners.drop_slot(self.poll.registry(), slot) {
                    log::info!("no longer accepting for worker {slot}");
                }
                self.tell_supervisor(&ToSupervisor::DroppedListener { slot });
            }
            ToWorker::Drain(order) => {
                self.obey(order);
            }
            ToWorker::RefuseSessions => self.refuse_sessions(),
            ToWorker::StopAccepting => self.stop_accepting(),
            ToWorker::HandOver => self.hand_over_listeners(),
            ToWorker::Tickets(secrets) => self.use_tickets(secrets),
            ToWorker::Report => self.report_leases(),
            ToWorker::Exit => self.exit = Some(0),
            ToWorker::Board => self.move_to_board(descriptors),
            ToWorker::ReopenLog => crate::logging::reopen(),
            ToWorker::Answered { request, outcome } => self.on_answered(request, &outcome),
            ToWorker::Shown { request, rows } => self.on_shown(request, &rows),
            ToWorker::Runtime(message) => self.on_runtime(message),
            ToWorker::Host(notice) => self.on_host_notice(notice),
            ToWorker::Move(message) => self.on_move(message),
            ToWorker::Welcome { pool, burst } => self.on_welcome(&pool, &burst),
            ToWorker::Count { round, period } => self.on_count(round, period),
            ToWorker::Usual(usual) => self.credentials.usual = usual,
            ToWorker::OldHost { host } => {
                self.old_hosts.insert(&host);
            }
        }
    }

    fn on_too_many(&mut self, key: &PoolKey, message: String) {
        let pool = self.pools.lookup(key).and_then(|id| self.pools.get_mut(id));
        if let Some(pool) = pool {
            pool.on_too_many(ServerReason::too_many_connections(message), self.now);
        }
    }
}

/// Even with `server_login_retry = 0` a server that refuses is left alone for
/// this long.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// When a wish that had to wait is looked at again.
const WISH_INTERVAL: Duration = Duration::from_millis(5);

//! What workers say over their control links.

use mio::Token;
use pgskein_pool::control::{PoolKey, ToSupervisor, ToWorker};
use pgskein_pool::ledger::{Limits, WorkerId};
use pgskein_pool::runtime::RuntimeState;
use pgskein_pool::usual_secrets::UsualSecrets;
use pgskein_protocol::key::Slot;

use super::Supervisor;
use super::ask::Asker;
use super::hosts::note_host;

impl Supervisor {
    /// Takes everything that a worker has said, and writes what waits for it.
    pub(crate) fn read_link(&mut self, token: Token) {
        loop {
            let worker = self.workers.get_mut(&token);
            let Some(link) = worker.and_then(|worker| worker.link.as_mut()) else {
                return;
            };
            let flushed = link.flush();
            match link.receive() {
                Ok(Some((frame, _))) => match ToSupervisor::decode(&frame) {
                    Ok(message) => self.hear(token, message),
                    Err(error) => log::warn!("ignored: {error}"),
                },
                Ok(None) => match flushed {
                    Ok(_) => return,
                    Err(error) => return self.give_up(token, &error.to_string()),
                },
                Err(closed) => return self.give_up(token, &crate::chain(&closed)),
            }
        }
    }

    /// Tells the workers what follows from the ledger.
    pub(crate) fn pass_on_leases(&mut self) {
        while let Some(action) = self.ledger.poll_action(self.now) {
            let token = Self::token_of(action.worker());
            self.tell(token, &action.into_message());
        }
    }

    /// Puts the limits of the configuration in effect into the ledger.
    pub(crate) fn renew_limits(&mut self) {
        let (config, draining) = (&self.config, self.is_draining());
        let runtime = self.orders.state();
        let limits = |pool: &PoolKey| limits(config, runtime, pool, draining);
        self.ledger.on_limits(limits);
        let forced = config.databases.values().filter_map(|database| {
            let user = database.user.clone()?;
            let database = database.name.clone();
            Some(PoolKey { database, user })
        });
        let kept = forced.map(|pool| (pool.clone(), limits(&pool)));
        let kept = kept.filter(|(_, limits)| limits.min_pool_size > 0);
        self.ledger.keep(kept);
    }

    fn hear(&mut self, token: Token, message: ToSupervisor) {
        let Some(worker) = self.workers.get_mut(&token) else {
            return;
        };
        worker.heard = worker.heard.wrapping_add(1);
        let id = worker.id;
        match message {
            ToSupervisor::Ready => self.on_ready(token),
            ToSupervisor::Wanted { pool, demand } => {
                let limits = limits(&self.config, self.orders.state(), &pool, self.is_draining());
                self.ledger.wanted(id, &pool, demand, limits, self.now);
            }
            ToSupervisor::InUse { pool, in_use } => {
                let limits = limits(&self.config, self.orders.state(), &pool, self.is_draining());
                self.ledger.in_use(id, &pool, in_use, limits, self.now);
            }
            ToSupervisor::Held { lease, backend } => {
                let news = self.ledger.held(id, lease, backend, self.now);
                note_host(news);
            }
            ToSupervisor::TooMany { lease, message } => {
                if let Some(pool) = self.ledger.too_many(id, lease, self.now).cloned() {
                    self.tell_all(&ToWorker::TooMany { pool, message });
                }
            }
            ToSupervisor::Host(report) => self.hear_of_host(id, report),
            ToSupervisor::MayClose { lease } => self.ledger.may_close(id, lease),
            ToSupervisor::Kept { lease } => self.ledger.kept(id, lease),
            ToSupervisor::OrphanCancelled { lease } => {
                self.ledger.orphan_cancelled(id, lease, self.now);
            }
            ToSupervisor::Dedicated { lease } => self.ledger.dedicated(id, lease),
            ToSupervisor::Closing { lease } => self.ledger.closing(id, lease, self.now),
            ToSupervisor::Lease(report) => match self.reporting.get_mut(&token) {
                Some(reports) => reports.push(report),
                None => log::warn!("worker {}: reports without being asked", id.slot),
            },
            ToSupervisor::Reported { .. } => self.on_reported(token, id),
            ToSupervisor::Returned { lease } => self.ledger.returned(id, lease, self.now),
            ToSupervisor::Unused { pool } => self.welcomes.stop_asking(id, &pool),
            ToSupervisor::Claim {
                client,
                database,
                user,
            } => {
                let limits = self.config.client_limits(&database, &user);
                let answer = self.client_places.claim(id, client, database, user, limits);
                self.tell(token, &ToWorker::Claimed { client, answer });
            }
            ToSupervisor::Present {
                client,
                database,
                user,
            } => self.client_places.enter(id, client, database, user),
            ToSupervisor::Left { client } => self.client_places.left(id, client),
            ToSupervisor::Prepared { version } => self.on_prepared(token, version),
            ToSupervisor::Refused { version, reason } => {
                self.on_refused(id.slot, version, &reason);
            }
            ToSupervisor::Committed { version } => self.on_committed(token, version),
            ToSupervisor::Ask { request, asked } => {
                self.ask(Asker::Worker { token, request }, asked);
            }
            ToSupervisor::Gone { request } => {
                self.askers_gone(|asker| *asker == Asker::Worker { token, request });
            }
            ToSupervisor::Adopted { slot } => {
                note(id.slot, slot, "adopted");
                self.on_adopted(slot, token);
            }
            ToSupervisor::DroppedListener { slot } => note(id.slot, slot, "gave back"),
            ToSupervisor::AskWelcome { pool } => self.on_ask_welcome(token, pool),
            ToSupervisor::Welcome {
                version,
                pool,
                burst,
            } => self.on_welcome(version, pool, burst),
            ToSupervisor::Drain(report) => self.drains.on_report(id, &report),
            ToSupervisor::Settled { settled } => self.on_settled(token, settled),
            ToSupervisor::Counted(report) => self.statistics.book.report(id, report, self.now),
            ToSupervisor::OldHost { version, host } => self.on_old_host(version, host),
            ToSupervisor::Usual(usual) => self.on_usual(usual),
            ToSupervisor::Show { request, topic } => self.show(token, request, topic),
            ToSupervisor::Runtime(message) => self.hear_of_orders(id, message),
            ToSupervisor::Move(message) => self.hear_of_moves(id, message),
            ToSupervisor::Handoff(report) => self.hear_of_handoff(id, report),
        }
    }

    /// A worker has reported all that it holds, and what it says counts.
    fn on_reported(&mut self, token: Token, id: WorkerId) {
        let Some(reports) = self.reporting.remove(&token) else {
            return log::warn!("worker {}: reports without being asked", id.slot);
        };
        let (config, runtime, draining) = (&self.config, self.orders.state(), self.is_draining());
        let limits = |pool: &PoolKey| limits(config, runtime, pool, draining);
        self.ledger.adopt(id, reports, limits, self.now);
    }

    /// Tells everybody what kind of secrets the database has.
    fn on_usual(&mut self, usual: UsualSecrets) {
        // Who has seen less, or something else first, is told as well.
        if self.usual.merge(usual) || self.usual != usual {
            self.tell_all(&ToWorker::Usual(self.usual));
        }
    }

    /// Tells everybody about a host that speaks plain 3.0; one that was asked
    /// under an earlier configuration is asked again.
    fn on_old_host(&mut self, version: u64, host: String) {
        if version == self.config_version && self.old_hosts.insert(&host) {
            log::info!("{host}: speaks protocol 3.0 only");
            self.tell_all(&ToWorker::OldHost { host });
        }
    }
}

/// The limits of a pool. One that is paused, or a group that drains, needs
/// nothing beforehand.
pub(super) fn limits(
    config: &pgskein_config::Config,
    runtime: &RuntimeState,
    pool: &PoolKey,
    draining: bool,
) -> Limits {
    let rests = draining || runtime.is_paused(&pool.database);
    let settings = pool.settings(config);
    Limits {
        pool_size: settings.pool_size,
        min_pool_size: if rests { 0 } else { settings.min_pool_size },
        reserve_pool_size: settings.reserve_pool_size,
        reserve_pool_timeout: settings.reserve_pool_timeout,
        max_db_connections: settings.max_db_connections,
        max_user_connections: settings.max_user_connections,
        login_retry: config.settings.server_login_retry,
    }
}

fn note(worker: Slot, slot: Slot, what: &str) {
    log::debug!("worker {worker}: {what} the listeners of slot {slot}");
}

//! Idle: servers and pools that nobody uses, and how long they are kept.
//!
//! Where `min_pool_size` is set, how many of a pool are open is known to the
//! ledger only, so it is asked before the last ones are closed.

use std::collections::HashSet;

use pgskein_pool::control::{LeaseId, ToSupervisor};
use pgskein_pool::pools::{Pool, PoolId};

use super::Worker;
use super::client::Stage;
use super::reason::ServerReason;
use super::server::{Server, ServerState};
use super::sweep::past;

impl Worker {
    /// Closes idle servers that were not used for long, that the ledger wants
    /// back, or that are too old.
    pub(super) fn sweep_idle(&mut self) {
        let now = self.now;
        if self.control.is_none() {
            // Without a supervisor there is no lease for another.
            return;
        }
        let timeout = self.config.settings.server_idle_timeout;
        let mut closed = Vec::new();
        let mut given = Vec::new();
        let mut asked = Vec::new();
        for (_, pool) in self.pools.iter_mut() {
            given.extend(pool.poll_unused(now));
            let idle: Vec<_> = pool.idle().collect();
            let keeps = pool.settings.min_pool_size > 0;
            let overdue = idle.iter().any(|(_, since)| past(*since, timeout, now));
            let asks = keeps && overdue && pool.asks_to_close(now);
            for (id, since) in idle {
                let Some(server) = self.servers.get(id) else {
                    continue;
                };
                let idle_for_long = past(since, timeout, now);
                if idle_for_long && !keeps {
                    closed.push((id, ServerReason::Idle));
                } else if server.used && now >= server.expires && pool.may_retire(now) {
                    closed.push((id, ServerReason::Lifetime));
                } else if idle_for_long && asks {
                    asked.push(server.lease);
                }
            }
        }
        self.give_up(given);
        let servers = &self.servers;
        self.recalled.retain(|id| servers.get(*id).is_some());
        for (id, reason) in closed {
            self.close_server(id, &reason);
        }
        for lease in asked {
            self.tell_supervisor(&ToSupervisor::MayClose { lease });
        }
    }

    /// The ledger lets a server go that nobody has used for long.
    pub(super) fn let_go(&mut self, lease: LeaseId) {
        let timeout = self.config.settings.server_idle_timeout;
        let now = self.now;
        let known = |server: &Server| {
            server.lease == lease && !matches!(server.state, ServerState::Coming(_))
        };
        let Some(id) = self.servers.ids(known).pop() else {
            return;
        };
        let pool = self.servers.get(id).map(|server| server.pool);
        let idle = pool.and_then(|pool| self.pools.get(pool)).and_then(|pool| {
            let mut idle = pool.idle();
            idle.find_map(|(idle, since)| (idle == id).then_some(since))
        });
        if idle.is_some_and(|since| past(since, timeout, now)) {
            self.close_server(id, &ServerReason::Idle);
        } else {
            self.tell_supervisor(&ToSupervisor::Kept { lease });
        }
    }

    /// Tells the ledger which pools have clients, where their minimum depends
    /// on it.
    pub(super) fn tell_use(&mut self) {
        let has_minimum = |(_, pool): (PoolId, &Pool)| pool.settings.min_pool_size > 0;
        if !self.pools.iter().any(has_minimum) {
            return;
        }
        let used = self.pools_with_clients();
        let mut news = Vec::new();
        for (id, pool) in self.pools.iter_mut() {
            if let Some(in_use) = pool.poll_in_use(used.contains(&id)) {
                let pool = pool.key.clone();
                news.push(ToSupervisor::InUse { pool, in_use });
            }
        }
        for message in news {
            self.tell_supervisor(&message);
        }
    }

    /// Removes pools that nobody has used for long.
    pub(super) fn sweep_pools(&mut self) {
        let settings = &self.config.settings;
        let (all, auto) = (settings.pool_idle_timeout, settings.autodb_idle_timeout);
        let never = all.is_zero() && auto.is_zero();
        // Without a supervisor its leases are kept for it.
        if never || self.control.is_none() || !self.pools.any_unused() {
            return;
        }
        let used = self.pools_with_clients();
        let databases = &self.config.databases;
        let timeout = |pool: &Pool| {
            let auto = Some(auto).filter(|_| !databases.contains_key(&pool.key.database));
            let set = [Some(all), auto].into_iter().flatten();
            let shortest = set.filter(|timeout| !timeout.is_zero()).min();
            shortest.unwrap_or_default()
        };
        let has_client = |id| used.contains(&id);
        for (id, pool) in self.pools.remove_unused(has_client, timeout, self.now) {
            log::debug!("{}: unused for long and removed", pool.key);
            self.warned.remove(&id);
            self.count_removed(&pool);
            self.credentials.forget_pool(&pool.key);
            self.places.forget_pool(id);
            if let Some(welcome) = pool.welcome {
                self.parameters.release(welcome.parameters);
            }
            self.tell_supervisor(&ToSupervisor::Unused { pool: pool.key });
        }
    }

    fn pools_with_clients(&self) -> HashSet<PoolId> {
        let clients = self.clients.iter();
        let pools = clients.filter_map(|(_, client)| match &client.stage {
            Stage::Session(session) => Some(session.pool),
            Stage::Login(login) => login.pool,
            _ => None,
        });
        pools.collect()
    }
}

//! Reload: a new configuration, prepared by all workers before any uses it.

use pgskein_config::{Config, Finding, Sources};
use pgskein_pool::control::ToSupervisor;

use super::Worker;
use super::client::Stage;
use super::login::Step;
use super::reason::{Reason, ServerReason};
use super::server::{Retire, ServerState};
use super::watch::resets_always;
use crate::tls::Secured;

/// A configuration that waits for its commit.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its version.
    pub version: u64,
    config: Config,
    /// What connections will be encrypted by.
    tls: Secured,
}

impl Worker {
    /// Gets ready for a configuration, and says so.
    pub(super) fn prepare(&mut self, version: u64, sources: &[u8]) {
        let refused = |reason| ToSupervisor::Refused { version, reason };
        let Some(sources) = Sources::decode(sources) else {
            let reason = "the configuration cannot be decoded".to_owned();
            return self.tell_supervisor(&refused(reason));
        };
        let made = sources
            .config()
            .and_then(|config| match Secured::ready(&config) {
                Ok(tls) => Ok((config, tls)),
                Err(finding) => Err(vec![finding]),
            });
        match made {
            Ok((config, tls)) => {
                self.prepared = Some(Prepared {
                    version,
                    config,
                    tls,
                });
                self.tell_supervisor(&ToSupervisor::Prepared { version });
            }
            Err(findings) => {
                let findings: Vec<_> = findings.iter().map(Finding::to_string).collect();
                self.tell_supervisor(&refused(findings.join("; ")));
            }
        }
    }

    /// Puts the prepared configuration into effect.
    pub(super) fn commit(&mut self, version: u64) {
        let prepared = self
            .prepared
            .take_if(|prepared| prepared.version == version);
        let Some(Prepared {
            mut config, tls, ..
        }) = prepared
        else {
            return log::error!("configuration {version} was never prepared");
        };
        // What cannot change while running keeps its value; the supervisor
        // has said so.
        config.keep_restart_settings(&self.config.settings);
        let old = std::mem::replace(&mut self.config, config);
        self.refuse_outdated_logins(&old);
        self.tls = tls;
        self.tls.use_tickets(&self.config, &self.tickets);
        self.config_version = version;
        self.old_hosts.forget();
        crate::logging::apply(&self.config.settings);
        self.listeners.tune(&self.config.settings);
        let balance = self.config.settings.balance;
        self.listeners.wake_one(self.poll.registry(), balance);
        self.credentials.reconfigure(&self.config);
        self.host_names.reconfigure(&self.config);
        self.limit_statements();
        self.reconfigure_pools(&old);
        self.reconfigure_peers();
        self.count_present();
        log::info!("configuration {version} in effect");
        self.tell_supervisor(&ToSupervisor::Committed { version });
    }

    /// Refuses those who are proving by what is no longer true who they are: a
    /// login is of one configuration.
    fn refuse_outdated_logins(&mut self, old: &Config) {
        let new = &self.config;
        let changed = old.settings.auth_type != new.settings.auth_type
            || (&old.hba, &old.ident) != (&new.hba, &new.ident)
            || old.checker != new.checker
            || old.ldap_authorities != new.ldap_authorities;
        let believed = new.believes_clients_like(old);
        let outdated = self.clients.ids(|client| match &client.stage {
            Stage::Login(login) => {
                let proving = !login.is_before_startup() && !matches!(login.step, Step::Greeting);
                let asked =
                    || old.secret_source(&login.database) != new.secret_source(&login.database);
                // It was let on by a certificate, or in the clear, as it would not be
                // now; who has not said what it wants is looked at when it does.
                let suspect = || {
                    !believed && (client.stream.tls().is_some() || client.lacks_tls(&new.settings))
                };
                proving
                    && (changed
                        || suspect()
                        || asked()
                        || old.auth.get(&login.user) != new.auth.get(&login.user))
            }
            _ => false,
        });
        self.close_waiting(outdated, &Reason::LoginOutdated);
    }

    fn reconfigure_pools(&mut self, old: &Config) {
        let changed = self.config.changed_databases(old);
        let mut retired = Vec::new();
        let mut removed = Vec::new();
        let mut repooled = Vec::new();
        let cleans_anew = resets_always(&old.settings) != resets_always(&self.config.settings)
            || (old.settings.max_prepared_statements == 0)
                != (self.config.settings.max_prepared_statements == 0);
        for (id, pool) in self.pools.iter_mut() {
            pool.forget_failure();
            let before = pool.settings;
            pool.configure(pool.key.settings(&self.config));
            let now = &pool.settings;
            if cleans_anew
                || (now.pool_mode, now.session_state) != (before.pool_mode, before.session_state)
            {
                repooled.push(id);
            }
            let database = &pool.key.database;
            let wildcard = !self.config.databases.contains_key(database);
            if self.config.database(database).is_none() {
                removed.push(id);
                retired.push(id);
            } else if changed.contains(database)
                || (wildcard && changed.iter().any(|name| name == "*"))
            {
                retired.push(id);
            }
            if retired.contains(&id)
                && let Some(welcome) = pool.welcome.take()
            {
                self.parameters.release(welcome.parameters);
            }
        }
        self.addresses.forget();
        self.places.forget();
        for id in self.servers.ids(|_| true) {
            let born = self
                .servers
                .get(id)
                .map(|server| (server.pool, server.opened));
            let expires = born.map(|(pool, opened)| self.expiry(pool, opened));
            if let (Some(server), Some(expires)) = (self.servers.get_mut(id), expires) {
                server.expires = expires;
            }
        }
        for id in self.servers.ids(|server| repooled.contains(&server.pool)) {
            if let Some(server) = self.servers.get_mut(id)
                && server.used
                && !matches!(
                    server.state,
                    ServerState::Idle | ServerState::Closing { .. }
                )
            {
                // Nobody has watched what its client does.
                server.retire = Some(Retire::Changed);
            }
        }
        for id in self.servers.ids(|server| retired.contains(&server.pool)) {
            let Some(server) = self.servers.get_mut(id) else {
                continue;
            };
            server.retire = Some(Retire::Changed);
            match server.state {
                ServerState::Idle => self.close_server(id, &ServerReason::DatabaseChanged),
                ServerState::Linked(client) if removed.contains(&server.pool) => {
                    self.close_client(client, &Reason::DatabaseRemoved);
                }
                ServerState::Linked(client) if server.owner.is_some() => {
                    // Its release would be its end.
                    self.close_client(client, &Reason::DatabaseChanged);
                }
                _ => {}
            }
        }
        if !self.config.secures_servers_like(old) {
            self.retire_secured();
        }
        let lost = self.clients.ids(|client| {
            client
                .session()
                .is_some_and(|session| removed.contains(&session.pool))
        });
        self.close_waiting(lost, &Reason::DatabaseRemoved);
        let pools: Vec<_> = self.pools.iter().map(|(id, _)| id).collect();
        for id in pools {
            self.wish(id);
        }
    }
}

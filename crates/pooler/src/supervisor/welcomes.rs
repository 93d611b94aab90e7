//! What servers report at their login, passed on to workers that have none.

use mio::Token;
use pgskein_config::Config;
use pgskein_pool::control::{PoolKey, ToWorker};

use super::Supervisor;

impl Supervisor {
    /// A worker has clients to greet, and no server of their pool.
    pub(crate) fn on_ask_welcome(&mut self, token: Token, pool: PoolKey) {
        if let Some(worker) = self.workers.get(&token) {
            let burst = self.welcomes.ask(worker.id, &pool).to_vec();
            self.tell(token, &ToWorker::Welcome { pool, burst });
        }
    }

    /// A server has logged in at a worker; one that was opened under an earlier
    /// configuration may be another one by now.
    pub(crate) fn on_welcome(&mut self, version: u64, pool: PoolKey, burst: Vec<u8>) {
        if version != self.config_version {
            return;
        }
        let waiting = self.welcomes.keep(&pool, &burst);
        let message = ToWorker::Welcome { pool, burst };
        for worker in waiting {
            self.tell(Self::token_of(worker), &message);
        }
    }

    /// Forgets what is not sure to be true after a change of configuration.
    pub(crate) fn renew_welcomes(&mut self, old: Option<&Config>) {
        let Some(old) = old else {
            return self.welcomes.forget(|_| false);
        };
        let changed = self.config.changed_databases(old);
        let config = &self.config;
        self.welcomes.forget(|pool| {
            let own = config.databases.contains_key(&pool.database);
            let name = if own { pool.database.as_str() } else { "*" };
            !changed
                .iter()
                .any(|changed| changed == name || *changed == pool.database)
        });
    }
}

//! Clean: undoing what a client has changed before the next one comes.
//!
//! Only what was changed is undone, in one query. A server on which that does
//! not succeed is closed. After settings were reset, `connect_query` runs once
//! more.

use pgskein_config::SessionState;
use pgskein_pool::parameters::Parameters;
use pgskein_pool::pools::{Pool, PoolId};
use pgskein_pool::slab::{ServerId, Slab};
use pgskein_pool::text::{self, Classes};

use super::Worker;
use super::client;
use super::server::{OwnQuery, Server};

impl Worker {
    /// Begins to clean a server, if that is needed; it is lent afterwards.
    #[inline]
    pub(super) fn clean(&mut self, id: ServerId) -> bool {
        self.servers
            .get(id)
            .is_some_and(|server| server.dirty.any())
            && self.undo(id)
    }

    /// Notes that a client keeps the server that it has changed.
    #[cold]
    pub(super) fn note_pinned(&mut self, id: ServerId) {
        if let Some(server) = self.servers.get(id) {
            let changed = server.leftovers(&self.parameters);
            self.warn_of_changes(server.pool, changed);
        }
    }

    /// The `connect_query` of a server's database, empty if there is none.
    pub(super) fn connect_query(&self, pool: PoolId) -> String {
        self.pools
            .get(pool)
            .and_then(|pool| self.config.database(&pool.key.database))
            .and_then(|database| database.connect_query.clone())
            .unwrap_or_default()
    }

    #[cold]
    fn undo(&mut self, id: ServerId) -> bool {
        let Some(server) = self.servers.get_mut(id) else {
            return false;
        };
        let changed = server.leftovers(&self.parameters);
        server.dirty = Classes::NONE;
        let (pool, retire) = (server.pool, server.retire.is_some());
        let connect_query = self.connect_query(pool);
        // Only that can have been taken back.
        let changed = match changed.contains(Classes::BACK) && !connect_query.is_empty() {
            true => changed.without(Classes::BACK) | Classes::GUC | Classes::ROLE,
            false => changed.without(Classes::BACK),
        };
        let state = self.pools.get(pool).map(|pool| pool.settings.session_state);
        if changed.is_empty() || retire || state == Some(SessionState::Pass) {
            return false;
        }
        self.warn_of_changes(pool, changed);
        self.cell.add_cleaned();
        let ours = text::classes(connect_query.as_bytes(), &|_| None);
        // It may set what its text does not show.
        let again = !connect_query.is_empty()
            && (changed.contains(Classes::GUC) || changed.intersects(ours));
        let classes = if again { changed | ours } else { changed };
        self.run_own(id, OwnQuery::Clean { classes, again });
        true
    }

    /// Tells once for each pool that its clients change session state.
    fn warn_of_changes(&mut self, id: PoolId, changed: Classes) {
        if !self.warned.insert(id) {
            return;
        }
        let Some(pool) = self.pools.get(id) else {
            return;
        };
        let mode = pool.settings.pool_mode;
        let what = match pool.settings.session_state {
            SessionState::Pin => "a client that does keeps its server connection until it leaves",
            _ => {
                "that is undone before others get the server connection; \
                 session_state = pin lets clients keep it, pass passes it on"
            }
        };
        log::warn!(
            "{}: clients change session state in {mode} mode ({changed}): {what}",
            pool.key,
        );
    }
}

/// The server that a client keeps, since it has changed it.
#[inline]
pub(super) fn is_pinned(
    pool: Option<&Pool>,
    session: client::SessionState,
    servers: &Slab<ServerId, Server>,
    parameters: &Parameters,
) -> Option<ServerId> {
    if pool?.settings.session_state != SessionState::Pin {
        return None;
    }
    let client::SessionState::Linked(id) = session else {
        return None;
    };
    let changed = servers.get(id)?.leftovers(parameters);
    changed.without(Classes::BACK).any().then_some(id)
}

//! Replication: clients that get a server of their own.
//!
//! A client that asks for `replication` is not greeted with what its pool
//! knows: a server is opened for it, with its startup parameters, and what that
//! server says at its login is the greeting. From then on they are linked until
//! one of them leaves, and then the other is closed.
//!
//! Source: PostgreSQL documentation, "Streaming Replication Protocol".

use std::time::Instant;

use pgskein_pool::control::ToSupervisor;
use pgskein_pool::pools::{HOPE, PoolId};
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::{Replication, StartupMessage, TransactionStatus, write};

use super::Worker;
use super::cancel::Purpose;
use super::client::{Carrier, Rest, Session, SessionState, Stage};
use super::login::Login;
use super::reason::{Reason, ServerReason};
use super::server::ServerState;
use super::sweep::past;

/// What a replication client needs of its server.
#[derive(Debug)]
pub(super) struct ReplicationLogin {
    mode: Replication,
    /// Startup parameters that are not followed, as they were sent.
    parameters: Vec<(String, Vec<u8>)>,
    /// Since when it waits for its server.
    since: Option<Instant>,
    /// Its server, while that logs in.
    server: Option<ServerId>,
}

impl ReplicationLogin {
    /// What a startup packet asks for; `None` for an ordinary session.
    ///
    /// # Errors
    ///
    /// [`Reason::Startup`] when that is no value of the parameter.
    pub(super) fn of(message: &StartupMessage<'_>) -> Result<Option<Box<Self>>, Reason> {
        let Some(value) = message.parameter(b"replication") else {
            return Ok(None);
        };
        let mode = Replication::parse(value).map_err(|error| Reason::Startup {
            sqlstate: error.sqlstate(),
            message: error.to_string(),
            hint: Some(error.hint().to_owned()),
        })?;
        Ok(mode.map(|mode| {
            Box::new(Self {
                mode,
                parameters: Vec::new(),
                since: None,
                server: None,
            })
        }))
    }

    /// What it asks for.
    pub(super) fn mode(&self) -> Replication {
        self.mode
    }

    /// The server that logs in for the client.
    pub(super) fn server(&self) -> Option<ServerId> {
        self.server
    }
}

impl Login {
    /// Keeps a startup parameter for the server, if the client gets one of its
    /// own.
    pub(super) fn keep(&mut self, name: &[u8], value: &[u8]) {
        if let Some(own) = &mut self.replication {
            let name = String::from_utf8_lossy(name).into_owned();
            own.parameters.push((name, value.to_vec()));
        }
    }
}

impl Worker {
    /// Has a replication client that has proved who it is wait for a server of
    /// its own; false for any other client.
    ///
    /// # Errors
    ///
    /// [`Reason::ServerFailed`] when the pool can open no server now.
    pub(super) fn enter_replication(
        &mut self,
        id: ClientId,
        pool_id: PoolId,
    ) -> Result<bool, Reason> {
        let (retry, now) = (self.login_retry(), self.now);
        let Some(own) = self.replication_login(id) else {
            return Ok(false);
        };
        own.since = Some(now);
        if let Some(pool) = self.pools.get_mut(pool_id) {
            if let Some(failure) = pool.failure(retry, now) {
                return Err(Reason::login_failing(failure));
            }
            pool.request_dedicated(id, now);
            self.wish(pool_id);
            self.make_way_in(pool_id);
            self.ticker.within(HOPE);
        }
        Ok(true)
    }

    /// Closes idle servers for replication clients that would get none
    /// otherwise.
    pub(super) fn make_way(&mut self) {
        let pools = self.pools.iter().filter(|(_, pool)| pool.suitors() > 0);
        for id in pools.map(|(id, _)| id).collect::<Vec<_>>() {
            self.make_way_in(id);
        }
    }

    fn make_way_in(&mut self, id: PoolId) {
        let now = self.now;
        while let Some(server) = self.pools.get_mut(id).and_then(|pool| pool.poll_way(now)) {
            self.close_server(server, &ServerReason::Evicted);
        }
    }

    /// Finds out whether a server whose login begins is for one client; gives
    /// the startup parameters that it gets from that client, none for a server
    /// of the pool.
    pub(super) fn claim_server(&mut self, id: ServerId) -> Vec<(String, Vec<u8>)> {
        let Some(server) = self.servers.get_mut(id) else {
            return Vec::new();
        };
        // One that is retired already would have to leave its client at once.
        if server.owner.is_none()
            && server.retire.is_none()
            && let Some((owner, pool)) = self.pools.claim(server.pool)
        {
            server.owner = Some(owner);
            server.pool = pool;
            let lease = server.lease;
            self.tell_supervisor(&ToSupervisor::Dedicated { lease });
            if let Some(own) = self.replication_login(owner) {
                own.server = Some(id);
            }
        }
        let owner = self.servers.get(id).and_then(|server| server.owner);
        let client = owner.and_then(|owner| self.clients.get(owner));
        let Some(Stage::Login(login)) = client.map(|client| &client.stage) else {
            return Vec::new();
        };
        let Some(own) = &login.replication else {
            return Vec::new();
        };
        let mode = ("replication".to_owned(), own.mode.value().into());
        let followed = login.parameters.iter().map(|wish| {
            let name = self.parameters.name(wish.position);
            (name.to_owned(), wish.value.clone())
        });
        let mut parameters = vec![mode];
        parameters.extend(followed);
        parameters.extend(own.parameters.iter().cloned());
        parameters
    }

    /// Greets the client that a server was opened for, now that the server has
    /// logged in; `fixed` are its ParameterStatus messages of settings that are
    /// not followed.
    pub(super) fn greet_owner(&mut self, id: ServerId, fixed: &[u8]) {
        let server = self.servers.get(id);
        let (retire, owner) = (
            server.is_some_and(|server| server.retire.is_some()),
            server.and_then(|server| server.owner),
        );
        let Some((owner, mode)) = owner.and_then(|owner| {
            let own = self.replication_login(owner)?;
            Some((owner, own.mode))
        }) else {
            return self.lose_server(id, &ServerReason::OwnerLeft);
        };
        self.note_login(id, Some(mode));
        if retire {
            return self.lose_server(id, &ServerReason::DatabaseChanged);
        }
        if let Err(reason) = self.try_greet_owner(id, owner, mode, fixed) {
            return self.close_client(owner, &reason);
        }
        self.flush_and_wake(owner);
    }

    fn try_greet_owner(
        &mut self,
        id: ServerId,
        owner: ClientId,
        mode: Replication,
        fixed: &[u8],
    ) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(owner) else {
            return Ok(());
        };
        let version = login.version;
        let key = self.issue_key(version)?;
        let now = self.now;
        let (Some(client), Some(server)) = (self.clients.get_mut(owner), self.servers.get_mut(id))
        else {
            return Ok(());
        };
        server.state = ServerState::Linked(owner);
        server.used = true;
        let parameters = self.parameters.keep(server.parameters);
        let way_in = client.way_in();
        let out = client.outbox.buffer();
        write::authentication_ok(out);
        out.extend_from_slice(fixed);
        for (name, value) in self.parameters.values(parameters) {
            write::parameter_status(out, name.as_bytes(), value);
        }
        write::backend_key_data(out, key.process_id, key.secret());
        write::ready_for_query(out, TransactionStatus::Idle);
        self.keys.insert(key.process_id, owner);
        if let Some(pool) = self.pools.get_mut(server.pool) {
            pool.statistics.on_login();
            pool.statistics.on_assigned();
        }
        client.stage = Stage::Session(Session {
            pool: server.pool,
            state: SessionState::Linked(id),
            rest: Rest::None,
            held: false,
            prepared: None,
            parameters,
            key,
            carrier: Carrier::Never(mode),
            since: now,
            turned: now,
        });
        if self.config.settings.log_connections
            && let Some(client) = self.clients.get(owner)
        {
            let name = self.client_name(client);
            let number = client.number;
            log::info!("c{number} {name}: login, replication={mode}{way_in}");
        }
        Ok(())
    }

    /// Tells the client whose login waits for a server why it gets none.
    pub(super) fn refuse_owner(&mut self, owner: ClientId, reason: &ServerReason) {
        if let Some(own) = self.replication_login(owner) {
            own.server = None;
            let reason = Reason::ServerFailed {
                sqlstate: reason.sqlstate().to_owned(),
                message: reason.text().into_owned(),
            };
            self.close_client(owner, &reason);
        }
    }

    /// Closes a server whose only client has left: Terminate ends a stream, and
    /// anything else as soon as it looks for its next message.
    pub(super) fn close_owned(&mut self, id: ServerId, client_rest: Rest) {
        let reason = match client_rest {
            Rest::Forward(_) => ServerReason::Unclean,
            Rest::None | Rest::Drop(_) => ServerReason::OwnerLeft,
        };
        self.close_server(id, &reason);
    }

    /// Forgets a server that was told to go and has not; what its client has
    /// left running there is cancelled.
    pub(super) fn give_up_closing(&mut self, id: ServerId) {
        let server = self.servers.get(id);
        if server.is_some_and(|server| server.owner.is_some() && server.flow.running()) {
            self.cancel_server(id, Purpose::ClientLeft);
        }
        self.drop_server(id);
    }

    /// Whether a login has waited for a server of its own for longer than a
    /// client may wait for a server.
    pub(super) fn waits_too_long_for_own(&self, login: &Login) -> bool {
        let since = login.replication.as_ref().and_then(|own| own.since);
        let pool = login.pool.and_then(|pool| self.pools.get(pool));
        let (Some(since), Some(pool)) = (since, pool) else {
            return false;
        };
        past(since, pool.settings.query_wait_timeout, self.now)
    }

    fn replication_login(&mut self, id: ClientId) -> Option<&mut ReplicationLogin> {
        let (login, _) = self.login_mut(id)?;
        login.replication.as_deref_mut()
    }
}

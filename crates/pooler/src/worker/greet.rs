//! Greeting: the burst that ends a login.
//!
//! What a server reports at its login is kept for each pool, so that later
//! clients of the pool are greeted without one. The first in the group waits for
//! a server.
//!
//! Source: PostgreSQL documentation, "Start-up" in "Message Flow".

use pgskein_config::{AuthType, DrainNotify};
use pgskein_pool::control::PoolKey;
use pgskein_pool::pools::PoolId;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{CancelKey, KeyPlan, TransactionStatus, Version, write};

use super::Worker;
use super::answer::DISCONNECT_REQUESTED;
use super::auth::random;
use super::client::{Carrier, Client, Rest, Session, SessionState, Stage};
use super::console::{self, Console, Rights};
use super::login::{Login, Step, unsupported};
use super::notices::notice;
use super::reason::Reason;

impl Worker {
    /// Finds the pool of a client that has proved who it is.
    pub(super) fn enter_pool(&mut self, id: ClientId) -> Result<(), Reason> {
        if self.refuses_servers() {
            return Err(Reason::ServerShuttingDown);
        }
        let retry = self.login_retry();
        let now = self.now;
        let any = self.config.settings.auth_type == AuthType::Any;
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        login.step = Step::Greeting;
        let (database_name, user) = (login.database.clone(), login.user.clone());
        let Some(database) = self.config.database(&database_name) else {
            return Err(Reason::NoSuchDatabase(database_name));
        };
        if self.orders.state().is_disabled(&database_name) {
            return Err(Reason::DatabaseDisabled(database_name));
        }
        let login_user = user.clone();
        let user = match &database.user {
            Some(forced) => forced.clone(),
            None if any => {
                return Err(Reason::Startup {
                    sqlstate: "28000",
                    message: "bouncer config error".to_owned(),
                    hint: Some(format!(
                        "With auth_type = any the database \"{database_name}\" needs a user of its own."
                    )),
                });
            }
            None => user,
        };
        let key = PoolKey {
            database: database_name,
            user,
        };
        if self.claim(id, &key.database, &login_user)? {
            return Ok(());
        }
        self.note_user(id, &login_user, &key.user);
        let config = &self.config;
        let pool_id = self.pools.find(&key, || key.settings(config));
        self.pause_new_pool(pool_id);
        if let Some((login, _)) = self.login_mut(id) {
            login.pool = Some(pool_id);
        }
        if self.enter_replication(id, pool_id)? {
            return Ok(());
        }
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return Ok(());
        };
        if pool.welcome.is_some() {
            self.greet(id);
            return Ok(());
        }
        if let Some(failure) = pool.failure(retry, now) {
            return Err(Reason::login_failing(failure));
        }
        pool.greet_later(id, now);
        self.ask_for_welcome(pool_id);
        self.wish(pool_id);
        Ok(())
    }

    /// Lets a client in to the console.
    pub(super) fn enter_console(&mut self, id: ClientId, rights: Rights) -> Result<(), Reason> {
        let key = self.issue_key(Version::V3_0)?;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let Stage::Login(login) = &client.stage else {
            return Ok(());
        };
        let console = Console::new(login.user.clone(), rights);
        let way_in = client.way_in();
        let out = client.outbox.buffer();
        write::authentication_ok(out);
        console::greeting(out, key.process_id, key.secret());
        client.stage = Stage::Console(Box::new(console));
        self.counting.console.client_logins += 1;
        self.log_login(id, &way_in);
        Ok(())
    }

    /// Greets the clients that waited for the pool's first server.
    pub(super) fn greet_waiting(&mut self, pool_id: PoolId) {
        let waiting = match self.pools.get_mut(pool_id) {
            Some(pool) => pool.take_greeting(),
            None => return,
        };
        for id in waiting {
            self.greet(id);
            self.flush_and_wake(id);
        }
    }

    /// Whether a client that has to wait for a server is told what keeps servers
    /// from being opened.
    ///
    /// Who has waited when that went wrong goes on waiting: a server that is
    /// started anew costs it time, and no error.
    ///
    /// # Errors
    ///
    /// [`Reason::ServerFailed`] when there is no server, and none is tried soon.
    pub(super) fn check_hope(&self, pool_id: PoolId) -> Result<(), Reason> {
        let pool = self.pools.get(pool_id);
        let failure = pool.and_then(|pool| pool.hopeless_failure(self.login_retry(), self.now));
        failure.map_or(Ok(()), |failure| Err(Reason::login_failing(failure)))
    }

    /// Refuses the clients that waited for the pool's first server.
    pub(super) fn refuse_greeting(&mut self, pool_id: PoolId) {
        let retry = self.login_retry();
        let now = self.now;
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return;
        };
        let Some(failure) = pool.failure(retry, now).cloned() else {
            return;
        };
        let reason = Reason::ServerFailed {
            sqlstate: failure.sqlstate,
            message: failure.message,
        };
        let mut clients = pool.take_greeting();
        clients.extend(pool.take_suitors());
        self.close_waiting(clients, &reason);
        self.refuse_questions(pool_id, &reason);
    }

    /// Ends a login: the client has a session from now on.
    fn greet(&mut self, id: ClientId) {
        if let Err(reason) = self.try_greet(id) {
            self.close_client(id, &reason);
        }
    }

    fn try_greet(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some(Client {
            stage: Stage::Login(login),
            ..
        }) = self.clients.get(id)
        else {
            return Ok(());
        };
        let version = login.version;
        self.check_wishes(login)?;
        let key = self.issue_key(version)?;
        let notify = self.config.settings.drain_notify;
        let now = self.now;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let Stage::Login(login) = &client.stage else {
            return Ok(());
        };
        let Some(pool_id) = login.pool else {
            return Ok(());
        };
        let Some(welcome) = self
            .pools
            .get(pool_id)
            .and_then(|pool| pool.welcome.as_ref())
        else {
            return Ok(());
        };
        let mut parameters = self.parameters.keep(welcome.parameters);
        for wish in &login.parameters {
            if self.parameters.knows(welcome.parameters, wish.position) {
                parameters = self.parameters.with(parameters, wish.position, &wish.value);
            }
        }
        let carrier = carrier(login, notify);
        let way_in = client.way_in();
        let out = client.outbox.buffer();
        write::authentication_ok(out);
        out.extend_from_slice(&welcome.fixed);
        for (name, value) in self.parameters.values(parameters) {
            write::parameter_status(out, name.as_bytes(), value);
        }
        if carrier == Carrier::Parameter && tells_by_parameter(notify) {
            write::parameter_status(out, DISCONNECT_REQUESTED, b"off");
        }
        write::backend_key_data(out, key.process_id, key.secret());
        if !self.config.settings.login_notify_message.is_empty() {
            notice(out, &self.config.settings.login_notify_message);
        }
        write::ready_for_query(out, TransactionStatus::Idle);
        self.keys.insert(key.process_id, id);
        if let Some(pool) = self.pools.get_mut(pool_id) {
            pool.statistics.on_login();
        }
        client.stage = Stage::Session(Session {
            pool: pool_id,
            state: SessionState::Idle,
            rest: Rest::None,
            held: false,
            prepared: None,
            parameters,
            key,
            carrier,
            since: now,
            turned: now,
        });
        self.log_login(id, &way_in);
        if !self.drains.is_empty() {
            self.begin_session(id);
        }
        Ok(())
    }

    /// Refuses a login that wishes for parameters that its server does not
    /// report: nobody would notice that they are to be set back.
    fn check_wishes(&self, login: &Login) -> Result<(), Reason> {
        let pool = login.pool.and_then(|pool| self.pools.get(pool));
        let Some(welcome) = pool.and_then(|pool| pool.welcome.as_ref()) else {
            return Ok(());
        };
        for wish in &login.parameters {
            let name = self.parameters.name(wish.position);
            let ignored =
                || self.ignores(name.as_bytes()) || (wish.in_options && self.ignores(b"options"));
            if !self.parameters.knows(welcome.parameters, wish.position) && !ignored() {
                let hint = "The server does not report this parameter.";
                return Err(unsupported(name, wish.in_options, Some(hint)));
            }
        }
        Ok(())
    }

    /// Draws a cancel key that no other client of this worker has.
    pub(super) fn issue_key(&self, version: Version) -> Result<CancelKey, Reason> {
        let secret_len = if version >= Version::V3_2 {
            self.config.cancel_key_length()
        } else {
            SHORT_SECRET
        };
        let plan = KeyPlan {
            slot: self.slot,
            peer_id: self.config.peer_id,
            secret_len,
        };
        loop {
            let key = CancelKey::issue(&plan, random()?);
            if self.owner(key.process_id, key.secret()).is_none() {
                return Ok(key);
            }
        }
    }

    fn log_login(&self, id: ClientId, way_in: &str) {
        if self.config.settings.log_connections
            && let Some(client) = self.clients.get(id)
        {
            let name = self.client_name(client);
            log::info!("c{} {name}: login{way_in}", client.number);
        }
    }
}

/// How a client can be asked to go.
fn carrier(login: &Login, notify: DrainNotify) -> Carrier {
    if login.goaway && tells_by_goaway(notify) {
        Carrier::GoAway
    } else {
        Carrier::Parameter
    }
}

/// Whether clients that take GoAway are asked to go by it.
pub(super) fn tells_by_goaway(notify: DrainNotify) -> bool {
    matches!(notify, DrainNotify::Both | DrainNotify::GoAway)
}

/// Whether clients are asked to go by a parameter.
pub(super) fn tells_by_parameter(notify: DrainNotify) -> bool {
    matches!(notify, DrainNotify::Both | DrainNotify::Parameter)
}

/// Secrets of cancel keys before protocol 3.2, in bytes.
const SHORT_SECRET: usize = 4;

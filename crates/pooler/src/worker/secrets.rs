//! Secrets of users who are not in `auth_file`: the database is asked.
//!
//! A login that needs such a secret waits for a server of a pool that no client
//! ever gets a server of, so that nobody can have changed what the query finds
//! there. Every login asks anew. Who is not known is asked for a proof as all
//! others are.
//!
//! Source: PostgreSQL documentation, "Extended Query" in "Message Flow".

use pgskein_config::SecretText;
use pgskein_pool::control::{PoolKey, ToSupervisor};
use pgskein_pool::pools::{Failure, PoolId, Request};
use pgskein_pool::secret_query::{Answer, Malformed, SecretQuery, Unfit};
use pgskein_pool::slab::{ClientId, ServerId};
use pgskein_protocol::scram::ScramKeys;
use pgskein_protocol::tag::backend;
use pgskein_protocol::{Frame, ScramSecret, TransactionStatus, backend as messages};
use zeroize::Zeroize;

use super::Worker;
use super::admission::Method;
use super::answer::DISCONNECT_REQUESTED;
use super::client::Stage;
use super::login::Step;
use super::reason::{CONNECTION_FAILURE, Reason, ServerReason};
use super::server::{OwnQuery, ServerState};
use super::stream::Filled;
use super::sweep::after;

/// What was found out about the user of a login.
#[derive(Debug)]
pub(super) enum Fetched {
    /// Nobody has this name.
    Nobody,
    /// No password does.
    NoPassword,
    /// The text of the secret.
    Secret(SecretText),
}

/// A question that a server answers.
#[derive(Debug)]
pub(super) struct Question {
    /// The login that waits for it.
    client: ClientId,
    query: SecretQuery,
}

impl Worker {
    /// Has a login wait for what the database knows of its user, if it is to be
    /// asked.
    ///
    /// # Errors
    ///
    /// [`Reason::Unanswered`] when nobody can be asked.
    pub(super) fn ask_for_secret(&mut self, id: ClientId, method: Method) -> Result<bool, Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(false);
        };
        let (database, user) = (login.database.clone(), login.user.clone());
        if matches!(method, Method::Any | Method::Checked) || self.config.auth.contains_key(&user) {
            return Ok(false);
        }
        let Some(source) = self.config.secret_source(&database) else {
            return Ok(false);
        };
        let key = PoolKey::asking(source.database, source.user);
        if self.config.database(&key.database).is_none() && method != Method::Trust {
            // Only who has proved who he is learns which databases there are; a
            // user whom nobody can be asked about proves nothing.
            if let Some((login, _)) = self.login_mut(id) {
                login.fetched = Some(Fetched::Nobody);
            }
            return Ok(false);
        }
        if self.refuses_servers() {
            return Err(Reason::ServerShuttingDown);
        }
        if self.config.database(&key.database).is_none() {
            return Err(Reason::NoSuchDatabase(key.database));
        }
        if self.orders.state().is_disabled(&key.database) {
            let text = format!("authentication database \"{}\" is disabled", key.database);
            return Err(unanswered("57P03", text));
        }
        let config = &self.config;
        let pool = self.pools.find(&key, || key.settings(config));
        self.pause_new_pool(pool);
        if let Some((login, _)) = self.login_mut(id) {
            login.step = Step::Asking(method);
            login.pool = Some(pool);
        }
        self.request_for_question(id, pool)?;
        Ok(true)
    }

    fn request_for_question(&mut self, id: ClientId, pool_id: PoolId) -> Result<(), Reason> {
        let (stale, now) = (self.stale, self.now);
        let Some(pool) = self.pools.get_mut(pool_id) else {
            return Ok(());
        };
        match pool.request(id, false, stale, now) {
            Request::Link(server) => {
                let unheard = self.servers.get(server);
                if unheard.is_some_and(|server| server.stream.readable()) && !self.hear_idle(server)
                {
                    return self.request_for_question(id, pool_id);
                }
                self.put_question(id, server);
                Ok(())
            }
            waits => {
                if let Request::Test(server) = waits {
                    self.run_own(server, OwnQuery::Check);
                }
                self.wish(pool_id);
                self.check_hope(pool_id).map_err(|reason| {
                    let sqlstate = reason.sqlstate().unwrap_or_default().to_owned();
                    unanswered(&sqlstate, reason.text().into_owned())
                })
            }
        }
    }

    /// Puts the question of a login to a server that is free for it.
    pub(super) fn put_question(&mut self, client: ClientId, id: ServerId) {
        let login = match self.clients.get(client).map(|client| &client.stage) {
            Some(Stage::Login(login)) => Some(login),
            _ => None,
        };
        let source = login.and_then(|login| {
            let source = self.config.secret_source(&login.database)?;
            Some((login, source))
        });
        let Some((login, source)) = source else {
            debug_assert!(false, "a client that asks nothing was in the queue");
            return self.lend(id);
        };
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let out = server.outbox.buffer();
        let query = SecretQuery::ask(login.user.clone(), source.query, out);
        server.used = true;
        server.state = ServerState::Own {
            query: OwnQuery::Secret,
            deadline: after(self.now, self.config.settings.client_login_timeout),
        };
        self.questions.insert(id, Question { client, query });
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
    }

    /// Reads what a server answers.
    pub(super) fn question_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            return self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
        if !server.stream.readable() {
            return;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = match server.stream.fill(&mut server.inbox, &mut scratch) {
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(ServerReason::Lost),
            Ok(Filled::Scratch(end)) => {
                let bytes = scratch.get_mut(..end).unwrap_or_default();
                let outcome = self.take_answer(id, bytes);
                bytes.zeroize();
                outcome
            }
            Ok(Filled::Inbox(mut bytes)) => {
                let outcome = self.take_answer(id, &bytes);
                bytes.zeroize();
                outcome
            }
            Err(error) => Err(ServerReason::of_socket(&error)),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) => {
                let server = self.servers.get(id);
                if server.is_some_and(|server| server.stream.readable()) {
                    self.wake_server(id);
                }
            }
            Err(reason) => self.lose_server(id, &reason),
        }
    }

    fn take_answer(&mut self, id: ServerId, bytes: &[u8]) -> Result<(), ServerReason> {
        let mut rest = bytes;
        let mut done = None;
        while done.is_none()
            && let Some((frame, behind)) =
                Frame::split(rest, ANSWER_MAX).map_err(|e| ServerReason::Protocol(e.to_string()))?
        {
            rest = behind;
            match frame.tag {
                backend::GO_AWAY => self.on_go_away(id),
                backend::PARAMETER_STATUS => {
                    let asks = messages::parameter_status(frame.body);
                    if asks == Some((DISCONNECT_REQUESTED, b"on")) {
                        self.asked_to_go(id);
                    }
                }
                tag => {
                    let Some(question) = self.questions.get_mut(&id) else {
                        return Err(ServerReason::Protocol("nothing was asked".to_owned()));
                    };
                    done = question
                        .query
                        .on_message(tag, frame.body)
                        .map_err(|Malformed| {
                            ServerReason::Protocol("malformed answer to auth_query".to_owned())
                        })?;
                }
            }
        }
        if let Some(server) = self.servers.get_mut(id)
            && !rest.is_empty()
        {
            server.inbox.extend_from_slice(rest);
        }
        if let Some(status) = done {
            let question = self.questions.remove(&id);
            if status == TransactionStatus::Idle {
                self.lend(id);
            } else {
                self.close_server(id, &ServerReason::OwnQueryFailed);
            }
            if let Some(Question { client, query }) = question {
                self.answered(client, query.into_answer());
            }
        }
        Ok(())
    }

    /// What the database knows of the user of a login is known.
    fn answered(&mut self, id: ClientId, answer: Answer) {
        let Some((login, _)) = self.login_mut(id) else {
            return;
        };
        let Step::Asking(method) = login.step else {
            return;
        };
        login.pool = None;
        let fetched = match answer {
            Answer::Nobody => Ok(Fetched::Nobody),
            Answer::NoPassword => Ok(Fetched::NoPassword),
            Answer::Secret(text) => Ok(Fetched::Secret(text)),
            Answer::Failed { sqlstate, message } => Err(unanswered(
                "F0000",
                format!("auth_query: {sqlstate} {message}"),
            )),
            Answer::Unfit(unfit) => Err(unfit.into()),
        };
        let outcome = fetched.and_then(|fetched| {
            if let Fetched::Secret(text) = &fetched
                && self.credentials.usual.note(text)
            {
                // Other workers have perhaps not seen any.
                self.tell_supervisor(&ToSupervisor::Usual(self.credentials.usual));
            }
            if let Some((login, _)) = self.login_mut(id) {
                login.fetched = Some(fetched);
            }
            self.prove(id, method)
        });
        self.go_on(id, outcome);
    }

    /// Remembers the keys that a client has shown.
    pub(super) fn learn_shown(
        &mut self,
        id: ClientId,
        user: &str,
        secret: ScramSecret,
        keys: ScramKeys,
    ) {
        let new = match self.fetched_for(id) {
            Some((pool, text)) => self.credentials.keep_fetched(pool, &text, Some(keys)),
            None if self.config.auth.contains_key(user) => {
                self.credentials.learn(user.to_owned(), secret, keys)
            }
            None => false,
        };
        if new {
            self.try_anew(user);
        }
    }

    /// Tries again to open servers as a user of whom something new is known.
    fn try_anew(&mut self, user: &str) {
        for (_, pool) in self.pools.iter_mut() {
            if pool.key.login() == user {
                pool.forget_failure();
            }
        }
    }

    /// Remembers what servers want to know of a user who has come in.
    pub(super) fn keep_fetched(&mut self, id: ClientId) {
        if let Some((pool, text)) = self.fetched_for(id) {
            let user = pool.user.clone();
            if self.credentials.keep_fetched(pool, &text, None) {
                self.try_anew(&user);
            }
        }
    }

    /// What the database has told for a login, with the pool whose servers want
    /// to know it; none where all users share one.
    fn fetched_for(&self, id: ClientId) -> Option<(PoolKey, SecretText)> {
        let Stage::Login(login) = &self.clients.get(id)?.stage else {
            return None;
        };
        let Some(Fetched::Secret(text)) = &login.fetched else {
            return None;
        };
        if self.config.database(&login.database)?.user.is_some() {
            return None;
        }
        let pool = PoolKey {
            database: login.database.clone(),
            user: login.user.clone(),
        };
        Some((pool, text.clone()))
    }

    /// Whether a server is of a pool that no client gets one of.
    pub(super) fn asks(&self, id: ServerId) -> bool {
        let pool = self.servers.get(id).map(|server| server.pool);
        pool.and_then(|pool| self.pools.get(pool))
            .is_some_and(|pool| pool.key.is_asking())
    }

    /// Tells the login that waits for the answer of a server that none comes.
    pub(super) fn question_lost(&mut self, id: ServerId, reason: &ServerReason) {
        if let Some(Question { client, .. }) = self.questions.remove(&id) {
            let reason = unanswered(reason.sqlstate(), reason.text().into_owned());
            self.close_client(client, &reason);
        }
    }

    /// Refuses the logins that wait in a pool where no server can be opened.
    pub(super) fn refuse_questions(&mut self, id: PoolId, reason: &Reason) {
        let Some(pool) = self.pools.get(id).filter(|pool| pool.key.is_asking()) else {
            return;
        };
        let waiting = pool.waiting().map(|(client, _)| client).collect();
        let sqlstate = reason.sqlstate().unwrap_or_default();
        let reason = unanswered(sqlstate, reason.text().into_owned());
        self.close_waiting(waiting, &reason);
    }
}

/// Nobody knows whether a user may come in. What the server has said of us is
/// not for a client that has proved nothing.
fn unanswered(sqlstate: &str, problem: String) -> Reason {
    let passed_on = ["53", "57", "F0"];
    let sqlstate = match passed_on.iter().any(|class| sqlstate.starts_with(class)) {
        true => sqlstate,
        false => CONNECTION_FAILURE,
    };
    Reason::Unanswered {
        sqlstate: sqlstate.to_owned(),
        problem,
    }
}

impl Reason {
    /// It was waited too long for somebody who can be asked.
    pub(super) fn unasked(trouble: &Failure) -> Self {
        let problem = format!("{} (client_login_timeout)", trouble.message);
        unanswered(&trouble.sqlstate, problem)
    }
}

impl From<Unfit> for Reason {
    fn from(unfit: Unfit) -> Self {
        unanswered("F0000", format!("auth_query: {unfit}"))
    }
}

/// Longest message of an answer, in bytes.
const ANSWER_MAX: u32 = 1 << 20;

//! Server login: from a connection to the first ReadyForQuery.
//!
//! Source: PostgreSQL documentation, "Start-up" in "Message Flow".

mod keys;

use pgskein_pool::control::{Backend, ToSupervisor};
use pgskein_pool::slab::ServerId;
use pgskein_protocol::tag::backend;
use pgskein_protocol::{
    Authentication, ErrorFields, Frame, Replication, ScramClient, ScramCredential, Secret, Version,
    backend as messages, md5, write,
};

use super::Worker;
use super::answer::DISCONNECT_REQUESTED;
use super::auth::random;
use super::channel::channel_to_server;
use super::chores::Chore;
use super::credentials::Lesson;
use super::reason::ServerReason;
use super::role::RoleCheck;
use super::server::{OwnQuery, ServerState};
use super::stream::Filled;
use super::versions::{is_reset, may_mean_the_version};

/// What a login to a server needs.
#[derive(Debug, Default)]
pub(super) struct ServerLogin {
    scram: Option<ScramClient>,
    /// The server has proved that it knows the password as well.
    verified: bool,
    /// It has let us in.
    accepted: bool,
    /// What was learned from clients and is tried at it.
    tried: Option<Lesson>,
    /// The server's first message, while its keys are derived.
    server_first: Vec<u8>,
    /// Why it refused what it was asked for, until it closes its side.
    refusal: Option<ServerReason>,
    /// ParameterStatus messages of settings that are not followed.
    fixed: Vec<u8>,
    /// It lets us in and asks to be left.
    asks_to_go: bool,
    /// Whether it is of the role that is asked for.
    pub(super) check: RoleCheck,
}

impl Worker {
    /// Sends the startup packet.
    pub(super) fn begin_server_login(&mut self, id: ServerId) {
        let own = self.claim_server(id);
        if let Err(reason) = self.secure_server(id) {
            return self.leave_host(id, &reason);
        }
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let ServerState::Connecting { deadline } = server.state else {
            return;
        };
        let Some(pool) = self.pools.get(server.pool) else {
            return;
        };
        let Some(database) = self.config.database(&pool.key.database) else {
            return self.lose_server(id, &ServerReason::DatabaseChanged);
        };
        let mut parameters: Vec<(&[u8], &[u8])> = vec![
            (b"user", pool.key.login().as_bytes()),
            (b"database", database.dbname.as_bytes()),
        ];
        let given = [
            ("client_encoding", &database.client_encoding),
            ("datestyle", &database.datestyle),
            ("timezone", &database.timezone),
            ("application_name", &database.application_name),
        ];
        for (name, value) in &given {
            if let Some(value) = value
                && !own.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
            {
                parameters.push((name.as_bytes(), value.as_bytes()));
            }
        }
        for (name, value) in &own {
            parameters.push((name.as_bytes(), value));
        }
        if pool.key.is_asking() {
            // Nothing is found that is not named with its schema, but what is
            // PostgreSQL's own.
            parameters.push((b"search_path", b""));
        }
        server.bid.write(server.outbox.buffer(), &parameters);
        server.state = ServerState::LoggingIn {
            login: Box::default(),
            deadline,
        };
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            return self.leave_host(id, &ServerReason::SocketFailed(error.kind()));
        }
        self.server_login_turn(id);
    }

    /// Reads what a server says during its login.
    pub(super) fn server_login_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if let Err(error) = server.outbox.flush(&mut server.stream) {
            return self.leave_host(id, &ServerReason::SocketFailed(error.kind()));
        }
        if !server.stream.readable() {
            return;
        }
        if server.stream.is_shaking_hands() && self.has_worked_enough() {
            return self.wake_server(id);
        }
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        let filled = server.stream.fill(&mut server.inbox, &mut scratch);
        let ended = match &filled {
            Ok(filled) => matches!(filled, Filled::End),
            Err(error) => is_reset(error),
        };
        let outcome = match filled {
            _ if ended => Err(self.refusal(id)),
            Ok(Filled::Scratch(end)) => self.log_in(id, scratch.get(..end).unwrap_or_default()),
            Ok(Filled::Inbox(bytes)) => self.log_in(id, &bytes),
            Ok(Filled::Nothing | Filled::End) => Ok(()),
            Err(error) => Err(self.failed_login(id, &error)),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) => {
                if self
                    .servers
                    .get(id)
                    .is_some_and(|server| server.stream.readable())
                {
                    self.wake_server(id);
                }
            }
            Err(reason) if ended && self.ask_for_less(id, &reason) => {}
            Err(reason) if self.do_without_tls(id, &reason) => {}
            Err(reason) => {
                let reason = self.all_of(id, reason);
                self.leave_host(id, &reason);
            }
        }
    }

    /// Why a server has ended its login.
    fn refusal(&mut self, id: ServerId) -> ServerReason {
        match self.servers.get_mut(id).map(|server| &mut server.state) {
            Some(ServerState::LoggingIn { login, .. }) => login.refusal.take(),
            _ => None,
        }
        .unwrap_or(ServerReason::Lost)
    }

    fn log_in(&mut self, id: ServerId, bytes: &[u8]) -> Result<(), ServerReason> {
        let mut rest = bytes;
        while let Some((frame, behind)) = Frame::split(rest, LOGIN_FRAME_MAX)
            .map_err(|error| ServerReason::Protocol(error.to_string()))?
        {
            rest = behind;
            if frame.tag == backend::READY_FOR_QUERY && self.has_accepted(id) {
                if !self.check_role(id) {
                    continue;
                }
                self.logged_in(id);
                return match rest {
                    [] => Ok(()),
                    rest => self.take_from_server(id, rest),
                };
            }
            self.login_frame(id, frame)?;
        }
        if let Some(server) = self.servers.get_mut(id) {
            server.inbox.extend_from_slice(rest);
            if let Err(error) = server.outbox.flush(&mut server.stream) {
                return Err(ServerReason::SocketFailed(error.kind()));
            }
        }
        Ok(())
    }

    /// Whether a server has let us in.
    fn has_accepted(&self, id: ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| {
            matches!(&server.state, ServerState::LoggingIn { login, .. } if login.accepted)
        })
    }

    fn login_frame(&mut self, id: ServerId, frame: Frame<'_>) -> Result<(), ServerReason> {
        let asks_for_less = self
            .servers
            .get(id)
            .is_some_and(|server| self.may_ask_for_less(server));
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        let ServerState::LoggingIn { login, .. } = &mut server.state else {
            return Ok(());
        };
        match frame.tag {
            // It was told to go, or answers what it was asked.
            _ if login.check.has_left() => {}
            backend::DATA_ROW if login.check.has_asked() => login.check.on_row(frame.body),
            backend::ROW_DESCRIPTION | backend::COMMAND_COMPLETE if login.check.has_asked() => {}
            backend::AUTHENTICATION => {
                let Some(request) = Authentication::parse(frame.body) else {
                    return Err(ServerReason::Protocol(
                        "malformed Authentication".to_owned(),
                    ));
                };
                self.settle_version(id)?;
                return self.authenticate(id, &request);
            }
            backend::PARAMETER_STATUS => {
                let Some((name, value)) = messages::parameter_status(frame.body) else {
                    return Err(ServerReason::Protocol(
                        "malformed ParameterStatus".to_owned(),
                    ));
                };
                if name == DISCONNECT_REQUESTED {
                    login.asks_to_go = value == b"on";
                    return Ok(());
                }
                login.check.on_parameter(name, value);
                match self.parameters.position(name) {
                    Some(position) => {
                        server.parameters =
                            self.parameters.with(server.parameters, position, value);
                    }
                    None => write::parameter_status(&mut login.fixed, name, value),
                }
            }
            backend::BACKEND_KEY_DATA => {
                let key = messages::backend_key_data(frame.body).filter(|(_, secret)| {
                    server.bid.version() >= Version::V3_2 || secret.len() == 4
                });
                let Some((process_id, secret)) = key else {
                    return Err(ServerReason::Protocol(
                        "malformed BackendKeyData".to_owned(),
                    ));
                };
                server.key = Some((process_id, secret.into()));
            }
            backend::ERROR => {
                let fields = ErrorFields::parse(frame.body);
                if let (Some(sqlstate), Some(lesson)) = (fields.sqlstate(), login.tried) {
                    self.credentials.refused(lesson, sqlstate);
                }
                let reason = ServerReason::LoginFailed {
                    sqlstate: fields.sqlstate().unwrap_or("08006").to_owned(),
                    message: fields.message().unwrap_or_default().into_owned(),
                };
                if !asks_for_less || !may_mean_the_version(&fields) {
                    return Err(reason);
                }
                login.refusal = Some(reason);
            }
            backend::NEGOTIATE => server
                .bid
                .on_negotiate(frame.body)
                .map_err(|error| ServerReason::Protocol(error.to_string()))?,
            backend::NOTICE => {}
            backend::GO_AWAY if server.bid.goaway() => login.asks_to_go = true,
            tag => {
                let text = format!("unknown pkt from server: {tag:#04x}");
                return Err(ServerReason::Protocol(text));
            }
        }
        Ok(())
    }

    fn authenticate(
        &mut self,
        id: ServerId,
        request: &Authentication<'_>,
    ) -> Result<(), ServerReason> {
        let Some(server) = self.servers.get_mut(id) else {
            return Ok(());
        };
        let ServerState::LoggingIn { login, .. } = &mut server.state else {
            return Ok(());
        };
        let Some(pool) = self.pools.get(server.pool) else {
            return Ok(());
        };
        let user = pool.key.login();
        let forced = self
            .config
            .database(&pool.key.database)
            .filter(|database| !pool.key.is_asking() || database.user.as_deref() == Some(user))
            .and_then(|database| database.password.clone());
        let fetched = || self.credentials.fetched(&pool.key);
        let secret = forced
            .as_deref()
            .or_else(|| self.config.auth.get(user).map(|text| &**text))
            .or_else(|| {
                let (text, _, lesson) = fetched()?;
                login.tried = Some(lesson);
                Some(text)
            })
            .map(Secret::parse);
        let out = server.outbox.buffer();
        let missing = || ServerReason::LoginFailed {
            sqlstate: "28P01".to_owned(),
            message: format!("server asks for a password, but none is known for user \"{user}\""),
        };
        match request {
            Authentication::Ok if login.scram.is_some() && !login.verified => {
                return Err(ServerReason::login_failed(
                    "server did not prove that it knows the password",
                ));
            }
            Authentication::Ok => login.accepted = true,
            Authentication::CleartextPassword => match secret {
                Some(Secret::Plain(password)) => write::password(out, password.as_bytes()),
                _ => return Err(missing()),
            },
            Authentication::Md5Password { salt } => {
                let hashed = match secret {
                    Some(Secret::Plain(password)) => {
                        md5::md5_secret(password.as_bytes(), user.as_bytes())
                    }
                    Some(Secret::Md5(hashed)) => hashed,
                    _ => return Err(missing()),
                };
                write::password(out, md5::md5_response(&hashed, *salt).as_bytes());
            }
            Authentication::Sasl { mechanisms } => {
                let mode = self.config.settings.server_tls_sslmode;
                let channel = channel_to_server(server.stream.tls(), mechanisms, mode)?;
                let credential = match secret {
                    Some(Secret::Plain(password)) => ScramCredential::Password(password),
                    Some(Secret::Scram(secret)) => {
                        let learned = self.credentials.learned(user, &secret);
                        let shown = || self.credentials.shown(&pool.key, &secret);
                        let (keys, lesson) = learned.or_else(shown).ok_or_else(missing)?;
                        login.tried = Some(lesson);
                        keys.into()
                    }
                    _ => return Err(missing()),
                };
                let mechanism = channel.mechanism();
                let scram = ScramClient::new(credential, random()?).over(channel);
                write::sasl_initial(out, mechanism, &scram.first());
                login.scram = Some(scram);
            }
            Authentication::SaslContinue(server_first) => {
                let Some(scram) = &mut login.scram else {
                    return Err(ServerReason::login_failed("SASL message out of order"));
                };
                if let Some(Secret::Plain(password)) = &secret {
                    let challenge = scram.challenge(server_first).map_err(scram_failed)?;
                    let derivation = self.credentials.derivation(password, challenge);
                    let known = &mut self.credentials.keys;
                    match known.find(&derivation) {
                        Some(keys) => scram.use_keys(keys.clone()),
                        None => {
                            login.server_first = server_first.to_vec();
                            if !known.wait(&derivation, id) {
                                return Ok(());
                            }
                            let chore = Chore::DeriveKeys {
                                derivation: derivation.clone(),
                                password: password.clone(),
                            };
                            return self.chores.start(chore).map_err(|error| {
                                known.settle(derivation, None);
                                ServerReason::login_failed(error.to_string())
                            });
                        }
                    }
                }
                let last = scram.last(server_first).map_err(scram_failed)?;
                write::sasl_response(out, &last);
            }
            Authentication::SaslFinal(server_final) => {
                let Some(scram) = &login.scram else {
                    return Err(ServerReason::login_failed("SASL message out of order"));
                };
                scram.verify(server_final).map_err(scram_failed)?;
                login.verified = true;
            }
            Authentication::Other(code) => {
                let text = format!("unknown authentication request {code} from server");
                return Err(ServerReason::login_failed(text));
            }
        }
        Ok(())
    }

    fn logged_in(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let ServerState::LoggingIn { login, .. } =
            std::mem::replace(&mut server.state, ServerState::Idle)
        else {
            return;
        };
        server.tour = None;
        if server.owner.is_some() {
            return self.greet_owner(id, &login.fixed);
        }
        let pool_id = server.pool;
        let (parameters, retire) = (server.parameters, server.retire.is_some());
        let Some(pool) = self.pools.get(pool_id) else {
            return;
        };
        let has_query = self
            .config
            .database(&pool.key.database)
            .is_some_and(|database| database.connect_query.is_some());
        if !retire {
            self.keep_welcome(pool_id, login.fixed, parameters);
        }
        self.note_login(id, None);
        if login.asks_to_go {
            self.note_request(id);
        }
        self.greet_waiting(pool_id);
        if has_query {
            return self.run_own(id, OwnQuery::Connect);
        }
        if let Some(pool) = self.pools.get_mut(pool_id) {
            pool.on_opened();
        }
        self.lend(id);
    }

    /// Tells the log and the supervisor that a server has logged in.
    pub(super) fn note_login(&mut self, id: ServerId, replication: Option<Replication>) {
        let Some(server) = self.servers.get(id) else {
            return;
        };
        let process_id = server.key.as_ref().map_or(0, |(process_id, _)| *process_id);
        let backend = server.key.clone().map(|(process_id, secret)| Backend {
            target: server.target.to_string(),
            process_id,
            secret: secret.into_vec(),
        });
        let lease = server.lease;
        if self.config.settings.log_connections {
            log::info!(
                "s{} {}: connected, protocol={} pid={process_id}{}{}",
                server.number,
                self.server_name(server),
                server.bid.version(),
                server
                    .stream
                    .tls()
                    .map_or_else(String::new, |tls| format!(" tls={}", tls.description())),
                replication.map_or_else(String::new, |mode| format!(" replication={mode}")),
            );
        }
        self.tell_supervisor(&ToSupervisor::Held { lease, backend });
    }
}

fn scram_failed(error: pgskein_protocol::ScramError) -> ServerReason {
    ServerReason::login_failed(error.to_string())
}

/// Longest message of a server during its login, in bytes.
const LOGIN_FRAME_MAX: u32 = 1 << 20;

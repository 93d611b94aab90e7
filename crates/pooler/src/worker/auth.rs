//! Authentication of clients.
//!
//! Users that do not exist are asked for a password like all others. Keys that
//! take long to derive are derived once, by a thread, and remembered.
//!
//! Source: PostgreSQL documentation, "SASL Authentication".

use pgskein_pool::slab::ClientId;
use pgskein_pool::usual_secrets::Form;
use pgskein_protocol::frontend::{self, SaslInitial};
use pgskein_protocol::scram::ScramKeys;
use pgskein_protocol::tag::frontend as tags;
use pgskein_protocol::{Frame, ScramError, ScramSecret, ScramServer, Secret, write};
use zeroize::Zeroizing;

use super::Worker;
use super::admission::Method;
use super::chores::Chore;
use super::client::{Origin, Stage};
use super::console::Rights;
use super::denied::{Denied, Fault};
use super::login::{Login, Step, is_console};
use super::reason::{Reason, ServerReason};
use super::secrets::Fetched;

impl Worker {
    /// Asks a client to prove who it is, as `auth_type` says.
    pub(super) fn begin_authentication(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some((login, origin)) = self.login_mut(id) else {
            return Ok(());
        };
        if is_console(&login.database) && is_console(&login.user) && origin.is_ourselves() {
            return self.enter_console(id, Rights::Admin);
        }
        let Some(method) = self.method_for(id)? else {
            return Ok(());
        };
        if self.ask_for_secret(id, method)? {
            return Ok(());
        }
        self.prove(id, method)
    }

    /// Asks a client for its proof.
    pub(super) fn prove(&mut self, id: ClientId, method: Method) -> Result<(), Reason> {
        let secret = self.secret_of(id);
        match method {
            Method::Any => self.authenticated(id),
            Method::Trust if self.knows_user(id) => self.authenticated(id),
            Method::Trust => Err(Reason::Denied(Denied::Untrusted)),
            Method::Password | Method::Checked => self.ask(id, Step::Password, |out| {
                write::authentication_cleartext(out);
            }),
            Method::Md5 if self.asks_for_md5(id, secret.as_ref()) => {
                let salt = random()?;
                self.ask(id, Step::Md5 { salt }, |out| {
                    write::authentication_md5(out, salt);
                })
            }
            Method::Md5 | Method::ScramSha256 => self.ask_sasl(id, secret),
            Method::Peer => self.ask_for_peer(id),
            Method::Certificate => self.authenticated(id),
        }
    }

    /// What is known of the password of the user that a client wants to be.
    fn secret_of(&self, id: ClientId) -> Option<Secret> {
        let Stage::Login(login) = &self.clients.get(id)?.stage else {
            return None;
        };
        let text = match (self.config.auth.get(&login.user), &login.fetched) {
            (Some(text), _) => text,
            (None, Some(Fetched::Secret(text))) => text,
            (None, _) => return None,
        };
        Some(Secret::parse(text))
    }

    /// Whether there is a user of the name that a client gives.
    fn knows_user(&self, id: ClientId) -> bool {
        match self.clients.get(id).map(|client| &client.stage) {
            Some(Stage::Login(login)) => {
                self.config.auth.contains_key(&login.user)
                    || matches!(
                        login.fetched,
                        Some(Fetched::NoPassword | Fetched::Secret(_))
                    )
            }
            _ => false,
        }
    }

    /// Whether a client that may use MD5 is asked for it: if its secret is none
    /// for SCRAM, or would be none if there was one.
    fn asks_for_md5(&mut self, id: ClientId, secret: Option<&Secret>) -> bool {
        match (secret, self.login_mut(id)) {
            (Some(Secret::Scram(_)), _) => false,
            (None, Some((login, _))) => {
                let (user, asked) = (login.user.clone(), login.fetched.is_some());
                !matches!(self.credentials.form(&user, asked), Form::Scram(_))
            }
            _ => true,
        }
    }

    fn ask(
        &mut self,
        id: ClientId,
        step: Step,
        request: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Reason> {
        if let Some(client) = self.clients.get_mut(id)
            && let Stage::Login(login) = &mut client.stage
        {
            login.step = step;
            request(client.outbox.buffer());
        }
        Ok(())
    }

    fn ask_sasl(&mut self, id: ClientId, secret: Option<Secret>) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        let user = login.user.clone();
        let asked = login.fetched.is_some();
        let secret = match secret {
            Some(Secret::Scram(secret)) => secret,
            // Nobody comes in by an empty password.
            Some(Secret::Plain(password)) if password.is_empty() => {
                self.credentials.mock(&user, asked)
            }
            Some(Secret::Plain(password)) => {
                let making = self.credentials.making(&user, Some(&password));
                match self.credentials.makings.find(&making) {
                    Some(secret) => secret.clone(),
                    None => return self.make_secret(id, making, password),
                }
            }
            // Who would have a plain password waits as long as who has one.
            None if self.credentials.form(&user, asked) == Form::Plain => {
                let making = self.credentials.making(&user, None);
                if !self.credentials.makings.has_done(&making) {
                    return self.make_secret(id, making, Zeroizing::default());
                }
                self.credentials.mock(&user, asked)
            }
            // An MD5 secret cannot serve; the user is not told so.
            Some(Secret::Md5(_)) | None => self.credentials.mock(&user, asked),
        };
        self.ask_scram(id, secret)
    }

    fn ask_scram(&mut self, id: ClientId, secret: ScramSecret) -> Result<(), Reason> {
        let step = Step::Sasl {
            scram: Box::new(ScramServer::new(secret, random()?)),
            begun: false,
        };
        let mechanisms = self.mechanisms(id);
        self.ask(id, step, |out| write::authentication_sasl(out, mechanisms))
    }

    /// Has a thread do what a login waits for.
    pub(super) fn start_chore(&mut self, chore: Chore) -> Result<(), Reason> {
        self.chores
            .start(chore)
            .map_err(|error| Reason::ServerFailed {
                sqlstate: "53000".to_owned(),
                message: error.to_string(),
            })
    }

    /// Asks a client for its proof whose secret is there now.
    pub(super) fn ask_derived(&mut self, id: ClientId) {
        let secret = self.secret_of(id);
        let outcome = self.ask_sasl(id, secret);
        self.go_on(id, outcome);
    }

    /// Lets a client in if the keys of its password are known, which is the right
    /// one then.
    pub(super) fn conclude(&mut self, id: ClientId, keys: Option<ScramKeys>) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        let user = login.user.clone();
        match (keys, self.secret_of(id)) {
            (Some(keys), Some(Secret::Scram(secret))) => {
                // By them servers are logged in to.
                self.learn_shown(id, &user, secret, keys);
                self.authenticated(id)
            }
            (_, secret) => Err(Reason::Denied(Denied::Password(
                self.fault(id, secret.as_ref()),
            ))),
        }
    }

    pub(super) fn go_on(&mut self, id: ClientId, outcome: Result<(), Reason>) {
        match outcome {
            Ok(()) => self.flush_and_wake(id),
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// Writes what a client is to read, and looks what it has sent.
    pub(super) fn flush_and_wake(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        match client.outbox.flush(&mut client.stream) {
            Ok(()) => self.wake_client(id),
            Err(error) => self.close_client(id, &Reason::SocketFailed(error.kind())),
        }
    }

    /// Takes a message of the authentication exchange.
    pub(super) fn on_password(&mut self, id: ClientId, frame: Frame<'_>) -> Result<(), Reason> {
        if frame.tag != tags::PASSWORD {
            return Err(Reason::Protocol(format!("unknown pkt: {:#04x}", frame.tag)));
        }
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        let user = login.user.clone();
        let asked = login.fetched.is_some();
        let checked = login.checker.is_some();
        let step = std::mem::replace(&mut login.step, Step::Deriving);
        let secret = self.secret_of(id);
        match step {
            Step::Password => {
                let password = frontend::password(frame.body).ok_or_else(malformed)?;
                if password.is_empty() {
                    return Err(Reason::Denied(Denied::EmptyPassword));
                }
                if checked {
                    return self.check_password(id, password);
                }
                let compared = match &secret {
                    Some(Secret::Scram(secret)) => Some(secret.clone()),
                    // That takes as long for somebody who is not there.
                    None if matches!(self.credentials.form(&user, asked), Form::Scram(_)) => {
                        Some(self.credentials.mock(&user, asked))
                    }
                    _ => None,
                };
                match (secret, compared) {
                    (_, Some(secret)) => self.compare(id, password, secret),
                    (Some(secret), None) if secret.accepts_password(user.as_bytes(), password) => {
                        self.authenticated(id)
                    }
                    (secret, None) => Err(Reason::Denied(Denied::Password(
                        self.fault(id, secret.as_ref()),
                    ))),
                }
            }
            Step::Md5 { salt } => {
                let response = frontend::password(frame.body).ok_or_else(malformed)?;
                match secret {
                    Some(secret) if secret.accepts_md5(user.as_bytes(), salt, response) => {
                        self.authenticated(id)
                    }
                    Some(Secret::Scram(_)) => {
                        Err(Reason::Denied(Denied::Password(Fault::OtherKind)))
                    }
                    secret => Err(Reason::Denied(Denied::Password(
                        self.fault(id, secret.as_ref()),
                    ))),
                }
            }
            Step::Sasl { scram, begun } => self.on_sasl(id, &user, scram, begun, frame.body),
            Step::Startup
            | Step::CancelOnly
            | Step::Proxy
            | Step::Asking(_)
            | Step::Deriving
            | Step::Derived
            | Step::Checking(_)
            | Step::Claiming
            | Step::Greeting => Ok(()),
        }
    }

    fn on_sasl(
        &mut self,
        id: ClientId,
        user: &str,
        scram: Box<ScramServer>,
        begun: bool,
        body: &[u8],
    ) -> Result<(), Reason> {
        if !begun {
            let initial = SaslInitial::parse(body).ok_or_else(malformed)?;
            let channel = self.channel_of_client(id, initial.mechanism)?;
            let mut scram = Box::new(scram.over(channel));
            let data = initial.data.unwrap_or_default();
            let answer = scram
                .first(data)
                .map_err(|error| self.scram_failed(id, &error))?;
            let step = Step::Sasl { scram, begun: true };
            return self.ask(id, step, |out| {
                write::authentication_sasl_continue(out, &answer);
            });
        }
        let mut scram = scram;
        let done = scram
            .last(body)
            .map_err(|error| self.scram_failed(id, &error))?;
        if let Some(client) = self.clients.get_mut(id) {
            write::authentication_sasl_final(client.outbox.buffer(), &done.server_final);
        }
        if let Some(Secret::Scram(secret)) = self.secret_of(id) {
            let keys = ScramKeys::of_client_key(done.client_key, secret.server_key);
            self.learn_shown(id, user, secret, keys);
        }
        self.authenticated(id)
    }

    /// What is wrong with a proof that does not fit this secret.
    fn fault(&self, id: ClientId, secret: Option<&Secret>) -> Fault {
        match secret {
            Some(Secret::Plain(password)) if password.is_empty() => Fault::NoPassword,
            Some(_) => Fault::Wrong,
            None if self.knows_user(id) => Fault::NoPassword,
            None => Fault::UnknownUser,
        }
    }

    fn scram_failed(&self, id: ClientId, error: &ScramError) -> Reason {
        log::debug!("SASL: {error}");
        match error {
            ScramError::WrongProof => Reason::Denied(Denied::Sasl(match self.secret_of(id) {
                Some(Secret::Md5(_)) => Fault::OtherKind,
                secret => self.fault(id, secret.as_ref()),
            })),
            _ => Reason::Startup {
                sqlstate: error.sqlstate(),
                message: error.to_string(),
                hint: None,
            },
        }
    }

    /// A client has proved who it is.
    pub(super) fn authenticated(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        if !is_console(&login.database) {
            self.keep_fetched(id);
            return self.enter_pool(id);
        }
        let user = login.user.clone();
        let settings = &self.config.settings;
        let rights = if settings.admin_users.contains(&user) {
            Rights::Admin
        } else if settings.stats_users.contains(&user) {
            Rights::Stats
        } else {
            return Err(Reason::NotAllowed);
        };
        self.enter_console(id, rights)
    }

    /// The login of a client, and where the client comes from.
    pub(super) fn login_mut(&mut self, id: ClientId) -> Option<(&mut Login, Origin)> {
        let client = self.clients.get_mut(id)?;
        let origin = client.origin;
        match &mut client.stage {
            Stage::Login(login) => Some((login, origin)),
            _ => None,
        }
    }
}

impl Origin {
    /// Whether this is a process of our own user on this host.
    fn is_ourselves(self) -> bool {
        matches!(self, Self::Unix { uid: Some(uid), .. } if uid == nix::unistd::getuid().as_raw())
    }
}

/// Random bytes of the kernel.
///
/// # Errors
///
/// The error of `getrandom(2)`.
pub(super) fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

impl From<getrandom::Error> for Reason {
    fn from(error: getrandom::Error) -> Self {
        Self::Startup {
            sqlstate: "XX000",
            message: error.to_string(),
            hint: None,
        }
    }
}

impl From<getrandom::Error> for ServerReason {
    fn from(error: getrandom::Error) -> Self {
        Self::login_failed(error.to_string())
    }
}

fn malformed() -> Reason {
    Reason::Protocol("malformed password message".to_owned())
}

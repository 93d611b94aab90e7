//! Login: from the first byte of a client to its authentication.
//!
//! ```text
//! Proxy ──> Startup
//! CancelOnly ──> (Cancelling)
//! Startup ──> Password ─────┬──> Claiming ──> Greeting ──> (Session)
//!    │   └──> Sasl ─────────┤
//!    │   └──> Deriving ──> Sasl (or as from Startup)
//!    │   └──> Password ──> Checking
//!    ├──> Asking ──> (as from Startup)
//!    └──> (Cancelling)      └──> (Console)
//! ```
//!
//! Source: PostgreSQL documentation, "Start-up" in "Message Flow".

mod step;

use pgskein_config::Checker;
use pgskein_pool::pools::PoolId;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{
    CancelRequest, Frame, Negotiation, ProxyHeader, Startup, StartupError, StartupMessage, Version,
    parse_options,
};
use zeroize::Zeroize;

pub(super) use self::step::Step;
use super::Worker;
use super::admission::HbaLine;
use super::client::Stage;
use super::encryption::EncryptionAsked;
use super::host_names::Host;
use super::reason::Reason;
use super::replication::ReplicationLogin;
use super::secrets::Fetched;
use super::stream::Filled;
use super::tls::Tls;

/// A client before it has a session.
#[derive(Debug)]
pub(super) struct Login {
    /// Where the login is.
    pub step: Step,
    /// A sibling was offered it before it began.
    pub passed_on: bool,
    /// The database that was asked for.
    pub database: String,
    /// The user that was asked for.
    pub user: String,
    /// The pool, once it is known.
    pub pool: Option<PoolId>,
    /// Values of followed parameters; of the same one, the last counts.
    pub parameters: Vec<Wish>,
    /// The version that both sides speak.
    pub version: Version,
    /// Whether the client takes GoAway.
    pub goaway: bool,
    /// What the database knows of the user, if it was asked; the password, if a
    /// directory or PAM was.
    pub fetched: Option<Fetched>,
    /// The name of the host that it comes from.
    pub host: Host,
    /// The line of the HBA file that it comes in by.
    pub line: Option<Box<HbaLine>>,
    /// Who is asked about its password, if it is not known here.
    pub checker: Option<Checker>,
    /// What it needs of a server of its own, if it speaks replication.
    pub replication: Option<Box<ReplicationLogin>>,
    /// What encryption it has asked for.
    pub asked: EncryptionAsked,
}

/// A value that a client wants a followed parameter to have.
#[derive(Debug)]
pub(super) struct Wish {
    /// Position of the parameter among those that are followed.
    pub position: usize,
    /// The value.
    pub value: Vec<u8>,
    /// It was in `options`.
    pub in_options: bool,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            passed_on: false,
            step: Step::Startup,
            database: String::new(),
            user: String::new(),
            pool: None,
            parameters: Vec::new(),
            version: Version::V3_0,
            goaway: false,
            fetched: None,
            host: Host::default(),
            line: None,
            checker: None,
            replication: None,
            asked: EncryptionAsked::default(),
        }
    }
}

impl Login {
    /// Whether it has not said yet what it wants.
    pub(super) fn is_before_startup(&self) -> bool {
        matches!(self.step, Step::Startup | Step::CancelOnly | Step::Proxy)
    }

    /// One of which nothing is known but what comes first.
    pub(super) fn at(step: Step) -> Self {
        Self {
            step,
            ..Self::default()
        }
    }
}

impl Worker {
    /// Reads what a client says before it is logged in.
    pub(super) fn login_turn(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let Stage::Login(login) = &client.stage else {
            return;
        };
        let waits = login.step.waits();
        let derived = matches!(login.step, Step::Derived);
        if let Err(error) = client.stream.flush_tls() {
            return self.close_client(id, &Reason::of_socket(&error));
        }
        let silent = waits && (!client.stream.read_closed() || client.inbox.len() > INBOX_MAX);
        if !derived && (silent || !client.stream.readable()) {
            return;
        }
        if self.has_worked_enough() {
            return self.wake_client(id);
        }
        if derived {
            return self.ask_derived(id);
        }
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.heard = self.now;
        let mut scratch = std::mem::take(&mut self.scratch);
        let filled = client.stream.fill(&mut client.inbox, &mut scratch);
        let outcome = match filled {
            _ if client.stream.tls().is_some_and(Tls::lacks_alpn) => {
                Err(Reason::Tls("direct TLS without ALPN".to_owned()))
            }
            Ok(Filled::Nothing) => Ok(()),
            Ok(Filled::End) => Err(Reason::Left),
            Ok(Filled::Scratch(end)) => {
                let bytes = scratch.get_mut(..end).unwrap_or_default();
                let outcome = self.login_bytes(id, bytes);
                // There may have been a password in it.
                bytes.zeroize();
                outcome
            }
            Ok(Filled::Inbox(mut bytes)) => {
                let outcome = self.login_bytes(id, &bytes);
                bytes.zeroize();
                outcome
            }
            Err(error) => Err(Reason::of_socket(&error)),
        };
        self.scratch = scratch;
        match outcome {
            Ok(()) => {
                if self
                    .clients
                    .get(id)
                    .is_some_and(|client| client.stream.readable())
                {
                    self.wake_client(id);
                }
            }
            Err(reason) => self.close_client(id, &reason),
        }
    }

    /// Takes what came; keeps what is not whole, or comes too early.
    fn login_bytes(&mut self, id: ClientId, bytes: &[u8]) -> Result<(), Reason> {
        let mut rest = bytes;
        while let Some(client) = self.clients.get_mut(id) {
            let Stage::Login(login) = &client.stage else {
                break;
            };
            match login.step {
                Step::Startup if client.begins_tls(rest) => {
                    self.on_direct_tls(id, rest)?;
                    rest = &[];
                    break;
                }
                Step::Startup => match Startup::split(rest).map_err(startup_error)? {
                    None => break,
                    Some((startup, behind)) => {
                        rest = behind;
                        self.on_startup(id, &startup, behind)?;
                    }
                },
                Step::CancelOnly => {
                    let split = CancelRequest::split(rest);
                    match split.map_err(|_| Reason::NoCancelRequest)? {
                        None => break,
                        Some((request, behind)) => {
                            rest = behind;
                            self.on_cancel_request(id, &request);
                        }
                    }
                }
                Step::Proxy => match ProxyHeader::split(rest).map_err(Reason::Proxy)? {
                    None => break,
                    Some((header, behind)) => {
                        rest = behind;
                        client.passed_through(header);
                    }
                },
                Step::Asking(_)
                | Step::Deriving
                | Step::Derived
                | Step::Checking(_)
                | Step::Claiming
                | Step::Greeting => break,
                Step::Password | Step::Md5 { .. } | Step::Sasl { .. } => {
                    match Frame::split(rest, PASSWORD_MAX).map_err(frame_error)? {
                        None => break,
                        Some((frame, behind)) => {
                            rest = behind;
                            self.on_password(id, frame)?;
                        }
                    }
                }
            }
        }
        if let Some(client) = self.clients.get_mut(id) {
            if !rest.is_empty() {
                client.inbox.extend_from_slice(rest);
            }
            client
                .outbox
                .flush(&mut client.stream)
                .map_err(|error| Reason::SocketFailed(error.kind()))?;
            if !client.inbox.is_empty() && !matches!(client.stage, Stage::Login(_)) {
                self.wake_client(id);
            }
        }
        Ok(())
    }

    fn on_startup(
        &mut self,
        id: ClientId,
        startup: &Startup<'_>,
        behind: &[u8],
    ) -> Result<(), Reason> {
        match startup {
            Startup::Session(message) => self.on_session(id, message),
            Startup::Cancel(request) => {
                self.on_cancel_request(id, request);
                Ok(())
            }
            Startup::SslRequest => self.on_ssl_request(id, behind),
            Startup::GssEncRequest => self.on_gss_request(id, behind),
        }
    }

    fn on_cancel_request(&mut self, id: ClientId, request: &CancelRequest<'_>) {
        self.uncount(id);
        let forwarded = self.may_be_forwarded(id, request.secret);
        if let Some(client) = self.clients.get_mut(id) {
            client.stage = Stage::Cancelling { forwarded };
        }
        self.note_received(id, request.process_id, request.secret);
        self.begin_cancel(id, request.process_id, request.secret);
    }

    fn on_session(&mut self, id: ClientId, message: &StartupMessage<'_>) -> Result<(), Reason> {
        let negotiation = Negotiation::of(message).map_err(|error| Reason::Startup {
            sqlstate: error.sqlstate(),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        })?;
        let mut login = Login {
            version: negotiation.version,
            goaway: negotiation.goaway,
            replication: ReplicationLogin::of(message)?,
            ..Login::default()
        };
        for (name, value) in message.parameters() {
            self.startup_parameter(&mut login, name, value)?;
        }
        // Parameters of their own count more, as in PostgreSQL.
        login.parameters.sort_by_key(|wish| !wish.in_options);
        if self.config.settings.application_name_add_host {
            self.add_host(id, &mut login);
        }
        if login.user.is_empty() {
            return Err(refused("28000", "no username supplied".to_owned()));
        }
        if login.database.is_empty() {
            login.database.clone_from(&login.user);
        }
        let settings = &self.config.settings;
        if self
            .clients
            .get(id)
            .is_some_and(|client| client.lacks_tls(settings))
        {
            return Err(refused("28000", "SSL required".to_owned()));
        }
        let console = is_console(&login.database);
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        client.stage = Stage::Login(Box::new(login));
        if negotiation.reply_needed(message.version) {
            negotiation.write(client.outbox.buffer());
        }
        if console {
            self.uncount(id);
        } else {
            if self.refuses_session(id) {
                return Err(Reason::ShuttingDown);
            }
            self.claim_place(id)?;
        }
        self.begin_authentication(id)
    }

    /// Takes one parameter of a startup packet.
    fn startup_parameter(
        &self,
        login: &mut Login,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), Reason> {
        let text = String::from_utf8_lossy(value);
        match name {
            // Was read before all others.
            b"replication" => {}
            b"user" => login.user = text.into_owned(),
            b"database" => login.database = text.into_owned(),
            b"options" if login.replication.is_some() => login.keep(name, value),
            b"options" => {
                let ignored = self.ignores(name);
                let options = match parse_options(&text) {
                    Err(_) if ignored => return Ok(()),
                    options => {
                        options.map_err(|error| refused(error.sqlstate(), error.to_string()))?
                    }
                };
                for (name, value) in options {
                    let followed = self.follow(login, name.as_bytes(), value.as_bytes(), true);
                    if !followed && !ignored {
                        return Err(unsupported(&name, true, None));
                    }
                }
            }
            _ if name.starts_with(b"_pq_.") => {}
            _ if self.follow(login, name, value, false) => {}
            _ if login.replication.is_some() => login.keep(name, value),
            _ => return Err(unsupported(&String::from_utf8_lossy(name), false, None)),
        }
        Ok(())
    }

    /// Appends where the client is to its `application_name`.
    fn add_host(&self, id: ClientId, login: &mut Login) {
        let (Some(client), Some(position)) = (
            self.clients.get(id),
            self.parameters.position(b"application_name"),
        ) else {
            return;
        };
        let mut wishes = login.parameters.iter().rev();
        let given = wishes.find(|wish| wish.position == position);
        let mut value = given.map_or(&b"app"[..], |wish| &wish.value).to_vec();
        let place = client.origin.place(self.config.settings.listen_port);
        value.extend_from_slice(format!(" - {place}").as_bytes());
        login.parameters.push(Wish {
            position,
            value,
            in_options: false,
        });
    }

    /// Keeps a parameter that is followed; false if nobody wants it.
    fn follow(&self, login: &mut Login, name: &[u8], value: &[u8], in_options: bool) -> bool {
        if let Some(position) = self.parameters.position(name) {
            login.parameters.push(Wish {
                position,
                value: value.to_vec(),
                in_options,
            });
            return true;
        }
        self.ignores(name)
    }

    /// Whether clients may send this startup parameter for nothing.
    pub(super) fn ignores(&self, name: &[u8]) -> bool {
        self.config
            .settings
            .ignore_startup_parameters
            .iter()
            .any(|ignored| ignored.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Makes sure that the client has one of the places of `max_client_conn`:
    /// where none was free when it came, one may be by now.
    fn claim_place(&mut self, id: ClientId) -> Result<(), Reason> {
        let max = self.config.settings.max_client_conn;
        match self.clients.get_mut(id) {
            Some(client) if !client.counted => {
                client.counted = self.scoreboard.take_place(self.cell, max);
                if client.counted {
                    Ok(())
                } else {
                    Err(Reason::TooManyClients)
                }
            }
            _ => Ok(()),
        }
    }

    /// A client no longer counts towards `max_client_conn`.
    fn uncount(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && std::mem::replace(&mut client.counted, false)
        {
            self.scoreboard.leave_place(self.cell);
        }
    }
}

/// Whether a database is the console.
pub(super) fn is_console(database: &str) -> bool {
    matches!(database, "pgskein" | "pgbouncer")
}

fn refused(sqlstate: &'static str, message: String) -> Reason {
    Reason::Startup {
        sqlstate,
        message,
        hint: None,
    }
}

/// A startup parameter cannot be honoured.
pub(super) fn unsupported(name: &str, in_options: bool, hint: Option<&str>) -> Reason {
    let place = if in_options { " in options" } else { "" };
    Reason::Startup {
        sqlstate: "22023",
        message: format!("unsupported startup parameter{place}: {name}"),
        hint: hint.map(str::to_owned),
    }
}

fn startup_error(error: StartupError) -> Reason {
    if matches!(error, StartupError::CancelSecret(_)) {
        // Nobody reads the answer to a cancel request.
        return Reason::CancelDone;
    }
    refused(error.sqlstate(), error.to_string())
}

fn frame_error(error: pgskein_protocol::FrameError) -> Reason {
    Reason::Protocol(error.to_string())
}

/// Longest password message, in bytes; PgBouncer's limit for passwords.
const PASSWORD_MAX: u32 = 65_535;

/// What a client may send ahead of its greeting, in bytes.
const INBOX_MAX: usize = 65_536;

//! Encryption: what clients ask for before their startup packet.
//!
//! A client asks by SSLRequest, and is answered by one byte, or begins with TLS
//! at once, whose first byte begins no startup packet. Nothing may stand between
//! the request and TLS: somebody on the way could have put it there, and it would
//! be taken for the client's own.
//!
//! Source: PostgreSQL documentation, "SSL Session Encryption" and "GSSAPI Session
//! Encryption" in "Message Flow"; CVE-2021-23214.

use std::io;
use std::time::Duration;

use pgskein_config::{Settings, SslMode};
use pgskein_pool::slab::ClientId;
use pgskein_pool::tickets::TicketSecrets;
use rustls::ServerConnection;

use super::Worker;
use super::client::{Client, Origin, Stage};
use super::login::Step;
use super::reason::Reason;
use super::tls::cause;
use crate::tls::{ForClients, Secured};

/// What a client has asked for, each at most once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EncryptionAsked {
    ssl: bool,
    gss: bool,
}

impl Worker {
    /// Answers SSLRequest; `behind` came in the same read.
    pub(super) fn on_ssl_request(&mut self, id: ClientId, behind: &[u8]) -> Result<(), Reason> {
        self.note_asked(id, behind, "SSL", |asked| &mut asked.ssl)?;
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let mode = self.config.settings.client_tls_sslmode;
        let Some(tls) = offered(&self.tls, mode, client.origin)? else {
            client.outbox.buffer().push(b'N');
            return Ok(());
        };
        client.outbox.buffer().push(b'S');
        let flushed = client.outbox.flush(&mut client.stream);
        flushed.map_err(|error| Reason::of_socket(&error))?;
        if !client.outbox.is_empty() {
            // It takes not even a byte.
            return Err(Reason::SocketFailed(io::ErrorKind::WouldBlock));
        }
        client.encrypt(tls.clone(), &[])
    }

    /// Answers GSSENCRequest; `behind` came in the same read.
    pub(super) fn on_gss_request(&mut self, id: ClientId, behind: &[u8]) -> Result<(), Reason> {
        self.note_asked(id, behind, "GSSAPI encryption", |asked| &mut asked.gss)?;
        if let Some(client) = self.clients.get_mut(id) {
            client.outbox.buffer().push(b'N');
        }
        Ok(())
    }

    /// A client begins with TLS, by these bytes.
    pub(super) fn on_direct_tls(&mut self, id: ClientId, bytes: &[u8]) -> Result<(), Reason> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let mode = self.config.settings.client_tls_sslmode;
        match offered(&self.tls, mode, client.origin)? {
            Some(tls) => client.encrypt(tls.clone(), bytes),
            None => Err(Reason::Tls(
                "direct TLS, which is not offered here".to_owned(),
            )),
        }
    }

    /// Makes and reads tickets by other secrets; handshakes that have begun go on
    /// with those before.
    pub(super) fn use_tickets(&mut self, secrets: TicketSecrets) {
        self.tls.use_tickets(&self.config, &secrets);
        self.tickets = secrets;
    }

    /// Whether enough of this turn is over for logins: each step of one takes as
    /// long as many messages of others, who are to have their turns between.
    pub(super) fn has_worked_enough(&self) -> bool {
        self.now.elapsed() > LOGINS
    }

    fn note_asked(
        &mut self,
        id: ClientId,
        behind: &[u8],
        what: &str,
        asked: impl Fn(&mut EncryptionAsked) -> &mut bool,
    ) -> Result<(), Reason> {
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(());
        };
        let Stage::Login(login) = &mut client.stage else {
            return Ok(());
        };
        if std::mem::replace(asked(&mut login.asked), true) {
            return Err(Reason::Protocol(format!("{what} was asked for twice")));
        }
        if !behind.is_empty() {
            return Err(Reason::Protocol(format!(
                "received unencrypted data after {what} request"
            )));
        }
        Ok(())
    }
}

impl Client {
    /// Whether it has to use TLS for a session, and does not.
    ///
    /// On a unix socket nobody listens in.
    pub(super) fn lacks_tls(&self, settings: &Settings) -> bool {
        settings.client_tls_sslmode.demands_tls()
            && self.stream.tls().is_none()
            && matches!(self.origin, Origin::Tcp(_))
    }

    /// Whether these bytes, the next of a login, begin TLS.
    pub(super) fn begins_tls(&self, bytes: &[u8]) -> bool {
        let Stage::Login(login) = &self.stage else {
            return false;
        };
        let EncryptionAsked { ssl, gss } = login.asked;
        matches!(login.step, Step::Startup) && !ssl && !gss && bytes.first() == Some(&HANDSHAKE)
    }

    /// Encrypts what follows; `early` was read already.
    fn encrypt(&mut self, tls: ForClients, early: &[u8]) -> Result<(), Reason> {
        if let Stage::Login(login) = &mut self.stage {
            login.asked.ssl = true;
        }
        let session =
            ServerConnection::new(tls.config).map_err(|error| Reason::Tls(error.to_string()))?;
        let stream = &mut self.stream;
        stream.encrypt(session.into(), early, tls.end_point);
        Ok(())
    }
}

/// What a client from there is encrypted by where this is the mode; none where it
/// is not.
fn offered(tls: &Secured, mode: SslMode, origin: Origin) -> Result<Option<&ForClients>, Reason> {
    match origin {
        Origin::Tcp(_) => tls
            .of_clients(mode)
            .map_err(|error| Reason::Tls(error.to_string())),
        _ => Ok(None),
    }
}

impl Reason {
    /// A socket has failed, or the TLS on it.
    #[cold]
    #[inline(never)]
    pub(super) fn of_socket(error: &io::Error) -> Self {
        match cause(error) {
            Some(cause) => Self::Tls(cause),
            None => Self::SocketFailed(error.kind()),
        }
    }
}

/// How long a turn goes on with logins.
const LOGINS: Duration = Duration::from_millis(1);

/// The first byte of a TLS record that is part of a handshake.
const HANDSHAKE: u8 = 0x16;

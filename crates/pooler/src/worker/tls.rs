//! TLS on a stream: what is read and written goes through a session of it.
//!
//! A read gives plaintext as long as there is some, then understands what the
//! socket has, until that has nothing; so what is readable stays true. A write
//! counts as done when the encrypted bytes are the kernel's: until then the same
//! bytes have to be offered again, as [`Outbox`](super::stream::Outbox) does,
//! and nothing else is encrypted. No more than one piece waits here, therefore.
//!
//! ```text
//! (client)                ──> Begun ──> Failed
//! (server) Asking ────────────> Begun ──> Failed
//!             └──> Declined
//! ```
//!
//! A server is asked whether it speaks TLS; its answer is read by itself, so that
//! nothing behind it can be taken for something that was encrypted. The handshake
//! is part of reading. A stream that ends without close_notify ends like any
//! other: the protocol inside has an end of its own. When TLS itself fails, the
//! other side gets an alert, and what it still sends is thrown away: a reset
//! would overtake the alert.
//!
//! Source: RFC 8446, "Closure Alerts"; PostgreSQL documentation, "SSL Session
//! Encryption" in "Message Flow"; CVE-2021-23222.

use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::sync::Arc;

use pgskein_protocol::{tls_server_end_point, write};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection};

use crate::tls::{name_of, version_name, words};

/// The encryption of a stream.
pub(super) struct Tls {
    session: Connection,
    phase: Phase,
    /// Bytes of the other side that were read before the encryption began.
    early: Vec<u8>,
    /// The last read has left nothing in the socket, and nothing here.
    drained: bool,
    /// Bytes that are encrypted, and not all of them the kernel's.
    owed: usize,
    /// The other side began with it, and has to say what it speaks.
    direct: bool,
    /// By what it was begun, if the other side is a server.
    origin: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What logins of a client may be bound to: that of our certificate when the
    /// session began, whatever a reload has changed since.
    own_end_point: Option<Arc<[u8]>>,
}

/// How TLS with a server begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opening {
    /// It is asked whether it takes part, and may not.
    Asked,
    /// It is asked, and has to.
    Demanded,
    /// At once.
    Direct,
}

/// Where the encryption is.
enum Phase {
    /// The server is to say whether it takes part.
    Asking {
        /// What is left of the request.
        unsent: Vec<u8>,
        /// It has to.
        required: bool,
    },
    /// The server does not: what follows is plain.
    Declined,
    /// The session has begun.
    Begun,
    /// One side did not keep to it; nothing more comes of this stream.
    Failed,
}

impl Tls {
    /// A session that a client begins; `early` was read already, if it began
    /// without asking.
    pub(super) fn accept(
        session: Connection,
        early: Vec<u8>,
        end_point: Option<Arc<[u8]>>,
    ) -> Self {
        Self {
            session,
            phase: Phase::Begun,
            direct: !early.is_empty(),
            early,
            drained: false,
            owed: 0,
            origin: None,
            own_end_point: end_point,
        }
    }

    /// A session with a server of this name.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    pub(super) fn open(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        opening: Opening,
    ) -> Result<Self, rustls::Error> {
        let session = ClientConnection::new(Arc::clone(&config), name.clone())?;
        let direct = opening == Opening::Direct;
        let phase = if direct {
            Phase::Begun
        } else {
            let mut unsent = Vec::new();
            write::ssl_request(&mut unsent);
            let required = opening == Opening::Demanded;
            Phase::Asking { unsent, required }
        };
        Ok(Self {
            session: session.into(),
            phase,
            direct,
            early: Vec::new(),
            drained: false,
            owed: 0,
            origin: Some((config, name)),
            own_end_point: None,
        })
    }

    /// Another one with the same server, which has to take part.
    ///
    /// # Errors
    ///
    /// Why there can be none.
    pub(super) fn again(&self) -> Option<Result<Self, rustls::Error>> {
        let (config, name) = self.origin.as_ref()?;
        let opening = if self.direct {
            Opening::Direct
        } else {
            Opening::Demanded
        };
        Some(Self::open(Arc::clone(config), name.clone(), opening))
    }

    /// Whether the server does not take part.
    pub(super) fn is_declined(&self) -> bool {
        matches!(self.phase, Phase::Declined)
    }

    /// Whether both sides are still to agree.
    pub(super) fn is_shaking_hands(&self) -> bool {
        matches!(self.phase, Phase::Begun) && self.session.is_handshaking()
    }

    /// Whether one side did not keep to it, or the other is not who it has to be.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed)
    }

    /// Whether the other side did not say what it speaks, and has to.
    ///
    /// Source: PostgreSQL documentation, "SSL Session Encryption".
    pub(super) fn lacks_alpn(&self) -> bool {
        self.direct && !self.session.is_handshaking() && self.session.alpn_protocol().is_none()
    }

    /// What a login through it may be bound to: the hash of the certificate that
    /// the side of the server has shown.
    pub(super) fn end_point(&self) -> Option<Vec<u8>> {
        match &self.origin {
            None => self.own_end_point.as_deref().map(<[u8]>::to_vec),
            Some(_) => tls_server_end_point(self.session.peer_certificates()?.first()?),
        }
    }

    /// The certificate that a client has shown, which was verified.
    pub(super) fn client_certificate(&self) -> Option<&[u8]> {
        self.client_chain()?.first().map(|own| &**own)
    }

    /// The same with those between it and the root.
    pub(super) fn client_chain(&self) -> Option<&[CertificateDer<'static>]> {
        let of_client = self.origin.is_none() && !self.session.is_handshaking();
        self.session.peer_certificates().filter(|_| of_client)
    }

    /// Version and cipher, as PgBouncer writes them; empty before they are agreed.
    pub(super) fn description(&self) -> String {
        let version = self.session.protocol_version().map_or("", version_name);
        match self.session.negotiated_cipher_suite() {
            Some(suite) => format!("{version}/{}", name_of(suite.suite())),
            None => String::new(),
        }
    }

    /// Whether the last read has left nothing to be read, but for what has come
    /// since.
    pub(super) fn is_drained(&self) -> bool {
        self.drained
    }

    /// Reads plaintext; what is behind it in `bytes` is used for what is encrypted.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; `Interrupted` when there may be some, and
    /// others are to have their turn first; `InvalidData` with the cause when the
    /// other side does not keep to TLS, or is not who it has to be.
    #[cold]
    #[inline(never)]
    pub(super) fn read(&mut self, socket: &mut impl Socket, bytes: &mut [u8]) -> io::Result<usize> {
        self.drained = false;
        match self.phase {
            Phase::Begun => {}
            Phase::Asking { required, .. } => return self.hear_answer(socket, required),
            Phase::Declined => return socket.read(bytes),
            Phase::Failed => {
                let more = socket.read(bytes)? > 0;
                return if more { Err(interrupted()) } else { Ok(0) };
            }
        }
        // Somebody may send nothing but records without content.
        for _ in 0..RECEIVES {
            match self.session.reader().read(bytes) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            let read = self.receive(socket, bytes)?;
            if read > 0 {
                return Ok(read);
            }
        }
        Err(interrupted())
    }

    /// Writes plaintext.
    ///
    /// # Errors
    ///
    /// `WouldBlock` while not all is the kernel's: then the same bytes have to
    /// come again.
    #[cold]
    #[inline(never)]
    pub(super) fn write(&mut self, socket: &mut impl Socket, bytes: &[u8]) -> io::Result<usize> {
        debug_assert!(self.owed <= bytes.len(), "other bytes than before");
        if self.is_declined() {
            return socket.write(bytes);
        }
        if !self.flush(socket)? || matches!(self.phase, Phase::Asking { .. }) {
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.owed > 0 {
            return Ok(mem::take(&mut self.owed));
        }
        let taken = self.session.writer().write(bytes)?;
        if self.flush(socket)? && taken > 0 {
            return Ok(taken);
        }
        self.owed = taken;
        Err(ErrorKind::WouldBlock.into())
    }

    /// Sends what is encrypted already, or asks; false when the socket does not
    /// take it all.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub(super) fn flush(&mut self, socket: &mut impl Socket) -> io::Result<bool> {
        loop {
            let sent = match &mut self.phase {
                Phase::Asking { unsent, .. } if unsent.is_empty() => return Ok(true),
                Phase::Asking { unsent, .. } => socket.write(unsent).map(|sent| {
                    unsent.drain(..sent.min(unsent.len()));
                }),
                Phase::Declined => return Ok(true),
                Phase::Begun | Phase::Failed if !self.session.wants_write() => return Ok(true),
                Phase::Begun | Phase::Failed => self.session.write_tls(socket).map(|_| ()),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn say_good_bye(&mut self, socket: &mut impl Socket) {
        if matches!(self.phase, Phase::Begun) {
            self.session.send_close_notify();
            // Who is gone already, or does not read, needs none.
            let _ = self.flush(socket);
        }
    }

    /// Reads the one byte by which a server says whether it takes part.
    fn hear_answer(&mut self, socket: &mut impl Socket, required: bool) -> io::Result<usize> {
        self.flush(socket)?;
        let mut answer = [0];
        if socket.read(&mut answer)? == 0 {
            return Ok(0);
        }
        match answer {
            [b'S'] => {
                self.phase = Phase::Begun;
                self.flush(socket)?;
            }
            [b'N'] if !required => self.phase = Phase::Declined,
            [b'N'] => return Err(invalid("server does not support SSL")),
            // Nobody knows who says it, so it is shown to nobody.
            _ => return Err(invalid("server sent an error response during SSL exchange")),
        }
        Err(interrupted())
    }

    /// Understands what the socket has, as far as there is room for what comes of
    /// it at the beginning of `bytes`; gives how much that is.
    fn receive(&mut self, socket: &mut impl Socket, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.early.is_empty() {
            let read = self.session.read_tls(&mut self.early.as_slice())?;
            self.early.drain(..read.min(self.early.len()));
            if self.early.is_empty() {
                self.early = Vec::new();
            }
            return self.understand(socket).map(|()| 0);
        }
        // What is read, and a record that has begun before, fits in front of it.
        let room = bytes.len().saturating_sub(RECORD_MAX) / 2;
        let (plain, raw) = bytes.split_at_mut(bytes.len() - room);
        if raw.is_empty() {
            self.session.read_tls(socket)?;
            return self.understand(socket).map(|()| 0);
        }
        let read = socket.read(raw)?;
        let mut rest = raw.get(..read).unwrap_or_default();
        let (mut filled, mut all) = (0, false);
        // Nothing, that is the end of the stream, has to be told as well.
        while self.session.read_tls(&mut rest)? > 0 {
            self.understand(socket)?;
            all = false;
            while let Some(plain) = plain.get_mut(filled..).filter(|plain| !plain.is_empty()) {
                match self.session.reader().read(plain) {
                    // The other side has closed the session, perhaps not the socket.
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(_) => {
                        all = true;
                        break;
                    }
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        self.drained = all && read < room;
        Ok(filled)
    }

    /// Understands what was received, and answers it where TLS has to.
    fn understand(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        let understood = self.session.process_new_packets();
        // An answer that cannot be sent is missed by the other side.
        let _ = self.flush(socket);
        if let Err(error) = understood {
            self.phase = Phase::Failed;
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        if self.origin.is_some() && self.lacks_alpn() {
            self.phase = Phase::Failed;
            return Err(invalid("server did not agree on ALPN"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tls {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.description()).finish()
    }
}

/// What encrypted bytes are read from and written to.
pub(super) trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

/// What is wrong with TLS, if it is that which has failed and not the socket.
pub(super) fn cause(error: &io::Error) -> Option<String> {
    let cause = error
        .get_ref()
        .filter(|_| error.kind() == ErrorKind::InvalidData);
    cause.map(|cause| match cause.downcast_ref() {
        Some(error) => words(error),
        None => cause.to_string(),
    })
}

fn interrupted() -> io::Error {
    ErrorKind::Interrupted.into()
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, problem)
}

/// Longest record, with its header, in bytes.
///
/// Source: RFC 5246, "Record Payload Protection".
const RECORD_MAX: usize = 5 + (1 << 14) + 2048;

/// Reads from the socket for one piece of plaintext.
const RECEIVES: usize = 4;

#[cfg(test)]
mod tests;

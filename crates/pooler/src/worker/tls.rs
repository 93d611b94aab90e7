//! TLS on a stream: what is read and written goes through a session of it.
//!
//! A read gives plaintext as long as there is some, then understands what the
//! socket has, until that has nothing; so what is readable stays true. A write
//! counts as done when the encrypted bytes are the kernel's: until then the same
//! bytes have to be offered again, as [`Outbox`](super::stream::Outbox) does,
//! and nothing else is encrypted. No more than one piece waits here, therefore.
//!
//! The handshake is part of reading. A stream that ends without close_notify
//! ends like any other: the protocol inside has an end of its own. When TLS
//! itself fails, the other side gets an alert, and what it still sends is thrown
//! away: a reset would overtake the alert.
//!
//! Source: RFC 8446, "Closure Alerts".

use std::io::{self, Read, Write};
use std::mem;

use rustls::Connection;

use crate::tls::{name_of, version_name};

/// The encryption of a stream.
pub(super) struct Tls {
    session: Connection,
    /// Bytes of the other side that were read before the encryption began.
    early: Vec<u8>,
    /// Bytes that are encrypted, and not all of them the kernel's.
    owed: usize,
    /// The other side began with it, and has to say what it speaks.
    direct: bool,
    /// One side did not keep to it; nothing more comes of this stream.
    failed: bool,
}

impl Tls {
    /// A session that begins; `early` was read already, if the other side began
    /// with it.
    pub(super) fn new(session: Connection, early: Vec<u8>) -> Self {
        Self {
            session,
            direct: !early.is_empty(),
            early,
            owed: 0,
            failed: false,
        }
    }

    /// Whether the other side did not say what it speaks, and has to.
    ///
    /// Source: PostgreSQL documentation, "SSL Session Encryption".
    pub(super) fn lacks_alpn(&self) -> bool {
        self.direct && !self.session.is_handshaking() && self.session.alpn_protocol().is_none()
    }

    /// Version and cipher, as PgBouncer writes them; empty before they are agreed.
    pub(super) fn description(&self) -> String {
        let version = self.session.protocol_version().map_or("", version_name);
        match self.session.negotiated_cipher_suite() {
            Some(suite) => format!("{version}/{}", name_of(suite.suite())),
            None => String::new(),
        }
    }

    /// Reads plaintext.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none; `Interrupted` when there may be some, and
    /// others are to have their turn first; `InvalidData` with the cause when the
    /// other side does not keep to TLS, or is not who it has to be.
    #[cold]
    pub(super) fn read(&mut self, socket: &mut impl Socket, bytes: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            let more = socket.read(bytes)? > 0;
            return if more { Err(interrupted()) } else { Ok(0) };
        }
        // Somebody may send nothing but records without content.
        for _ in 0..RECEIVES {
            match self.session.reader().read(bytes) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) => return Err(error),
            }
            self.receive(socket)?;
            let understood = self.session.process_new_packets();
            // An answer that cannot be sent is missed by the other side.
            let _ = self.flush(socket);
            if let Err(error) = understood {
                self.failed = true;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
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
    pub(super) fn write(&mut self, socket: &mut impl Socket, bytes: &[u8]) -> io::Result<usize> {
        debug_assert!(self.owed <= bytes.len(), "other bytes than before");
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.owed > 0 {
            return Ok(mem::take(&mut self.owed));
        }
        let taken = self.session.writer().write(bytes)?;
        if self.flush(socket)? && taken > 0 {
            return Ok(taken);
        }
        self.owed = taken;
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends what is encrypted already; false when the socket does not take it
    /// all.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub(super) fn flush(&mut self, socket: &mut impl Socket) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says that nothing more will be written.
    pub(super) fn say_good_bye(&mut self, socket: &mut impl Socket) {
        self.session.send_close_notify();
        // Who is gone already, or does not read, needs none.
        let _ = self.flush(socket);
    }

    fn receive(&mut self, socket: &mut impl Socket) -> io::Result<()> {
        if self.early.is_empty() {
            self.session.read_tls(socket)?;
            return Ok(());
        }
        let read = self.session.read_tls(&mut self.early.as_slice())?;
        self.early.drain(..read.min(self.early.len()));
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        Ok(())
    }
}

fn interrupted() -> io::Error {
    io::ErrorKind::Interrupted.into()
}

/// Reads from the socket for one piece of plaintext.
const RECEIVES: usize = 16;

/// What encrypted bytes are read from and written to.
pub(super) trait Socket: Read + Write {}

impl<T: Read + Write> Socket for T {}

impl std::fmt::Debug for Tls {
    /// Shows no key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tls").field(&self.description()).finish()
    }
}

//! Streams: nonblocking sockets with what is known about their readiness.
//!
//! Readiness is state: an event sets it, and only the socket's own word takes
//! it back. `WouldBlock` does, and on plain TCP so does a short read, since the
//! socket is then empty. A short read is no proof where the end of the stream
//! may have come with the last bytes, nor on unix sockets; with TLS it is that of
//! the socket that counts, if all of it was understood.
//!
//! Source: epoll(7), "Level-triggered and edge-triggered".

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use mio::event::{Event, Source};
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, Connection};

use super::tls::{Opening, Tls};

/// A connected socket of either family.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(mio::net::TcpStream),
    /// A unix socket.
    Unix(mio::net::UnixStream),
}

/// A socket and its readiness.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Socket,
    /// What encrypts it, if it is encrypted.
    tls: Option<Box<Tls>>,
    readable: bool,
    writable: bool,
    /// The other side has closed its side, or all of it.
    read_closed: bool,
}

/// What a read gave.
#[derive(Debug)]
pub(super) enum Filled {
    /// Nothing to read now.
    Nothing,
    /// The other side has closed its side.
    End,
    /// So many bytes at the beginning of the scratch buffer.
    Scratch(usize),
    /// The bytes of a long inbox with what was read behind them.
    Inbox(Vec<u8>),
}

impl Stream {
    /// A socket that was just connected or accepted: worth a try both ways.
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            readable: true,
            writable: true,
            read_closed: false,
        }
    }

    /// A socket whose connect is under way.
    fn connecting(socket: Socket) -> Self {
        Self {
            socket,
            tls: None,
            readable: false,
            writable: false,
            read_closed: false,
        }
    }

    /// A socket that was just opened; over TCP its connect is under way.
    pub(super) fn to_server(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(_) => Self::connecting(socket),
            Socket::Unix(_) => Self::new(socket),
        }
    }

    /// Encrypts all that follows by `session`; `early` was read already, and is
    /// the beginning of it. Logins may be bound to `end_point`.
    pub(super) fn encrypt(
        &mut self,
        session: Connection,
        early: &[u8],
        end_point: Option<Arc<[u8]>>,
    ) {
        let tls = Tls::accept(session, early.to_vec(), end_point);
        self.tls = Some(Box::new(tls));
        // What was read early is in no socket.
        self.readable = true;
    }

    /// Encrypts all that follows, at once or when the server has said that it
    /// takes part.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    pub(super) fn open_tls(
        &mut self,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
        opening: Opening,
    ) -> Result<(), rustls::Error> {
        let tls = Tls::open(Arc::clone(config), name, opening)?;
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Encrypts all that follows, if `other`, to the same server, is encrypted.
    ///
    /// # Errors
    ///
    /// Why that is not possible.
    pub(super) fn encrypt_like(&mut self, other: &Self) -> Result<(), rustls::Error> {
        if let Some(tls) = other.tls.as_ref().and_then(|tls| tls.again()) {
            self.tls = Some(Box::new(tls?));
        }
        Ok(())
    }

    /// What encrypts it, if it is encrypted.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_deref()
    }

    /// Whether both sides are at the beginning of TLS.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.tls().is_some_and(Tls::is_shaking_hands)
    }

    /// Sends what TLS has to say by itself.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub(super) fn flush_tls(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.flush(&mut self.socket)?;
        }
        Ok(())
    }

    /// The unix socket, which was taken out of the event loop.
    pub(super) fn into_unix(self) -> Option<std::os::unix::net::UnixStream> {
        match self.socket {
            Socket::Unix(socket) => Some(socket.into()),
            Socket::Tcp(_) => None,
        }
    }

    /// A second descriptor of the socket, for another process.
    ///
    /// # Errors
    ///
    /// The error of `dup(2)`.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Socket::Unix(socket) => socket.as_fd().try_clone_to_owned(),
        }
    }

    /// Registers for both directions, once and for all.
    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.source().register(registry, token, interest)
    }

    /// Registers a socket anew, of which nothing is known but whether something
    /// may have come.
    pub(super) fn register_again(
        &mut self,
        registry: &Registry,
        token: Token,
        readable: bool,
    ) -> io::Result<()> {
        (self.readable, self.writable) = (readable, true);
        self.register(registry, token)
    }

    /// Takes the socket out of the event loop, before it is closed.
    pub(super) fn deregister(&mut self, registry: &Registry) {
        if let Some(tls) = &mut self.tls {
            tls.say_good_bye(&mut self.socket);
        }
        // A socket that was never registered has nothing to be taken out.
        let _ = self.source().deregister(registry);
    }

    /// Notes what an event says.
    #[inline]
    pub(super) fn on_event(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_error();
        self.writable |= event.is_writable();
        if event.is_read_closed() {
            self.read_closed = true;
            self.readable = true;
        }
    }

    /// Whether a read may give something.
    #[inline]
    pub(super) fn readable(&self) -> bool {
        self.readable
    }

    /// Whether a write may be taken.
    #[inline]
    pub(super) fn writable(&self) -> bool {
        self.writable
    }

    /// Whether the other side is known to have closed its side.
    pub(super) fn read_closed(&self) -> bool {
        self.read_closed
    }

    /// Reads once, behind what is left in `inbox`.
    ///
    /// A short inbox moves to the front of `scratch`, so that frames are
    /// parsed where they were read; a long one grows instead.
    ///
    /// # Errors
    ///
    /// The error of the socket; the connection is then useless.
    #[inline(always)]
    pub(super) fn fill(&mut self, inbox: &mut Vec<u8>, scratch: &mut [u8]) -> io::Result<Filled> {
        let kept = inbox.len();
        let short = kept <= scratch.len() / 8;
        let start = if short { kept } else { 0 };
        let Some(room) = scratch.get_mut(start..) else {
            return Ok(Filled::Nothing);
        };
        let room_len = room.len();
        let read = match &mut self.tls {
            None => self.socket.read(room),
            Some(tls) => tls.read(&mut self.socket, room),
        };
        let read = match read {
            Ok(0) => return Ok(Filled::End),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                return Ok(Filled::Nothing);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.after_interruption();
                return Ok(Filled::Nothing);
            }
            Err(error) => return Err(error),
        };
        if read < room_len
            && !self.read_closed
            && matches!(self.socket, Socket::Tcp(_))
            && self.tls.as_ref().is_none_or(|tls| tls.is_drained())
        {
            self.readable = false;
        }
        if kept == 0 {
            return Ok(Filled::Scratch(read));
        }
        let mut bytes = std::mem::take(inbox);
        if short {
            if let Some(front) = scratch.get_mut(..kept) {
                front.copy_from_slice(&bytes);
            }
            Ok(Filled::Scratch(kept + read))
        } else {
            bytes.extend_from_slice(scratch.get(..read).unwrap_or_default());
            Ok(Filled::Inbox(bytes))
        }
    }

    /// TLS may have come to where it takes bytes, or the server has declined it.
    #[cold]
    #[inline(never)]
    fn after_interruption(&mut self) {
        if let Some(tls) = &self.tls {
            self.writable = true;
            if tls.is_declined() {
                self.tls = None;
            }
        }
    }

    /// The error that a connect has ended with, if it has.
    pub(super) fn connect_error(&self) -> io::Result<Option<io::Error>> {
        match &self.socket {
            Socket::Tcp(socket) => socket.take_error(),
            Socket::Unix(socket) => socket.take_error(),
        }
    }

    /// Our side of a TCP connection; none of a unix socket.
    pub(super) fn local_address(&self) -> Option<std::net::SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn shutdown_write(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_good_bye(&mut self.socket);
        }
        // A peer that is gone already needs no good-bye.
        let _ = match &self.socket {
            Socket::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Socket::Unix(socket) => socket.shutdown(Shutdown::Write),
        };
    }

    /// Writes once; `None` when the socket takes nothing now.
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let written = match &mut self.tls {
            None => self.socket.write(bytes),
            Some(tls) => tls.write(&mut self.socket, bytes),
        };
        match written {
            Ok(written) => {
                // TLS takes its time, and says itself when it cannot go on.
                if written < bytes.len() && self.tls.is_none() {
                    self.writable = false;
                }
                Ok(Some(written))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match &mut self.socket {
            Socket::Tcp(socket) => socket,
            Socket::Unix(socket) => socket,
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        match &self.socket {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            Socket::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

impl Read for Socket {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            Self::Unix(socket) => socket.read(bytes),
        }
    }
}

impl Write for Socket {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            Self::Unix(socket) => socket.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write_vectored(pieces),
            Self::Unix(socket) => socket.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that could not be written yet.
///
/// It owns no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Whether everything was written.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How much was written of what had to wait, and how much is left, in bytes.
    pub(super) fn progress(&self) -> (usize, usize) {
        (self.written, self.bytes.len() - self.written)
    }

    /// Bytes of memory that it owns.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The buffer to append messages to; [`Outbox::flush`] writes them.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes `bytes` behind what waits already; keeps what is not taken.
    ///
    /// # Errors
    ///
    /// The error of the socket; the connection is then useless.
    #[inline(always)]
    pub(super) fn send(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.bytes.is_empty() {
            self.bytes.extend_from_slice(bytes);
            return self.flush(stream);
        }
        let mut rest = bytes;
        while stream.writable && !rest.is_empty() {
            match stream.write(rest)? {
                Some(written) => rest = rest.get(written..).unwrap_or_default(),
                None => break,
            }
        }
        if !rest.is_empty() {
            self.bytes.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    ///
    /// The error of the socket; the connection is then useless.
    pub(super) fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        while stream.writable && self.written < self.bytes.len() {
            let rest = self.bytes.get(self.written..).unwrap_or_default();
            match stream.write(rest)? {
                Some(written) => self.written += written,
                None => break,
            }
        }
        if self.written >= self.bytes.len() {
            *self = Self::default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

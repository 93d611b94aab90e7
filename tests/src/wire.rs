//! A raw connection: bytes out, whole messages in, with a deadline.
//!
//! It knows where a message ends and no more, and shares no code with the
//! pooler, so that both cannot be wrong in the same way.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, HandshakeKind, StreamOwned};
use socket2::SockRef;

use crate::certificates::TlsClient;
use crate::wait::PATIENCE;

/// One message from the server.
#[derive(Clone, Eq, PartialEq)]
pub struct Message {
    /// Its type, such as `b'Z'` for ReadyForQuery.
    pub tag: u8,
    /// Everything after the length.
    pub body: Vec<u8>,
}

/// What an ErrorResponse or a NoticeResponse says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ErrorFields {
    /// Field `S`, such as `FATAL`.
    pub severity: String,
    /// Field `C`, five characters.
    pub sqlstate: String,
    /// Field `M`.
    pub message: String,
    /// Field `D`, empty when absent.
    pub detail: String,
    /// Field `H`, empty when absent.
    pub hint: String,
}

/// A stream of messages.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    inbox: Vec<u8>,
    start: usize,
}

/// A startup packet with the given version word and parameters.
pub fn startup_packet(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    with_length(&body)
}

impl Message {
    /// Reads the body as that of a RowDescription: the names of its columns.
    pub fn column_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut rest = &self.body[2..];
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            // Six fields of 18 bytes in all follow a name.
            rest = &rest[end + 19..];
        }
        names
    }

    /// Reads the body as that of an ErrorResponse or NoticeResponse.
    pub fn error(&self) -> ErrorFields {
        let mut fields = ErrorFields::default();
        for field in self.body.split(|byte| *byte == 0) {
            let Some((code, text)) = field.split_first() else {
                break;
            };
            let text = String::from_utf8_lossy(text).into_owned();
            match code {
                b'S' => fields.severity = text,
                b'C' => fields.sqlstate = text,
                b'M' => fields.message = text,
                b'D' => fields.detail = text,
                b'H' => fields.hint = text,
                _ => {}
            }
        }
        fields
    }

    /// Reads the body as a sequence of strings that each end with a NUL.
    pub fn strings(&self) -> Vec<String> {
        let body = self.body.strip_suffix(b"\0").unwrap_or(&self.body);
        body.split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect()
    }

    /// Reads the body as that of a DataRow.
    pub fn columns(&self) -> Vec<Option<String>> {
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while !rest.is_empty() {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            if length < 0 {
                columns.push(None);
                continue;
            }
            let (value, after) = rest.split_at(usize::try_from(length).unwrap());
            columns.push(Some(String::from_utf8_lossy(value).into_owned()));
            rest = after;
        }
        columns
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.body[..self.body.len().min(200)];
        write!(
            f,
            "{:?} {:?}",
            char::from(self.tag),
            shown.escape_ascii().to_string()
        )
    }
}

impl Wire {
    /// Takes over a connected TCP socket.
    pub fn tcp(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self::new(Stream::Tcp(stream))
    }

    /// Takes over a connected unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        Self::new(Stream::Unix(stream))
    }

    fn new(stream: Stream) -> Self {
        let wire = Self {
            stream,
            inbox: Vec::new(),
            start: 0,
        };
        wire.set_deadline(PATIENCE);
        wire
    }

    /// Shakes hands for TLS at once, with nothing before.
    ///
    /// # Errors
    ///
    /// Why there is no TLS.
    pub fn tls(self, client: &TlsClient) -> io::Result<Self> {
        let Stream::Tcp(stream) = self.stream else {
            panic!("only plain TCP can be encrypted");
        };
        let stream = client.shake(stream)?;
        Ok(Self::new(Stream::Tls(Box::new(stream))))
    }

    /// Asks for TLS, which is granted, and shakes hands.
    ///
    /// # Errors
    ///
    /// Why there is no TLS.
    pub fn ask_for_tls(mut self, client: &TlsClient) -> io::Result<Self> {
        self.send(&SSL_REQUEST);
        assert_eq!(self.read_byte(), Some(b'S'), "the answer to SSLRequest");
        self.tls(client)
    }

    /// Whether TLS goes on with a session from before.
    pub fn is_resumed(&self) -> bool {
        match &self.stream {
            Stream::Tls(stream) => stream.conn.handshake_kind() == Some(HandshakeKind::Resumed),
            Stream::Tcp(_) | Stream::Unix(_) => false,
        }
    }

    /// A second handle of its plain TCP socket, to write past what encrypts it later.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn socket(&self) -> TcpStream {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_clone().expect("there are descriptors"),
            _ => panic!("it is no plain TCP"),
        }
    }

    /// Ends TLS, and leaves the socket as it is.
    pub fn end_tls(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().expect("the pooler reads");
        }
    }

    /// Whether the other side ends TLS before the socket, with nothing in front.
    pub fn ends_in_order(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0))
    }

    /// Sets how long one read or write may take.
    pub fn set_deadline(&self, deadline: Duration) {
        self.stream
            .set_timeout(deadline)
            .expect("a timeout can be set");
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// That of the socket, when the other side is gone or does not read.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Address and port on our side of a TCP connection.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub fn local_address(&self) -> String {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().expect("it is connected").to_string(),
            _ => panic!("it is no plain TCP"),
        }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the other side reads");
    }

    /// Sends one message.
    pub fn send_message(&mut self, tag: u8, body: &[u8]) {
        self.send(&message(tag, body));
    }

    /// Ends our side of the connection.
    pub fn finish(&self) {
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Closes the connection with a reset instead of an orderly end.
    pub fn reset(self) {
        if let Stream::Tcp(stream) = &self.stream {
            SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .expect("SO_LINGER can be set");
        }
    }

    /// Reads one byte, such as the answer to an SSLRequest; `None` at the end.
    pub fn read_byte(&mut self) -> Option<u8> {
        while self.start == self.inbox.len() {
            if !self.fill() {
                return None;
            }
        }
        self.start += 1;
        self.inbox.get(self.start - 1).copied()
    }

    /// Reads the next message; `None` when the connection has ended.
    pub fn read_message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.buffered() {
                return Some(message);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Reads the next message if it is there before `deadline` has passed.
    pub fn poll_message(&mut self, deadline: Duration) -> Option<Message> {
        let start = Instant::now();
        loop {
            if let Some(message) = self.buffered() {
                return Some(message);
            }
            let left = deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                return None;
            }
            self.set_deadline(left.max(Duration::from_millis(1)));
            let outcome = self.try_fill();
            self.set_deadline(PATIENCE);
            if matches!(outcome, Ok(false)) {
                return None;
            }
        }
    }

    /// Reads what has come already, and does not wait; false when there is no
    /// more to come.
    pub fn read_arrived(&mut self) -> bool {
        self.stream.set_nonblocking(true);
        let open = loop {
            match self.try_fill() {
                Ok(true) => {}
                Ok(false) => break false,
                Err(_) => break true,
            }
        };
        self.stream.set_nonblocking(false);
        open
    }

    /// The next message of those that were read.
    pub fn next_arrived(&mut self) -> Option<Message> {
        self.buffered()
    }

    /// Reads every message up to the end of the connection.
    pub fn read_to_end(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.read_message()).collect()
    }

    /// Reads and throws away `n` bytes; returns how many came before the end.
    pub fn skip(&mut self, n: u64) -> u64 {
        let mut skipped = 0;
        while skipped < n {
            if self.start == self.inbox.len() && !self.fill() {
                break;
            }
            let here = (self.inbox.len() - self.start) as u64;
            let take = here.min(n - skipped);
            self.start += usize::try_from(take).unwrap();
            skipped += take;
        }
        skipped
    }

    /// Reads the type of the next message and the length of its body, which
    /// stays to be skipped.
    pub fn read_header(&mut self) -> Option<(u8, u32)> {
        while self.inbox.len() - self.start < HEADER_LEN {
            if !self.fill() {
                return None;
            }
        }
        let header = &self.inbox[self.start..self.start + HEADER_LEN];
        let length = u32::from_be_bytes(header[1..].try_into().unwrap());
        let tag = header[0];
        self.start += HEADER_LEN;
        Some((tag, length - LENGTH_LEN))
    }

    fn buffered(&mut self) -> Option<Message> {
        let bytes = &self.inbox[self.start..];
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
        let length = u32::from_be_bytes(header[1..].try_into().unwrap());
        assert!(
            length >= LENGTH_LEN,
            "a length that counts itself: {header:?}"
        );
        let body_len = (length - LENGTH_LEN) as usize;
        let body = rest.get(..body_len)?.to_vec();
        self.start += HEADER_LEN + body_len;
        Some(Message {
            tag: header[0],
            body,
        })
    }

    /// Reads once; false at the end of the stream.
    fn fill(&mut self) -> bool {
        match self.try_fill() {
            Ok(more) => more,
            Err(e) => panic!("nothing came for {PATIENCE:?}: {e}"),
        }
    }

    /// Reads once; an error when nothing has come.
    fn try_fill(&mut self) -> io::Result<bool> {
        self.inbox.drain(..self.start);
        self.start = 0;
        let old = self.inbox.len();
        self.inbox.resize(old + READ_LEN, 0);
        let outcome = self.stream.read(&mut self.inbox[old..]);
        self.inbox
            .truncate(old + outcome.as_ref().map_or(0, |n| *n));
        match outcome {
            Ok(n) => Ok(n > 0),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(e),
            // A reset is an end too.
            Err(_) => Ok(false),
        }
    }
}

/// A message with its type and length.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&with_length(body));
    bytes
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap() + LENGTH_LEN;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// The two kinds of socket.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Self::Tls(stream) => {
                stream.sock.set_read_timeout(Some(timeout))?;
                stream.sock.set_write_timeout(Some(timeout))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }

    fn set_nonblocking(&self, on: bool) {
        let set = match self {
            Self::Tcp(stream) => stream.set_nonblocking(on),
            Self::Tls(stream) => stream.sock.set_nonblocking(on),
            Self::Unix(stream) => stream.set_nonblocking(on),
        };
        set.expect("a socket can be made to wait or not");
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Tls(stream) => stream.sock.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// SSLRequest.
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Bytes of a message's type and length.
const HEADER_LEN: usize = 5;
/// Bytes of a length field.
const LENGTH_LEN: u32 = 4;
/// Bytes asked for in one read.
const READ_LEN: usize = 64 * 1024;

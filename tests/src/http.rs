//! What a group answers over HTTP.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use crate::route::free_port;
use crate::wait::{PATIENCE, wait_for};

/// Where a group answers HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Http(SocketAddr);

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpAnswer {
    /// Such as 200.
    pub status: u16,
    /// All that comes before the body.
    pub head: String,
    /// The body, without the end of its line.
    pub body: String,
}

impl Http {
    /// An address that nothing listens on.
    pub fn unused() -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())))
    }

    /// On this address, with a port that nothing listens on.
    pub fn on(address: Ipv4Addr) -> Self {
        Self(SocketAddr::from((address, free_port())))
    }

    /// The line of the configuration that has a group answer there.
    pub fn setting(self) -> String {
        format!("http_listen = {}", self.0)
    }

    /// The address.
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// A connection.
    ///
    /// # Errors
    ///
    /// That of the connect.
    pub fn connect(self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.0, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Asks for `path`.
    ///
    /// # Errors
    ///
    /// There was no answer, or not a whole one.
    pub fn try_get(self, path: &str) -> io::Result<HttpAnswer> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    }

    /// Asks for `path`.
    ///
    /// # Panics
    ///
    /// When there is no whole answer.
    pub fn get(self, path: &str) -> HttpAnswer {
        let answer = self.try_get(path);
        answer.unwrap_or_else(|error| panic!("GET {path} of {}: {error}", self.0))
    }

    /// Sends bytes and reads the answer.
    ///
    /// # Errors
    ///
    /// There was no answer, or not a whole one.
    pub fn send(self, bytes: &[u8]) -> io::Result<HttpAnswer> {
        let mut stream = self.connect()?;
        stream.write_all(bytes)?;
        HttpAnswer::read(&mut stream)
    }

    /// Waits until `path` is answered with this status and this body.
    pub fn wait(self, path: &str, status: u16, body: &str) {
        let mut last = None;
        wait_for(
            &format!("{path} to say {status} {body:?}"),
            PATIENCE,
            || {
                last = self.try_get(path).ok();
                last.as_ref()
                    .is_some_and(|answer| answer.says(status, body))
            },
        );
    }

    /// Waits until the group is ready.
    pub fn wait_ready(self) {
        wait_for("/ready to say 200", PATIENCE, || self.is_ready());
    }

    /// Whether the group says that it is ready.
    pub fn is_ready(self) -> bool {
        self.try_get("/ready")
            .is_ok_and(|answer| answer.status == 200)
    }
}

impl HttpAnswer {
    /// Reads to the end of a stream.
    ///
    /// # Errors
    ///
    /// That of the stream; `InvalidData` when it was no whole answer.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Self::of(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text))
    }

    /// Whether it has this status and this body.
    pub fn says(&self, status: u16, body: &str) -> bool {
        (self.status, self.body.as_str()) == (status, body)
    }

    fn of(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: "))?;
        let whole = length.parse() == Ok(body.len());
        (whole || body.is_empty()).then(|| Self {
            status,
            head: head.to_owned(),
            body: body.trim_end().to_owned(),
        })
    }
}

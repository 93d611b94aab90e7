//! The socket to a server of a directory, and TLS in it.
//!
//! It blocks, in a thread: every step has its end, and all looks a few times a
//! second whether somebody still waits for the answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgskein_config::{LdapEncryption, LdapServer};
use pgskein_pool::directory::{Next, Talk, Verdict};
use pgskein_protocol::ldap::{Malformed, Message, write_unbind};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use zeroize::Zeroizing;

use super::{Of, Question};

/// Asks one server of the directory of a question.
pub(super) fn ask(question: &Question, server: &LdapServer) -> Verdict {
    converse(question, server).unwrap_or_else(|problem| Verdict::Failed(problem.to_string()))
}

fn converse(question: &Question, server: &LdapServer) -> io::Result<Verdict> {
    let Of::Ldap {
        ldap, tls, timeout, ..
    } = &question.of
    else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let mut line = Line {
        socket: connect(server, *timeout)?,
        tls: None,
        question,
        timeout: *timeout,
        deadline: Instant::now() + *timeout,
        inbox: Vec::new(),
    };
    line.socket.set_read_timeout(Some(SLICE))?;
    line.socket.set_write_timeout(Some(*timeout))?;
    line.socket.set_nodelay(true)?;
    if ldap.encryption == LdapEncryption::Ldaps {
        line.encrypt(tls, server)?;
    }
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX).max(1);
    let mut talk = Talk::new(ldap, &question.user, &question.password, seconds);
    let mut out = Zeroizing::new(Vec::new());
    let mut next = talk.begin(&mut out);
    loop {
        match next {
            Next::Done(verdict) => {
                out.clear();
                write_unbind(&mut out, LAST_ID);
                // It is known either way.
                let _ = line.send(&out);
                return Ok(verdict);
            }
            Next::Read => {
                line.send(&out)?;
                // The next request gets memory of its own, this is zeroed.
                out = Zeroizing::new(Vec::new());
                next = line.receive(|message| talk.on_message(message, &mut out))?;
            }
            Next::Encrypt => {
                line.encrypt(tls, server)?;
                next = talk.encrypted(&mut out);
            }
        }
    }
}

/// Connects to the first address of a server that takes it.
fn connect(server: &LdapServer, timeout: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + timeout;
    let mut problem = io::Error::other("no address");
    for address in (server.host.as_str(), server.port).to_socket_addrs()? {
        let left = deadline.saturating_duration_since(Instant::now());
        match TcpStream::connect_timeout(&address, left.max(SHORTEST)) {
            Ok(socket) => return Ok(socket),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

/// A connection to a server.
struct Line<'a> {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    question: &'a Question,
    timeout: Duration,
    /// When this step has to be over.
    deadline: Instant,
    /// What was read and is no whole message.
    inbox: Vec<u8>,
}

impl Line<'_> {
    /// Shakes hands for TLS.
    fn encrypt(&mut self, tls: &Option<Arc<ClientConfig>>, server: &LdapServer) -> io::Result<()> {
        if !self.inbox.is_empty() {
            // Whoever has put it there was not the server.
            return Err(io::Error::other(
                "unencrypted data after the answer to StartTLS",
            ));
        }
        let config = tls.clone().ok_or_else(|| io::Error::other("no TLS"))?;
        let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        self.begin_step();
        while tls.is_handshaking() {
            if tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            } else {
                self.feed(&mut tls)?;
            }
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.begin_step();
        let Some(tls) = &mut self.tls else {
            return self.socket.write_all(bytes);
        };
        tls.writer().write_all(bytes)?;
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Gives messages to `take` as they come, until it wants something else.
    fn receive(&mut self, mut take: impl FnMut(&Message<'_>) -> Next) -> io::Result<Next> {
        loop {
            let inbox = std::mem::take(&mut self.inbox);
            let split = Message::split(&inbox, MESSAGE_MAX);
            match split.map_err(|Malformed| io::Error::other("it does not speak LDAP"))? {
                Some((message, rest)) => {
                    let next = take(&message);
                    self.inbox = rest.to_vec();
                    if next != Next::Read || !message.answer.is_partial() {
                        return Ok(next);
                    }
                }
                None => {
                    self.inbox = inbox;
                    self.read()?;
                }
            }
        }
    }

    /// Reads more into the inbox.
    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = match self.tls.take() {
            None => self.wait(&mut bytes)?,
            Some(mut tls) => {
                let read = loop {
                    match tls.reader().read(&mut bytes) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            self.feed(&mut tls)?;
                        }
                        read => break read?,
                    }
                };
                self.tls = Some(tls);
                read
            }
        };
        if read == 0 {
            return Err(closed());
        }
        let bytes = bytes.get(..read).unwrap_or_default();
        self.inbox.extend_from_slice(bytes);
        Ok(())
    }

    /// Brings what the socket has to TLS.
    fn feed(&mut self, tls: &mut ClientConnection) -> io::Result<()> {
        let mut bytes = [0; 4096];
        let read = self.wait(&mut bytes)?;
        let mut rest = bytes.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Err(closed());
        }
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            if let Err(error) = tls.process_new_packets() {
                // What TLS wants to say about it.
                let _ = tls.write_tls(&mut self.socket);
                return Err(io::Error::other(error));
            }
        }
        Ok(())
    }

    /// Reads from the socket what there is, and waits for it.
    fn wait(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.question.is_wanted() {
                return Err(io::Error::other("nobody waits for it any more"));
            }
            if Instant::now() >= self.deadline {
                let seconds = self.timeout.as_secs_f64();
                return Err(io::Error::other(format!("no answer within {seconds}s")));
            }
            match self.socket.read(bytes) {
                Err(error) if is_early(&error) => {}
                read => return read,
            }
        }
    }

    fn begin_step(&mut self) {
        self.deadline = Instant::now() + self.timeout;
    }
}

fn closed() -> io::Error {
    io::Error::other("it has closed the connection")
}

fn is_early(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// How often it is looked whether anybody still waits.
const SLICE: Duration = Duration::from_millis(200);

/// What is left for further addresses of a server in any case.
const SHORTEST: Duration = Duration::from_millis(200);

/// Longest message, in bytes: there are no attributes in them.
const MESSAGE_MAX: usize = 256 * 1024;

/// Number of the good-bye: none of the requests before it had it.
const LAST_ID: u32 = 100;

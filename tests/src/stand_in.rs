//! A stand-in for PostgreSQL, for what no PostgreSQL does on demand.
//!
//! It listens, reads the first packet of each connection, and answers it as
//! its scenario says. It knows nothing of SQL.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::wait::{PATIENCE, wait_for};
use crate::wire::{Wire, message};

/// Something that listens like a PostgreSQL and is none.
#[derive(Debug)]
pub struct StandIn {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    packets: Mutex<Vec<FirstPacket>>,
    /// Sessions that were let in and have not ended.
    sessions: Mutex<BTreeMap<usize, TcpStream>>,
    number: AtomicUsize,
    /// What it says when it is asked whether it is a standby.
    standby: AtomicBool,
    stopped: AtomicBool,
}

/// The first packet of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FirstPacket {
    /// The version of a session, or the code of a request.
    pub code: u32,
    /// What follows.
    pub body: Vec<u8>,
}

/// What becomes of a session.
#[derive(Clone, Debug)]
pub enum Manner {
    /// The connection is closed without a word.
    Close,
    /// These bytes are sent, then the connection is closed.
    Refuse(Vec<u8>),
    /// These bytes are sent, then it is let in with the rest of its cancel key,
    /// if it gets one; each query returns nothing, unless it asks whether this is
    /// a standby. A query with the word `hang`
    /// runs until it is cancelled; behind the answer to one with `goaway` comes
    /// a GoAway, and in the answer to one with `leave` the other request to go.
    Serve {
        /// What comes before AuthenticationOk.
        before: Vec<u8>,
        /// What comes among the parameters.
        parameters: Vec<u8>,
        /// Secret of the cancel key.
        secret: Option<Vec<u8>>,
    },
}

impl StandIn {
    /// Starts one that answers the first packet of every session like this.
    pub fn start(manner: impl Fn(&FirstPacket) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be had");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let manner = Arc::new(manner);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, manner) = (Arc::clone(&theirs), Arc::clone(&manner));
                thread::spawn(move || serve(stream, &shared, &*manner));
            }
        });
        Self { port, shared }
    }

    /// Where it is, as a line of `[databases]` says it.
    pub fn address(&self) -> String {
        format!("host=127.0.0.1 port={}", self.port)
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first packets so far.
    pub fn packets(&self) -> Vec<FirstPacket> {
        self.shared.packets.lock().unwrap().clone()
    }

    /// The versions that sessions have asked for so far, such as `3.2`.
    pub fn versions(&self) -> Vec<String> {
        let sessions = self.packets().into_iter().filter(|p| !p.is_cancel());
        sessions.map(|packet| packet.version()).collect()
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.lock().unwrap().len()
    }

    /// Sends these bytes in every session.
    pub fn say(&self, bytes: &[u8]) {
        for stream in self.shared.sessions.lock().unwrap().values_mut() {
            stream.write_all(bytes).expect("the session goes on");
        }
    }

    /// From now on it is a standby, or none.
    pub fn be_standby(&self, standby: bool) {
        self.shared.standby.store(standby, Ordering::Relaxed);
    }

    /// Forgets the packets so far.
    pub fn forget(&self) {
        self.shared.packets.lock().unwrap().clear();
    }

    /// Waits for a cancel request, and gives its process id and secret.
    pub fn wait_cancel(&self) -> (u32, Vec<u8>) {
        let mut found = None;
        wait_for("a cancel request", PATIENCE, || {
            found = self.packets().into_iter().find(FirstPacket::is_cancel);
            found.is_some()
        });
        let body = found.unwrap().body;
        let (id, secret) = body.split_at(4);
        (u32::from_be_bytes(id.try_into().unwrap()), secret.to_vec())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Its listener waits for a connection.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl FirstPacket {
    /// The version of a session, such as `3.2`.
    pub fn version(&self) -> String {
        format!("{}.{}", self.code >> 16, self.code & 0xffff)
    }

    /// Whether it is a CancelRequest.
    pub fn is_cancel(&self) -> bool {
        self.code == 80_877_102
    }

    /// The value of a startup parameter.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let strings: Vec<String> = self
            .body
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        let pairs = strings.chunks_exact(2);
        pairs
            .map(|pair| (&pair[0], &pair[1]))
            .find_map(|(key, value)| (key == name).then(|| value.clone()))
    }
}

impl Manner {
    /// Lets the session in, behind these bytes, with a key of 4 bytes.
    pub fn serve(before: Vec<u8>) -> Self {
        Self::Serve {
            before,
            parameters: Vec::new(),
            secret: Some(vec![7; 4]),
        }
    }

    /// Lets the session in, with a key of 4 bytes and with these messages
    /// among its parameters.
    pub fn serve_saying(parameters: Vec<u8>) -> Self {
        Self::Serve {
            before: Vec::new(),
            parameters,
            secret: Some(vec![7; 4]),
        }
    }

    /// Refuses the session with an error.
    pub fn fatal(sqlstate: &str, text: &str) -> Self {
        let fields = format!("SFATAL\0VFATAL\0C{sqlstate}\0M{text}\0\0");
        Self::Refuse(message(b'E', fields.as_bytes()))
    }
}

/// A NegotiateProtocolVersion.
pub fn negotiate(version: u32, names: &[&str]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend_from_slice(&u32::try_from(names.len()).unwrap().to_be_bytes());
    for name in names {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
    }
    message(b'v', &body)
}

fn serve(mut stream: TcpStream, shared: &Shared, manner: &dyn Fn(&FirstPacket) -> Manner) {
    let limit = Some(PATIENCE);
    if stream.set_read_timeout(limit).is_err() || stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(packet) = first_packet(&mut stream) else {
        return;
    };
    shared.packets.lock().unwrap().push(packet.clone());
    if packet.is_cancel() {
        return;
    }
    // The pooler may be gone already.
    match manner(&packet) {
        Manner::Close => {}
        Manner::Refuse(bytes) => {
            drop(stream.write_all(&bytes));
            drop(stream.shutdown(Shutdown::Write));
            drop(stream.read_to_end(&mut Vec::new()));
        }
        Manner::Serve {
            before,
            parameters,
            secret,
        } => {
            let mut bytes = before;
            bytes.extend(message(b'R', &[0; 4]));
            for (name, value) in [("server_version", "stand-in"), ("client_encoding", "UTF8")] {
                bytes.extend(message(b'S', format!("{name}\0{value}\0").as_bytes()));
            }
            bytes.extend(parameters);
            if let Some(secret) = secret {
                bytes.extend(message(
                    b'K',
                    &[&PROCESS_ID.to_be_bytes(), &secret[..]].concat(),
                ));
            }
            bytes.extend(message(b'Z', b"I"));
            let Ok(other) = stream.try_clone() else {
                return;
            };
            drop(stream.write_all(&bytes));
            let number = shared.number.fetch_add(1, Ordering::Relaxed);
            shared.sessions.lock().unwrap().insert(number, other);
            answer_queries(Wire::tcp(stream), shared);
            shared.sessions.lock().unwrap().remove(&number);
        }
    }
}

/// A GoAway.
pub const GO_AWAY: [u8; 5] = [b'g', 0, 0, 0, 4];

/// The parameter by which a server asks to be left.
pub fn disconnect_requested(value: &str) -> Vec<u8> {
    message(b'S', format!("disconnect_requested\0{value}\0").as_bytes())
}

fn answer_queries(mut wire: Wire, shared: &Shared) {
    let mut status = *b"I";
    while let Some(query) = wire.poll_message(PATIENCE) {
        let answer = match query.tag {
            b'X' => return,
            b'Q' if has(&query.body, "hang") => {
                let cancelled = || {
                    shared
                        .packets
                        .lock()
                        .unwrap()
                        .iter()
                        .any(FirstPacket::is_cancel)
                };
                wait_for("a cancel request", Duration::from_secs(20), cancelled);
                message(b'E', b"SERROR\0VERROR\0C57014\0Mcancelled\0\0")
            }
            b'Q' if has(&query.body, "leave") => {
                [disconnect_requested("on"), message(b'C', b"SELECT 0\0")].concat()
            }
            b'Q' if has(&query.body, "pg_is_in_recovery") => row(shared, "t", "f"),
            b'Q' if has(&query.body, "transaction_read_only") => row(shared, "on", "off"),
            b'Q' => message(b'C', b"SELECT 0\0"),
            _ => continue,
        };
        match &query.body[..] {
            b"begin\0" => status = *b"T",
            b"commit\0" | b"rollback\0" => status = *b"I",
            _ => {}
        }
        let mut bytes = [answer, message(b'Z', &status)].concat();
        if has(&query.body, "goaway") {
            bytes.extend(GO_AWAY);
        }
        if wire.try_send(&bytes).is_err() {
            return;
        }
    }
}

/// One row of one value, which says whether this is a standby.
fn row(shared: &Shared, yes: &str, no: &str) -> Vec<u8> {
    let standby = shared.standby.load(Ordering::Relaxed);
    let value = if standby { yes } else { no };
    let length = u8::try_from(value.len()).unwrap();
    let column = [
        b"c\0".as_slice(),
        &[0; 6],
        &[0, 0, 0, 25],
        &[0xff; 6],
        &[0; 2],
    ]
    .concat();
    let row = [&[0, 1, 0, 0, 0, length], value.as_bytes()].concat();
    [
        message(b'T', &[&[0, 1], column.as_slice()].concat()),
        message(b'D', &row),
        message(b'C', b"SELECT 1\0"),
    ]
    .concat()
}

fn has(body: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(body).contains(word)
}

fn first_packet(stream: &mut TcpStream) -> Option<FirstPacket> {
    let mut word = [0; 4];
    stream.read_exact(&mut word).ok()?;
    let length = u32::from_be_bytes(word) as usize;
    stream.read_exact(&mut word).ok()?;
    let code = u32::from_be_bytes(word);
    if code == SSL_REQUEST {
        stream.write_all(b"N").ok()?;
        return first_packet(stream);
    }
    let mut body = vec![0; length.checked_sub(8)?];
    stream.read_exact(&mut body).ok()?;
    Some(FirstPacket { code, body })
}

/// Code of a request for TLS, which is declined.
const SSL_REQUEST: u32 = 80_877_103;

/// Process id of every session.
const PROCESS_ID: u32 = 4711;

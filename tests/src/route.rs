//! Reaching a chosen worker.
//!
//! The kernel picks a worker by the addresses and ports of a connection, and
//! for the same four it picks the same listener as long as the listeners are.
//! So a connection from a source port that has been seen to reach a worker
//! reaches it again. Which worker that was tells byte 0 of the cancel key.
//!
//! Every pooler is called from a loopback address of its own, so that scenarios
//! that run at the same time never need the same source port.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

use crate::client::{Client, Login};
use crate::wait::PATIENCE;
use crate::wire::Wire;

/// The way to the workers of one pooler.
#[derive(Debug)]
pub(crate) struct Route {
    address: SocketAddr,
    source: Ipv4Addr,
    next_port: AtomicU16,
    known: Mutex<BTreeMap<u8, Vec<u16>>>,
}

impl Route {
    pub(crate) fn to(port: u16) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            source: own_address(),
            next_port: AtomicU16::new(FIRST_SOURCE_PORT),
            known: Mutex::new(BTreeMap::new()),
        }
    }

    /// A connection to whichever worker the kernel picks.
    pub(crate) fn wire(&self) -> Wire {
        self.try_wire().expect("the pooler accepts connections")
    }

    /// A connection to whichever worker the kernel picks.
    pub(crate) fn try_wire(&self) -> std::io::Result<Wire> {
        let stream = self.connect_from(0)?;
        Ok(Wire::tcp(stream))
    }

    /// A connection that the listener of slot `n` gets.
    pub(crate) fn wire_to(&self, n: u8) -> Wire {
        loop {
            let port = self.take_port(n);
            // A port that is not free after all is forgotten.
            if let Ok(stream) = self.connect_from(port) {
                return Wire::tcp(stream);
            }
        }
    }

    /// A connection from this source port.
    pub(crate) fn wire_from(&self, port: u16) -> std::io::Result<Wire> {
        Ok(Wire::tcp(self.connect_from(port)?))
    }

    /// Learns source ports until at least `count` of them reach slot `n`.
    pub(crate) fn learn(&self, n: u8, count: usize) {
        for _ in 0..MOST_PROBES {
            if self
                .known
                .lock()
                .unwrap()
                .get(&n)
                .is_some_and(|p| p.len() >= count)
            {
                return;
            }
            self.probe();
        }
        panic!("no connection of {MOST_PROBES} reached worker {n}");
    }

    /// Takes a source port that reaches slot `n`, to use it once or for good.
    pub(crate) fn take_port(&self, n: u8) -> u16 {
        loop {
            self.learn(n, 1);
            let port = self.known.lock().unwrap().entry(n).or_default().pop();
            if let Some(port) = port {
                return port;
            }
        }
    }

    /// Logs in from a fresh source port and remembers whom it reached.
    fn probe(&self) {
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        let Ok(stream) = self.connect_from(port) else {
            return;
        };
        let client = Client::log_in(Wire::tcp(stream), &Login::new())
            .unwrap_or_else(|e| panic!("a login that looks for a worker failed: {e:?}"));
        let slot = client.slot();
        client.end_without_trace();
        self.known
            .lock()
            .unwrap()
            .entry(slot)
            .or_default()
            .push(port);
    }

    fn connect_from(&self, port: u16) -> std::io::Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddrV4::new(self.source, port).into())?;
        socket.connect_timeout(&self.address.into(), PATIENCE)?;
        Ok(socket.into())
    }
}

/// A port of the loopback address that nothing listens on.
///
/// It lies below the range that the kernel takes source ports from.
pub fn free_port() -> u16 {
    let offset = u16::try_from(process::id() % 97).unwrap() * 100;
    for _ in 0..PORT_COUNT {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST_PORT + (offset + step) % PORT_COUNT;
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port from {FIRST_PORT} on");
}

/// Whether no socket of this host has the port.
///
/// It is not tried out: a socket that is bound for a moment lives on in what
/// another thread forks meanwhile, until that executes its program.
fn is_free(port: u16) -> bool {
    let ending = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().all(|table| {
        let sockets = fs::read_to_string(table).unwrap_or_default();
        let mut local = sockets
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        !local.any(|address| address.ends_with(&ending))
    })
}

/// A loopback address that nobody else in this run calls from.
fn own_address() -> Ipv4Addr {
    let [_, _, high, low] = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = u8::try_from(process::id() % 100).unwrap();
    Ipv4Addr::new(127, 100 + process, high, low)
}

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);
static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(1);

/// First port that a program under test may listen on.
const FIRST_PORT: u16 = 21_000;
/// How many such ports there are.
const PORT_COUNT: u16 = 10_000;
/// First source port of logins that look for a worker.
const FIRST_SOURCE_PORT: u16 = 10_000;
/// Logins after which a worker is taken to be unreachable.
const MOST_PROBES: usize = 400;

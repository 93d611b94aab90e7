//! Several groups on one machine that are peers of each other, and a peer that
//! only writes down what it gets.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::pooler::Pooler;
use crate::postgres::Postgres;
use crate::wait::{PATIENCE, wait_for};
use crate::wire::{Message, Wire};

/// Groups of pgskein, of which each has the others for peers.
#[derive(Debug)]
pub struct Peers {
    groups: Vec<Pooler>,
    settings: String,
}

impl Peers {
    /// Starts `count` groups in front of `postgres`, with the numbers from 1 on.
    pub fn start(postgres: &Postgres, count: usize, settings: &str) -> Self {
        let start = |id| Pooler::start(postgres, &format!("{settings}\npeer_id = {id}"));
        let peers = Self {
            groups: (1..=count).map(start).collect(),
            settings: settings.to_owned(),
        };
        let lines = peers.lines("kind=pgskein");
        for id in 1..=count {
            peers.introduce(id, &lines);
        }
        peers
    }

    /// The group of this number.
    pub fn group(&self, id: usize) -> &Pooler {
        &self.groups[id - 1]
    }

    /// A line of `[peers]` for each group, with `more` at its end.
    pub fn lines(&self, more: &str) -> String {
        let lines = (1..).zip(&self.groups).map(|(id, group)| {
            let port = group.port();
            format!("{id} = host=127.0.0.1 port={port} {more}\n")
        });
        lines.collect()
    }

    /// Has a group read its file again, with these lines in `[peers]`.
    pub fn introduce(&self, id: usize, lines: &str) {
        let settings = self.with_peers(id, lines);
        self.group(id).reload(&settings);
    }

    /// The settings of a group with these lines in `[peers]`.
    pub fn with_peers(&self, id: usize, lines: &str) -> String {
        let settings = &self.settings;
        format!("{settings}\npeer_id = {id}\n[peers]\n{lines}[pgskein]\n")
    }
}

/// Sends a CancelRequest to worker `n` of a group, and returns when it has been
/// closed, without a byte.
pub fn cancel_at(group: &Pooler, n: u8, packet: &[u8]) {
    let mut wire = group.wire_to_worker(n);
    wire.send(packet);
    finish(wire);
}

/// Waits for the end that is the whole answer to a CancelRequest.
pub fn finish(mut wire: Wire) {
    wire.set_deadline(PATIENCE);
    assert_eq!(wire.read_to_end(), Vec::<Message>::new());
}

/// A peer that writes down what it gets.
#[derive(Debug)]
pub struct RecordingPeer {
    address: (Ipv4Addr, u16),
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    packets: Mutex<Vec<Vec<u8>>>,
    held: Mutex<Vec<TcpStream>>,
    silent: AtomicBool,
    stopped: AtomicBool,
}

impl RecordingPeer {
    /// A peer that closes each connection when it has got a packet.
    pub fn start() -> Self {
        Self::at(0)
    }

    /// The same, on this port; 0 is any.
    pub fn at(port: u16) -> Self {
        Self::at_address([127, 0, 0, 1], port)
    }

    /// The same, at this address.
    pub fn at_address(address: [u8; 4], port: u16) -> Self {
        let address = Ipv4Addr::from(address);
        let listener = TcpListener::bind((address, port)).expect("a port can be had");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&theirs);
                thread::spawn(move || record(stream, &shared));
            }
        });
        Self {
            address: (address, port),
            shared,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.1
    }

    /// Listens no more.
    pub fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.held.lock().unwrap().clear();
        // Its listener waits for a connection.
        drop(TcpStream::connect(self.address));
        wait_for("nobody to listen", PATIENCE, || {
            TcpStream::connect(self.address).is_err()
        });
    }

    /// From now on no connection is closed.
    pub fn be_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }

    /// Closes all connections, and each from now on.
    pub fn speak(&self) {
        self.shared.silent.store(false, Ordering::Relaxed);
        self.shared.held.lock().unwrap().clear();
    }

    /// The packets so far.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        self.shared.packets.lock().unwrap().clone()
    }

    /// Waits for so many packets.
    pub fn wait_packets(&self, count: usize) -> Vec<Vec<u8>> {
        wait_for(&format!("{count} packets"), PATIENCE, || {
            self.packets().len() >= count
        });
        self.packets()
    }
}

impl Drop for RecordingPeer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.held.lock().unwrap().clear();
        drop(TcpStream::connect(self.address));
    }
}

/// Reads one packet by its length, and whatever comes with it.
fn record(mut stream: TcpStream, shared: &Shared) {
    let mut packet = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        let whole = packet
            .first_chunk::<4>()
            .is_some_and(|length| packet.len() >= u32::from_be_bytes(*length) as usize);
        if whole {
            break;
        }
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(read) => packet.extend_from_slice(&bytes[..read]),
        }
    }
    if packet.is_empty() {
        return;
    }
    let mut packets = shared.packets.lock().unwrap();
    if shared.silent.load(Ordering::Relaxed) {
        shared.held.lock().unwrap().push(stream);
    }
    packets.push(packet);
}

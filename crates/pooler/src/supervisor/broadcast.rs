//! An order to drain, sent to every peer socket of the folder.
//!
//! The workers of this group have it from their control links as well; over
//! the peer sockets it reaches those of an earlier supervisor too.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mio::Token;
use pgskein_pool::drain_order::DrainOrder;
use pgskein_pool::peer::{PeerAnswer, PeerRequest};

use super::Supervisor;
use super::peers::fill;
use super::tokens::{deregister, register};
use crate::runtime_dir::{connect_to_peer, peer_sockets};

/// One order on its way to one peer socket.
#[derive(Debug)]
pub(crate) struct Broadcast {
    path: PathBuf,
    request: Vec<u8>,
    state: State,
    deadline: Instant,
}

#[derive(Debug)]
enum State {
    /// Its queue is full, or was not tried yet.
    Waiting { retry_at: Instant },
    /// The order is written, the answer has not come.
    Sent { stream: UnixStream, inbox: Vec<u8> },
}

impl Broadcast {
    pub(crate) fn next_deadline(&self) -> Instant {
        match self.state {
            State::Waiting { retry_at } => retry_at.min(self.deadline),
            State::Sent { .. } => self.deadline,
        }
    }

    /// Connects and writes; an error of the kind `WouldBlock` means later.
    fn send(&self) -> io::Result<UnixStream> {
        let mut stream = connect_to_peer(&self.path)?;
        // A new connection takes a request whole.
        stream.write_all(&self.request)?;
        Ok(stream)
    }
}

impl Supervisor {
    /// Sends the order to every peer socket of the folder.
    pub(crate) fn broadcast(&mut self, order: DrainOrder) {
        let mut request = Vec::new();
        PeerRequest::Drain(order).encode(&mut request);
        for path in peer_sockets(self.runtime_dir.path()) {
            let token = self.next_token();
            let broadcast = Broadcast {
                path,
                request: request.clone(),
                state: State::Waiting { retry_at: self.now },
                deadline: self.now + PATIENCE,
            };
            self.broadcasts.insert(token, broadcast);
        }
        self.broadcasts_due();
    }

    /// Sends what waits, and gives up what takes too long.
    pub(crate) fn broadcasts_due(&mut self) {
        let now = self.now;
        let due = self.broadcasts.iter();
        let due = due.filter(|(_, broadcast)| broadcast.next_deadline() <= now);
        for token in due.map(|(token, _)| *token).collect::<Vec<_>>() {
            self.send_broadcast(token);
        }
    }

    /// Reads the answer of the peer.
    pub(crate) fn read_answer(&mut self, token: Token) {
        let Some(broadcast) = self.broadcasts.get_mut(&token) else {
            return;
        };
        let State::Sent { stream, inbox } = &mut broadcast.state else {
            return;
        };
        let open = fill(stream, inbox);
        match PeerAnswer::split(inbox) {
            Ok(None) if open => return,
            Ok(Some((PeerAnswer::Obeyed, _))) => {}
            answer => {
                let path = broadcast.path.display();
                log::debug!("{path}: order to drain not taken: {answer:?}");
            }
        }
        self.end_broadcast(token);
    }

    fn send_broadcast(&mut self, token: Token) {
        let Some(broadcast) = self.broadcasts.get_mut(&token) else {
            return;
        };
        let path = broadcast.path.display();
        if broadcast.deadline <= self.now {
            log::debug!("{path}: no answer to the order to drain");
            self.end_broadcast(token);
            return;
        }
        match broadcast.send() {
            Ok(stream) => {
                let inbox = Vec::new();
                broadcast.state = State::Sent { stream, inbox };
                self.register_broadcast(token);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let retry_at = self.now + RETRY;
                broadcast.state = State::Waiting { retry_at };
            }
            Err(error) => {
                log::debug!("{path}: order to drain not sent: {error}");
                self.end_broadcast(token);
            }
        }
    }

    fn register_broadcast(&mut self, token: Token) {
        let Some(broadcast) = self.broadcasts.get(&token) else {
            return;
        };
        if let State::Sent { stream, .. } = &broadcast.state
            && let Err(error) = register(&self.poll, stream, token)
        {
            log::debug!("cannot wait for a peer: {error}");
            self.end_broadcast(token);
        }
    }

    fn end_broadcast(&mut self, token: Token) {
        if let Some(broadcast) = self.broadcasts.remove(&token)
            && let State::Sent { stream, .. } = &broadcast.state
        {
            deregister(&self.poll, stream);
        }
    }
}

const RETRY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

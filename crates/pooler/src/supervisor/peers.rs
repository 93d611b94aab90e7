//! The supervisor's own peer socket, over which it gets orders to drain.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::Token;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::geteuid;
use pgskein_pool::peer::{PeerAnswer, PeerError, PeerRequest};

use super::Supervisor;
use super::tokens::{deregister, register};

/// A connection to the supervisor's peer socket.
#[derive(Debug)]
pub(crate) struct PeerConnection {
    stream: UnixStream,
    inbox: Vec<u8>,
    deadline: Instant,
}

impl PeerConnection {
    /// One that another program has accepted in this process.
    pub(crate) fn inherited(stream: UnixStream, inbox: Vec<u8>, deadline: Instant) -> Self {
        Self {
            stream,
            inbox,
            deadline,
        }
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// What was read and is no whole request yet.
    pub(crate) fn inbox(&self) -> &[u8] {
        &self.inbox
    }

    /// When it is closed if no request has come.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Supervisor {
    /// Accepts every peer that waits.
    pub(crate) fn accept_peers(&mut self) {
        loop {
            match self.peer.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.greet(stream) {
                        log::warn!("peer refused: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return log::warn!("cannot accept a peer: {error}"),
            }
        }
    }

    /// Reads what a peer asks, answers, and closes the connection.
    pub(crate) fn read_peer(&mut self, token: Token) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        let open = fill(&mut peer.stream, &mut peer.inbox);
        let answer = match PeerRequest::split(&peer.inbox) {
            Ok(None) if open => return,
            Ok(None) => None,
            Ok(Some((PeerRequest::Drain(order), _))) => {
                self.drain(order);
                Some(PeerAnswer::Obeyed)
            }
            Ok(Some((
                PeerRequest::Cancel { .. }
                | PeerRequest::Console { .. }
                | PeerRequest::Join
                | PeerRequest::Handoff { .. },
                _,
            ))) => Some(PeerAnswer::Unknown),
            Err(PeerError::Unsupported { code } | PeerError::Body { code }) => {
                Some(PeerAnswer::Unsupported { code })
            }
            Err(PeerError::Length(_)) => None,
        };
        let Some(mut peer) = self.peers.remove(&token) else {
            return;
        };
        if let Some(answer) = answer {
            let mut bytes = Vec::new();
            answer.encode(&mut bytes);
            // An empty socket takes an answer whole; one that does not is of
            // somebody who does not read.
            let _nobody_reads = peer.stream.write(&bytes);
        }
        deregister(&self.poll, &peer.stream);
    }

    /// Closes connections over which no request came.
    pub(crate) fn peers_due(&mut self) {
        let now = self.now;
        let due = self.peers.iter().filter(|(_, peer)| peer.deadline <= now);
        for token in due.map(|(token, _)| *token).collect::<Vec<_>>() {
            if let Some(peer) = self.peers.remove(&token) {
                deregister(&self.poll, &peer.stream);
            }
        }
    }

    fn greet(&mut self, stream: UnixStream) -> io::Result<()> {
        let peer = getsockopt(&stream.as_fd(), PeerCredentials)?;
        if peer.uid() != geteuid().as_raw() {
            return Err(io::Error::other(format!("it is of user id {}", peer.uid())));
        }
        if self.peers.len() >= MOST_PEERS {
            return Err(io::Error::other("there are too many"));
        }
        stream.set_nonblocking(true)?;
        let token = self.next_token();
        register(&self.poll, &stream, token)?;
        let peer = PeerConnection {
            stream,
            inbox: Vec::new(),
            deadline: self.now + PATIENCE,
        };
        self.peers.insert(token, peer);
        Ok(())
    }
}

/// Reads all that has come, up to a bound; false at the end of the stream.
pub(crate) fn fill(stream: &mut UnixStream, inbox: &mut Vec<u8>) -> bool {
    let mut scratch = [0; 1024];
    while inbox.len() < MOST_BYTES {
        match stream.read(&mut scratch) {
            Ok(0) => return false,
            Ok(count) => inbox.extend(scratch.iter().take(count)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

const MOST_PEERS: usize = 256;

/// More than any request or answer.
const MOST_BYTES: usize = 16 * 1024;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

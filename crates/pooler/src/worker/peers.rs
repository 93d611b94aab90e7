//! Peers: requests of other processes of the group.
//!
//! They come over the worker's own unix socket, from processes of our own user
//! only, one request for each connection.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use pgskein_pool::peer::{PeerAnswer, PeerError, PeerRequest};
use pgskein_pool::slab::ErrandId;

use super::Worker;
use super::cancel::Waiter;
use super::errand::Kind;
use super::handoff::Place;
use super::stream::{Outbox, Socket, Stream};

impl Worker {
    /// Accepts connections of siblings and of the supervisor.
    pub(super) fn accept_peers(&mut self) {
        loop {
            let socket = match self.listeners.peers.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    log::error!("cannot accept a peer: {error}");
                    return;
                }
            };
            let uid = getsockopt(&socket.as_fd(), PeerCredentials).map(|peer| peer.uid());
            if uid != Ok(nix::unistd::getuid().as_raw()) {
                log::warn!("refused a peer of another user");
                continue;
            }
            let stream = Stream::new(Socket::Unix(socket));
            self.start_errand(stream, Outbox::default(), Kind::Request);
        }
    }

    /// Takes a request, once it is whole.
    pub(super) fn on_peer_request(&mut self, id: ErrandId) {
        let Some(errand) = self.errands.get_mut(id) else {
            return;
        };
        let inbox = std::mem::take(&mut errand.inbox);
        match PeerRequest::split(&inbox) {
            Ok(None) => errand.inbox = inbox,
            Ok(Some((PeerRequest::Cancel { process_id, secret }, _))) => {
                if let Some(errand) = self.errands.get_mut(id) {
                    errand.kind = Kind::Relayed;
                }
                match self.owner(process_id, secret) {
                    Some(owner) => {
                        if !self.is_coming(owner) {
                            self.answer_found(id);
                        }
                        self.cancel_client(owner, Waiter::Peer(id));
                    }
                    None => match self.undecided.away.find(process_id, secret) {
                        Some(to) => {
                            self.answer_found(id);
                            self.cancel_away(Waiter::Peer(id), process_id, secret, to);
                        }
                        None => self.answer_last(id, &PeerAnswer::Unknown),
                    },
                }
            }
            Ok(Some((PeerRequest::Drain(order), _))) => {
                self.obey(order);
                self.answer_last(id, &PeerAnswer::Obeyed);
            }
            Ok(Some((PeerRequest::Console { topic }, _))) => self.say_rows(id, topic),
            Ok(Some((PeerRequest::Join, _))) => self.join(id),
            Ok(Some((PeerRequest::Handoff { slot, generation }, rest))) => {
                if let Some(errand) = self.errands.get_mut(id) {
                    errand.inbox = rest.to_vec();
                }
                self.take_from(id, Place { slot, generation });
            }
            Err(PeerError::Unsupported { code }) => {
                self.answer_last(id, &PeerAnswer::Unsupported { code });
            }
            Err(error) => {
                log::warn!("peer: {error}");
                self.end_errand(id, false);
            }
        }
    }

    /// The client of a cancel that a sibling relays is known.
    pub(super) fn answer_found(&mut self, id: ErrandId) {
        self.answer_peer(id, &PeerAnswer::Found);
    }

    /// The cancel that a sibling relays is done.
    pub(super) fn peer_cancel_over(&mut self, id: ErrandId) {
        self.answer_last(id, &PeerAnswer::Done);
    }

    pub(super) fn answer_last(&mut self, id: ErrandId, answer: &PeerAnswer<'_>) {
        self.answer_peer(id, answer);
        self.end_errand(id, true);
    }

    pub(super) fn answer_peer(&mut self, id: ErrandId, answer: &PeerAnswer<'_>) {
        if let Some(errand) = self.errands.get_mut(id) {
            answer.encode(errand.outbox.buffer());
            if errand.outbox.flush(&mut errand.stream).is_err() {
                // The other side sees its connection end.
                log::debug!("a peer has left before its answer");
            }
        }
    }
}

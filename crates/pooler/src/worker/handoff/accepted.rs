//! Accepted: a client of which nothing was read yet.
//!
//! It is not in the event loop before it is known who serves it, so there is
//! nothing to be taken out or put back. Its place towards `max_client_conn` is
//! taken by who serves it. A sibling serves it as soon as it has the offer, so that
//! it waits for no answer; this worker then neither reads nor writes, and closes its
//! copy when it is told, or when the sibling dies.

use std::os::fd::OwnedFd;
use std::time::Instant;

use pgskein_pool::handoff::Refusal;
use pgskein_pool::handoff::accepted::Accepted;
use pgskein_pool::slab::ClientId;

use super::super::Worker;
use super::super::client::{Client, Origin, Stage};
use super::super::stream::{Outbox, Socket, Stream};
use super::books::socket;
use super::server::{duplicate, refusal};
use super::{Packed, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedAccepted {
    socket: Socket,
    number: u64,
    origin: Origin,
    accepted: Instant,
}

impl Worker {
    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_accepted(&self, id: ClientId) -> Result<Packed, Unmovable> {
        let client = self.clients.get(id).ok_or(Unmovable::Busy)?;
        let body = Accepted {
            number: client.number,
            age: self.age(client.accepted),
            origin: client.origin.told(),
        };
        Ok(Packed {
            body: body.encode(),
            descriptors: vec![duplicate(&client.stream)?],
        })
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_accepted(&mut self, id: ClientId) {
        self.set_passed_on(id, true);
    }

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_accepted(&mut self, id: ClientId) {
        self.set_passed_on(id, false);
        self.serve_accepted(id);
        self.go_on_with(id);
    }

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn accepted_given(&mut self, id: ClientId) {
        self.undecided.forget(id);
        self.clients.remove(id);
    }

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_accepted(
        &self,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedAccepted, Refusal> {
        let accepted = Accepted::decode(body).map_err(refusal)?;
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| Refusal::Other)?;
        Ok(ReservedAccepted {
            socket: socket(accepted.origin, descriptor),
            number: accepted.number,
            origin: Origin::of(accepted.origin),
            accepted: self.before(accepted.age),
        })
    }

    /// It is this worker's from now on.
    pub(super) fn start_accepted(&mut self, reserved: ReservedAccepted) {
        let client = Client {
            stream: Stream::new(reserved.socket),
            queued: false,
            counted: false,
            stage: Stage::Login(Box::default()),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            number: reserved.number,
            origin: reserved.origin,
            accepted: reserved.accepted,
            heard: self.now,
        };
        let id = self.clients.insert_with(|_| client);
        self.serve_accepted(id);
        self.missed = 0;
    }

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_accepted(&mut self, reserved: ReservedAccepted) {
        drop(reserved);
    }

    fn set_passed_on(&mut self, id: ClientId, passed_on: bool) {
        if let Some(client) = self.clients.get_mut(id)
            && let Stage::Login(login) = &mut client.stage
        {
            login.passed_on = passed_on;
        }
    }
}

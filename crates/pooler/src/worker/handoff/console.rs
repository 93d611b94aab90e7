//! Console: a client that is logged in to the console.

use std::os::fd::OwnedFd;

use pgskein_pool::handoff::Refusal;
use pgskein_pool::handoff::console::ConsoleCargo;
use pgskein_pool::slab::ClientId;

use super::super::Worker;
use super::super::client::{Client, Origin, Stage};
use super::super::console::{Console, Rights};
use super::super::stream::{Outbox, Stream};
use super::books::socket;
use super::server::{duplicate, refusal};
use super::{Packed, Place, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedConsole {
    id: ClientId,
    /// It counts towards `max_client_conn`.
    counted: bool,
}

impl Worker {
    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_console(&self, id: ClientId) -> Result<Packed, Unmovable> {
        let client = self.clients.get(id).ok_or(Unmovable::Busy)?;
        let Stage::Console(console) = &client.stage else {
            return Err(Unmovable::Busy);
        };
        // The one by which everything stands still ends that when it leaves.
        let suspends = self.orders.suspended_by.is_some_and(|(by, _)| by == id);
        if !console.is_at_rest()
            || suspends
            || !client.inbox.is_empty()
            || !client.outbox.is_empty()
        {
            return Err(Unmovable::Busy);
        }
        let cargo = ConsoleCargo {
            number: client.number,
            origin: client.origin.told(),
            user: console.user().to_owned(),
            admin: console.is_admin(),
            counted: client.counted,
            accepted: self.age(client.accepted),
            heard: self.age(client.heard),
            orders: self.orders.version(),
        };
        Ok(Packed {
            body: cargo.encode(),
            descriptors: vec![duplicate(&client.stream)?],
        })
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_console(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        client.stream.deregister(self.poll.registry());
        if let Stage::Console(console) = &mut client.stage {
            console.offer();
        }
    }

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_console(&mut self, id: ClientId) {
        if let Some(client) = self.clients.get_mut(id)
            && let Stage::Console(console) = &mut client.stage
        {
            console.listen_again();
        }
        if self.register_client(id) {
            self.go_on_with(id);
        }
    }

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn console_given(&mut self, id: ClientId, _to: Place) {
        self.undecided.forget(id);
        drop(self.clients.remove(id));
    }

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_console(
        &mut self,
        _from: Place,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedConsole, Refusal> {
        let cargo = ConsoleCargo::decode(body).map_err(refusal)?;
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| Refusal::Other)?;
        self.may_take(cargo.orders)?;
        let rights = if cargo.admin {
            Rights::Admin
        } else {
            Rights::Stats
        };
        let client = Client {
            stream: Stream::new(socket(cargo.origin, descriptor)),
            queued: false,
            counted: false,
            stage: Stage::Console(Box::new(Console::coming(cargo.user, rights))),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            number: cargo.number,
            origin: Origin::of(cargo.origin),
            accepted: self.before(cargo.accepted),
            heard: self.before(cargo.heard),
        };
        self.undecided.coming_clients += 1;
        let id = self.clients.insert_with(|_| client);
        let counted = cargo.counted;
        Ok(ReservedConsole { id, counted })
    }

    /// It is this worker's from now on.
    pub(super) fn start_console(&mut self, reserved: ReservedConsole, from: Place, pid: i32) {
        if let Some(client) = self.clients.get(reserved.id) {
            log::debug!("c{}: comes from worker {from}", client.number);
            self.undecided.coming_clients = self.undecided.coming_clients.saturating_sub(1);
            if reserved.counted {
                self.take_place_over(reserved.id, from, pid);
            }
            self.arrived(reserved.id);
            self.thaw_console(reserved.id);
        }
    }

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_console(&mut self, reserved: ReservedConsole, _from: Place) {
        self.undecided.forget(reserved.id);
        if self.clients.remove(reserved.id).is_some() {
            self.undecided.coming_clients = self.undecided.coming_clients.saturating_sub(1);
        }
    }
}

//! Server: an idle server connection.

use std::os::fd::OwnedFd;

use pgskein_pool::handoff::Refusal;
use pgskein_pool::slab::ServerId;

use super::super::Worker;
use super::{Packed, Place, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedServer {}

impl Worker {
    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_server(&self, _id: ServerId) -> Result<Packed, Unmovable> {
        Err(Unmovable::NoWay)
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_server(&mut self, _id: ServerId) {}

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_server(&mut self, _id: ServerId) {}

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn server_given(&mut self, _id: ServerId, _to: Place) {}

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_server(
        &mut self,
        _from: Place,
        _body: &[u8],
        _descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedServer, Refusal> {
        Err(Refusal::Unknown)
    }

    /// It is this worker's from now on.
    pub(super) fn start_server(&mut self, _reserved: ReservedServer, _from: Place) {}

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_server(&mut self, _reserved: ReservedServer, _from: Place) {}
}

//! Accepted: a client of which nothing was read yet.

use std::os::fd::OwnedFd;

use pgskein_pool::handoff::Refusal;
use pgskein_pool::slab::ClientId;

use super::super::Worker;
use super::{Packed, Place, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedAccepted {}

impl Worker {
    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_accepted(&self, _id: ClientId) -> Result<Packed, Unmovable> {
        Err(Unmovable::NoWay)
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_accepted(&mut self, _id: ClientId) {}

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_accepted(&mut self, _id: ClientId) {}

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn accepted_given(&mut self, _id: ClientId) {}

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_accepted(
        &mut self,
        _from: Place,
        _body: &[u8],
        _descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedAccepted, Refusal> {
        Err(Refusal::Unknown)
    }

    /// It is this worker's from now on.
    pub(super) fn start_accepted(&mut self, _reserved: ReservedAccepted, _from: Place) {}

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_accepted(&mut self, _reserved: ReservedAccepted, _from: Place) {}
}

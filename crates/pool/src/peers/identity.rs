//! Who this host is among its peers, and whose a cancel key is.

use std::collections::BTreeSet;

use pgskein_protocol::key::peer_id_of_process_id;

use crate::octets::{Octets, Truncated, put_count};

/// The number of this host, and those that it had before: clients keep their
/// keys.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Identity {
    own: Option<u16>,
    /// `None` for a time without a number.
    former: BTreeSet<Option<u16>>,
}

/// Where a cancel request has to go that no client of this worker has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    /// To the siblings.
    Siblings,
    /// To the siblings, and then to this peer: the key may be one of ours from
    /// before the number of this host was changed.
    SiblingsThen(u16),
    /// To this peer.
    Peer(u16),
    /// Nowhere: its host is not known.
    Nowhere,
}

impl Identity {
    /// A host that has had this number from the beginning.
    pub fn new(own: Option<u16>) -> Self {
        Self {
            own,
            former: BTreeSet::new(),
        }
    }

    /// The number that this host has now.
    pub fn own(&self) -> Option<u16> {
        self.own
    }

    /// The host has this number from now on.
    pub fn change(&mut self, own: Option<u16>) {
        if own != self.own {
            self.former.insert(self.own);
            self.own = own;
        }
    }

    /// Appends it to `out`: the number it has and how many it had (4), and these,
    /// each in 2 bytes and as 0 for none.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.own.unwrap_or(0).to_be_bytes());
        put_count(out, self.former.len());
        for id in &self.former {
            out.extend_from_slice(&id.unwrap_or(0).to_be_bytes());
        }
    }

    /// Takes it from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let id = |octets: &mut Octets<'_>| {
            let id = octets.array().map(u16::from_be_bytes)?;
            Ok(Some(id).filter(|id| *id != 0))
        };
        let own = id(octets)?;
        let former = octets.list(id)?;
        Ok(Self { own, former })
    }

    pub(super) fn route(&self, process_id: u32, is_peer: impl Fn(u16) -> bool) -> Route {
        let id = peer_id_of_process_id(process_id);
        if self.own.is_none_or(|own| own == id) {
            return Route::Siblings;
        }
        // Without a number, any could be in a key, by chance.
        let may_be_ours = self.former.contains(&None) || self.former.contains(&Some(id));
        match (may_be_ours, is_peer(id)) {
            (true, true) => Route::SiblingsThen(id),
            (true, false) => Route::Siblings,
            (false, true) => Route::Peer(id),
            (false, false) => Route::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(identity: &Identity, id: u16) -> Route {
        let [low, high] = id.to_le_bytes();
        identity.route(u32::from_be_bytes([1, low, high, 9]), |id| id == 0x0102)
    }

    #[test]
    fn reads_a_recorded_encoding() {
        let mut identity = Identity::new(None);
        identity.change(Some(0x0102));
        identity.change(Some(7));
        let mut out = Vec::new();
        identity.encode(&mut out);
        assert_eq!(out, b"\0\x07\0\0\0\x02\0\0\x01\x02");
        let mut octets = Octets(&out);
        assert_eq!(Identity::decode(&mut octets), Ok(identity));
        assert!(octets.end().is_ok());
        assert!(Identity::decode(&mut Octets(b"\0\x07\0\0\0\x02\0\0")).is_err());
    }

    #[test]
    fn asks_nobody_but_siblings_without_a_number() {
        let identity = Identity::new(None);
        for id in [0, 7, 0x0102] {
            assert_eq!(route(&identity, id), Route::Siblings);
        }
    }

    #[test]
    fn finds_the_peer_that_a_key_names() {
        let identity = Identity::new(Some(7));
        assert_eq!(route(&identity, 7), Route::Siblings);
        assert_eq!(route(&identity, 0x0102), Route::Peer(0x0102));
        assert_eq!(route(&identity, 8), Route::Nowhere);
    }

    #[test]
    fn looks_for_keys_that_were_issued_under_another_number() {
        let mut identity = Identity::new(Some(0x0102));
        identity.change(Some(8));
        identity.change(Some(7));
        identity.change(Some(7));
        assert_eq!(route(&identity, 0x0102), Route::SiblingsThen(0x0102));
        assert_eq!(route(&identity, 8), Route::Siblings);
        assert_eq!(route(&identity, 9), Route::Nowhere);
    }

    #[test]
    fn looks_for_keys_that_were_issued_without_a_number() {
        let mut identity = Identity::new(None);
        identity.change(Some(7));
        assert_eq!(route(&identity, 9), Route::Siblings);
        assert_eq!(route(&identity, 0x0102), Route::SiblingsThen(0x0102));
    }
}

//! Cancel keys: what pgskein tells its clients in BackendKeyData.
//!
//! | bytes | content |
//! |---|---|
//! | process id, byte 0 | sign bit 0; home slot of the worker that issued it |
//! | process id, bytes 1 and 2 | `peer_id`, little-endian, if set; else random |
//! | process id, byte 3, and secret | random |
//! | secret, last byte, low two bits | hop counter, 3 when issued, if `peer_id` is set |
//!
//! The place of `peer_id` and of the hop counter is PgBouncer's, so that both
//! can forward each other's cancel requests.

mod hops;
mod slot;

pub use hops::{hops, with_hops};
pub use slot::Slot;

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

use hops::HOP_BITS;

/// The longest secret that pgskein issues, in bytes.
pub const LONGEST_SECRET: usize = 32;

/// The shortest secret there is, in bytes; the only length before protocol 3.2.
pub const SHORTEST_SECRET: usize = 4;

/// What the keys of a client are made of, apart from chance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyPlan {
    /// The home slot of the worker that issues the key.
    pub slot: Slot,
    /// The number of this host among its peers, if it has one.
    pub peer_id: Option<u16>,
    /// Bytes of the secret, 4 to 32.
    pub secret_len: usize,
}

/// A cancel key that was issued to a client.
///
/// Always true: `4 <= len <= 32`.
#[derive(Clone, Copy)]
pub struct CancelKey {
    /// The process id of BackendKeyData.
    pub process_id: u32,
    secret: [u8; LONGEST_SECRET],
    len: u8,
    /// Bits of the last byte that carry the hop counter, and no secret.
    counter: u8,
}

impl CancelKey {
    /// Makes a key of a plan and of fresh random bytes.
    ///
    /// A secret length outside 4 to 32 becomes the nearest one.
    pub fn issue(plan: &KeyPlan, random: [u8; 36]) -> Self {
        let [_, p1, p2, p3, secret @ ..] = random;
        let [p1, p2] = plan.peer_id.map_or([p1, p2], u16::to_le_bytes);
        let process_id = u32::from_be_bytes([plan.slot.get(), p1, p2, p3]);
        let counter = if plan.peer_id.is_some() { HOP_BITS } else { 0 };
        Self::new(process_id, secret, plan.secret_len, counter)
    }

    /// The key with these parts, issued earlier or by a sibling.
    ///
    /// `counted` says whether the secret carries a hop counter, which is so if
    /// the issuer had a `peer_id`. Returns `None` for a secret that is not 4 to
    /// 32 bytes long.
    pub fn from_parts(process_id: u32, secret: &[u8], counted: bool) -> Option<Self> {
        let mut bytes = [0; LONGEST_SECRET];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        let counter = if counted { HOP_BITS } else { 0 };
        (secret.len() >= SHORTEST_SECRET)
            .then(|| Self::new(process_id, bytes, secret.len(), counter))
    }

    /// The secret of BackendKeyData, 4 to 32 bytes; never to be logged.
    pub fn secret(&self) -> &[u8] {
        self.secret.get(..self.len.into()).unwrap_or(&self.secret)
    }

    /// Whether the secret carries a hop counter.
    pub fn counted(&self) -> bool {
        self.counter != 0
    }

    /// Whether a cancel request with this secret means this key.
    ///
    /// The time it takes tells nothing about the secret. A hop counter is no
    /// part of it: its two bits may have any value.
    pub fn matches(&self, secret: &[u8]) -> bool {
        let own = self.secret();
        if own.len() != secret.len() {
            return false;
        }
        let (Some((&own_last, own)), Some((&last, secret))) =
            (own.split_last(), secret.split_last())
        else {
            return false;
        };
        let same: Choice =
            own.ct_eq(secret) & (own_last | self.counter).ct_eq(&(last | self.counter));
        same.into()
    }

    /// `secret` beyond `len` is forgotten, so that equal keys are equal bytes.
    fn new(process_id: u32, secret: [u8; LONGEST_SECRET], len: usize, counter: u8) -> Self {
        let len = len.clamp(SHORTEST_SECRET, LONGEST_SECRET);
        let mut key = Self {
            process_id,
            secret: [0; LONGEST_SECRET],
            len: u8::try_from(len).unwrap_or(u8::MAX),
            counter,
        };
        for (to, from) in key.secret.iter_mut().zip(secret).take(len) {
            *to = from;
        }
        if let Some(last) = key.secret.get_mut(len.wrapping_sub(1)) {
            *last |= counter;
        }
        key
    }
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelKey")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

/// The `peer_id` in the process id of a key, if its issuer had one.
///
/// A group without a `peer_id` has random bytes there, so the answer means
/// something only where `peer_id` is set.
pub fn peer_id_of_process_id(process_id: u32) -> u16 {
    let [_, low, high, _] = process_id.to_be_bytes();
    u16::from_le_bytes([low, high])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANDOM: [u8; 36] = [0xa5; 36];

    fn plan(slot: u8, peer_id: Option<u16>, secret_len: usize) -> KeyPlan {
        KeyPlan {
            slot: Slot::new(slot).unwrap(),
            peer_id,
            secret_len,
        }
    }

    #[test]
    fn writes_slot_and_peer_into_the_process_id() {
        let key = CancelKey::issue(&plan(5, Some(0x1234), 32), RANDOM);
        assert_eq!(key.process_id.to_be_bytes(), [5, 0x34, 0x12, 0xa5]);
        assert_eq!(Slot::of_process_id(key.process_id), Slot::new(5));
        assert_eq!(peer_id_of_process_id(key.process_id), 0x1234);
    }

    #[test]
    fn keeps_random_bytes_where_no_peer_is_named() {
        let key = CancelKey::issue(&plan(127, None, 32), RANDOM);
        assert_eq!(key.process_id.to_be_bytes(), [127, 0xa5, 0xa5, 0xa5]);
        assert_eq!(key.secret(), [0xa5; 32]);
        assert!(!key.counted());
    }

    #[test]
    fn issues_the_length_that_was_planned() {
        for (planned, issued) in [(0, 4), (4, 4), (8, 8), (32, 32), (256, 32)] {
            let key = CancelKey::issue(&plan(1, None, planned), RANDOM);
            assert_eq!(key.secret().len(), issued);
        }
    }

    #[test]
    fn starts_the_hop_counter_at_three() {
        let key = CancelKey::issue(&plan(1, Some(7), 4), [0; 36]);
        assert_eq!(key.secret(), [0, 0, 0, 3]);
        assert_eq!(hops(key.secret()), Some(3));
    }

    #[test]
    fn ignores_the_hop_counter_of_a_request() {
        let key = CancelKey::issue(&plan(1, Some(7), 32), RANDOM);
        for count in 0..=3 {
            assert!(key.matches(&with_hops(key.secret(), count)), "{count} hops");
        }
    }

    #[test]
    fn compares_all_bits_where_no_peer_is_named() {
        let key = CancelKey::issue(&plan(1, None, 4), RANDOM);
        assert!(key.matches(&[0xa5, 0xa5, 0xa5, 0xa5]));
        assert!(!key.matches(&[0xa5, 0xa5, 0xa5, 0xa4]));
    }

    #[test]
    fn rejects_secret_of_another_length() {
        let key = CancelKey::issue(&plan(1, None, 8), RANDOM);
        for len in [0, 4, 7, 9, 32] {
            assert!(!key.matches(&vec![0xa5; len]), "{len} bytes");
        }
    }

    #[test]
    fn keeps_the_secret_out_of_debug_output() {
        let key = CancelKey::issue(&plan(1, None, 32), RANDOM);
        assert!(!format!("{key:?}").contains("165"));
    }

    proptest! {
        #[test]
        fn rejects_every_single_bit_that_differs(
            random in prop::array::uniform32(any::<u8>()),
            bit in 0..32_usize * 8,
            peer_id in prop::option::of(1..16384_u16),
        ) {
            let mut bytes = [0; 36];
            bytes[4..].copy_from_slice(&random);
            let key = CancelKey::issue(&plan(9, peer_id, 32), bytes);
            let mut secret = key.secret().to_vec();
            secret[bit / 8] ^= 1 << (bit % 8);
            let in_counter = peer_id.is_some() && bit / 8 == 31 && bit % 8 < 2;
            prop_assert_eq!(key.matches(&secret), in_counter);
        }

        #[test]
        fn process_ids_are_positive_and_name_their_slot(
            slot in 1..128_u8, peer_id: Option<u16>, byte: u8
        ) {
            let key = CancelKey::issue(&plan(slot, peer_id, 4), [byte; 36]);
            prop_assert!(key.process_id.cast_signed() > 0);
            prop_assert_eq!(Slot::of_process_id(key.process_id).unwrap().get(), slot);
        }

        #[test]
        fn moves_with_its_parts(random in prop::array::uniform32(any::<u8>()), len in 0..40_usize) {
            let mut bytes = [7; 36];
            bytes[4..].copy_from_slice(&random);
            let key = CancelKey::issue(&plan(1, Some(3), len), bytes);
            let moved = CancelKey::from_parts(key.process_id, key.secret(), key.counted()).unwrap();
            prop_assert_eq!(moved.secret(), key.secret());
            prop_assert!(moved.matches(key.secret()));
            let any = vec![1; len];
            let accepted = CancelKey::from_parts(1, &any, false).is_some();
            prop_assert_eq!(accepted, (4..=32).contains(&len));
        }
    }
}

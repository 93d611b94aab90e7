//! The hop counter of cancel keys, which ends loops between hosts.

/// Bits of the last byte of a secret that hold the counter.
pub(super) const HOP_BITS: u8 = 0b11;

/// How often a cancel request with this secret may still be forwarded to
/// another host, 0 to 3; `None` for a secret without bytes.
///
/// Only a secret whose issuer has a `peer_id` carries a counter.
pub fn hops(secret: &[u8]) -> Option<u8> {
    secret.last().map(|last| last & HOP_BITS)
}

/// The same secret with another counter, 0 to 3; higher counts become 3.
pub fn with_hops(secret: &[u8], count: u8) -> Vec<u8> {
    let mut secret = secret.to_vec();
    if let Some(last) = secret.last_mut() {
        *last = *last & !HOP_BITS | count.min(HOP_BITS);
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_down_to_nothing() {
        let mut secret = vec![9, 9, 9, 0b1010_1011];
        for left in (0..3).rev() {
            secret = with_hops(&secret, hops(&secret).unwrap() - 1);
            assert_eq!(hops(&secret), Some(left));
            assert_eq!(secret[3] & !HOP_BITS, 0b1010_1000);
        }
    }

    #[test]
    fn accepts_secret_without_bytes() {
        assert_eq!(hops(b""), None);
        assert_eq!(with_hops(b"", 2), b"");
    }

    #[test]
    fn keeps_counts_in_their_two_bits() {
        assert_eq!(with_hops(&[0], 200), [3]);
    }
}

//! The order to drain, as it goes to every process of the group.
//!
//! It carries an id of random bytes and is obeyed when first seen, so that it
//! may reach a process by several ways and more than once.
//!
//! Layout, version 1, 41 bytes: id (16), kind (1), then delay, timeout and
//! kill timeout in microseconds (8 each), all big-endian.

use std::time::Duration;

use crate::octets::{Octets, Truncated, put_duration};

/// What a drain waits for before the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DrainKind {
    /// Until the last client has left.
    WaitForClients,
    /// Until no server is in use; clients that need one are closed.
    WaitForServers,
    /// For nothing.
    Immediate,
}

/// One order to drain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DrainOrder {
    /// Random bytes that tell this order from every other.
    pub id: [u8; 16],
    /// What is waited for.
    pub kind: DrainKind,
    /// How long the group goes on accepting after the order.
    pub delay: Duration,
    /// When clients between transactions are closed, counted from the end of
    /// the delay; zero means never.
    pub timeout: Duration,
    /// When all clients are closed, counted from the end of the delay; zero
    /// means never.
    pub kill_timeout: Duration,
}

impl DrainOrder {
    /// Length of the encoded order, in bytes.
    pub const ENCODED_LEN: usize = 41;

    /// Appends the order to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.push(match self.kind {
            DrainKind::WaitForClients => 1,
            DrainKind::WaitForServers => 2,
            DrainKind::Immediate => 3,
        });
        put_duration(out, self.delay);
        put_duration(out, self.timeout);
        put_duration(out, self.kill_timeout);
    }

    /// Takes an order from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            id: octets.array()?,
            kind: match octets.u8()? {
                1 => DrainKind::WaitForClients,
                2 => DrainKind::WaitForServers,
                3 => DrainKind::Immediate,
                _ => return Err(Truncated),
            },
            delay: octets.duration()?,
            timeout: octets.duration()?,
            kill_timeout: octets.duration()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it was first written; it never changes.
    const SAMPLE: &[u8] = b"0123456789abcdef\x01\
        \0\0\0\0\0\x0f\x42\x40\0\0\0\0\x01\xc9\xc3\x80\0\0\0\0\0\0\0\0";

    fn order() -> DrainOrder {
        DrainOrder {
            id: *b"0123456789abcdef",
            kind: DrainKind::WaitForClients,
            delay: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            kill_timeout: Duration::ZERO,
        }
    }

    #[test]
    fn writes_the_recorded_sample_of_version_1() {
        let mut out = Vec::new();
        order().encode(&mut out);
        assert_eq!(out, SAMPLE);
        assert_eq!(out.len(), DrainOrder::ENCODED_LEN);
    }

    #[test]
    fn accepts_the_recorded_sample_of_version_1() {
        assert_eq!(DrainOrder::decode(&mut Octets(SAMPLE)), Ok(order()));
    }

    #[test]
    fn rejects_every_prefix_and_an_unknown_kind() {
        for end in 0..SAMPLE.len() {
            let prefix = DrainOrder::decode(&mut Octets(&SAMPLE[..end]));
            assert_eq!(prefix, Err(Truncated), "prefix of {end} bytes");
        }
        let mut unknown = SAMPLE.to_vec();
        unknown[16] = 9;
        assert_eq!(DrainOrder::decode(&mut Octets(&unknown)), Err(Truncated));
    }
}

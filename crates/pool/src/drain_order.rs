//! The order to drain, as it goes to every process of the group.
//!
//! It carries an id of random bytes and is obeyed when first seen, so that it
//! may reach a process by several ways and more than once.
//!
//! Layout, version 2: id (16), kind (1), scope (1, and what it names), when it
//! was given (8), rate (4), then delay, timeout and kill timeout in
//! microseconds (8 each), all big-endian. Version 1 had neither scope, time
//! nor rate; it is still read.

use std::fmt;
use std::time::{Duration, Instant};

use pgskein_protocol::key::Slot;

use crate::octets::{Octets, Truncated, put_bytes, put_duration};

/// What a drain waits for before the process ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DrainKind {
    /// Until the last client has left.
    WaitForClients,
    /// Until no server is in use; clients that need one are closed.
    WaitForServers,
    /// For nothing.
    Immediate,
    /// It does not end: clients are asked to go, and new ones are served.
    GoAway,
}

/// Whom a drain is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DrainScope {
    /// Everybody.
    All,
    /// The client of this number in the group's one sequence.
    Client(u64),
    /// Clients of this database.
    Database(String),
    /// Clients that have logged in as this user.
    User(String),
    /// Clients of this worker.
    Worker(Slot),
}

/// One order to drain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DrainOrder {
    /// Random bytes that tell this order from every other.
    pub id: [u8; 16],
    /// What is waited for.
    pub kind: DrainKind,
    /// Whom it is about.
    pub scope: DrainScope,
    /// When it was given, in milliseconds since 1970; nothing is decided by
    /// it, it is shown.
    pub given: u64,
    /// Clients that each worker asks to go in a second; 0 asks all at once.
    pub rate: u32,
    /// How long the group goes on accepting after the order, and asks nobody.
    pub delay: Duration,
    /// When clients between transactions are closed, counted from the end of
    /// the delay; zero means never.
    pub timeout: Duration,
    /// When all clients are closed, counted from the end of the delay; zero
    /// means never.
    pub kill_timeout: Duration,
}

impl DrainKind {
    /// Whether the group ends by it.
    pub fn is_shutdown(self) -> bool {
        self != Self::GoAway
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::WaitForClients => "wait_for_clients",
            Self::WaitForServers => "wait_for_servers",
            Self::Immediate => "immediate",
            Self::GoAway => "goaway",
        }
    }
}

impl DrainOrder {
    /// What is left of the order at `now`, where its delay ends at `since`: for
    /// a process that is told only then. A timeout that is over stays one.
    pub fn left(&self, since: Instant, now: Instant) -> Self {
        let passed = now.saturating_duration_since(since);
        let left = |timeout: Duration| match timeout {
            Duration::ZERO => timeout,
            timeout => timeout.saturating_sub(passed).max(SHORTEST),
        };
        Self {
            delay: since.saturating_duration_since(now),
            timeout: left(self.timeout),
            kill_timeout: left(self.kill_timeout),
            ..self.clone()
        }
    }

    /// Appends the order to `out`, in version 2.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        out.push(match self.kind {
            DrainKind::WaitForClients => 1,
            DrainKind::WaitForServers => 2,
            DrainKind::Immediate => 3,
            DrainKind::GoAway => 4,
        });
        match &self.scope {
            DrainScope::All => out.push(0),
            DrainScope::Client(number) => {
                out.push(1);
                out.extend_from_slice(&number.to_be_bytes());
            }
            DrainScope::Database(name) => {
                out.push(2);
                put_bytes(out, name.as_bytes());
            }
            DrainScope::User(name) => {
                out.push(3);
                put_bytes(out, name.as_bytes());
            }
            DrainScope::Worker(slot) => out.extend([4, slot.get()]),
        }
        out.extend_from_slice(&self.given.to_be_bytes());
        out.extend_from_slice(&self.rate.to_be_bytes());
        put_duration(out, self.delay);
        put_duration(out, self.timeout);
        put_duration(out, self.kill_timeout);
    }

    /// Takes an order of version 2 from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            id: octets.array()?,
            kind: match octets.u8()? {
                4 => DrainKind::GoAway,
                number => shutdown(number)?,
            },
            scope: match octets.u8()? {
                0 => DrainScope::All,
                1 => DrainScope::Client(octets.u64()?),
                2 => DrainScope::Database(octets.text()?),
                3 => DrainScope::User(octets.text()?),
                4 => DrainScope::Worker(Slot::new(octets.u8()?).ok_or(Truncated)?),
                _ => return Err(Truncated),
            },
            given: octets.u64()?,
            rate: octets.u32()?,
            delay: octets.duration()?,
            timeout: octets.duration()?,
            kill_timeout: octets.duration()?,
        })
    }

    /// Takes an order of version 1 from the start of `octets`.
    pub(crate) fn decode_v1(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            id: octets.array()?,
            kind: shutdown(octets.u8()?)?,
            scope: DrainScope::All,
            given: 0,
            rate: 0,
            delay: octets.duration()?,
            timeout: octets.duration()?,
            kill_timeout: octets.duration()?,
        })
    }
}

impl fmt::Display for DrainScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Client(number) => write!(f, "client {number}"),
            Self::Database(name) => write!(f, "database {name}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Worker(slot) => write!(f, "worker {slot}"),
        }
    }
}

fn shutdown(number: u8) -> Result<DrainKind, Truncated> {
    match number {
        1 => Ok(DrainKind::WaitForClients),
        2 => Ok(DrainKind::WaitForServers),
        3 => Ok(DrainKind::Immediate),
        _ => Err(Truncated),
    }
}

/// What is left of a timeout that is over: the shortest that is written down
/// as a time. Zero would be for ever.
const SHORTEST: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it was first written; it never changes.
    const SAMPLE_V1: &[u8] = b"0123456789abcdef\x01\
        \0\0\0\0\0\x0f\x42\x40\0\0\0\0\x01\xc9\xc3\x80\0\0\0\0\0\0\0\0";

    /// Version 2 as it was first written; it never changes.
    const SAMPLE: &[u8] = b"0123456789abcdef\x04\x02\0\0\0\x04shop\
        \0\0\0\0\0\0\x01\x02\0\0\0\x05\
        \0\0\0\0\0\x0f\x42\x40\0\0\0\0\x01\xc9\xc3\x80\0\0\0\0\0\0\0\0";

    fn order() -> DrainOrder {
        DrainOrder {
            id: *b"0123456789abcdef",
            kind: DrainKind::GoAway,
            scope: DrainScope::Database("shop".to_owned()),
            given: 258,
            rate: 5,
            delay: Duration::from_secs(1),
            timeout: Duration::from_secs(30),
            kill_timeout: Duration::ZERO,
        }
    }

    #[test]
    fn writes_and_accepts_the_recorded_sample_of_version_2() {
        let mut out = Vec::new();
        order().encode(&mut out);
        assert_eq!(out, SAMPLE);
        assert_eq!(DrainOrder::decode(&mut Octets(SAMPLE)), Ok(order()));
    }

    #[test]
    fn accepts_the_recorded_sample_of_version_1() {
        let plain = DrainOrder {
            kind: DrainKind::WaitForClients,
            scope: DrainScope::All,
            given: 0,
            rate: 0,
            ..order()
        };
        assert_eq!(DrainOrder::decode_v1(&mut Octets(SAMPLE_V1)), Ok(plain));
        let mut unknown = SAMPLE_V1.to_vec();
        unknown[16] = 4;
        let goaway = DrainOrder::decode_v1(&mut Octets(&unknown));
        assert_eq!(goaway, Err(Truncated));
    }

    #[test]
    fn what_is_left_ends_when_the_order_would_have() {
        let (given, second) = (Instant::now(), Duration::from_secs(1));
        let order = DrainOrder {
            kill_timeout: 60 * second,
            ..order()
        };
        let since = given + order.delay;
        for (passed, delay, timeout, kill_timeout) in [
            (0, second, 30 * second, 60 * second),
            (1, Duration::ZERO, 30 * second, 60 * second),
            (11, Duration::ZERO, 20 * second, 50 * second),
            (31, Duration::ZERO, SHORTEST, 30 * second),
            (99, Duration::ZERO, SHORTEST, SHORTEST),
        ] {
            let expected = DrainOrder {
                delay,
                timeout,
                kill_timeout,
                ..order.clone()
            };
            assert_eq!(order.left(since, given + passed * second), expected);
        }
    }

    #[test]
    fn timeout_that_is_never_over_stays_so() {
        let now = Instant::now();
        let left = order().left(now, now + Duration::from_secs(99));
        assert_eq!(left.kill_timeout, Duration::ZERO);
    }

    #[test]
    fn keeps_every_scope_and_kind() {
        let slot = Slot::new(7).unwrap();
        for scope in [
            DrainScope::All,
            DrainScope::Client(u64::MAX),
            DrainScope::User("bob".to_owned()),
            DrainScope::Worker(slot),
        ] {
            for kind in [
                DrainKind::WaitForClients,
                DrainKind::WaitForServers,
                DrainKind::Immediate,
                DrainKind::GoAway,
            ] {
                let order = DrainOrder {
                    kind,
                    scope: scope.clone(),
                    ..order()
                };
                let mut out = Vec::new();
                order.encode(&mut out);
                assert_eq!(DrainOrder::decode(&mut Octets(&out)), Ok(order));
            }
        }
    }

    #[test]
    fn rejects_every_prefix_and_unknown_kinds_and_scopes() {
        for end in 0..SAMPLE.len() {
            let prefix = DrainOrder::decode(&mut Octets(&SAMPLE[..end]));
            assert_eq!(prefix, Err(Truncated), "prefix of {end} bytes");
        }
        for at in [16, 17] {
            let mut unknown = SAMPLE.to_vec();
            unknown[at] = 9;
            assert_eq!(DrainOrder::decode(&mut Octets(&unknown)), Err(Truncated));
        }
    }
}

//! A console that waits for its next command.
//!
//! | tag | field |
//! |---|---|
//! | 1 | number in the group's one sequence (8) |
//! | 2 | origin, as of a session |
//! | 3 | its user |
//! | 4 | whether it may do everything, and counts towards `max_client_conn` (1 each) |
//! | 5 | ages in microseconds (8 each): accepted, heard |
//! | 6 | version of the orders that its giver has seen (8) |

use std::time::Duration;

use super::fields::{BodyError, Known, Writer, put_number, read};
use super::server::flag;
use super::session::{Origin, origin, put_origin};
use crate::octets::{Octets, Truncated, put_duration};

/// All that another worker needs to go on with a console.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConsoleCargo {
    /// Its number in the group's one sequence.
    pub number: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// Who it is.
    pub user: String,
    /// Whether it may do everything, not only look.
    pub admin: bool,
    /// Whether it counts towards `max_client_conn`.
    pub counted: bool,
    /// How long ago it was accepted.
    pub accepted: Duration,
    /// How long ago something was last received from it.
    pub heard: Duration,
    /// Version of the orders that its giver has seen.
    pub orders: u64,
}

impl ConsoleCargo {
    /// The body of an offer.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.put(1, |out| put_number(out, self.number));
        body.put(2, |out| put_origin(out, &self.origin));
        body.put(3, |out| out.extend_from_slice(self.user.as_bytes()));
        body.put(4, |out| {
            out.extend([self.admin, self.counted].map(u8::from))
        });
        body.put(5, |out| {
            put_duration(out, self.accepted);
            put_duration(out, self.heard);
        });
        body.put(6, |out| put_number(out, self.orders));
        body.end()
    }

    /// Reads the body of an offer.
    ///
    /// # Errors
    ///
    /// [`BodyError`] for anything that is not understood whole.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let mut parts = Parts::default();
        read(body, |tag, octets| parts.take(tag, octets))?;
        let (admin, counted) = parts.flags.ok_or(BodyError::Missing(4))?;
        let (accepted, heard) = parts.ages.ok_or(BodyError::Missing(5))?;
        Ok(Self {
            number: parts.number.ok_or(BodyError::Missing(1))?,
            origin: parts.origin.ok_or(BodyError::Missing(2))?,
            user: parts.user.ok_or(BodyError::Missing(3))?,
            admin,
            counted,
            accepted,
            heard,
            orders: parts.orders.ok_or(BodyError::Missing(6))?,
        })
    }
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    number: Option<u64>,
    origin: Option<Origin>,
    user: Option<String>,
    flags: Option<(bool, bool)>,
    ages: Option<(Duration, Duration)>,
    orders: Option<u64>,
}

impl Parts {
    fn take(&mut self, tag: u16, octets: &mut Octets<'_>) -> Result<Known, Truncated> {
        match tag {
            1 => self.number = Some(octets.u64()?),
            2 => self.origin = Some(origin(octets)?),
            3 => {
                let user = String::from_utf8(octets.rest().to_vec());
                self.user = Some(user.map_err(|_| Truncated)?);
            }
            4 => self.flags = Some((flag(octets)?, flag(octets)?)),
            5 => self.ages = Some((octets.duration()?, octets.duration()?)),
            6 => self.orders = Some(octets.u64()?),
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1.
    const RECORDED: &[u8] = b"\x01\
        \0\x01\0\0\0\x08\0\0\0\0\0\0\0\x07\
        \0\x02\0\0\0\x07\0\x01\0\0\x03\xe8\0\
        \0\x03\0\0\0\x03bob\
        \0\x04\0\0\0\x02\x01\0\
        \0\x05\0\0\0\x10\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\
        \0\x06\0\0\0\x08\0\0\0\0\0\0\0\x05";

    #[test]
    fn writes_and_reads_the_recorded_sample() {
        let console = ConsoleCargo {
            number: 7,
            origin: Origin::Unix {
                uid: Some(1000),
                pid: None,
            },
            user: "bob".to_owned(),
            admin: true,
            counted: false,
            accepted: Duration::from_micros(2),
            heard: Duration::from_micros(1),
            orders: 5,
        };
        assert_eq!(console.encode(), RECORDED);
        assert_eq!(ConsoleCargo::decode(RECORDED), Ok(console));
    }

    #[test]
    fn rejects_what_is_not_whole() {
        for end in 0..RECORDED.len() {
            assert!(ConsoleCargo::decode(&RECORDED[..end]).is_err(), "{end}");
        }
    }
}

//! Accepted: what is known of a client of which nothing was read yet.

use std::time::Duration;

use super::fields::{BodyError, Known, Writer, put_number, read};
use super::session::{Origin, origin, put_origin};
use crate::octets::put_duration;

/// A client of which nothing was read yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Its number in the group's one sequence.
    pub number: u64,
    /// How long ago it was accepted.
    pub age: Duration,
    /// Where it comes from.
    pub origin: Origin,
}

impl Accepted {
    /// The body of its offer.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put(NUMBER, |out| put_number(out, self.number));
        writer.put(AGE, |out| put_duration(out, self.age));
        writer.put(ORIGIN, |out| put_origin(out, &self.origin));
        writer.end()
    }

    /// Reads the body of an offer.
    ///
    /// # Errors
    ///
    /// [`BodyError`].
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let (mut number, mut age, mut from) = (None, None, None);
        read(body, |tag, value| {
            match tag {
                NUMBER => number = Some(value.u64()?),
                AGE => age = Some(value.duration()?),
                ORIGIN => from = Some(origin(value)?),
                _ => return Ok(Known::No),
            }
            Ok(Known::Yes)
        })?;
        Ok(Self {
            number: number.ok_or(BodyError::Missing(NUMBER))?,
            age: age.ok_or(BodyError::Missing(AGE))?,
            origin: from.ok_or(BodyError::Missing(ORIGIN))?,
        })
    }
}

const NUMBER: u16 = 1;
const AGE: u16 = 2;
const ORIGIN: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(origin: Origin) -> Accepted {
        Accepted {
            number: 258,
            age: Duration::from_micros(3),
            origin,
        }
    }

    const HEAD: &[u8] = b"\x01\0\x01\0\0\0\x08\0\0\0\0\0\0\x01\x02\
                          \0\x02\0\0\0\x08\0\0\0\0\0\0\0\x03";

    #[test]
    fn writes_and_accepts_the_recorded_bodies_of_version_1() {
        for (origin, bytes) in [
            (
                Origin::Tcp(([10, 0, 0, 7], 258).into()),
                &b"\0\x03\0\0\0\x07\x04\x0a\0\0\x07\x01\x02"[..],
            ),
            (
                Origin::Tcp(([0, 0, 0, 0, 0, 0, 0, 1], 258).into()),
                b"\0\x03\0\0\0\x13\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x01\x02",
            ),
            (
                Origin::Unix {
                    uid: Some(7),
                    pid: Some(8),
                },
                b"\0\x03\0\0\0\x0b\0\x01\0\0\0\x07\x01\0\0\0\x08",
            ),
            (
                Origin::Unix {
                    uid: None,
                    pid: None,
                },
                b"\0\x03\0\0\0\x03\0\0\0",
            ),
        ] {
            let body = [HEAD, bytes].concat();
            assert_eq!(accepted(origin).encode(), body);
            assert_eq!(Accepted::decode(&body), Ok(accepted(origin)));
        }
    }

    #[test]
    fn names_what_is_missing() {
        assert_eq!(Accepted::decode(HEAD), Err(BodyError::Missing(ORIGIN)));
    }
}

//! A server connection at rest.
//!
//! | tag | field |
//! |---|---|
//! | 1 | number in the group's one sequence (8) |
//! | 2 | pool |
//! | 3 | lease: number (8), epoch (4) |
//! | 4 | where it is, as text |
//! | 5 | route: a hash of how it was opened (8) |
//! | 6 | cancel key: process id (4), secret; if it has one |
//! | 7 | version of the protocol (4), GoAway granted (1) |
//! | 8 | age, time since it was idle, in microseconds (8 each) |
//! | 9 | whether it was ever lent (1) |
//! | 10 | why it is closed when it is free (1), if it is |
//! | 11 | what it has reported: names and values |
//! | 12 | prepared statements, the one used longest ago first: name (16), in doubt (1) |
//! | 13 | what has to be undone: kinds (4), names of followed parameters |
//! | 14 | its client: status (1), renamed (1), unnamed (1), manner (4); if it is lent |
//! | 15 | version of the orders that its giver has seen (8) |
//! | 16 | what clients of its pool are greeted with; if its giver knows |
//!
//! What it has counted stays with its giver.

use std::time::Duration;

use pgskein_protocol::{TransactionStatus, Version};

use super::fields::{BodyError, Known, Writer, put_number, read};
use crate::control::{self, LeaseId, PoolKey, put_lease, put_pool};
use crate::octets::{Octets, Truncated, put_bytes, put_count, put_duration};
use crate::prepared::Name;
use crate::text::Classes;

/// All that another worker needs to go on with a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerCargo {
    /// Its number in the group's one sequence.
    pub number: u64,
    /// Its pool.
    pub pool: PoolKey,
    /// The right to it.
    pub lease: LeaseId,
    /// Where it is: an address, or the path of a unix socket.
    pub target: String,
    /// A hash of how it was opened: one that would be opened in another way by
    /// its taker leads elsewhere.
    pub route: u64,
    /// Its cancel key, if it has sent one.
    pub key: Option<(u32, Vec<u8>)>,
    /// The version that both sides speak.
    pub version: Version,
    /// Whether it may send GoAway.
    pub goaway: bool,
    /// Since when it is open.
    pub age: Duration,
    /// Since when it is idle; zero for one that is lent.
    pub idle: Duration,
    /// Whether it was ever lent.
    pub used: bool,
    /// Why it is closed when it is free, if it is.
    pub retire: Option<Retire>,
    /// What it has reported, as far as that is followed.
    pub parameters: Vec<Parameter>,
    /// What is prepared there, the statement used longest ago first.
    pub statements: Vec<KnownStatement>,
    /// What has to be undone before another client gets it.
    pub changed: Changed,
    /// What is to be known of the client that it is lent to, if it is.
    pub lent: Option<Lent>,
    /// Version of the orders that its giver has seen.
    pub orders: u64,
    /// ParameterStatus messages that clients of its pool are greeted with, if its
    /// giver knows: the taker may have nobody else to ask.
    pub welcome: Option<Vec<u8>>,
}

/// Name and value of a setting, in the encoding that it was reported in.
pub type Parameter = (String, Vec<u8>);

/// Why a server is closed when it is free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Retire {
    /// Its pool is paused.
    Paused,
    /// It leads elsewhere than a new one would, or may.
    Changed,
    /// It asks to be left.
    AsksToGo,
}

/// A statement that is prepared on a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownStatement {
    /// Its name there, the same in the whole group.
    pub name: Name,
    /// It may be there or not, or must be made anew.
    pub stale: bool,
}

/// What clients have changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changed {
    /// The kinds of session state.
    pub kinds: Classes,
    /// The followed parameters that a SET has named.
    pub followed: Vec<String>,
}

/// How a server serves the client that it is lent to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lent {
    /// What its last ReadyForQuery said.
    pub status: TransactionStatus,
    /// Whether the statements of the client have other names there.
    pub renames: bool,
    /// Whether its unnamed statement is what the client has made of it.
    pub unnamed: bool,
    /// How its pool lends: a hash of its mode and of what is undone.
    pub manner: u32,
}

impl ServerCargo {
    /// The body of an offer.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.put(1, |out| put_number(out, self.number));
        body.put(2, |out| put_pool(out, &self.pool));
        body.put(3, |out| put_lease(out, self.lease));
        body.put(4, |out| out.extend_from_slice(self.target.as_bytes()));
        body.put(5, |out| put_number(out, self.route));
        body.put_some(6, self.key.as_ref(), |out, (process_id, secret)| {
            out.extend_from_slice(&process_id.to_be_bytes());
            out.extend_from_slice(secret);
        });
        body.put(7, |out| {
            out.extend_from_slice(&self.version.word().to_be_bytes());
            out.push(u8::from(self.goaway));
        });
        body.put(8, |out| {
            put_duration(out, self.age);
            put_duration(out, self.idle);
        });
        body.put(9, |out| out.push(u8::from(self.used)));
        body.put_some(10, self.retire, |out, retire| out.push(retire.code()));
        body.put(11, |out| put_parameters(out, &self.parameters));
        body.put(12, |out| {
            put_count(out, self.statements.len());
            for statement in &self.statements {
                out.extend_from_slice(&statement.name.to_bytes());
                out.push(u8::from(statement.stale));
            }
        });
        body.put(13, |out| {
            out.extend_from_slice(&self.changed.kinds.kinds().to_be_bytes());
            put_count(out, self.changed.followed.len());
            for name in &self.changed.followed {
                put_bytes(out, name.as_bytes());
            }
        });
        body.put_some(14, self.lent, |out, lent| {
            out.push(match lent.status {
                TransactionStatus::Idle => b'I',
                TransactionStatus::InTransaction => b'T',
                TransactionStatus::Failed => b'E',
            });
            out.extend([lent.renames, lent.unnamed].map(u8::from));
            out.extend_from_slice(&lent.manner.to_be_bytes());
        });
        body.put_some(16, self.welcome.as_ref(), |out, welcome| {
            out.extend_from_slice(welcome);
        });
        body.put(15, |out| put_number(out, self.orders));
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
        let (version, goaway) = parts.protocol.ok_or(BodyError::Missing(7))?;
        let (age, idle) = parts.ages.ok_or(BodyError::Missing(8))?;
        Ok(Self {
            number: parts.number.ok_or(BodyError::Missing(1))?,
            pool: parts.pool.ok_or(BodyError::Missing(2))?,
            lease: parts.lease.ok_or(BodyError::Missing(3))?,
            target: parts.target.ok_or(BodyError::Missing(4))?,
            route: parts.route.ok_or(BodyError::Missing(5))?,
            key: parts.key,
            version,
            goaway,
            age,
            idle,
            used: parts.used.ok_or(BodyError::Missing(9))?,
            retire: parts.retire,
            parameters: parts.parameters.ok_or(BodyError::Missing(11))?,
            statements: parts.statements.ok_or(BodyError::Missing(12))?,
            changed: parts.changed.ok_or(BodyError::Missing(13))?,
            lent: parts.lent,
            orders: parts.orders.ok_or(BodyError::Missing(15))?,
            welcome: parts.welcome,
        })
    }
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    number: Option<u64>,
    pool: Option<PoolKey>,
    lease: Option<LeaseId>,
    target: Option<String>,
    route: Option<u64>,
    key: Option<(u32, Vec<u8>)>,
    protocol: Option<(Version, bool)>,
    ages: Option<(Duration, Duration)>,
    used: Option<bool>,
    retire: Option<Retire>,
    parameters: Option<Vec<Parameter>>,
    statements: Option<Vec<KnownStatement>>,
    changed: Option<Changed>,
    lent: Option<Lent>,
    orders: Option<u64>,
    welcome: Option<Vec<u8>>,
}

impl Parts {
    fn take(&mut self, tag: u16, octets: &mut Octets<'_>) -> Result<Known, Truncated> {
        match tag {
            1 => self.number = Some(octets.u64()?),
            2 => self.pool = Some(control::pool(octets)?),
            3 => self.lease = Some(control::lease(octets)?),
            4 => {
                let target = String::from_utf8(octets.rest().to_vec());
                self.target = Some(target.map_err(|_| Truncated)?);
            }
            5 => self.route = Some(octets.u64()?),
            6 => self.key = Some((octets.u32()?, octets.rest().to_vec())),
            7 => self.protocol = Some((Version::of_word(octets.u32()?), flag(octets)?)),
            8 => self.ages = Some((octets.duration()?, octets.duration()?)),
            9 => self.used = Some(flag(octets)?),
            10 => self.retire = Some(Retire::of_code(octets.u8()?).ok_or(Truncated)?),
            11 => self.parameters = Some(parameters(octets)?),
            12 => {
                self.statements = Some(octets.list(|octets| {
                    Ok(KnownStatement {
                        name: Name::of_bytes(octets.array()?),
                        stale: flag(octets)?,
                    })
                })?);
            }
            13 => {
                self.changed = Some(Changed {
                    kinds: Classes::of_kinds(octets.u32()?).ok_or(Truncated)?,
                    followed: octets.list(Octets::text)?,
                });
            }
            14 => {
                self.lent = Some(Lent {
                    status: match octets.u8()? {
                        b'I' => TransactionStatus::Idle,
                        b'T' => TransactionStatus::InTransaction,
                        b'E' => TransactionStatus::Failed,
                        _ => return Err(Truncated),
                    },
                    renames: flag(octets)?,
                    unnamed: flag(octets)?,
                    manner: octets.u32()?,
                });
            }
            15 => self.orders = Some(octets.u64()?),
            16 => self.welcome = Some(octets.rest().to_vec()),
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

impl Retire {
    fn code(self) -> u8 {
        match self {
            Self::Paused => 1,
            Self::Changed => 2,
            Self::AsksToGo => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Paused, Self::Changed, Self::AsksToGo]
            .into_iter()
            .find(|retire| retire.code() == code)
    }
}

/// Appends settings with their values.
pub(super) fn put_parameters(out: &mut Vec<u8>, parameters: &[Parameter]) {
    put_count(out, parameters.len());
    for (name, value) in parameters {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value);
    }
}

/// Takes settings with their values.
pub(super) fn parameters(octets: &mut Octets<'_>) -> Result<Vec<Parameter>, Truncated> {
    octets.list(|octets| Ok((octets.text()?, octets.bytes()?.to_vec())))
}

/// Takes a truth value.
pub(super) fn flag(octets: &mut Octets<'_>) -> Result<bool, Truncated> {
    match octets.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Truncated),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn sample() -> ServerCargo {
        ServerCargo {
            number: 87,
            pool: PoolKey {
                database: "shop".to_owned(),
                user: "bob".to_owned(),
            },
            lease: LeaseId { id: 7, epoch: 2 },
            target: "10.0.0.9:5432".to_owned(),
            route: 0x0102_0304_0506_0708,
            key: Some((0x1267, vec![1, 2, 3, 4])),
            version: Version::V3_2,
            goaway: true,
            age: Duration::from_micros(258),
            idle: Duration::from_micros(3),
            used: true,
            retire: Some(Retire::AsksToGo),
            parameters: vec![("TimeZone".to_owned(), b"UTC".to_vec())],
            statements: vec![KnownStatement {
                name: Name::of_bytes([0xab; 16]),
                stale: true,
            }],
            changed: Changed {
                kinds: Classes::ROLE,
                followed: vec!["DateStyle".to_owned()],
            },
            lent: Some(Lent {
                status: TransactionStatus::Failed,
                renames: true,
                unnamed: false,
                manner: 9,
            }),
            orders: 5,
            welcome: Some(b"S\0\0\0\x06a\0b\0".to_vec()),
        }
    }

    /// Version 1.
    pub(crate) const RECORDED: &[u8] = b"\x01\
        \0\x01\0\0\0\x08\0\0\0\0\0\0\0\x57\
        \0\x02\0\0\0\x0f\0\0\0\x04shop\0\0\0\x03bob\
        \0\x03\0\0\0\x0c\0\0\0\0\0\0\0\x07\0\0\0\x02\
        \0\x04\0\0\0\x0d10.0.0.9:5432\
        \0\x05\0\0\0\x08\x01\x02\x03\x04\x05\x06\x07\x08\
        \0\x06\0\0\0\x08\0\0\x12\x67\x01\x02\x03\x04\
        \0\x07\0\0\0\x05\0\x03\0\x02\x01\
        \0\x08\0\0\0\x10\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x03\
        \0\x09\0\0\0\x01\x01\
        \0\x0a\0\0\0\x01\x03\
        \0\x0b\0\0\0\x17\0\0\0\x01\0\0\0\x08TimeZone\0\0\0\x03UTC\
        \0\x0c\0\0\0\x15\0\0\0\x01\
        \xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\xab\x01\
        \0\x0d\0\0\0\x15\0\0\0\x02\0\0\0\x01\0\0\0\x09DateStyle\
        \0\x0e\0\0\0\x07E\x01\0\0\0\0\x09\
        \0\x10\0\0\0\x09S\0\0\0\x06a\0b\0\
        \0\x0f\0\0\0\x08\0\0\0\0\0\0\0\x05";

    #[test]
    fn writes_and_reads_the_recorded_sample() {
        assert_eq!(sample().encode(), RECORDED);
        assert_eq!(ServerCargo::decode(RECORDED), Ok(sample()));
    }

    #[test]
    fn leaves_out_what_it_has_not() {
        let idle = ServerCargo {
            key: None,
            retire: None,
            lent: None,
            welcome: None,
            ..sample()
        };
        assert_eq!(ServerCargo::decode(&idle.encode()), Ok(idle));
    }

    #[test]
    fn rejects_what_is_not_whole() {
        for end in 0..RECORDED.len() {
            assert!(ServerCargo::decode(&RECORDED[..end]).is_err(), "{end}");
        }
        let later = [RECORDED, b"\x7f\xff\0\0\0\0"].concat();
        let error = ServerCargo::decode(&later).unwrap_err();
        assert_eq!(error, BodyError::UnknownField(0x7fff));
    }
}

//! A client between login and leaving, at rest.
//!
//! | tag | field |
//! |---|---|
//! | 1 | number in the group's one sequence (8) |
//! | 2 | origin: 4, address (4), port (2); 6, address (16), port (2); or 0 and user and process of the other side (5 each) |
//! | 3 | pool |
//! | 4 | the user that it has logged in as, if its pool has another |
//! | 5 | whether it counts towards `max_client_conn`, and at the supervisor (1 each) |
//! | 6 | ages in microseconds (8 each): accepted, heard, in its state, its last query |
//! | 7 | cancel key: process id (4), with a hop counter (1), secret |
//! | 8 | how it is asked to go (1) |
//! | 9 | what it believes the settings to be: names and values |
//! | 10 | prepared statements: name, and body of Parse behind the name |
//! | 11 | body of the Parse of its unnamed statement, if it has one |
//! | 12 | keys of its user: SCRAM secret, client key (32); if they were learned |
//! | 13 | its server, as the body of an offer of its own, if it has one |
//! | 14 | version of the orders that its giver has seen (8) |

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pgskein_protocol::key::CancelKey;

use super::fields::{BodyError, Known, Writer, put_number, read};
use super::server::{Parameter, ServerCargo, flag, parameters, put_parameters};
use crate::control::{self, PoolKey, put_pool};
use crate::octets::{Octets, Truncated, put_bytes, put_count, put_duration, put_option};

/// All that another worker needs to go on with a session.
#[derive(Clone, Debug)]
pub struct SessionCargo {
    /// Its number in the group's one sequence.
    pub number: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// Its pool.
    pub pool: PoolKey,
    /// The user that it has logged in as, if its pool has another.
    pub user: Option<String>,
    /// Whether it counts towards `max_client_conn`.
    pub counted: bool,
    /// Whether the supervisor counts it for its database or user.
    pub claimed: bool,
    /// How old its times are.
    pub ages: Ages,
    /// Its cancel key.
    pub key: CancelKey,
    /// How it is asked to go.
    pub carrier: Carrier,
    /// What it believes the settings to be, as far as they are followed.
    pub parameters: Vec<Parameter>,
    /// What it has prepared: its names, with the body of Parse behind the name.
    pub statements: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body of the Parse of its unnamed statement, if it has one.
    pub unnamed: Option<Vec<u8>>,
    /// What its user has shown, if that is what servers are logged in to with.
    pub learned: Option<Learned>,
    /// Its server, if it keeps one.
    pub server: Option<ServerCargo>,
    /// Version of the orders that its giver has seen.
    pub orders: u64,
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// An address.
    Tcp(SocketAddr),
    /// The unix socket; user and process of the other side, where known.
    Unix {
        /// User id.
        uid: Option<u32>,
        /// Process id.
        pid: Option<u32>,
    },
}

/// How old the times of a session are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ages {
    /// When it was accepted.
    pub accepted: Duration,
    /// When something was last received from it.
    pub heard: Duration,
    /// Since when it is in its state.
    pub since: Duration,
    /// When its last query began, or its last answer ended.
    pub turned: Duration,
}

/// How a client is asked to go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// By GoAway.
    GoAway,
    /// By a parameter.
    Parameter,
    /// It has been asked.
    Told,
}

/// With what servers are logged in to as the user of a client.
#[derive(Clone, Eq, PartialEq)]
pub struct Learned {
    /// The secret, as PostgreSQL writes it, or the password.
    pub secret: String,
    /// Proves that its user knows the password of a SCRAM secret; zeros if no
    /// client has shown it, or the secret is none.
    pub client_key: [u8; 32],
}

impl SessionCargo {
    /// The body of an offer.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Writer::new();
        body.put(1, |out| put_number(out, self.number));
        body.put(2, |out| put_origin(out, &self.origin));
        body.put(3, |out| put_pool(out, &self.pool));
        body.put_some(4, self.user.as_ref(), |out, user| {
            out.extend_from_slice(user.as_bytes());
        });
        body.put(5, |out| {
            out.extend([self.counted, self.claimed].map(u8::from))
        });
        body.put(6, |out| {
            let ages = self.ages;
            for age in [ages.accepted, ages.heard, ages.since, ages.turned] {
                put_duration(out, age);
            }
        });
        body.put(7, |out| {
            out.extend_from_slice(&self.key.process_id.to_be_bytes());
            out.push(u8::from(self.key.counted()));
            out.extend_from_slice(self.key.secret());
        });
        body.put(8, |out| out.push(self.carrier.code()));
        body.put(9, |out| put_parameters(out, &self.parameters));
        body.put(10, |out| {
            put_count(out, self.statements.len());
            for (name, tail) in &self.statements {
                put_bytes(out, name);
                put_bytes(out, tail);
            }
        });
        body.put_some(11, self.unnamed.as_ref(), |out, tail| {
            out.extend_from_slice(tail);
        });
        body.put_some(12, self.learned.as_ref(), |out, learned| {
            put_bytes(out, learned.secret.as_bytes());
            out.extend_from_slice(&learned.client_key);
        });
        body.put_some(13, self.server.as_ref(), |out, server| {
            out.extend(server.encode());
        });
        body.put(14, |out| put_number(out, self.orders));
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
        let (counted, claimed) = parts.counts.ok_or(BodyError::Missing(5))?;
        let server = parts.server.map(|body| ServerCargo::decode(&body));
        Ok(Self {
            number: parts.number.ok_or(BodyError::Missing(1))?,
            origin: parts.origin.ok_or(BodyError::Missing(2))?,
            pool: parts.pool.ok_or(BodyError::Missing(3))?,
            user: parts.user,
            counted,
            claimed,
            ages: parts.ages.ok_or(BodyError::Missing(6))?,
            key: parts.key.ok_or(BodyError::Missing(7))?,
            carrier: parts.carrier.ok_or(BodyError::Missing(8))?,
            parameters: parts.parameters.ok_or(BodyError::Missing(9))?,
            statements: parts.statements.ok_or(BodyError::Missing(10))?,
            unnamed: parts.unnamed,
            learned: parts.learned,
            server: server.transpose()?,
            orders: parts.orders.ok_or(BodyError::Missing(14))?,
        })
    }
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    number: Option<u64>,
    origin: Option<Origin>,
    pool: Option<PoolKey>,
    user: Option<String>,
    counts: Option<(bool, bool)>,
    ages: Option<Ages>,
    key: Option<CancelKey>,
    carrier: Option<Carrier>,
    parameters: Option<Vec<Parameter>>,
    statements: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    unnamed: Option<Vec<u8>>,
    learned: Option<Learned>,
    server: Option<Vec<u8>>,
    orders: Option<u64>,
}

impl Parts {
    fn take(&mut self, tag: u16, octets: &mut Octets<'_>) -> Result<Known, Truncated> {
        match tag {
            1 => self.number = Some(octets.u64()?),
            2 => self.origin = Some(origin(octets)?),
            3 => self.pool = Some(control::pool(octets)?),
            4 => {
                let user = String::from_utf8(octets.rest().to_vec());
                self.user = Some(user.map_err(|_| Truncated)?);
            }
            5 => self.counts = Some((flag(octets)?, flag(octets)?)),
            6 => {
                self.ages = Some(Ages {
                    accepted: octets.duration()?,
                    heard: octets.duration()?,
                    since: octets.duration()?,
                    turned: octets.duration()?,
                });
            }
            7 => {
                let (process_id, counted) = (octets.u32()?, flag(octets)?);
                let key = CancelKey::from_parts(process_id, octets.rest(), counted);
                self.key = Some(key.ok_or(Truncated)?);
            }
            8 => self.carrier = Some(Carrier::of_code(octets.u8()?).ok_or(Truncated)?),
            9 => self.parameters = Some(parameters(octets)?),
            10 => {
                self.statements = Some(
                    octets
                        .list(|octets| Ok((octets.bytes()?.to_vec(), octets.bytes()?.to_vec())))?,
                );
            }
            11 => self.unnamed = Some(octets.rest().to_vec()),
            12 => {
                self.learned = Some(Learned {
                    secret: octets.text()?,
                    client_key: octets.array()?,
                });
            }
            13 => self.server = Some(octets.rest().to_vec()),
            14 => self.orders = Some(octets.u64()?),
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

impl Carrier {
    fn code(self) -> u8 {
        match self {
            Self::GoAway => 1,
            Self::Parameter => 2,
            Self::Told => 3,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::GoAway, Self::Parameter, Self::Told]
            .into_iter()
            .find(|carrier| carrier.code() == code)
    }
}

impl std::fmt::Debug for Learned {
    /// Shows no secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Learned(..)")
    }
}

/// Appends where a client comes from.
pub(super) fn put_origin(out: &mut Vec<u8>, origin: &Origin) {
    let number = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_be_bytes());
    match origin {
        Origin::Tcp(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    out.push(4);
                    out.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    out.push(6);
                    out.extend_from_slice(&ip.octets());
                }
            }
            out.extend_from_slice(&address.port().to_be_bytes());
        }
        Origin::Unix { uid, pid } => {
            out.push(0);
            put_option(out, *uid, number);
            put_option(out, *pid, number);
        }
    }
}

/// Takes where a client comes from.
pub(super) fn origin(octets: &mut Octets<'_>) -> Result<Origin, Truncated> {
    let address: IpAddr = match octets.u8()? {
        0 => {
            return Ok(Origin::Unix {
                uid: octets.option(Octets::u32)?,
                pid: octets.option(Octets::u32)?,
            });
        }
        4 => Ipv4Addr::from(octets.array::<4>()?).into(),
        6 => Ipv6Addr::from(octets.array::<16>()?).into(),
        _ => return Err(Truncated),
    };
    let port = u16::from_be_bytes(octets.array()?);
    Ok(Origin::Tcp(SocketAddr::new(address, port)))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;

//! Requests over a peer socket and their answers.
//!
//! Both are shaped like a startup packet: Int32 length that counts itself,
//! Int32 code, body. The code is `0x706b`, one byte for the kind and one for
//! its version, so no startup packet of a client is ever taken for one. One
//! connection carries one request, and may become something else by it. Two
//! generations of the program talk to each other here: a code that is not known
//! is an error that names it, and is answered with [`PeerAnswer::Unsupported`].

use std::fmt;

use pgskein_protocol::key::Slot;

use crate::console::Topic;
use crate::drain_order::DrainOrder;
use crate::octets::{Octets, Truncated};

/// Largest request or answer, in bytes, its length field included.
pub const MAX_PEER_MESSAGE: u32 = 10_000;

/// Most bytes of a stream of rows in one answer.
pub const MAX_PIECE: usize = (MAX_PEER_MESSAGE - HEADER_LEN) as usize;

/// What one process of the group asks of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PeerRequest<'a> {
    /// Cancel the query of the client with this key, if it is known here.
    Cancel {
        /// First half of the key.
        process_id: u32,
        /// Second half of the key, at most 256 bytes.
        secret: &'a [u8],
    },
    /// Drain, unless this order was seen before.
    Drain(DrainOrder),
    /// Say what you know of a table of the console.
    Console {
        /// The table.
        topic: Topic,
    },
    /// Join the group of a new supervisor, unless there is one already. After
    /// [`PeerAnswer::Joined`] the connection is the worker's control link.
    Join,
    /// Take what this worker is going to hand over. After
    /// [`PeerAnswer::Takes`] the connection carries frames of [`crate::handoff`].
    Handoff {
        /// Slot of the worker that asks.
        slot: Slot,
        /// Its generation.
        generation: u32,
    },
}

/// What the other process says to a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerAnswer<'a> {
    /// The key is known here; [`PeerAnswer::Done`] or the end of the
    /// connection follows when the cancel is finished.
    Found,
    /// The key is not known here.
    Unknown,
    /// The cancel is finished.
    Done,
    /// The order was taken, now or before.
    Obeyed,
    /// The next piece of a stream of rows; it may end in the middle of one.
    Rows(&'a [u8]),
    /// There are no more rows.
    End,
    /// The worker has joined; its reports follow as control messages.
    Joined {
        /// Its process id.
        pid: u32,
    },
    /// Offers may come.
    Takes,
    /// The request's code is not one of ours.
    Unsupported {
        /// The code as it was received.
        code: u32,
    },
}

/// Why bytes can never become a request or an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerError {
    /// The length field is under 8 or over [`MAX_PEER_MESSAGE`].
    Length(u32),
    /// The code is of no kind and version known here.
    Unsupported {
        /// The code as it was received.
        code: u32,
    },
    /// The body does not fit the code.
    Body {
        /// The code as it was received.
        code: u32,
    },
}

impl<'a> PeerRequest<'a> {
    /// Splits the first request off `bytes`.
    ///
    /// Returns the request and the bytes that follow it, or `None` when more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; one with a code deserves an answer, then the connection
    /// is closed.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, PeerError> {
        let Some((code, body, rest)) = split_packet(bytes)? else {
            return Ok(None);
        };
        let request = match code {
            CANCEL => Self::cancel(body),
            DRAIN => Self::drain(body, DrainOrder::decode),
            DRAIN_V1 => Self::drain(body, DrainOrder::decode_v1),
            CONSOLE => Self::console(body),
            JOIN => Octets(body).end().map(|()| Self::Join),
            HANDOFF => Self::handoff(body),
            _ => return Err(PeerError::Unsupported { code }),
        };
        match request {
            Ok(request) => Ok(Some((request, rest))),
            Err(Truncated) => Err(PeerError::Body { code }),
        }
    }

    /// Appends the request to `out`.
    ///
    /// The caller keeps a cancel's secret at or under 256 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Cancel { process_id, secret } => put_packet(out, CANCEL, |out| {
                out.extend_from_slice(&process_id.to_be_bytes());
                out.extend_from_slice(secret);
            }),
            Self::Drain(order) => put_packet(out, DRAIN, |out| order.encode(out)),
            Self::Console { topic } => put_packet(out, CONSOLE, |out| out.push(topic.code())),
            Self::Join => put_packet(out, JOIN, |_| {}),
            Self::Handoff { slot, generation } => put_packet(out, HANDOFF, |out| {
                out.push(slot.get());
                out.extend_from_slice(&generation.to_be_bytes());
            }),
        }
    }

    fn cancel(body: &'a [u8]) -> Result<Self, Truncated> {
        let mut octets = Octets(body);
        let process_id = octets.u32()?;
        let secret = octets.0;
        if secret.is_empty() || secret.len() > MAX_SECRET {
            return Err(Truncated);
        }
        Ok(Self::Cancel { process_id, secret })
    }

    fn drain(
        body: &'a [u8],
        decode: fn(&mut Octets<'_>) -> Result<DrainOrder, Truncated>,
    ) -> Result<Self, Truncated> {
        let mut octets = Octets(body);
        let order = decode(&mut octets)?;
        octets.end()?;
        Ok(Self::Drain(order))
    }

    fn console(body: &'a [u8]) -> Result<Self, Truncated> {
        let mut octets = Octets(body);
        let topic = Topic::of_code(octets.u8()?).ok_or(Truncated)?;
        octets.end()?;
        Ok(Self::Console { topic })
    }

    fn handoff(body: &'a [u8]) -> Result<Self, Truncated> {
        let mut octets = Octets(body);
        let slot = Slot::new(octets.u8()?).ok_or(Truncated)?;
        let generation = octets.u32()?;
        octets.end()?;
        Ok(Self::Handoff { slot, generation })
    }
}

impl<'a> PeerAnswer<'a> {
    /// Splits the first answer off `bytes`, as [`PeerRequest::split`] does.
    ///
    /// # Errors
    ///
    /// [`PeerError`]; the connection must then be closed.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, PeerError> {
        let Some((code, body, rest)) = split_packet(bytes)? else {
            return Ok(None);
        };
        let mut octets = Octets(body);
        let answer = match code {
            FOUND => Self::Found,
            UNKNOWN => Self::Unknown,
            DONE => Self::Done,
            OBEYED => Self::Obeyed,
            ROWS => Self::Rows(std::mem::take(&mut octets.0)),
            END => Self::End,
            JOINED => Self::Joined {
                pid: octets.u32().map_err(|Truncated| PeerError::Body { code })?,
            },
            TAKES => Self::Takes,
            UNSUPPORTED => Self::Unsupported {
                code: octets.u32().map_err(|Truncated| PeerError::Body { code })?,
            },
            _ => return Err(PeerError::Unsupported { code }),
        };
        octets.end().map_err(|Truncated| PeerError::Body { code })?;
        Ok(Some((answer, rest)))
    }

    /// Appends the answer to `out`.
    ///
    /// The caller keeps a piece of rows at or under [`MAX_PIECE`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Found => put_packet(out, FOUND, |_| {}),
            Self::Unknown => put_packet(out, UNKNOWN, |_| {}),
            Self::Done => put_packet(out, DONE, |_| {}),
            Self::Obeyed => put_packet(out, OBEYED, |_| {}),
            Self::Rows(piece) => put_packet(out, ROWS, |out| out.extend_from_slice(piece)),
            Self::End => put_packet(out, END, |_| {}),
            Self::Joined { pid } => put_packet(out, JOINED, |out| {
                out.extend_from_slice(&pid.to_be_bytes());
            }),
            Self::Takes => put_packet(out, TAKES, |_| {}),
            Self::Unsupported { code } => put_packet(out, UNSUPPORTED, |out| {
                out.extend_from_slice(&code.to_be_bytes());
            }),
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "invalid length {length} of a peer message"),
            Self::Unsupported { code } => write!(f, "unsupported peer message {code:#010x}"),
            Self::Body { code } => write!(f, "invalid body of peer message {code:#010x}"),
        }
    }
}

impl std::error::Error for PeerError {}

/// Code, body and what follows of the first packet, or `None` when it is not
/// whole yet.
type Packet<'a> = Option<(u32, &'a [u8], &'a [u8])>;

fn split_packet(bytes: &[u8]) -> Result<Packet<'_>, PeerError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if !(HEADER_LEN..=MAX_PEER_MESSAGE).contains(&length) {
        return Err(PeerError::Length(length));
    }
    let Some((code, rest)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    Ok(rest
        .split_at_checked((length - HEADER_LEN) as usize)
        .map(|(body, rest)| (u32::from_be_bytes(*code), body, rest)))
}

fn put_packet(out: &mut Vec<u8>, code: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let mut packet = code.to_be_bytes().to_vec();
    body(&mut packet);
    let length = u32::try_from(packet.len() + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.append(&mut packet);
}

const HEADER_LEN: u32 = 8;
const MAX_SECRET: usize = 256;

const CANCEL: u32 = 0x706b_0101;
const DRAIN_V1: u32 = 0x706b_0201;
const DRAIN: u32 = 0x706b_0202;
const CONSOLE: u32 = 0x706b_0301;
const JOIN: u32 = 0x706b_0401;
const HANDOFF: u32 = 0x706b_0501;
const FOUND: u32 = 0x706b_8101;
const UNKNOWN: u32 = 0x706b_8201;
const DONE: u32 = 0x706b_8301;
const OBEYED: u32 = 0x706b_8401;
const ROWS: u32 = 0x706b_8501;
const END: u32 = 0x706b_8601;
const JOINED: u32 = 0x706b_8701;
const TAKES: u32 = 0x706b_8801;
const UNSUPPORTED: u32 = 0x706b_ff01;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::drain_order::{DrainKind, DrainScope};

    /// The newest version of all requests as they were first written.
    fn samples() -> Vec<(PeerRequest<'static>, &'static [u8])> {
        vec![
            (
                PeerRequest::Cancel {
                    process_id: 0x0201_0304,
                    secret: b"\xde\xad\xbe\xef",
                },
                b"\0\0\0\x10\x70\x6b\x01\x01\x02\x01\x03\x04\xde\xad\xbe\xef",
            ),
            (
                PeerRequest::Drain(DrainOrder {
                    id: *b"0123456789abcdef",
                    kind: DrainKind::WaitForServers,
                    scope: DrainScope::All,
                    given: 258,
                    rate: 5,
                    delay: Duration::ZERO,
                    timeout: Duration::from_secs(1),
                    kill_timeout: Duration::from_secs(2),
                }),
                b"\0\0\0\x3e\x70\x6b\x02\x020123456789abcdef\x02\0\
                  \0\0\0\0\0\0\x01\x02\0\0\0\x05\0\0\0\0\0\0\0\0\
                  \0\0\0\0\0\x0f\x42\x40\0\0\0\0\0\x1e\x84\x80",
            ),
            (
                PeerRequest::Console {
                    topic: Topic::Pools,
                },
                b"\0\0\0\x09\x70\x6b\x03\x01\x03",
            ),
            (PeerRequest::Join, b"\0\0\0\x08\x70\x6b\x04\x01"),
            (
                PeerRequest::Handoff {
                    slot: Slot::new(3).unwrap(),
                    generation: 258,
                },
                b"\0\0\0\x0d\x70\x6b\x05\x01\x03\0\0\x01\x02",
            ),
        ]
    }

    #[test]
    fn writes_and_accepts_the_recorded_requests() {
        for (request, bytes) in samples() {
            let mut out = Vec::new();
            request.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(PeerRequest::split(bytes), Ok(Some((request, &b""[..]))));
        }
    }

    #[test]
    fn accepts_the_order_to_drain_of_version_1() {
        let bytes = b"\0\0\0\x31\x70\x6b\x02\x010123456789abcdef\x02\0\0\0\0\0\0\0\0\
                  \0\0\0\0\0\x0f\x42\x40\0\0\0\0\0\x1e\x84\x80";
        let Ok(Some((PeerRequest::Drain(order), b""))) = PeerRequest::split(bytes) else {
            panic!("not an order to drain");
        };
        assert_eq!(order.kind, DrainKind::WaitForServers);
        assert_eq!(order.scope, DrainScope::All);
        assert_eq!(order.kill_timeout, Duration::from_secs(2));
    }

    #[test]
    fn writes_and_accepts_the_recorded_answers_of_version_1() {
        for (answer, bytes) in [
            (PeerAnswer::Found, &b"\0\0\0\x08\x70\x6b\x81\x01"[..]),
            (PeerAnswer::Unknown, b"\0\0\0\x08\x70\x6b\x82\x01"),
            (PeerAnswer::Done, b"\0\0\0\x08\x70\x6b\x83\x01"),
            (PeerAnswer::Obeyed, b"\0\0\0\x08\x70\x6b\x84\x01"),
            (PeerAnswer::Rows(b"abc"), b"\0\0\0\x0b\x70\x6b\x85\x01abc"),
            (PeerAnswer::End, b"\0\0\0\x08\x70\x6b\x86\x01"),
            (
                PeerAnswer::Joined { pid: 4711 },
                b"\0\0\0\x0c\x70\x6b\x87\x01\0\0\x12\x67",
            ),
            (
                PeerAnswer::Unsupported { code: 0x706b_0501 },
                b"\0\0\0\x0c\x70\x6b\xff\x01\x70\x6b\x05\x01",
            ),
            (PeerAnswer::Takes, b"\0\0\0\x08\x70\x6b\x88\x01"),
        ] {
            let mut out = Vec::new();
            answer.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(PeerAnswer::split(bytes), Ok(Some((answer, &b""[..]))));
        }
    }

    #[test]
    fn waits_for_every_prefix_of_a_request() {
        for (_, bytes) in samples() {
            for end in 0..bytes.len() {
                let split = PeerRequest::split(&bytes[..end]);
                assert_eq!(split, Ok(None), "prefix of {end} bytes");
            }
        }
    }

    #[test]
    fn rejects_an_unknown_code_with_its_value() {
        assert_eq!(
            PeerRequest::split(b"\0\0\0\x08\x70\x6b\x01\x02"),
            Err(PeerError::Unsupported { code: 0x706b_0102 })
        );
    }

    #[test]
    fn rejects_lengths_out_of_bounds_before_the_body_arrives() {
        for length in [0, 7, 10_001, u32::MAX] {
            let bytes = u32::to_be_bytes(length);
            assert_eq!(PeerRequest::split(&bytes), Err(PeerError::Length(length)));
        }
    }

    #[test]
    fn rejects_a_cancel_without_a_secret_or_with_a_long_one() {
        for secret in [0, 257] {
            let mut out = Vec::new();
            let secret = vec![1; secret];
            let request = PeerRequest::Cancel {
                process_id: 1,
                secret: &secret,
            };
            request.encode(&mut out);
            assert_eq!(
                PeerRequest::split(&out),
                Err(PeerError::Body { code: CANCEL })
            );
        }
    }
}

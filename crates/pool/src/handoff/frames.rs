//! Frames: what the two ends of a stream of handoffs say.
//!
//! UInt32 length of what follows, a byte for the version, a byte for the kind,
//! UInt32 number of the offer, body. The descriptors of an offer travel with
//! its first byte. A frame of another version or kind ends the stream; what is
//! to be understood by both programs is settled before the first one, by the
//! version of [`crate::peer::PeerRequest::Handoff`].

use std::fmt;

use crate::octets::{Octets, Truncated};

/// From the giver to the taker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToTaker<'a> {
    /// This is to be had.
    Offer {
        /// Its number on this stream.
        id: u32,
        /// What it is, see [`super::CargoKind`].
        cargo: u8,
        /// How many descriptors come with it.
        descriptors: u8,
        /// What the taker needs to go on with it, at most [`MAX_BODY`] bytes.
        body: &'a [u8],
    },
    /// It is the taker's from now on.
    Commit {
        /// The number of the offer.
        id: u32,
    },
    /// It stays where it is.
    Withdraw {
        /// The number of the offer.
        id: u32,
    },
}

/// From the taker to the giver.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ToGiver {
    /// All that it needs is reserved.
    Ready {
        /// The number of the offer.
        id: u32,
    },
    /// It is not taken.
    Refused {
        /// The number of the offer.
        id: u32,
        /// Why.
        refusal: Refusal,
    },
    /// It was started after its commit.
    Taken {
        /// The number of the offer.
        id: u32,
    },
}

/// Why a worker does not take what it is offered.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// More is in flight than it takes.
    Full,
    /// It has no memory for it.
    NoMemory,
    /// It has no room for the descriptors.
    NoDescriptors,
    /// A version, kind or field that it does not know.
    Unknown,
    /// Another session has this cancel key.
    KeyTaken,
    /// It is leaving itself.
    Leaving,
    /// It is larger than it takes.
    TooLarge,
    /// Anything else.
    Other,
}

/// Why bytes can never become a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// The length field is out of bounds.
    Length(u32),
    /// The version or kind is not known here.
    Kind {
        /// Version of the frame.
        version: u8,
        /// Kind of the frame.
        kind: u8,
    },
    /// The body does not fit the kind.
    Body {
        /// Kind of the frame.
        kind: u8,
    },
}

impl<'a> ToTaker<'a> {
    /// Splits the first frame off `bytes`.
    ///
    /// Returns it and the bytes that follow, or `None` when more are needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; the stream must then be closed.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, FrameError> {
        let Some(Split { kind, body, rest }) = split_frame(bytes)? else {
            return Ok(None);
        };
        let mut octets = Octets(body);
        let frame = match kind {
            OFFER => Self::offer(&mut octets),
            COMMIT => octets.u32().map(|id| Self::Commit { id }),
            WITHDRAW => octets.u32().map(|id| Self::Withdraw { id }),
            _ => return Err(unknown(kind)),
        };
        match frame.and_then(|frame| octets.end().map(|()| frame)) {
            Ok(frame) => Ok(Some((frame, rest))),
            Err(Truncated) => Err(FrameError::Body { kind }),
        }
    }

    /// Appends the frame to `out`.
    ///
    /// The caller keeps a body at or under [`MAX_BODY`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Offer {
                id,
                cargo,
                descriptors,
                body,
            } => {
                put_header(out, OFFER, OFFER_HEADER + body.len());
                out.extend_from_slice(&id.to_be_bytes());
                out.extend_from_slice(&[*cargo, *descriptors]);
                out.extend_from_slice(body);
            }
            Self::Commit { id } => put_short(out, COMMIT, *id),
            Self::Withdraw { id } => put_short(out, WITHDRAW, *id),
        }
    }

    fn offer(octets: &mut Octets<'a>) -> Result<Self, Truncated> {
        Ok(Self::Offer {
            id: octets.u32()?,
            cargo: octets.u8()?,
            descriptors: octets.u8()?,
            body: std::mem::take(&mut octets.0),
        })
    }
}

impl ToGiver {
    /// Splits the first frame off `bytes`, as [`ToTaker::split`] does.
    ///
    /// # Errors
    ///
    /// [`FrameError`]; the stream must then be closed.
    pub fn split(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, FrameError> {
        let Some(Split { kind, body, rest }) = split_frame(bytes)? else {
            return Ok(None);
        };
        let mut octets = Octets(body);
        let frame = match kind {
            READY => octets.u32().map(|id| Self::Ready { id }),
            REFUSED => Self::refused(&mut octets),
            TAKEN => octets.u32().map(|id| Self::Taken { id }),
            _ => return Err(unknown(kind)),
        };
        match frame.and_then(|frame| octets.end().map(|()| frame)) {
            Ok(frame) => Ok(Some((frame, rest))),
            Err(Truncated) => Err(FrameError::Body { kind }),
        }
    }

    /// Appends the frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready { id } => put_short(out, READY, *id),
            Self::Refused { id, refusal } => {
                put_header(out, REFUSED, ID_LEN + 1);
                out.extend_from_slice(&id.to_be_bytes());
                out.push(refusal.code());
            }
            Self::Taken { id } => put_short(out, TAKEN, *id),
        }
    }

    fn refused(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self::Refused {
            id: octets.u32()?,
            refusal: Refusal::of_code(octets.u8()?),
        })
    }
}

impl Refusal {
    /// The word for it, in the log and on the console.
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoMemory => "no memory",
            Self::NoDescriptors => "no descriptors",
            Self::Unknown => "unknown format",
            Self::KeyTaken => "key taken",
            Self::Leaving => "leaving",
            Self::TooLarge => "too large",
            Self::Other => "other",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Other => 0,
            Self::Full => 1,
            Self::NoMemory => 2,
            Self::NoDescriptors => 3,
            Self::Unknown => 4,
            Self::KeyTaken => 5,
            Self::Leaving => 6,
            Self::TooLarge => 7,
        }
    }

    /// A newer program may have reasons that this one does not know.
    fn of_code(code: u8) -> Self {
        [
            Self::Full,
            Self::NoMemory,
            Self::NoDescriptors,
            Self::Unknown,
            Self::KeyTaken,
            Self::Leaving,
            Self::TooLarge,
        ]
        .into_iter()
        .find(|refusal| refusal.code() == code)
        .unwrap_or(Self::Other)
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "invalid length {length} of a handoff frame"),
            Self::Kind { version, kind } => {
                write!(f, "unknown handoff frame {kind} of version {version}")
            }
            Self::Body { kind } => write!(f, "invalid body of handoff frame {kind}"),
        }
    }
}

impl std::error::Error for FrameError {}

struct Split<'a> {
    kind: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

fn split_frame(bytes: &[u8]) -> Result<Option<Split<'_>>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length);
    if !(MIN_LENGTH..=MAX_LENGTH).contains(&(length as usize)) {
        return Err(FrameError::Length(length));
    }
    let Some((frame, rest)) = rest.split_at_checked(length as usize) else {
        return Ok(None);
    };
    match frame {
        [VERSION, kind, body @ ..] => Ok(Some(Split {
            kind: *kind,
            body,
            rest,
        })),
        [version, kind, ..] => Err(FrameError::Kind {
            version: *version,
            kind: *kind,
        }),
        _ => Err(FrameError::Length(length)),
    }
}

fn unknown(kind: u8) -> FrameError {
    FrameError::Kind {
        version: VERSION,
        kind,
    }
}

fn put_short(out: &mut Vec<u8>, kind: u8, id: u32) {
    put_header(out, kind, ID_LEN);
    out.extend_from_slice(&id.to_be_bytes());
}

fn put_header(out: &mut Vec<u8>, kind: u8, body: usize) {
    let length = u32::try_from(body + 2).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[VERSION, kind]);
}

/// Longest body of an offer, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

const VERSION: u8 = 1;
const ID_LEN: usize = 4;
/// Number, cargo and descriptors.
const OFFER_HEADER: usize = ID_LEN + 2;
/// Version, kind and number.
const MIN_LENGTH: usize = 2 + ID_LEN;
const MAX_LENGTH: usize = 2 + OFFER_HEADER + MAX_BODY;

const OFFER: u8 = 1;
const COMMIT: u8 = 2;
const WITHDRAW: u8 = 3;
const READY: u8 = 129;
const REFUSED: u8 = 130;
const TAKEN: u8 = 131;

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 1 as it was first written.
    fn to_taker() -> Vec<(ToTaker<'static>, &'static [u8])> {
        vec![
            (
                ToTaker::Offer {
                    id: 258,
                    cargo: 3,
                    descriptors: 2,
                    body: b"abc",
                },
                b"\0\0\0\x0b\x01\x01\0\0\x01\x02\x03\x02abc",
            ),
            (
                ToTaker::Commit { id: 258 },
                b"\0\0\0\x06\x01\x02\0\0\x01\x02",
            ),
            (
                ToTaker::Withdraw { id: 258 },
                b"\0\0\0\x06\x01\x03\0\0\x01\x02",
            ),
        ]
    }

    /// Version 1 as it was first written.
    fn to_giver() -> Vec<(ToGiver, &'static [u8])> {
        let refused = |refusal| ToGiver::Refused { id: 258, refusal };
        vec![
            (
                ToGiver::Ready { id: 258 },
                b"\0\0\0\x06\x01\x81\0\0\x01\x02",
            ),
            (refused(Refusal::Other), b"\0\0\0\x07\x01\x82\0\0\x01\x02\0"),
            (
                refused(Refusal::Full),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x01",
            ),
            (
                refused(Refusal::NoMemory),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x02",
            ),
            (
                refused(Refusal::NoDescriptors),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x03",
            ),
            (
                refused(Refusal::Unknown),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x04",
            ),
            (
                refused(Refusal::KeyTaken),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x05",
            ),
            (
                refused(Refusal::Leaving),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x06",
            ),
            (
                refused(Refusal::TooLarge),
                b"\0\0\0\x07\x01\x82\0\0\x01\x02\x07",
            ),
            (
                ToGiver::Taken { id: 258 },
                b"\0\0\0\x06\x01\x83\0\0\x01\x02",
            ),
        ]
    }

    #[test]
    fn writes_and_accepts_the_recorded_frames_to_the_taker() {
        for (frame, bytes) in to_taker() {
            let mut out = Vec::new();
            frame.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(ToTaker::split(bytes), Ok(Some((frame, &b""[..]))));
            for end in 0..bytes.len() {
                assert_eq!(ToTaker::split(&bytes[..end]), Ok(None), "prefix of {end}");
            }
        }
    }

    #[test]
    fn writes_and_accepts_the_recorded_frames_to_the_giver() {
        for (frame, bytes) in to_giver() {
            let mut out = Vec::new();
            frame.encode(&mut out);
            assert_eq!(out, bytes);
            assert_eq!(ToGiver::split(bytes), Ok(Some((frame, &b""[..]))));
            for end in 0..bytes.len() {
                assert_eq!(ToGiver::split(&bytes[..end]), Ok(None), "prefix of {end}");
            }
        }
    }

    #[test]
    fn accepts_a_refusal_that_is_not_known_here() {
        let (frame, _) = ToGiver::split(b"\0\0\0\x07\x01\x82\0\0\0\x07\xee")
            .unwrap()
            .unwrap();
        let refusal = Refusal::Other;
        assert_eq!(frame, ToGiver::Refused { id: 7, refusal });
    }

    #[test]
    fn rejects_lengths_out_of_bounds_before_the_body_arrives() {
        for length in [0, 5, 1_048_585, u32::MAX] {
            let bytes = length.to_be_bytes();
            assert_eq!(ToTaker::split(&bytes), Err(FrameError::Length(length)));
            assert_eq!(ToGiver::split(&bytes), Err(FrameError::Length(length)));
        }
    }

    #[test]
    fn accepts_the_longest_body_and_no_longer_one() {
        let body = vec![7; MAX_BODY];
        let offer = ToTaker::Offer {
            id: 1,
            cargo: 1,
            descriptors: 1,
            body: &body,
        };
        let mut out = Vec::new();
        offer.encode(&mut out);
        assert_eq!(ToTaker::split(&out), Ok(Some((offer, &b""[..]))));
    }

    #[test]
    fn rejects_other_versions_and_kinds_and_bodies_that_do_not_fit() {
        let kind = |version, kind| FrameError::Kind { version, kind };
        let bytes = b"\0\0\0\x06\x02\x02\0\0\x01\x02";
        assert_eq!(ToTaker::split(bytes), Err(kind(2, 2)));
        let bytes = b"\0\0\0\x06\x01\x09\0\0\x01\x02";
        assert_eq!(ToTaker::split(bytes), Err(kind(1, 9)));
        assert_eq!(ToGiver::split(bytes), Err(kind(1, 9)));
        let bytes = b"\0\0\0\x07\x01\x02\0\0\x01\x02\x03";
        assert_eq!(ToTaker::split(bytes), Err(FrameError::Body { kind: 2 }));
        let bytes = b"\0\0\0\x06\x01\x82\0\0\x01\x02";
        assert_eq!(ToGiver::split(bytes), Err(FrameError::Body { kind: 0x82 }));
    }
}

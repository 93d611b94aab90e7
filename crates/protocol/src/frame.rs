//! Framing: where one message ends and the next begins.
//!
//! A regular message is a tag byte and a length, then the body. The length
//! counts itself but not the tag. Nothing here looks inside a body, copies a
//! byte or touches a socket; callers keep the bytes and get back views.
//!
//! [`Frame`] is for messages that are read, [`Header`] for messages that are
//! only passed on: their bodies need not have arrived.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use std::error::Error;
use std::fmt;

/// Bytes of a message before its body: the tag and the length field.
pub const HEADER_LEN: usize = 5;

/// One whole message, borrowed from the receive buffer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame<'a> {
    /// Message type, such as `b'Q'` for Query.
    pub tag: u8,
    /// Everything after the length field.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Splits the first message off `bytes`.
    ///
    /// `max` is the largest accepted length field, in bytes. Returns the
    /// message and the bytes that follow it, or `None` when more bytes are
    /// needed.
    ///
    /// # Errors
    ///
    /// [`FrameError`] when no further input could make the message valid; the
    /// connection must then be closed.
    ///
    /// Source: PostgreSQL documentation, "Message Formats".
    #[inline]
    pub fn split(bytes: &'a [u8], max: u32) -> Result<Option<(Self, &'a [u8])>, FrameError> {
        let Some((&[tag, l0, l1, l2, l3], rest)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length < LENGTH_LEN {
            return Err(FrameError::LengthTooSmall { tag, length });
        }
        if length > max {
            return Err(FrameError::TooLarge { tag, length, max });
        }
        let body_len = (length - LENGTH_LEN) as usize;
        Ok(rest
            .split_at_checked(body_len)
            .map(|(body, rest)| (Self { tag, body }, rest)))
    }
}

/// The first five bytes of a message, whose body may not be here yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Message type, such as `b'Q'` for Query.
    pub tag: u8,
    /// The length field as on the wire: at least 4, at most 2^31 - 1.
    pub length: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`, or `None` when more bytes are
    /// needed.
    ///
    /// # Errors
    ///
    /// [`FrameError::LengthTooSmall`] for a length that does not count itself,
    /// [`FrameError::TooLarge`] for one that is negative as the signed number
    /// it is on the wire. Any other length is accepted: what is only passed on
    /// needs no memory.
    #[inline]
    pub fn peek(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(&[tag, l0, l1, l2, l3]) = bytes.first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length.wrapping_sub(LENGTH_LEN) > MAX_LENGTH - LENGTH_LEN {
            return Err(FrameError::of_length(tag, length));
        }
        Ok(Some(Self { tag, length }))
    }

    /// Bytes of the whole message, tag and length field included.
    #[inline]
    pub fn total(self) -> usize {
        self.length as usize + 1
    }

    /// Bytes of the message after its header.
    #[inline]
    pub fn body_len(self) -> usize {
        self.length.saturating_sub(LENGTH_LEN) as usize
    }
}

/// Why bytes can never become a message, however many more arrive.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// The length field is smaller than the length field itself.
    LengthTooSmall {
        /// The message type.
        tag: u8,
        /// The length field, in bytes.
        length: u32,
    },
    /// The message is larger than the receiver agreed to hold.
    TooLarge {
        /// The message type.
        tag: u8,
        /// The length field, in bytes.
        length: u32,
        /// The largest accepted length field, in bytes.
        max: u32,
    },
}

impl FrameError {
    /// SQLSTATE for the peer, if it can still get one.
    pub fn sqlstate(self) -> &'static str {
        "08P01"
    }

    #[cold]
    fn of_length(tag: u8, length: u32) -> Self {
        if length < LENGTH_LEN {
            Self::LengthTooSmall { tag, length }
        } else {
            Self::TooLarge {
                tag,
                length,
                max: MAX_LENGTH,
            }
        }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LengthTooSmall { tag, length } => {
                write!(f, "invalid message length {length} of type 0x{tag:02x}")
            }
            Self::TooLarge { tag, length, max } => write!(
                f,
                "message of type 0x{tag:02x} is too large: {length} bytes, at most {max}"
            ),
        }
    }
}

impl Error for FrameError {}

/// Bytes of the length field, which it counts itself.
const LENGTH_LEN: u32 = 4;

/// The length field is a signed number that must not be negative.
const MAX_LENGTH: u32 = i32::MAX.unsigned_abs();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u32 = 1024;

    #[test]
    fn waits_for_every_prefix_of_a_message() {
        let message = b"Q\0\0\0\x0dselect 1\0";
        for end in 0..message.len() {
            assert_eq!(
                Frame::split(&message[..end], MAX),
                Ok(None),
                "prefix of {end} bytes"
            );
        }
    }

    #[test]
    fn splits_a_message_from_what_follows() {
        let (frame, rest) = Frame::split(b"S\0\0\0\x04Q\0", MAX).unwrap().unwrap();
        assert_eq!(
            frame,
            Frame {
                tag: b'S',
                body: b""
            }
        );
        assert_eq!(rest, b"Q\0");
    }

    #[test]
    fn rejects_oversized_message_before_its_body_arrives() {
        let error = Frame::split(b"d\x7f\xff\xff\xff", MAX).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLarge {
                tag: b'd',
                length: 0x7fff_ffff,
                max: MAX
            }
        );
    }

    #[test]
    fn rejects_every_length_that_does_not_count_itself() {
        for length in 0..LENGTH_LEN {
            let bytes = [b'Q', 0, 0, 0, length.to_le_bytes()[0]];
            let error = FrameError::LengthTooSmall { tag: b'Q', length };
            assert_eq!(Frame::split(&bytes, MAX), Err(error));
            assert_eq!(Header::peek(&bytes), Err(error));
        }
    }

    #[test]
    fn rejects_header_whose_length_is_above_two_to_the_31() {
        for length in [0x8000_0000_u32, 0x8000_0004, 0xffff_ffff] {
            let mut bytes = vec![b'd'];
            bytes.extend(length.to_be_bytes());
            assert_eq!(
                Header::peek(&bytes),
                Err(FrameError::TooLarge {
                    tag: b'd',
                    length,
                    max: 0x7fff_ffff
                })
            );
            assert!(Frame::split(&bytes, 0x7fff_ffff).is_err());
        }
    }

    #[test]
    fn accepts_header_of_the_largest_message() {
        let header = Header::peek(b"d\x7f\xff\xff\xff").unwrap().unwrap();
        assert_eq!(header.total(), 0x8000_0000);
        assert_eq!(header.body_len(), 0x7fff_fffb);
    }

    #[test]
    fn waits_for_every_prefix_of_a_header() {
        for end in 0..HEADER_LEN {
            assert_eq!(Header::peek(&b"Q\0\0\0\x04"[..end]), Ok(None));
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_agrees_with_the_header(bytes: Vec<u8>, max: u32) {
            let header = Header::peek(&bytes);
            if let Ok(Some((frame, rest))) = Frame::split(&bytes, max) {
                prop_assert_eq!(frame.body.len() + rest.len() + HEADER_LEN, bytes.len());
                let header = header.unwrap().unwrap();
                prop_assert_eq!(header.tag, frame.tag);
                prop_assert_eq!(header.body_len(), frame.body.len());
                prop_assert_eq!(header.total(), bytes.len() - rest.len());
            }
        }
    }
}

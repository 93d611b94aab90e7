//! The packets a connection begins with, which have no tag.
//!
//! A packet is a length that counts itself, a code, and what the code asks
//! for. The code of a session is its protocol version; the others are numbers
//! that no version will have.
//!
//! Source: PostgreSQL documentation, "Message Formats", StartupMessage,
//! CancelRequest, SSLRequest, GSSENCRequest.

use std::error::Error;
use std::fmt;

use crate::read;

/// The largest packet before a session, in bytes after its length field.
pub const MAX_STARTUP: u32 = 10_000;

/// The longest secret of a cancel key, in bytes.
pub const MAX_SECRET: usize = 256;

/// The first packet of a connection, understood.
#[derive(Clone, Copy, Debug)]
pub enum Startup<'a> {
    /// A client wants a session.
    Session(StartupMessage<'a>),
    /// Somebody wants a query cancelled.
    Cancel(CancelRequest<'a>),
    /// A client asks whether it may speak TLS.
    SslRequest,
    /// A client asks whether it may encrypt by GSSAPI.
    GssEncRequest,
}

impl<'a> Startup<'a> {
    /// Splits the first packet off `bytes`.
    ///
    /// Returns the packet and the bytes that follow it, or `None` when more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`StartupError`] when no further input could make the packet valid; the
    /// connection must then be closed. A bad length is known from the first
    /// four bytes, all else when the packet is whole.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, StartupError> {
        let Some((packet, rest)) = Packet::split(bytes, MAX_STARTUP)? else {
            return Ok(None);
        };
        let startup = match packet.code {
            SSL_REQUEST => packet.without_body(Self::SslRequest)?,
            GSSENC_REQUEST => packet.without_body(Self::GssEncRequest)?,
            CANCEL_REQUEST => Self::Cancel(CancelRequest::parse(packet.body)?),
            code => Self::Session(StartupMessage::parse(Version::of_word(code), packet.body)?),
        };
        Ok(Some((startup, rest)))
    }
}

/// Any packet of this shape: a length, a code and a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Packet<'a> {
    /// What the packet is: a protocol version or a request code.
    pub code: u32,
    /// Everything after the code.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Splits the first packet off `bytes`.
    ///
    /// `max` is the largest accepted number of bytes after the length field.
    /// Returns the packet and the bytes that follow it, or `None` when more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`StartupError::Length`] when the packet has no room for a code or is
    /// larger than `max`.
    pub fn split(bytes: &'a [u8], max: u32) -> Result<Option<(Self, &'a [u8])>, StartupError> {
        let Some((length, rest)) = read::word(bytes) else {
            return Ok(None);
        };
        let content = length.saturating_sub(WORD_LEN);
        if content < WORD_LEN || content > max {
            return Err(StartupError::Length(length));
        }
        let Some((content, rest)) = rest.split_at_checked(content as usize) else {
            return Ok(None);
        };
        Ok(read::word(content).map(|(code, body)| (Self { code, body }, rest)))
    }

    fn without_body(self, startup: Startup<'a>) -> Result<Startup<'a>, StartupError> {
        match u32::try_from(self.body.len()) {
            Ok(0) => Ok(startup),
            Ok(extra) => Err(StartupError::Length(extra.saturating_add(2 * WORD_LEN))),
            Err(_) => Err(StartupError::Length(u32::MAX)),
        }
    }
}

/// What a client asks a session to be.
///
/// Always true: `pairs` is any number of name and value pairs, each string
/// NUL-terminated and no name empty.
#[derive(Clone, Copy, Debug)]
pub struct StartupMessage<'a> {
    /// The protocol version the client asks for; its major number is 3.
    pub version: Version,
    pairs: &'a [u8],
}

impl<'a> StartupMessage<'a> {
    /// The parameters in the order they were sent, repeated ones included.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut pairs = self.pairs;
        std::iter::from_fn(move || {
            let (name, rest) = read::cstr(pairs)?;
            let (value, rest) = read::cstr(rest)?;
            pairs = rest;
            Some((name, value))
        })
    }

    /// The value of the parameter `name`; the last one counts, as in
    /// PostgreSQL.
    pub fn parameter(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.parameters()
            .filter(|&(key, _)| key == name)
            .last()
            .map(|(_, value)| value)
    }

    fn parse(version: Version, body: &'a [u8]) -> Result<Self, StartupError> {
        if version.major != Version::V3_0.major {
            return Err(StartupError::UnsupportedVersion(version));
        }
        let mut rest = body;
        loop {
            let (name, after_name) = read::cstr(rest).ok_or(StartupError::MissingTerminator)?;
            if name.is_empty() {
                break;
            }
            (_, rest) = read::cstr(after_name).ok_or(StartupError::MissingTerminator)?;
        }
        match (rest, body.split_last()) {
            ([0], Some((_, pairs))) => Ok(Self { version, pairs }),
            _ => Err(StartupError::MissingTerminator),
        }
    }
}

/// A request to cancel what the session with this key is doing.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct CancelRequest<'a> {
    /// The process id of BackendKeyData.
    pub process_id: u32,
    /// The secret of BackendKeyData, 1 to 256 bytes; never to be logged.
    pub secret: &'a [u8],
}

impl<'a> CancelRequest<'a> {
    /// Splits a cancel request off `bytes`, where nothing else may come.
    ///
    /// Returns the request and the bytes that follow it, or `None` when more
    /// bytes are needed.
    ///
    /// # Errors
    ///
    /// [`StartupError`] as soon as it can be no cancel request; the connection
    /// must then be closed.
    pub fn split(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, StartupError> {
        let packet = Packet::split(bytes, MAX_CANCEL)?;
        let code = bytes.get(WORD_LEN as usize..).and_then(read::word);
        if let Some((code, _)) = code.filter(|(code, _)| *code != CANCEL_REQUEST) {
            return Err(StartupError::UnsupportedVersion(Version::of_word(code)));
        }
        let request = packet.map(|(packet, rest)| Ok((Self::parse(packet.body)?, rest)));
        request.transpose()
    }

    fn parse(body: &'a [u8]) -> Result<Self, StartupError> {
        let (process_id, secret) = read::word(body).ok_or(StartupError::CancelSecret(0))?;
        if secret.is_empty() || secret.len() > MAX_SECRET {
            return Err(StartupError::CancelSecret(secret.len()));
        }
        Ok(Self { process_id, secret })
    }
}

impl fmt::Debug for CancelRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelRequest")
            .field("process_id", &self.process_id)
            .finish_non_exhaustive()
    }
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Changes when nothing is as it was; 3 since PostgreSQL 7.4.
    pub major: u16,
    /// Changes when something was added.
    pub minor: u16,
}

impl Version {
    /// What everything speaks: secrets of cancel keys have 4 bytes.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// What PostgreSQL 18 speaks: secrets of cancel keys have 4 to 256 bytes.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    /// The version in the code of a startup packet.
    pub fn of_word(word: u32) -> Self {
        let [m0, m1, n0, n1] = word.to_be_bytes();
        Self {
            major: u16::from_be_bytes([m0, m1]),
            minor: u16::from_be_bytes([n0, n1]),
        }
    }

    /// The version as the code of a startup packet.
    pub fn word(self) -> u32 {
        u32::from(self.major) << 16 | u32::from(self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why bytes can never become a startup packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartupError {
    /// The length field, in bytes, is too small or too large.
    Length(u32),
    /// The parameters do not end with an empty name, exactly at the end.
    MissingTerminator,
    /// The secret of a cancel request has this many bytes, not 1 to 256.
    CancelSecret(usize),
    /// No session can be had in this version.
    UnsupportedVersion(Version),
}

impl StartupError {
    /// SQLSTATE of the final ErrorResponse, if the client can still get one.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::Length(_) | Self::MissingTerminator | Self::CancelSecret(_) => "08P01",
            Self::UnsupportedVersion(_) => "0A000",
        }
    }
}

impl fmt::Display for StartupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(_) => f.write_str("invalid length of startup packet"),
            Self::MissingTerminator => {
                f.write_str("invalid startup packet layout: expected terminator as last byte")
            }
            Self::CancelSecret(_) => f.write_str("invalid length of query cancel key"),
            Self::UnsupportedVersion(version) => write!(
                f,
                "unsupported frontend protocol {version}: server supports {} to {}",
                Version::V3_0,
                Version::V3_2
            ),
        }
    }
}

impl Error for StartupError {}

pub(crate) const CANCEL_REQUEST: u32 = 80_877_102;
pub(crate) const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// Bytes of the length field, and of the code after it.
const WORD_LEN: u32 = 4;

/// The largest cancel request, in bytes after its length field.
const MAX_CANCEL: u32 = 2 * WORD_LEN + 256;

#[cfg(test)]
mod tests;

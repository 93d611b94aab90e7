//! The header by which a proxy says whose connection it passes on.
//!
//! It comes before anything else, as a line of text (version 1) or in binary
//! (version 2). Only the address of the client is taken from it; whatever else a
//! proxy adds to the binary one is skipped. Whether whoever sends it may be
//! believed is for the caller to know.
//!
//! Source: HAProxy, "The PROXY protocol", versions 1 & 2.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::read;

/// The largest header that is accepted, in bytes.
pub const MAX_PROXY_HEADER: usize = 4096;

/// Whose connection it is, as its first bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyHeader {
    /// That of a client with this address.
    Client(SocketAddr),
    /// The proxy's own, as when it looks whether somebody is there, or that of a
    /// client that has no address.
    Own,
}

/// Why bytes can never become a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyError {
    /// They begin with something else.
    Missing,
    /// The line of text is not as it should be.
    Line,
    /// The byte of version and command is of no known ones.
    Command(u8),
    /// The byte of family and protocol is of none that can be here.
    Family(u8),
    /// The header would be larger than [`MAX_PROXY_HEADER`], or the addresses do
    /// not fit into it; its length in bytes.
    Length(usize),
    /// What follows the addresses does not end where the header does.
    Additions,
}

impl ProxyHeader {
    /// Splits a header off `bytes`.
    ///
    /// Returns it and the bytes that follow it, or `None` when more bytes are
    /// needed.
    ///
    /// # Errors
    ///
    /// [`ProxyError`] as soon as no further input could make it a header; the
    /// connection must then be closed.
    pub fn split(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, ProxyError> {
        if begins(bytes, SIGNATURE) {
            Self::binary(bytes)
        } else if begins(bytes, WORD) {
            Self::text(bytes)
        } else {
            Err(ProxyError::Missing)
        }
    }

    fn text(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, ProxyError> {
        let line = bytes.get(..MAX_LINE).unwrap_or(bytes);
        let Some(end) = memchr::memchr(b'\n', line) else {
            let may_come = bytes.len() < MAX_LINE;
            return may_come.then_some(None).ok_or(ProxyError::Line);
        };
        let (line, rest) = bytes.split_at_checked(end + 1).ok_or(ProxyError::Line)?;
        let line = line
            .strip_prefix(WORD)
            .and_then(|it| it.strip_suffix(b"\r\n"));
        let line = line.and_then(|line| std::str::from_utf8(line).ok());
        let header = line.and_then(Self::of_line).ok_or(ProxyError::Line)?;
        Ok(Some((header, rest)))
    }

    /// Reads the line behind its first word.
    fn of_line(line: &str) -> Option<Self> {
        let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
        if family == "UNKNOWN" {
            return Some(Self::Own);
        }
        let mut fields = rest.split(' ');
        let mut next = || fields.next();
        let (source, target) = (next()?, next()?);
        let (from, to) = (port(next()?)?, port(next()?)?);
        let source = match family {
            "TCP4" => (
                source.parse::<Ipv4Addr>().ok()?,
                target.parse::<Ipv4Addr>().ok()?,
            )
                .0
                .into(),
            "TCP6" => (
                source.parse::<Ipv6Addr>().ok()?,
                target.parse::<Ipv6Addr>().ok()?,
            )
                .0
                .into(),
            _ => return None,
        };
        let _where_it_was_sent = to;
        next().is_none().then(|| Self::client(source, from))
    }

    fn binary(bytes: &[u8]) -> Result<Option<(Self, &[u8])>, ProxyError> {
        let Some((head, rest)) = bytes.split_at_checked(HEAD_LEN) else {
            return Ok(None);
        };
        let fields = head.get(SIGNATURE.len()..);
        let Some(&[command, family, l0, l1]) = fields else {
            return Ok(None);
        };
        if !matches!(command, LOCAL | PROXY) {
            return Err(ProxyError::Command(command));
        }
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if HEAD_LEN + length > MAX_PROXY_HEADER {
            return Err(ProxyError::Length(HEAD_LEN + length));
        }
        let Some((body, rest)) = rest.split_at_checked(length) else {
            return Ok(None);
        };
        if command == LOCAL {
            // What there is of addresses means nothing.
            return Ok(Some((Self::Own, rest)));
        }
        Ok(Some((Self::of_body(family, body)?, rest)))
    }

    /// Reads what follows the length field of a binary header.
    fn of_body(family: u8, body: &[u8]) -> Result<Self, ProxyError> {
        let split = |length| {
            let split = body.split_at_checked(length);
            split.ok_or(ProxyError::Length(HEAD_LEN + body.len()))
        };
        let (header, additions) = match family {
            UNSPECIFIED => return Ok(Self::Own),
            TCP4 => {
                let (addresses, additions) = split(2 * (4 + 2))?;
                let ports = addresses.get(8..).and_then(read::short);
                let source = addresses.first_chunk::<4>().map(|it| Ipv4Addr::from(*it));
                (Self::of_parts(source, ports), additions)
            }
            TCP6 => {
                let (addresses, additions) = split(2 * (16 + 2))?;
                let ports = addresses.get(32..).and_then(read::short);
                let source = addresses.first_chunk::<16>().map(|it| Ipv6Addr::from(*it));
                (Self::of_parts(source, ports), additions)
            }
            UNIX => (Some(Self::Own), split(2 * 108)?.1),
            _ => return Err(ProxyError::Family(family)),
        };
        skip(additions)?;
        header.ok_or(ProxyError::Length(HEAD_LEN + body.len()))
    }

    fn of_parts(source: Option<impl Into<IpAddr>>, ports: Option<(u16, &[u8])>) -> Option<Self> {
        Some(Self::client(source?.into(), ports?.0))
    }

    /// A client; an IPv4 address that is written as one of IPv6 is one of IPv4.
    fn client(source: IpAddr, port: u16) -> Self {
        Self::Client(SocketAddr::new(source.to_canonical(), port))
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no header of the PROXY protocol"),
            Self::Line => f.write_str("malformed line of the PROXY protocol"),
            Self::Command(byte) => {
                write!(
                    f,
                    "unknown version or command {byte:#04x} of the PROXY protocol"
                )
            }
            Self::Family(byte) => {
                write!(
                    f,
                    "unknown address family {byte:#04x} of the PROXY protocol"
                )
            }
            Self::Length(length) => {
                write!(
                    f,
                    "header of the PROXY protocol with a length of {length} bytes"
                )
            }
            Self::Additions => f.write_str("malformed additions of the PROXY protocol"),
        }
    }
}

impl Error for ProxyError {}

/// Whether bytes begin like this, as far as they have come.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes
        .iter()
        .zip(with)
        .all(|(byte, expected)| byte == expected)
}

/// A port as the line of text has it: no sign, no zero before it.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Walks over what a proxy has added, each with a type and a length of its own.
fn skip(mut additions: &[u8]) -> Result<(), ProxyError> {
    while let Some((_type, rest)) = additions.split_first() {
        let (length, rest) = read::short(rest).ok_or(ProxyError::Additions)?;
        additions = rest
            .get(usize::from(length)..)
            .ok_or(ProxyError::Additions)?;
    }
    Ok(())
}

/// What a line of text begins with.
const WORD: &[u8] = b"PROXY ";

/// The longest line of text, in bytes with its end.
const MAX_LINE: usize = 107;

/// What a binary header begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of a binary header before the addresses.
const HEAD_LEN: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests;

//! LDAP: the few messages by which a directory is asked about a password.
//!
//! A message is an element of BER with a number and an operation in it. Only
//! what pgskein sends is written and only what may answer that is read. LDAP
//! allows definite lengths only, so every element says how long it is.
//!
//! Source: RFC 4511, "Lightweight Directory Access Protocol (LDAP): The
//! Protocol".

mod ber;
mod code;

use std::fmt;

use self::ber::Elements;
pub use self::ber::{Malformed, Writer};

/// What a directory says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Message<'a> {
    /// The number of the request that it answers; 0 if it answers none.
    pub id: u32,
    /// What it says.
    pub answer: Answer<'a>,
}

/// What a directory may say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer<'a> {
    /// What has come of a bind.
    Bind(Outcome<'a>),
    /// An entry that a search has found, by its distinguished name.
    Entry(&'a [u8]),
    /// Where else a search could go on.
    Reference,
    /// A search is over.
    SearchDone(Outcome<'a>),
    /// What has come of an extended request, or without one that the directory
    /// ends the connection.
    Extended(Outcome<'a>),
    /// A note on a request that is still worked on.
    Intermediate,
    /// Something else, with this tag.
    Other(u8),
}

/// What has come of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outcome<'a> {
    /// 0 means success.
    pub code: u32,
    /// What the directory adds for a human.
    pub text: &'a [u8],
}

/// How far below its base a search goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The base itself.
    Base,
    /// Its children.
    One,
    /// It and all below it.
    Subtree,
}

impl<'a> Message<'a> {
    /// Splits the first message off `bytes`; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when no further input could make it a message of at most
    /// `max` bytes.
    ///
    /// Source: RFC 4511, "LDAPMessage Envelope".
    pub fn split(bytes: &'a [u8], max: usize) -> Result<Option<(Self, &'a [u8])>, Malformed> {
        let Some((tag, content, rest)) = ber::split(bytes, max)? else {
            return Ok(None);
        };
        if tag != ber::SEQUENCE {
            return Err(Malformed);
        }
        let mut elements = Elements::of(content);
        let id = ber::number(elements.expect(ber::INTEGER)?)?;
        let (tag, body) = elements.next()?.ok_or(Malformed)?;
        let answer = Answer::parse(tag, body)?;
        Ok(Some((Self { id, answer }, rest)))
    }
}

impl<'a> Answer<'a> {
    /// Whether more is to come about the same request.
    pub fn is_partial(self) -> bool {
        matches!(self, Self::Entry(_) | Self::Reference | Self::Intermediate)
    }

    fn parse(tag: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match tag {
            BIND_RESPONSE => Self::Bind(Outcome::parse(body)?),
            SEARCH_ENTRY => Self::Entry(Elements::of(body).expect(ber::OCTETS)?),
            SEARCH_DONE => Self::SearchDone(Outcome::parse(body)?),
            SEARCH_REFERENCE => Self::Reference,
            EXTENDED_RESPONSE => Self::Extended(Outcome::parse(body)?),
            INTERMEDIATE => Self::Intermediate,
            other => Self::Other(other),
        })
    }
}

impl<'a> Outcome<'a> {
    /// Whether the request was granted.
    pub fn is_success(self) -> bool {
        self.code == 0
    }

    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut elements = Elements::of(body);
        let code = ber::number(elements.expect(ber::ENUMERATED)?)?;
        elements.expect(ber::OCTETS)?;
        let text = elements.expect(ber::OCTETS)?;
        Ok(Self { code, text })
    }
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", code::name(self.code), self.code)?;
        let text = String::from_utf8_lossy(self.text);
        // It goes into a line of the log.
        let shown: String = text
            .chars()
            .filter(|c| !c.is_control())
            .take(LONGEST_TEXT)
            .collect();
        if shown.is_empty() {
            return Ok(());
        }
        write!(f, ": {shown}")
    }
}

/// Appends a bind as `dn` with a password in the clear.
///
/// With an empty password a directory binds as nobody and says success.
///
/// Source: RFC 4511, "Bind Operation"; RFC 4513, "Unauthenticated
/// Authentication Mechanism of Simple Bind".
pub fn write_bind(out: &mut Vec<u8>, id: u32, dn: &[u8], password: &[u8]) {
    write_message(out, id, |message| {
        message.nest(BIND_REQUEST, |bind| {
            bind.number(ber::INTEGER, VERSION);
            bind.bytes(ber::OCTETS, dn);
            bind.bytes(SIMPLE, password);
        });
    });
}

/// Appends a search for the names of entries below `base`; `filter` writes the
/// filter.
///
/// `most` entries are wanted, in at most `seconds`; 0 means no limit. Aliases
/// are not followed.
///
/// Source: RFC 4511, "Search Operation".
pub fn write_search(
    out: &mut Vec<u8>,
    id: u32,
    (base, scope): (&[u8], Scope),
    (most, seconds): (u32, u32),
    filter: impl FnOnce(&mut Writer<'_>),
) {
    let scope = match scope {
        Scope::Base => 0,
        Scope::One => 1,
        Scope::Subtree => 2,
    };
    write_message(out, id, |message| {
        message.nest(SEARCH_REQUEST, |search| {
            search.bytes(ber::OCTETS, base);
            search.number(ber::ENUMERATED, scope);
            search.number(ber::ENUMERATED, NEVER);
            search.number(ber::INTEGER, most);
            search.number(ber::INTEGER, seconds);
            search.boolean(ber::BOOLEAN, false);
            filter(search);
            search.nest(ber::SEQUENCE, |attributes| {
                attributes.bytes(ber::OCTETS, NO_ATTRIBUTES);
            });
        });
    });
}

/// Appends the request to begin TLS.
///
/// Source: RFC 4511, "StartTLS Operation".
pub fn write_start_tls(out: &mut Vec<u8>, id: u32) {
    write_message(out, id, |message| {
        message.nest(EXTENDED_REQUEST, |request| {
            request.bytes(REQUEST_NAME, START_TLS);
        });
    });
}

/// Appends the good-bye, which has no answer.
///
/// Source: RFC 4511, "Unbind Operation".
pub fn write_unbind(out: &mut Vec<u8>, id: u32) {
    write_message(out, id, |message| message.bytes(UNBIND_REQUEST, &[]));
}

fn write_message(out: &mut Vec<u8>, id: u32, operation: impl FnOnce(&mut Writer<'_>)) {
    Writer::new(out).nest(ber::SEQUENCE, |message| {
        message.number(ber::INTEGER, id);
        operation(message);
    });
}

const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE: u8 = 0x79;

/// The version of LDAP.
const VERSION: u32 = 3;

/// Tag of a password in a bind.
const SIMPLE: u8 = 0x80;

/// Tag of the name of an extended request.
const REQUEST_NAME: u8 = 0x80;

/// Aliases are never followed.
const NEVER: u32 = 0;

/// Asks for no attribute.
///
/// Source: RFC 4511, "SearchRequest.attributes".
const NO_ATTRIBUTES: &[u8] = b"1.1";

/// Source: RFC 4511, "StartTLS Operation".
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// What is shown of a directory's text, in characters.
const LONGEST_TEXT: usize = 200;

#[cfg(test)]
mod tests;

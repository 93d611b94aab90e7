//! Views of messages from a server.
//!
//! Every function takes the body of a message whose tag the caller knows.
//! Nothing is copied, and a body that does not have its form gives `None`.
//!
//! Source: PostgreSQL documentation, "Message Formats".

mod report;

pub use report::ErrorFields;

use crate::read;
use crate::startup::{MAX_SECRET, Version};

/// The state of a session's transaction, as ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionStatus {
    /// No transaction is open.
    Idle,
    /// A transaction is open.
    InTransaction,
    /// A transaction is open and has failed; it can only be rolled back.
    Failed,
}

impl TransactionStatus {
    /// Reads the body of ReadyForQuery.
    #[inline]
    pub fn parse(body: &[u8]) -> Option<Self> {
        match body {
            b"I" => Some(Self::Idle),
            b"T" => Some(Self::InTransaction),
            b"E" => Some(Self::Failed),
            _ => None,
        }
    }

    /// The byte that stands for this state in ReadyForQuery.
    #[inline]
    pub fn byte(self) -> u8 {
        match self {
            Self::Idle => b'I',
            Self::InTransaction => b'T',
            Self::Failed => b'E',
        }
    }
}

/// What a server wants of us, or tells us, during authentication.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authentication<'a> {
    /// We are in.
    Ok,
    /// The password as it is.
    CleartextPassword,
    /// The password hashed with the user name and then with `salt`.
    Md5Password {
        /// Random bytes of the server.
        salt: [u8; 4],
    },
    /// A SASL exchange by one of `mechanisms`.
    Sasl {
        /// Names, each NUL-terminated; see [`Authentication::offers`].
        mechanisms: &'a [u8],
    },
    /// The next message of the SASL exchange.
    SaslContinue(&'a [u8]),
    /// The last message of the SASL exchange.
    SaslFinal(&'a [u8]),
    /// A method that pgskein does not know, by its number.
    Other(u32),
}

impl<'a> Authentication<'a> {
    /// Reads the body of an Authentication message.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (code, rest) = read::word(body)?;
        match code {
            0 => rest.is_empty().then_some(Self::Ok),
            3 => rest.is_empty().then_some(Self::CleartextPassword),
            5 => Some(Self::Md5Password {
                salt: rest.try_into().ok()?,
            }),
            10 => Some(Self::Sasl { mechanisms: rest }),
            11 => Some(Self::SaslContinue(rest)),
            12 => Some(Self::SaslFinal(rest)),
            other => Some(Self::Other(other)),
        }
    }

    /// Whether the mechanism `name` is among those of [`Authentication::Sasl`].
    pub fn offers(mechanisms: &[u8], name: &str) -> bool {
        Strings(mechanisms).any(|mechanism| mechanism == name.as_bytes())
    }
}

/// What a server did not understand of our startup packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Negotiated<'a> {
    /// The version the server speaks.
    pub version: Version,
    options: &'a [u8],
}

impl<'a> Negotiated<'a> {
    /// Reads the body of NegotiateProtocolVersion.
    ///
    /// PgBouncer and servers before PostgreSQL 18 are understood too: what
    /// they send here is the same full version word.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (version, rest) = read::word(body)?;
        let (count, options) = read::word(rest)?;
        let mut rest = options;
        for _ in 0..count {
            let name;
            (name, rest) = read::cstr(rest)?;
            if name.is_empty() {
                return None;
            }
        }
        rest.is_empty().then_some(Self {
            version: Version::of_word(version),
            options,
        })
    }

    /// The protocol options that the server does not know.
    pub fn unknown(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        Strings(self.options)
    }
}

/// Reads the body of ParameterStatus: a name and a value.
pub fn parameter_status(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, rest) = read::cstr(body)?;
    let (value, rest) = read::cstr(rest)?;
    rest.is_empty().then_some((name, value))
}

/// Reads the body of BackendKeyData: the process id and a secret of 4 to 256
/// bytes.
pub fn backend_key_data(body: &[u8]) -> Option<(u32, &[u8])> {
    let (process_id, secret) = read::word(body)?;
    (4..=MAX_SECRET)
        .contains(&secret.len())
        .then_some((process_id, secret))
}

/// Reads the body of CommandComplete: the tag, such as `SELECT 1`.
pub fn command_tag(body: &[u8]) -> Option<&[u8]> {
    match read::cstr(body)? {
        (tag, []) => Some(tag),
        _ => None,
    }
}

/// Reads the body of DataRow: one value for each column, `None` for null.
///
/// A body without its form gives the values before the fault, then `Err`.
pub fn data_row(body: &[u8]) -> impl Iterator<Item = Result<Option<&[u8]>, MalformedRow>> {
    let (mut left, mut rest) = match body.split_first_chunk::<2>() {
        Some((count, rest)) => (u16::from_be_bytes(*count), rest),
        // A row that promises a value and ends there.
        None => (1, &[][..]),
    };
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let value = value(rest);
        match value {
            Some((value, after)) => {
                rest = after;
                Some(Ok(value))
            }
            None => {
                left = 0;
                Some(Err(MalformedRow))
            }
        }
    })
}

/// A DataRow that ends inside a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MalformedRow;

fn value(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    match read::word(bytes)? {
        (u32::MAX, rest) => Some((None, rest)),
        (len, rest) => {
            let (value, rest) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            Some((Some(value), rest))
        }
    }
}

/// NUL-terminated strings up to an empty one or the end.
struct Strings<'a>(&'a [u8]);

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (string, rest) = read::cstr(self.0)?;
        self.0 = rest;
        (!string.is_empty()).then_some(string)
    }
}

#[cfg(test)]
mod tests;

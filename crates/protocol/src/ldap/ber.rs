//! Elements of BER, as far as LDAP uses it: a tag, a length, the content.
//!
//! Source: RFC 4511, "Protocol Encoding".

/// What came can never become a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

/// Appends elements to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Appends an element with others in it.
    pub fn nest(&mut self, tag: u8, content: impl FnOnce(&mut Writer<'_>)) {
        self.out.push(tag);
        let start = self.out.len();
        content(&mut Writer { out: self.out });
        let length = self.out.len().saturating_sub(start);
        let (bytes, used) = encoded(length);
        self.out
            .splice(start..start, bytes.into_iter().skip(LENGTH_MAX - used));
    }

    /// Appends an element that holds bytes.
    pub fn bytes(&mut self, tag: u8, content: &[u8]) {
        self.nest(tag, |inner| inner.out.extend_from_slice(content));
    }

    /// Appends a number that is not negative.
    pub fn number(&mut self, tag: u8, value: u32) {
        let bytes = u64::from(value).to_be_bytes();
        // The first bit is the sign.
        let used = (u64::BITS - u64::from(value).leading_zeros()) as usize / 8 + 1;
        self.bytes(tag, bytes.get(bytes.len() - used..).unwrap_or_default());
    }

    /// Appends a truth value.
    pub fn boolean(&mut self, tag: u8, value: bool) {
        self.bytes(tag, &[if value { 0xff } else { 0 }]);
    }
}

/// The elements in a piece of content.
pub(super) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    pub(super) fn of(content: &'a [u8]) -> Self {
        Self(content)
    }

    /// The next one, with its tag.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (tag, content, rest) = split(self.0, self.0.len())?.ok_or(Malformed)?;
        self.0 = rest;
        Ok(Some((tag, content)))
    }

    /// The next one, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some((found, content)) if found == tag => Ok(content),
            _ => Err(Malformed),
        }
    }
}

/// An element's tag and content, and what is behind it.
type Split<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits the first element off, of at most `max` bytes with its tag and length.
pub(super) fn split(bytes: &[u8], max: usize) -> Result<Option<Split<'_>>, Malformed> {
    let Some((&tag, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    // A number of the tag that does not fit into it is of nothing in LDAP.
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let Some((&first, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let (length, rest) = match usize::from(first) {
        short @ 0..=0x7f => (short, rest),
        // No length is said, or one that no message has.
        0x80 | 0x85.. => return Err(Malformed),
        long => {
            let Some((bytes, rest)) = rest.split_at_checked(long & 0x7f) else {
                return Ok(None);
            };
            let length = bytes
                .iter()
                .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
    };
    let header = bytes.len().saturating_sub(rest.len());
    if length.saturating_add(header) > max {
        return Err(Malformed);
    }
    Ok(rest
        .split_at_checked(length)
        .map(|(content, rest)| (tag, content, rest)))
}

/// The number in an element's content.
pub(super) fn number(content: &[u8]) -> Result<u32, Malformed> {
    if content.is_empty() || content.len() > 5 || content.first().is_some_and(|b| b & 0x80 != 0) {
        return Err(Malformed);
    }
    let value = content
        .iter()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    u32::try_from(value).map_err(|_| Malformed)
}

/// A length as it is written, at the end of these bytes, and how many it has.
fn encoded(length: usize) -> ([u8; LENGTH_MAX], usize) {
    let [.., a, b, c, d] = (length as u64).to_be_bytes();
    let bytes = match length {
        0..=0x7f => return ([0, 0, 0, 0, d], 1),
        0x80..=0xff => return ([0, 0, 0, 0x81, d], 2),
        0x100..=0xffff => return ([0, 0, 0x82, c, d], 3),
        _ => [0x84, a, b, c, d],
    };
    (bytes, LENGTH_MAX)
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BOOLEAN: u8 = 0x01;

/// The longest length, in bytes.
const LENGTH_MAX: usize = 5;

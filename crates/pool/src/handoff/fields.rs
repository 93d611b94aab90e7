//! Fields: the body of an offer.
//!
//! A version byte, then fields in any order, each once: a tag (2 bytes), the
//! length of its value (4) and the value. Numbers are big-endian. A tag that is
//! not known may be something that the connection cannot do without, so that it
//! is refused like an unknown version: whoever gave it goes on with it.

use std::collections::BTreeSet;
use std::fmt;

use crate::octets::{Octets, Truncated};

/// The version of all bodies.
pub const VERSION: u8 = 1;

/// Why a body is of no use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyError {
    /// It is of this version.
    Version(u8),
    /// It has this field, whose meaning is not known.
    UnknownField(u16),
    /// It has this field twice.
    Twice(u16),
    /// It lacks this field.
    Missing(u16),
    /// The value of this field has not its form.
    Malformed(u16),
    /// It ends in the middle of a field.
    Truncated,
}

impl BodyError {
    /// Whether a later build may have meant something by it.
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Version(_) | Self::UnknownField(_))
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "unknown version {version}"),
            Self::UnknownField(tag) => write!(f, "unknown field {tag}"),
            Self::Twice(tag) => write!(f, "field {tag} comes twice"),
            Self::Missing(tag) => write!(f, "field {tag} is missing"),
            Self::Malformed(tag) => write!(f, "field {tag} is malformed"),
            Self::Truncated => f.write_str("it ends in the middle of a field"),
        }
    }
}

impl std::error::Error for BodyError {}

/// Writes a body.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Begins a body.
    pub(super) fn new() -> Self {
        Self { out: vec![VERSION] }
    }

    /// Appends a field with the value that `value` writes.
    ///
    /// What is over 4 GiB makes the field unreadable; an offer is refused long
    /// before that.
    pub(super) fn put(&mut self, tag: u16, value: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&tag.to_be_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(&[0; LENGTH]);
        value(&mut self.out);
        let length = u32::try_from(self.out.len() - at - LENGTH).unwrap_or(u32::MAX);
        if let Some(place) = self.out.get_mut(at..at + LENGTH) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }

    /// Appends a field, if there is something to be said.
    pub(super) fn put_some<T>(
        &mut self,
        tag: u16,
        value: Option<T>,
        write: impl FnOnce(&mut Vec<u8>, T),
    ) {
        if let Some(value) = value {
            self.put(tag, |out| write(out, value));
        }
    }

    /// The whole body.
    pub(super) fn end(self) -> Vec<u8> {
        self.out
    }
}

/// Hands each field of a body to `take`, which says whether it knows the tag.
///
/// # Errors
///
/// [`BodyError`] for anything but a body whose fields are all known and of the
/// right form.
pub(super) fn read(
    body: &[u8],
    mut take: impl FnMut(u16, &mut Octets<'_>) -> Result<Known, Truncated>,
) -> Result<(), BodyError> {
    let (&version, rest) = body.split_first().ok_or(BodyError::Truncated)?;
    if version != VERSION {
        return Err(BodyError::Version(version));
    }
    let mut seen = BTreeSet::new();
    let mut octets = Octets(rest);
    while !octets.0.is_empty() {
        let tag = octets.array().map(u16::from_be_bytes);
        let tag = tag.map_err(|_| BodyError::Truncated)?;
        let value = octets.bytes().map_err(|_| BodyError::Truncated)?;
        if !seen.insert(tag) {
            return Err(BodyError::Twice(tag));
        }
        let mut value = Octets(value);
        let taken = take(tag, &mut value).and_then(|known| match known {
            Known::Yes => value.end().map(|()| known),
            Known::No => Ok(known),
        });
        match taken {
            Ok(Known::Yes) => {}
            Ok(Known::No) => return Err(BodyError::UnknownField(tag)),
            Err(Truncated) => return Err(BodyError::Malformed(tag)),
        }
    }
    Ok(())
}

/// Appends a 64-bit number.
pub(super) fn put_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Whether a tag is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    /// Its value was taken.
    Yes,
    /// It is of a later build.
    No,
}

/// Bytes of the length of a field.
const LENGTH: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = Writer::new();
        writer.put(1, |out| out.push(7));
        writer.put_some(2, Some(b"xy"), |out, value| out.extend_from_slice(value));
        writer.put_some(3, None::<u8>, |out, value| out.push(value));
        writer.end()
    }

    fn read_all(body: &[u8]) -> Result<Vec<(u16, Vec<u8>)>, BodyError> {
        let mut fields = Vec::new();
        read(body, |tag, octets| {
            if tag > 2 {
                return Ok(Known::No);
            }
            fields.push((tag, std::mem::take(&mut octets.0).to_vec()));
            Ok(Known::Yes)
        })?;
        Ok(fields)
    }

    #[test]
    fn reads_what_was_written() {
        assert_eq!(
            sample(),
            b"\x01\0\x01\0\0\0\x01\x07\0\x02\0\0\0\x02xy".to_vec()
        );
        let fields = vec![(1, vec![7]), (2, b"xy".to_vec())];
        assert_eq!(read_all(&sample()), Ok(fields));
    }

    #[test]
    fn names_what_it_does_not_know() {
        let mut later = sample();
        later.extend_from_slice(b"\x01\x02\0\0\0\0");
        let error = read_all(&later).unwrap_err();
        assert_eq!(error, BodyError::UnknownField(258));
        assert!(error.is_unknown());
        later[0] = 2;
        assert_eq!(read_all(&later), Err(BodyError::Version(2)));
    }

    #[test]
    fn rejects_what_ends_early_or_comes_twice() {
        for end in 0..sample().len() {
            let whole = [1, 8].contains(&end);
            assert_eq!(read_all(&sample()[..end]).is_ok(), whole, "{end} bytes");
        }
        let twice = [&sample()[..], b"\0\x01\0\0\0\0"].concat();
        assert_eq!(read_all(&twice), Err(BodyError::Twice(1)));
    }

    #[test]
    fn rejects_a_value_with_more_than_belongs_to_it() {
        let taken = read(&sample(), |_, octets| octets.u8().map(|_| Known::Yes));
        assert_eq!(taken, Err(BodyError::Malformed(2)));
    }
}

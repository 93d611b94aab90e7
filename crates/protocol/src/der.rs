//! DER: the encoding of certificates, as far as they are looked into.
//!
//! Source: RFC 5280, section 4.1; ITU-T X.690.

/// Splits one value off: its tag, its content and what follows.
pub(crate) fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let shift = |length: usize, digit: &u8| (length << 8) | usize::from(*digit);
            (digits.iter().fold(0, shift), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
/// The first optional field of a sequence.
pub(crate) const FIRST: u8 = 0xa0;

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

/// The content of the first value, which has this tag, and what follows it.
pub(crate) fn inside(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = split(bytes)?;
    (found == tag).then_some((content, rest))
}

/// The fields of a certificate of any version that follow its serial number:
/// signature, issuer, validity, subject, key.
///
/// Source: RFC 5280, section 4.1.
pub(crate) fn fields(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = inside(certificate, SEQUENCE)?;
    let (fields, _) = inside(body, SEQUENCE)?;
    // The first version does not say that it is that.
    let serial = match split(fields)? {
        (FIRST, _, behind) => behind,
        _ => fields,
    };
    inside(serial, INTEGER).map(|(_, behind)| behind)
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
/// The first optional field of a sequence.
pub(crate) const FIRST: u8 = 0xa0;

//! Small steps shared by all parsers.

/// Splits a NUL-terminated string off `bytes`; the NUL belongs to neither part.
#[inline]
pub(crate) fn cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = match bytes.first()? {
        // Most names are empty.
        0 => 0,
        _ => memchr::memchr(0, bytes)?,
    };
    let (string, rest) = bytes.split_at_checked(end)?;
    Some((string, rest.get(1..)?))
}

/// Splits a big-endian 32-bit word off `bytes`.
pub(crate) fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*word), rest))
}

/// Splits a big-endian 16-bit word off `bytes`.
pub(crate) fn short(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*word), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_strings_at_their_terminator() {
        assert_eq!(cstr(b"ab\0cd"), Some((&b"ab"[..], &b"cd"[..])));
        assert_eq!(cstr(b"\0"), Some((&b""[..], &b""[..])));
        assert_eq!(cstr(b"ab"), None);
        assert_eq!(cstr(b""), None);
    }
}

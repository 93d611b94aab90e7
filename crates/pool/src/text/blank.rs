//! Blank: what stands between the words of SQL, and what words are made of.
//!
//! Source: PostgreSQL documentation, "Lexical Structure".

use memchr::memchr2;

/// What follows blanks and comments; `None` if a comment has no end.
pub(super) fn after_blanks(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [byte, rest @ ..] if is_blank(*byte) => rest,
            [b'-', b'-', rest @ ..] => {
                let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
                rest.get(end..)?
            }
            [b'/', b'*', rest @ ..] => after_comment(rest)?,
            _ => return Some(text),
        };
    }
}

/// What follows the end of a comment that was begun.
fn after_comment(mut text: &[u8]) -> Option<&[u8]> {
    let mut depth = 1_u32;
    while depth > 0 {
        text = match text {
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                rest
            }
            [b'/', b'*', rest @ ..] => {
                depth = depth.saturating_add(1);
                rest
            }
            [_, rest @ ..] => rest,
            [] => return None,
        };
    }
    Some(text)
}

/// Whether SQL reads it as nothing; the NUL at the end of a text among them.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' | b'\0'
    )
}

/// Whether a word without quotes may begin with it.
pub(super) fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte > 0x7f
}

/// Whether it may stand within a word without quotes.
pub(super) fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

//! Harmless: the texts that change nothing, told at a glance.
//!
//! Nearly all are: one statement that begins with one of a few words. Nothing
//! is read word by word here; a semicolon in a string is one like all others.
//! The loops are written so that the compiler makes instructions of them that
//! look at 16 bytes at once.

use memchr::memchr2_iter;

/// Whether a text is for certain one statement that changes nothing.
#[inline]
pub(super) fn is_harmless(text: &[u8]) -> bool {
    let Some(&first) = text.first_chunk::<4>() else {
        return text.is_empty();
    };
    // Letters become lower case, and nothing else becomes a letter.
    let first = u32::from_ne_bytes(first) | 0x2020_2020;
    let mut text = text;
    while let [rest @ .., b';' | b'\0' | b' ' | b'\n'] = text {
        text = rest;
    }
    if first == word(b"sele") {
        let found = Found::in_text(text);
        found.nothing() || (!found.semicolon() && !creates_temp(text))
    } else if HARMLESS.contains(&first) {
        !Found::in_text(text).semicolon()
    } else {
        false
    }
}

/// What the blocks of a text have, place by place.
#[derive(Default)]
struct Found {
    semicolon: [u8; BLOCK],
    /// The middle or the second half of what could be `temp`.
    temp: [u16; BLOCK / 2],
}

impl Found {
    #[inline(always)]
    fn in_text(text: &[u8]) -> Self {
        let mut found = Self::default();
        if let Some(last) = text.last_chunk::<BLOCK>() {
            found.look_at(last);
            for block in text.as_chunks::<BLOCK>().0 {
                found.look_at(block);
            }
        } else {
            // It is too short for a SELECT INTO TEMP.
            found.semicolon[0] = u8::from(text.contains(&b';'));
        }
        found
    }

    /// Looks at pairs of bytes at even places: of a `temp` that begins at an
    /// odd one this is `em`, of all others `mp`.
    #[inline(always)]
    fn look_at(&mut self, block: &[u8; BLOCK]) {
        for (found, byte) in self.semicolon.iter_mut().zip(block) {
            *found |= u8::from(*byte == b';').wrapping_neg();
        }
        for (found, pair) in self.temp.iter_mut().zip(block.as_chunks::<2>().0) {
            let pair = u16::from_ne_bytes(*pair) | 0x2020;
            let temp = (pair == MP) | (pair == EM);
            *found |= u16::from(temp).wrapping_neg();
        }
    }

    #[inline(always)]
    fn semicolon(&self) -> bool {
        self.semicolon.iter().fold(0, |all, byte| all | byte) != 0
    }

    #[inline(always)]
    fn nothing(&self) -> bool {
        self.temp.iter().fold(0, |all, pair| all | pair) == 0 && !self.semicolon()
    }
}

/// Whether something looks like the word TEMP, TEMPORARY or `pg_temp`.
#[cold]
fn creates_temp(text: &[u8]) -> bool {
    memchr2_iter(b'p', b'P', text).any(|end| {
        let (start, rest) = text.split_at_checked(end + 1).unwrap_or_default();
        let Some((before, temp)) = start.split_last_chunk::<4>() else {
            return false;
        };
        temp.eq_ignore_ascii_case(b"temp")
            && !before.last().is_some_and(u8::is_ascii_alphabetic)
            && !rest
                .first()
                .is_some_and(|next| next.is_ascii_alphabetic() && !matches!(next, b'o' | b'O'))
    })
}

/// The first four letters of a keyword as one number.
const fn word(letters: &[u8; 4]) -> u32 {
    u32::from_ne_bytes(*letters)
}

/// What statements begin with that change nothing, whatever follows.
const HARMLESS: [u32; 16] = [
    word(b"inse"),
    word(b"upda"),
    word(b"dele"),
    word(b"begi"),
    word(b"comm"),
    word(b"roll"),
    word(b"star"),
    word(b"end "),
    word(b"save"),
    word(b"rele"),
    word(b"end;"),
    word(b"fetc"),
    word(b"exec"),
    word(b"show"),
    word(b"merg"),
    word(b"call"),
];

const EM: u16 = u16::from_ne_bytes(*b"em");
const MP: u16 = u16::from_ne_bytes(*b"mp");

/// How many bytes are looked at together.
const BLOCK: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_harmless_texts_whatever_their_length() {
        for statement in ["select", "insert", "commit", "UPDATE", "Select"] {
            for length in 0..70 {
                let text = format!("{statement} {}", "x".repeat(length));
                assert!(is_harmless(text.as_bytes()), "{text}");
                assert!(is_harmless(format!("{text};\0").as_bytes()), "{text}");
                for at in 0..=length {
                    let (before, after) = text.split_at(text.len() - at);
                    let two = format!("{before};{after}x");
                    assert!(!is_harmless(two.as_bytes()), "{two}");
                }
            }
        }
        assert!(is_harmless(b""));
        assert!(!is_harmless(b"set"));
        assert!(!is_harmless(b"{ele"));
    }

    #[test]
    fn finds_temp_at_every_place() {
        for before in 0..40 {
            for after in 0..40 {
                for temp in ["TeMP", "temporary", "pg_temp.", "\"pg_temp_3\""] {
                    let (before, after) = ("x ".repeat(before), " x".repeat(after));
                    let text = format!("select into {before}{temp}{after}");
                    assert!(!is_harmless(text.as_bytes()), "{text}");
                }
            }
        }
    }

    #[test]
    fn is_not_deceived_by_longer_words() {
        for word in ["template", "attempt", "temperature", "employee", "TEMPLATE"] {
            for before in 0..20 {
                let text = format!("select {} {word} from t", "x".repeat(before));
                assert!(is_harmless(text.as_bytes()), "{text}");
            }
        }
    }
}

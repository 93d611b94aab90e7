//! Harmless: the texts that change nothing, told at a glance.
//!
//! Nearly all are: one statement that begins with one of a few words. Nothing
//! is read word by word here; a semicolon in a string is one like all others.
//! The loops are written so that the compiler makes instructions of them that
//! look at 16 bytes at once; what they find is looked at again.

use memchr::{memchr, memchr2_iter};

/// Whether a text is for certain one statement that changes nothing; a NUL at
/// its end is not part of it.
#[inline]
pub fn is_harmless(text: &[u8]) -> bool {
    let mut text = text;
    if let [rest @ .., b'\0'] = text {
        text = rest;
    }
    if let [rest @ .., b';'] = text {
        text = rest;
    }
    let Some(&first) = text.first_chunk::<4>() else {
        return is_harmless_word(text);
    };
    // Letters become lower case, and nothing else becomes a letter.
    let first = (u32::from_ne_bytes(first) | 0x2020_2020).to_ne_bytes();
    if first == *b"sele" {
        !has_semicolon_or_temp(text) || is_harmless_select(text)
    } else {
        begins_harmless(first) && !has_semicolon(text)
    }
}

#[cold]
fn is_harmless_word(text: &[u8]) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case(b"end")
}

#[cold]
fn is_harmless_select(text: &[u8]) -> bool {
    memchr(b';', text).is_none() && !has_temp(text)
}

/// Whether there is a semicolon, or what could be the word TEMP.
#[inline(never)]
fn has_semicolon_or_temp(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        // Too short for a SELECT INTO TEMP.
        return has_semicolon(text);
    };
    let (mut semicolons, mut temps) = Default::default();
    find_semicolon(last, &mut semicolons);
    find_temp(last, &mut temps);
    for block in text.as_chunks().0 {
        find_semicolon(block, &mut semicolons);
        find_temp(block, &mut temps);
    }
    temps.iter().fold(0, |all, pair| all | pair) != 0
        || semicolons.iter().fold(0, |all, byte| all | byte) != 0
}

/// Whether there is a semicolon in a text of at least 4 bytes.
#[inline(never)]
fn has_semicolon(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return has_early_semicolon(text);
    };
    let mut semicolons = Default::default();
    find_semicolon(last, &mut semicolons);
    for block in text.as_chunks().0 {
        find_semicolon(block, &mut semicolons);
    }
    semicolons.iter().fold(0, |all, byte| all | byte) != 0
}

/// Whether there is a semicolon in a text of 4 to 16 bytes.
fn has_early_semicolon(text: &[u8]) -> bool {
    let halves = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) => [u64::from_ne_bytes(*first), u64::from_ne_bytes(*last)],
        _ => [text.first_chunk(), text.last_chunk()]
            .map(|half| half.map_or(0, |half| u32::from_ne_bytes(*half).into())),
    };
    halves.into_iter().any(|half| {
        let zeros = half ^ SEMICOLONS;
        // The highest bit of a byte that is 0, if none before it is.
        zeros.wrapping_sub(ONES) & !zeros & (ONES << 7) != 0
    })
}

#[inline(always)]
fn find_semicolon(block: &[u8; BLOCK], found: &mut [u8; BLOCK]) {
    for (found, byte) in found.iter_mut().zip(block) {
        *found |= u8::from(*byte == b';').wrapping_neg();
    }
}

/// Looks at the pairs of bytes at even places: of a `temp` that begins at an
/// odd one this is `em`, of all others `mp`.
#[inline(always)]
fn find_temp(block: &[u8; BLOCK], found: &mut [u16; BLOCK / 2]) {
    for (found, pair) in found.iter_mut().zip(block.as_chunks::<2>().0) {
        let pair = u16::from_ne_bytes(*pair) | 0x2020;
        *found |= u16::from((pair == MP) | (pair == EM)).wrapping_neg();
    }
}

/// Whether something looks like the word TEMP, TEMPORARY or `pg_temp`.
fn has_temp(text: &[u8]) -> bool {
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

/// Whether these are the first letters of statements that change nothing,
/// whatever follows.
fn begins_harmless(first: [u8; 4]) -> bool {
    matches!(
        &first,
        b"inse"
            | b"upda"
            | b"dele"
            | b"begi"
            | b"comm"
            | b"roll"
            | b"star"
            | b"end "
            | b"save"
            | b"rele"
            | b"copy"
            | b"fetc"
            | b"exec"
            | b"show"
            | b"merg"
            | b"call"
    )
}

const EM: u16 = u16::from_ne_bytes(*b"em");
const MP: u16 = u16::from_ne_bytes(*b"mp");

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const SEMICOLONS: u64 = u64::from_ne_bytes([b';'; 8]);

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
        assert!(is_harmless(b"END;\0"));
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

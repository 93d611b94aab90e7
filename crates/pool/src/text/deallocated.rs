//! Deallocated: the statement that a DEALLOCATE names.
//!
//! Source: PostgreSQL documentation, "DEALLOCATE".

use std::borrow::Cow;

use memchr::memchr;

use super::blank::{after_blanks, begins_word, continues_word, is_blank};

/// The name in a text that is one DEALLOCATE of one prepared statement, and
/// nothing else.
///
/// A name without quotes is folded to lower case. `None` for every other text,
/// for ALL, and for names with Unicode escapes.
pub fn deallocated(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !matches!(text.first()?, b'd' | b'D' | b'-' | b'/') && !is_blank(*text.first()?) {
        return None;
    }
    let (first, rest) = Name::split(after_blanks(text)?)?;
    if !first.is(b"deallocate") {
        return None;
    }
    let (mut name, mut rest) = Name::split(after_blanks(rest)?)?;
    // PREPARE is a name itself when there is no other.
    if name.is(b"prepare")
        && let Some(after) = Name::split(after_blanks(rest)?)
    {
        (name, rest) = after;
    }
    let mut rest = after_blanks(rest)?;
    while let Some(after) = rest.strip_prefix(b";") {
        rest = after_blanks(after)?;
    }
    (rest.is_empty() && !name.is(b"all")).then(|| name.folded())
}

/// A name as it is written, without its quotes.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    bytes: &'a [u8],
    quoted: bool,
}

impl<'a> Name<'a> {
    /// Splits the name off with which `text` begins.
    pub(super) fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&first, inner) = text.split_first()?;
        if first == b'"' {
            let end = quote_end(inner)?;
            let bytes = inner.get(..end)?;
            let name = Self {
                bytes,
                quoted: true,
            };
            return Some((name, inner.get(end + 1..)?));
        }
        if !begins_word(first) {
            return None;
        }
        let end = text.iter().position(|byte| !continues_word(*byte));
        let (bytes, rest) = text.split_at(end.unwrap_or(text.len()));
        let name = Self {
            bytes,
            quoted: false,
        };
        Some((name, rest))
    }

    /// Whether it is this keyword, given in lower case.
    pub(super) fn is(self, keyword: &[u8]) -> bool {
        !self.quoted && self.bytes.eq_ignore_ascii_case(keyword)
    }

    /// The name that is meant.
    fn folded(self) -> Cow<'a, [u8]> {
        if !self.quoted {
            return if self.bytes.iter().any(u8::is_ascii_uppercase) {
                Cow::Owned(self.bytes.to_ascii_lowercase())
            } else {
                Cow::Borrowed(self.bytes)
            };
        }
        if memchr(b'"', self.bytes).is_none() {
            return Cow::Borrowed(self.bytes);
        }
        let mut folded = Vec::with_capacity(self.bytes.len());
        let mut bytes = self.bytes.iter();
        while let Some(&byte) = bytes.next() {
            folded.push(byte);
            if byte == b'"' {
                // The second of two.
                bytes.next();
            }
        }
        Cow::Owned(folded)
    }
}

/// Where the quote stands that ends a name, which a doubled one does not.
fn quote_end(inner: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let end = from + memchr(b'"', inner.get(from..)?)?;
        if inner.get(end + 1) != Some(&b'"') {
            return Some(end);
        }
        from = end + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<String> {
        let name = deallocated(text.as_bytes())?;
        Some(String::from_utf8(name.into_owned()).unwrap())
    }

    #[test]
    fn accepts_one_deallocate_of_one_name() {
        for (text, expected) in [
            ("deallocate s1", "s1"),
            ("DEALLOCATE PREPARE S1;", "s1"),
            ("Deallocate \"S \"\"1\"\"\" ; ;\0", "S \"1\""),
            ("deallocate prepare", "prepare"),
            ("deallocate \"all\"", "all"),
            ("deallocate\"ALL\"", "ALL"),
            ("/* a /* b */ */ deallocate -- c\n é --", "é"),
            (" \t\r\n\x0b\x0cdeallocate/**/prepare/**/ _1$;\n", "_1$"),
        ] {
            assert_eq!(name(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn rejects_everything_else() {
        for text in [
            "",
            "d",
            "deallocate",
            "deallocate all",
            "DEALLOCATE PREPARE ALL",
            "deallocate s1; select 1",
            "deallocate s1 s2",
            "deallocate 1",
            "deallocate s1 /*",
            "deallocate \"s1",
            "deallocate U&\"s1\"",
            "\"deallocate\" s1",
            "deallocates s1",
            "discard all",
            "-- deallocate s1",
            "select 'deallocate s1'",
        ] {
            assert_eq!(name(text), None, "{text}");
        }
    }
}

//! The name in a client's certificate.
//!
//! Whoever verifies a certificate has seen to it that it is whole and signed; here
//! its subject is read. Where a name could be understood in two ways there is
//! none: an embedded NUL, several common names, an encoding in which the bytes
//! are not the text.
//!
//! Source: RFC 5280, section 4.1 and appendix A; PostgreSQL documentation,
//! "Certificate Authentication"; CVE-2009-4034.

use std::error::Error;
use std::fmt;

use crate::der::{OBJECT_IDENTIFIER, SEQUENCE, fields, inside, split};

/// Why nobody can be known by a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameError {
    /// It is not encoded as certificates are.
    Malformed,
    /// Its subject has no common name, or an empty one.
    Missing,
    /// Its subject has several.
    Several,
    /// There is a NUL in the name.
    EmbeddedNul,
    /// The name is in an encoding that is not read.
    Encoding,
}

/// The common name of the subject of this `certificate`, in DER.
///
/// # Errors
///
/// [`NameError`] where there is none that can be relied on.
///
/// Source: PostgreSQL documentation, "Certificate Authentication".
pub fn common_name(certificate: &[u8]) -> Result<&str, NameError> {
    let mut rest = subject(certificate).ok_or(NameError::Malformed)?;
    let mut found = None;
    while !rest.is_empty() {
        let (mut names, behind) = inside(rest, SET).ok_or(NameError::Malformed)?;
        rest = behind;
        while !names.is_empty() {
            let (name, behind) = inside(names, SEQUENCE).ok_or(NameError::Malformed)?;
            names = behind;
            let (kind, value) = inside(name, OBJECT_IDENTIFIER).ok_or(NameError::Malformed)?;
            let (tag, text, _) = split(value).ok_or(NameError::Malformed)?;
            if kind == COMMON_NAME && found.replace((tag, text)).is_some() {
                return Err(NameError::Several);
            }
        }
    }
    match found {
        None | Some((_, [])) => Err(NameError::Missing),
        Some((_, text)) if text.contains(&0) => Err(NameError::EmbeddedNul),
        Some((UTF8_STRING, text)) => str::from_utf8(text).map_err(|_| NameError::Encoding),
        Some((PRINTABLE_STRING | IA5_STRING, text)) if text.is_ascii() => {
            str::from_utf8(text).map_err(|_| NameError::Encoding)
        }
        Some(_) => Err(NameError::Encoding),
    }
}

/// The relative names that the subject consists of.
fn subject(certificate: &[u8]) -> Option<&[u8]> {
    let (_signature, behind) = inside(fields(certificate)?, SEQUENCE)?;
    let (_issuer, behind) = inside(behind, SEQUENCE)?;
    let (_validity, behind) = inside(behind, SEQUENCE)?;
    let (subject, _) = inside(behind, SEQUENCE)?;
    Some(subject)
}

impl NameError {
    /// What is wrong.
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => "malformed certificate",
            Self::Missing => "the certificate has no common name",
            Self::Several => "the certificate has several common names",
            Self::EmbeddedNul => "the common name of the certificate contains a null",
            Self::Encoding => "the common name of the certificate is neither UTF-8 nor ASCII",
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Error for NameError {}

const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SET: u8 = 0x31;

/// 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::der::{FIRST, INTEGER};

    /// 2.5.4.10.
    const ORGANIZATION: &[u8] = &[0x55, 4, 10];

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        match length {
            0..=0x7f => [&[tag, length][..], content].concat(),
            _ => [&[tag, 0x81, length][..], content].concat(),
        }
    }

    fn name(kind: &[u8], tag: u8, text: &[u8]) -> Vec<u8> {
        let content = [value(OBJECT_IDENTIFIER, kind), value(tag, text)].concat();
        value(SEQUENCE, &content)
    }

    /// A certificate, as far as it is looked at, whose subject has these sets.
    fn certificate(sets: &[Vec<u8>]) -> Vec<u8> {
        let sets: Vec<u8> = sets.iter().flat_map(|set| value(SET, set)).collect();
        let fields = [
            value(FIRST, &[2, 1, 2]),
            value(INTEGER, &[7]),
            value(SEQUENCE, b"algorithm"),
            value(
                SEQUENCE,
                &value(SET, &name(COMMON_NAME, UTF8_STRING, b"ca")),
            ),
            value(SEQUENCE, b"validity"),
            value(SEQUENCE, &sets),
            value(SEQUENCE, b"key"),
        ];
        value(SEQUENCE, &value(SEQUENCE, &fields.concat()))
    }

    fn of(tag: u8, text: &[u8]) -> Result<String, NameError> {
        let certificate = certificate(&[name(COMMON_NAME, tag, text)]);
        common_name(&certificate).map(str::to_owned)
    }

    #[test]
    fn finds_the_common_name_of_the_subject() {
        let organization = name(ORGANIZATION, UTF8_STRING, b"shop");
        let alice = name(COMMON_NAME, UTF8_STRING, "алиса".as_bytes());
        let apart = certificate(&[organization.clone(), alice.clone()]);
        assert_eq!(common_name(&apart), Ok("алиса"));
        let together = certificate(&[[alice, organization].concat()]);
        assert_eq!(common_name(&together), Ok("алиса"));
        assert_eq!(of(PRINTABLE_STRING, b"bob").as_deref(), Ok("bob"));
        assert_eq!(of(IA5_STRING, b"bob@shop").as_deref(), Ok("bob@shop"));
    }

    #[test]
    fn rejects_names_that_end_before_their_end() {
        for tag in [UTF8_STRING, PRINTABLE_STRING, IA5_STRING] {
            let evil = of(tag, b"admin\0.evil.example");
            assert_eq!(evil, Err(NameError::EmbeddedNul));
        }
        // A BMPString: two bytes for each letter.
        assert_eq!(of(0x1e, b"\0b\0o\0b"), Err(NameError::EmbeddedNul));
    }

    #[test]
    fn rejects_encodings_in_which_bytes_are_not_the_text() {
        assert_eq!(of(0x1e, b"bo"), Err(NameError::Encoding));
        assert_eq!(of(0x14, b"bob"), Err(NameError::Encoding));
        assert_eq!(of(UTF8_STRING, b"b\xff"), Err(NameError::Encoding));
        assert_eq!(of(PRINTABLE_STRING, b"b\xe9"), Err(NameError::Encoding));
    }

    #[test]
    fn rejects_a_subject_with_several_names_or_none() {
        let bob = name(COMMON_NAME, UTF8_STRING, b"bob");
        let alice = name(COMMON_NAME, UTF8_STRING, b"alice");
        for sets in [
            vec![alice.clone(), bob.clone()],
            vec![[alice, bob].concat()],
        ] {
            let certificate = certificate(&sets);
            assert_eq!(common_name(&certificate), Err(NameError::Several));
        }
        let other = certificate(&[name(ORGANIZATION, UTF8_STRING, b"bob")]);
        assert_eq!(common_name(&other), Err(NameError::Missing));
        assert_eq!(common_name(&certificate(&[])), Err(NameError::Missing));
        assert_eq!(of(UTF8_STRING, b""), Err(NameError::Missing));
    }

    #[test]
    fn rejects_what_is_no_certificate() {
        let whole = certificate(&[name(COMMON_NAME, UTF8_STRING, b"bob")]);
        for end in 0..whole.len() {
            assert_eq!(
                common_name(&whole[..end]),
                Err(NameError::Malformed),
                "prefix of {end} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = common_name(&bytes);
        }

        #[test]
        fn never_panics_on_any_subject(sets: Vec<Vec<u8>>) {
            let sets: Vec<_> = sets.into_iter().map(|mut set| { set.truncate(9); set }).take(5).collect();
            let _ = common_name(&certificate(&sets));
        }
    }
}

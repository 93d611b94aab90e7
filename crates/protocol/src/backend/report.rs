//! The fields of ErrorResponse and NoticeResponse.
//!
//! Source: PostgreSQL documentation, "Error and Notice Message Fields".

use std::borrow::Cow;

use crate::read;

/// The fields of an ErrorResponse or NoticeResponse.
///
/// Any bytes are accepted: fields after the first fault are not there. A
/// message without SQLSTATE, or without any field, is legal input.
#[derive(Clone, Copy, Debug)]
pub struct ErrorFields<'a> {
    body: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Takes the body of the message; it is only read when a field is asked
    /// for.
    pub fn parse(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// The severity, such as `FATAL`: the one that is never translated if the
    /// server sends it (`V`), else the other (`S`).
    pub fn severity(&self) -> Option<&'a str> {
        let field = self.field(b'V').or_else(|| self.field(b'S'))?;
        std::str::from_utf8(field).ok()
    }

    /// The SQLSTATE, if there is one of five letters and digits.
    pub fn sqlstate(&self) -> Option<&'a str> {
        let field = self.field(b'C')?;
        let valid = field.len() == 5 && field.iter().all(u8::is_ascii_alphanumeric);
        valid.then(|| std::str::from_utf8(field).ok())?
    }

    /// The message; what is not UTF-8 in it is replaced.
    pub fn message(&self) -> Option<Cow<'a, str>> {
        self.text(b'M')
    }

    /// The detail; what is not UTF-8 in it is replaced.
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.text(b'D')
    }

    /// The hint; what is not UTF-8 in it is replaced.
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.text(b'H')
    }

    /// The bytes of the first field of this kind.
    pub fn field(&self, kind: u8) -> Option<&'a [u8]> {
        let mut rest = self.body;
        while let Some((&found, after_kind)) = rest.split_first() {
            if found == 0 {
                return None;
            }
            let (value, after_value) = read::cstr(after_kind)?;
            if found == kind {
                return Some(value);
            }
            rest = after_value;
        }
        None
    }

    fn text(&self, kind: u8) -> Option<Cow<'a, str>> {
        self.field(kind).map(String::from_utf8_lossy)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::write::{self, Report};

    #[test]
    fn reads_the_fields_of_postgresql() {
        let fields = ErrorFields::parse(
            b"SFEHLER\0VERROR\0C42601\0Msyntax error\0Dat \xff\0Htry again\0P8\0\0",
        );
        assert_eq!(fields.severity(), Some("ERROR"));
        assert_eq!(fields.sqlstate(), Some("42601"));
        assert_eq!(fields.message().unwrap(), "syntax error");
        assert_eq!(fields.detail().unwrap(), "at \u{fffd}");
        assert_eq!(fields.hint().unwrap(), "try again");
        assert_eq!(fields.field(b'P'), Some(&b"8"[..]));
    }

    /// CVE-2026-6666.
    #[test]
    fn accepts_error_without_sqlstate() {
        let fields = ErrorFields::parse(b"SFATAL\0Msorry, too many clients already\0\0");
        assert_eq!(fields.sqlstate(), None);
        assert_eq!(fields.severity(), Some("FATAL"));
        assert_eq!(fields.message().unwrap(), "sorry, too many clients already");
    }

    #[test]
    fn accepts_error_without_fields_or_terminator() {
        for body in [&b""[..], b"\0", b"S", b"SFATAL", b"\0C57P01\0"] {
            let fields = ErrorFields::parse(body);
            assert_eq!(fields.sqlstate(), None, "{body:?}");
            assert_eq!(fields.message(), None, "{body:?}");
        }
    }

    #[test]
    fn rejects_sqlstate_that_is_none() {
        for body in [
            &b"C\0\0"[..],
            b"C5701\0\0",
            b"C57P011\0\0",
            b"C57P\x001\0\0",
            b"C57P\xff1\0",
        ] {
            assert_eq!(ErrorFields::parse(body).sqlstate(), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(body: Vec<u8>) {
            let fields = ErrorFields::parse(&body);
            let _ = (fields.severity(), fields.sqlstate(), fields.message());
            let _ = (fields.detail(), fields.hint());
        }

        #[test]
        fn reads_what_the_writer_wrote(
            message in "[^\0]{0,30}",
            detail in prop::option::of("[^\0]{0,30}"),
            hint in prop::option::of("[^\0]{0,30}"),
        ) {
            let mut bytes = Vec::new();
            write::error(&mut bytes, &Report {
                severity: "FATAL",
                sqlstate: "57P01",
                message: &message,
                detail: detail.as_deref(),
                hint: hint.as_deref(),
            });
            let (frame, rest) = Frame::split(&bytes, u32::MAX).unwrap().unwrap();
            prop_assert!(rest.is_empty());
            let fields = ErrorFields::parse(frame.body);
            prop_assert_eq!(fields.severity(), Some("FATAL"));
            prop_assert_eq!(fields.field(b'S'), Some(&b"FATAL"[..]));
            prop_assert_eq!(fields.sqlstate(), Some("57P01"));
            prop_assert_eq!(fields.message(), Some(message.as_str().into()));
            prop_assert_eq!(fields.detail(), detail.as_deref().map(Cow::from));
            prop_assert_eq!(fields.hint(), hint.as_deref().map(Cow::from));
        }
    }
}

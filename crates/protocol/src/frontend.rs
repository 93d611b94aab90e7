//! Views of messages from a client.
//!
//! Every function takes the body of a message whose tag the caller knows.
//! Nothing is copied, and a body that does not have its form gives `None`.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use crate::read;

/// The first message of a SASL exchange.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct SaslInitial<'a> {
    /// The mechanism that the client chose.
    pub mechanism: &'a [u8],
    /// The mechanism's first message; `None` if the client waits for ours.
    pub data: Option<&'a [u8]>,
}

impl<'a> SaslInitial<'a> {
    /// Reads the body of SASLInitialResponse.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (mechanism, rest) = read::cstr(body)?;
        let (length, data) = read::word(rest)?;
        let data = match length {
            u32::MAX => data.is_empty().then_some(None)?,
            length => (u32::try_from(data.len()) == Ok(length)).then_some(Some(data))?,
        };
        Some(Self { mechanism, data })
    }
}

/// Reads the body of PasswordMessage: the password, or its hash.
pub fn password(body: &[u8]) -> Option<&[u8]> {
    only_string(body)
}

/// Reads the body of Query: the text of the query.
pub fn query(body: &[u8]) -> Option<&[u8]> {
    only_string(body)
}

/// A prepared statement to be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Statement<'a> {
    /// Its name; empty for the unnamed one.
    pub name: &'a [u8],
    /// The query with its terminator, and the types of the parameters.
    pub tail: &'a [u8],
}

impl<'a> Statement<'a> {
    /// Reads the body of Parse as far as a pooler looks into it.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (name, tail) = read::cstr(body)?;
        read::cstr(tail)?;
        Some(Self { name, tail })
    }

    /// The text of the query in a `tail`, which may be that of any Parse.
    ///
    /// What is no string in there is taken for a part of it.
    #[inline]
    pub fn text(tail: &'a [u8]) -> &'a [u8] {
        match tail {
            // Mostly no types are given.
            [text @ .., 0, 0, 0] => text,
            _ => read::cstr(tail).map_or(tail, |(text, _)| text),
        }
    }
}

/// The names at the beginning of Bind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bind<'a> {
    /// The portal that it makes; empty for the unnamed one.
    pub portal: &'a [u8],
    /// The prepared statement that it is made of; empty for the unnamed one.
    pub statement: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads both names from the beginning of the body of Bind, of which the
    /// rest need not be there yet.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = read::cstr(body)?;
        let (statement, _) = read::cstr(rest)?;
        Some(Self { portal, statement })
    }

    /// Bytes of the body that both names take, with their terminators.
    pub fn names_len(self) -> usize {
        self.portal.len() + self.statement.len() + 2
    }
}

/// What follows the names in Bind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BindTail<'a> {
    /// How many values of parameters it brings.
    pub parameters: u16,
    /// Formats of the columns of the result, big-endian: none for text, one for
    /// all, or one for each.
    pub formats: &'a [[u8; 2]],
}

impl<'a> BindTail<'a> {
    /// Reads what follows the names in the body of Bind.
    pub fn parse(rest: &'a [u8]) -> Option<Self> {
        let (formats, rest) = read::short(rest)?;
        let (_, rest) = rest.split_at_checked(usize::from(formats) * 2)?;
        let (parameters, mut rest) = read::short(rest)?;
        for _ in 0..parameters {
            let (length, values) = read::word(rest)?;
            let length = if length == u32::MAX { 0 } else { length };
            (_, rest) = values.split_at_checked(length as usize)?;
        }
        let (count, rest) = read::short(rest)?;
        let (formats, []) = rest.as_chunks::<2>() else {
            return None;
        };
        (formats.len() == usize::from(count)).then_some(Self {
            parameters,
            formats,
        })
    }
}

/// The portal that Execute runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Execute<'a> {
    /// Its name.
    pub portal: &'a [u8],
    /// The most rows that are wanted; 0 for all.
    pub limit: u32,
}

impl<'a> Execute<'a> {
    /// Reads the body of Execute.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = read::cstr(body)?;
        match read::word(rest)? {
            (limit, []) => Some(Self { portal, limit }),
            _ => None,
        }
    }
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// A prepared statement, by its name.
    Statement(&'a [u8]),
    /// A portal, by its name.
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Reads the body of Describe or of Close.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (kind, name) = body.split_first()?;
        let name = only_string(name)?;
        match kind {
            b'S' => Some(Self::Statement(name)),
            b'P' => Some(Self::Portal(name)),
            _ => None,
        }
    }
}

fn only_string(body: &[u8]) -> Option<&[u8]> {
    match read::cstr(body)? {
        (string, []) => Some(string),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Frame;
    use crate::write;

    fn sasl(body: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
        SaslInitial::parse(body).map(|initial| (initial.mechanism, initial.data))
    }

    #[test]
    fn reads_the_tail_of_bind_and_execute() {
        let tail = b"\0\x01\0\x01\0\x02\0\0\0\x02ab\xff\xff\xff\xff\0\x01\0\x01";
        let expected = BindTail {
            parameters: 2,
            formats: &[[0, 1]],
        };
        assert_eq!(BindTail::parse(tail), Some(expected));
        for end in 0..tail.len() {
            assert_eq!(BindTail::parse(&tail[..end]), None, "{end} bytes");
        }
        let execute = Execute {
            portal: b"p",
            limit: 7,
        };
        assert_eq!(Execute::parse(b"p\0\0\0\0\x07"), Some(execute));
        assert_eq!(Execute::parse(b"p\0\0\0\0"), None);
    }

    #[test]
    fn reads_initial_response_with_and_without_data() {
        assert_eq!(
            sasl(b"X\0\0\0\0\x02ab"),
            Some((&b"X"[..], Some(&b"ab"[..])))
        );
        assert_eq!(sasl(b"X\0\0\0\0\0"), Some((&b"X"[..], Some(&b""[..]))));
        assert_eq!(sasl(b"X\0\xff\xff\xff\xff"), Some((&b"X"[..], None)));
    }

    /// CVE-2026-6664.
    #[test]
    fn rejects_initial_response_whose_length_overflows_or_lies() {
        for body in [
            &b"X\0\x7f\xff\xff\xffab"[..],
            b"X\0\x80\0\0\0ab",
            b"X\0\xff\xff\xff\xfeab",
            b"X\0\xff\xff\xff\xffab",
            b"X\0\0\0\0\x03ab",
            b"X\0\0\0\0\x01ab",
            b"X\0\0\0\0",
            b"X",
            b"",
        ] {
            assert_eq!(sasl(body), None, "{body:?}");
        }
    }

    #[test]
    fn rejects_strings_without_their_terminator_at_the_end() {
        for body in [&b""[..], b"secret", b"sec\0ret\0", b"secret\0\0"] {
            assert_eq!(password(body), None, "{body:?}");
            assert_eq!(query(body), None, "{body:?}");
        }
    }

    #[test]
    fn reads_names_from_the_beginning_of_parse_and_bind() {
        let parse = Statement::parse(b"s1\0select $1\0\0\x01\0\0\0\x17").unwrap();
        assert_eq!(parse.name, b"s1");
        assert_eq!(parse.tail, b"select $1\0\0\x01\0\0\0\x17");
        assert_eq!(Statement::text(parse.tail), b"select $1");
        assert_eq!(Statement::parse(b"s1\0select"), None);
        let bind = Bind::parse(b"p\0s1\0\0\0").unwrap();
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s1"[..]));
        assert_eq!(bind.names_len(), 5);
        assert_eq!(Bind::parse(b"p\0s1"), None);
    }

    #[test]
    fn reads_what_describe_and_close_are_about() {
        assert_eq!(Target::parse(b"Sab\0"), Some(Target::Statement(b"ab")));
        assert_eq!(Target::parse(b"P\0"), Some(Target::Portal(b"")));
        for body in [&b""[..], b"S", b"Xab\0", b"Sab", b"Sab\0c"] {
            assert_eq!(Target::parse(body), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(body: Vec<u8>) {
            let _ = (sasl(&body), password(&body), query(&body));
            let _ = (Statement::parse(&body), Bind::parse(&body), Target::parse(&body));
        }

        #[test]
        fn reads_what_the_writer_wrote(data: Vec<u8>, text in "[^\0]{0,20}") {
            let mut out = Vec::new();
            write::sasl_initial(&mut out, "SCRAM-SHA-256", &data);
            write::password(&mut out, text.as_bytes());
            write::query(&mut out, &text);
            let (frame, rest) = Frame::split(&out, u32::MAX).unwrap().unwrap();
            prop_assert_eq!(sasl(frame.body), Some((&b"SCRAM-SHA-256"[..], Some(&data[..]))));
            let (frame, rest) = Frame::split(rest, u32::MAX).unwrap().unwrap();
            prop_assert_eq!(password(frame.body), Some(text.as_bytes()));
            let (frame, rest) = Frame::split(rest, u32::MAX).unwrap().unwrap();
            prop_assert_eq!(query(frame.body), Some(text.as_bytes()));
            prop_assert!(rest.is_empty());
        }
    }
}

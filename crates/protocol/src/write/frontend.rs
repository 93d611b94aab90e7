//! Messages to a server, or to a peer.

use std::error::Error;
use std::fmt;

use super::{cstr, length_field, message, packet};
use crate::startup::{CANCEL_REQUEST, MAX_SECRET, SSL_REQUEST, Version};
use crate::tag::frontend as tag;

/// Appends StartupMessage with pairs of name and value.
///
/// A pair with an empty name would end the packet early and is left out.
pub fn startup(out: &mut Vec<u8>, version: Version, parameters: &[(&[u8], &[u8])]) {
    packet(out, |out| {
        out.extend_from_slice(&version.word().to_be_bytes());
        for (name, value) in parameters {
            if !matches!(name, [] | [0, ..]) {
                cstr(out, name);
                cstr(out, value);
            }
        }
        out.push(0);
    });
}

/// Appends SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    packet(out, |out| out.extend_from_slice(&SSL_REQUEST.to_be_bytes()));
}

/// Appends CancelRequest.
///
/// `secret` is 4 bytes long in protocol 3.0 and 3.1, and 4 to 256 bytes from
/// 3.2 on.
///
/// # Errors
///
/// [`CancelError::SecretLength`] for any other length; `out` is then
/// unchanged.
///
/// Source: PostgreSQL documentation, "Message Formats", CancelRequest.
pub fn cancel_request(
    out: &mut Vec<u8>,
    process_id: u32,
    secret: &[u8],
) -> Result<(), CancelError> {
    if !(4..=MAX_SECRET).contains(&secret.len()) {
        return Err(CancelError::SecretLength(secret.len()));
    }
    packet(out, |out| {
        out.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
        out.extend_from_slice(&process_id.to_be_bytes());
        out.extend_from_slice(secret);
    });
    Ok(())
}

/// Appends PasswordMessage.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    message(out, tag::PASSWORD, |out| cstr(out, password));
}

/// Appends SASLInitialResponse with the first message of the mechanism.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    message(out, tag::PASSWORD, |out| {
        cstr(out, mechanism.as_bytes());
        out.extend_from_slice(&length_field(data.len()));
        out.extend_from_slice(data);
    });
}

/// Appends SASLResponse with a message of the mechanism.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    message(out, tag::PASSWORD, |out| out.extend_from_slice(data));
}

/// Appends Query; `sql` is in the encoding of the session.
pub fn query(out: &mut Vec<u8>, sql: impl AsRef<[u8]>) {
    message(out, tag::QUERY, |out| cstr(out, sql.as_ref()));
}

/// Appends Parse; `tail` is the query with its terminator, and the types of the
/// parameters.
pub fn parse(out: &mut Vec<u8>, statement: &[u8], tail: &[u8]) {
    message(out, tag::PARSE, |out| {
        cstr(out, statement);
        out.extend_from_slice(tail);
    });
}

/// Appends Parse, Bind and Execute of an unnamed statement whose parameters are
/// texts of types that the server finds out, and Sync. None of them holds a NUL,
/// and there are at most 65535.
pub fn extended_query(out: &mut Vec<u8>, sql: &[u8], parameters: &[&[u8]]) {
    message(out, tag::PARSE, |out| {
        cstr(out, b"");
        cstr(out, sql);
        out.extend_from_slice(&[0; 2]);
    });
    message(out, tag::BIND, |out| {
        // Both are unnamed, and all formats are text.
        out.extend_from_slice(&[0; 4]);
        let count = u16::try_from(parameters.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for parameter in parameters {
            let length = u32::try_from(parameter.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(parameter);
        }
        out.extend_from_slice(&[0; 2]);
    });
    message(out, tag::EXECUTE, |out| {
        cstr(out, b"");
        // All rows.
        out.extend_from_slice(&[0; 4]);
    });
    sync(out);
}

/// Appends Close of a prepared statement.
pub fn close_statement(out: &mut Vec<u8>, statement: &[u8]) {
    target(out, tag::CLOSE, statement);
}

/// Appends Describe of a prepared statement.
pub fn describe_statement(out: &mut Vec<u8>, statement: &[u8]) {
    target(out, tag::DESCRIBE, statement);
}

/// Appends the header and the names of a Bind whose body has `rest` more bytes
/// behind them, which the caller appends. The names hold no NUL.
pub fn bind_names(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest: usize) {
    out.push(tag::BIND);
    out.extend_from_slice(&length_field(4 + portal.len() + statement.len() + 2 + rest));
    out.extend_from_slice(portal);
    out.push(0);
    out.extend_from_slice(statement);
    out.push(0);
}

/// Appends Sync.
pub fn sync(out: &mut Vec<u8>) {
    message(out, tag::SYNC, |_| {});
}

/// Appends CopyFail.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, tag::COPY_FAIL, |out| cstr(out, reason.as_bytes()));
}

fn target(out: &mut Vec<u8>, tag: u8, statement: &[u8]) {
    message(out, tag, |out| {
        out.push(b'S');
        cstr(out, statement);
    });
}

/// Appends Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    message(out, tag::TERMINATE, |_| {});
}

/// Why a CancelRequest cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CancelError {
    /// The secret has this many bytes, not 4 to 256.
    SecretLength(usize),
}

impl fmt::Display for CancelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretLength(len) => {
                write!(f, "a cancel request cannot carry a secret of {len} bytes")
            }
        }
    }
}

impl Error for CancelError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::startup::Startup;

    #[test]
    fn writes_cancel_request_that_reads_back() {
        for len in [4, 32, 256] {
            let secret = vec![3; len];
            let mut out = Vec::new();
            cancel_request(&mut out, 77, &secret).unwrap();
            assert_eq!(out[..4], u32::try_from(12 + len).unwrap().to_be_bytes());
            let Ok(Some((Startup::Cancel(request), []))) = Startup::split(&out) else {
                panic!("secret of {len} bytes");
            };
            assert_eq!((request.process_id, request.secret), (77, &secret[..]));
        }
    }

    #[test]
    fn rejects_secret_of_any_other_length_and_writes_nothing() {
        for len in [0, 3, 257] {
            let mut out = b"x".to_vec();
            assert_eq!(
                cancel_request(&mut out, 77, &vec![3; len]),
                Err(CancelError::SecretLength(len))
            );
            assert_eq!(out, b"x");
        }
    }

    #[test]
    fn writes_ssl_request() {
        let mut out = Vec::new();
        ssl_request(&mut out);
        assert_eq!(out, [0, 0, 0, 8, 4, 210, 22, 47]);
    }

    #[test]
    fn leaves_out_parameters_without_a_name() {
        let mut out = Vec::new();
        startup(&mut out, Version::V3_0, &[(b"", b"x"), (b"user", b"a")]);
        assert_eq!(out, b"\0\0\0\x10\0\x03\0\0user\0a\0\0");
    }

    #[test]
    fn writes_an_extended_query_with_its_parameters() {
        let mut out = Vec::new();
        extended_query(&mut out, b"x", &[b"ab"]);
        assert_eq!(
            out,
            b"P\0\0\0\x09\0x\0\0\0B\0\0\0\x12\0\0\0\0\0\x01\0\0\0\x02ab\0\0\
              E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04"
        );
    }

    #[test]
    fn writes_the_messages_of_a_session() {
        let mut out = Vec::new();
        sasl_initial(&mut out, "X", b"ab");
        sasl_response(&mut out, b"cd");
        password(&mut out, b"pw");
        copy_fail(&mut out, "no");
        sync(&mut out);
        terminate(&mut out);
        assert_eq!(
            out,
            b"p\0\0\0\x0cX\0\0\0\0\x02abp\0\0\0\x06cdp\0\0\0\x07pw\0\
              f\0\0\0\x07no\0S\0\0\0\x04X\0\0\0\x04"
        );
    }
}

//! Messages to a client.

use super::{cstr, length_field, message};
use crate::backend::TransactionStatus;
use crate::startup::Version;
use crate::tag::backend as tag;

/// What an ErrorResponse or a NoticeResponse says.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// `FATAL`, `ERROR` or `NOTICE`.
    pub severity: &'a str,
    /// The SQLSTATE, five letters and digits.
    pub sqlstate: &'a str,
    /// What happened, in one line.
    pub message: &'a str,
    /// What more there is to know.
    pub detail: Option<&'a str>,
    /// What could be done about it.
    pub hint: Option<&'a str>,
}

/// A column of a result that pgskein makes itself.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// The name in the heading.
    pub name: &'a str,
    /// The oid of the type in `pg_type`, such as 25 for text.
    pub type_oid: u32,
    /// Whether its values are in binary format, not in text.
    pub binary: bool,
}

/// Appends ErrorResponse.
pub fn error(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, tag::ERROR, report);
}

/// Appends NoticeResponse.
pub fn notice(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, tag::NOTICE, report);
}

/// Appends AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, |_| {});
}

/// Appends AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, |_| {});
}

/// Appends AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, |out| out.extend_from_slice(&salt));
}

/// Appends AuthenticationSASL with the names of the mechanisms on offer.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    authentication(out, 10, |out| {
        for mechanism in mechanisms {
            cstr(out, mechanism.as_bytes());
        }
        out.push(0);
    });
}

/// Appends AuthenticationSASLContinue with a message of the mechanism.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 11, |out| out.extend_from_slice(data));
}

/// Appends AuthenticationSASLFinal with the last message of the mechanism.
pub fn authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 12, |out| out.extend_from_slice(data));
}

/// Appends NegotiateProtocolVersion: what is spoken, and which options are not
/// understood.
pub fn negotiate(out: &mut Vec<u8>, version: Version, unknown: &[String]) {
    message(out, tag::NEGOTIATE, |out| {
        out.extend_from_slice(&version.word().to_be_bytes());
        out.extend_from_slice(&length_field(unknown.len()));
        for name in unknown {
            cstr(out, name.as_bytes());
        }
    });
}

/// Appends ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    message(out, tag::PARAMETER_STATUS, |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// Appends BackendKeyData.
///
/// `secret` is 4 bytes long in protocol 3.0 and 3.1, and 4 to 256 bytes from
/// 3.2 on.
pub fn backend_key_data(out: &mut Vec<u8>, process_id: u32, secret: &[u8]) {
    message(out, tag::BACKEND_KEY_DATA, |out| {
        out.extend_from_slice(&process_id.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// Appends ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    message(out, tag::READY_FOR_QUERY, |out| out.push(status.byte()));
}

/// Appends GoAway, which only a client that asked for it understands.
///
/// Source: the proposal "Add GoAway protocol message for graceful but fast
/// server shutdown/switchover", version 8.
pub fn go_away(out: &mut Vec<u8>) {
    message(out, tag::GO_AWAY, |_| {});
}

/// Appends CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, command_tag: &str) {
    message(out, tag::COMMAND_COMPLETE, |out| {
        cstr(out, command_tag.as_bytes());
    });
}

/// Appends RowDescription: columns of no table.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) {
    message(out, tag::ROW_DESCRIPTION, |out| {
        out.extend_from_slice(&count(columns.len()));
        for column in columns {
            cstr(out, column.name.as_bytes());
            out.extend_from_slice(&[0; 4]); // table
            out.extend_from_slice(&[0; 2]); // column of the table
            out.extend_from_slice(&column.type_oid.to_be_bytes());
            out.extend_from_slice(&type_len(column.type_oid).to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes()); // type modifier
            out.extend_from_slice(&i16::from(column.binary).to_be_bytes());
        }
    });
}

/// Appends DataRow; a value of `None` is null.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    message(out, tag::DATA_ROW, |out| {
        out.extend_from_slice(&count(values.len()));
        for value in values {
            match value {
                Some(value) => {
                    out.extend_from_slice(&length_field(value.len()));
                    out.extend_from_slice(value);
                }
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
    });
}

/// Appends ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    message(out, tag::PARSE_COMPLETE, |_| {});
}

/// Appends BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    message(out, tag::BIND_COMPLETE, |_| {});
}

/// Appends the ParameterDescription of a statement without parameters.
pub fn no_parameters(out: &mut Vec<u8>) {
    message(out, tag::PARAMETER_DESCRIPTION, |out| {
        out.extend_from_slice(&[0; 2]);
    });
}

/// Appends NoData.
pub fn no_data(out: &mut Vec<u8>) {
    message(out, tag::NO_DATA, |_| {});
}

/// Appends PortalSuspended.
pub fn portal_suspended(out: &mut Vec<u8>) {
    message(out, tag::PORTAL_SUSPENDED, |_| {});
}

/// Appends CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    message(out, tag::CLOSE_COMPLETE, |_| {});
}

/// Appends EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    message(out, tag::EMPTY_QUERY, |_| {});
}

fn authentication(out: &mut Vec<u8>, kind: u32, rest: impl FnOnce(&mut Vec<u8>)) {
    message(out, tag::AUTHENTICATION, |out| {
        out.extend_from_slice(&kind.to_be_bytes());
        rest(out);
    });
}

fn fields(out: &mut Vec<u8>, tag: u8, report: &Report<'_>) {
    let fields = [
        (b'S', Some(report.severity)),
        (b'V', Some(report.severity)),
        (b'C', Some(report.sqlstate)),
        (b'M', Some(report.message)),
        (b'D', report.detail),
        (b'H', report.hint),
    ];
    message(out, tag, |out| {
        for (kind, text) in fields {
            if let Some(text) = text {
                out.push(kind);
                cstr(out, text.as_bytes());
            }
        }
        out.push(0);
    });
}

fn count(len: usize) -> [u8; 2] {
    debug_assert!(len <= i16::MAX as usize, "{len} columns");
    u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes()
}

/// `typlen` of the types that pgskein uses in results of its own.
fn type_len(type_oid: u32) -> i16 {
    match type_oid {
        16 => 1,       // boolean
        21 => 2,       // smallint
        23 | 26 => 4,  // integer, oid
        20 | 701 => 8, // bigint, double precision
        _ => -1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn writes_error_with_both_severities() {
        let report = Report {
            severity: "FATAL",
            sqlstate: "57P01",
            message: "bye",
            detail: None,
            hint: Some("come back"),
        };
        assert_eq!(
            written(|out| error(out, &report)),
            b"E\0\0\0\x2aSFATAL\0VFATAL\0C57P01\0Mbye\0Hcome back\0\0"
        );
        assert_eq!(written(|out| notice(out, &report))[0], b'N');
    }

    #[test]
    fn writes_both_carriers_of_a_request_to_go() {
        assert_eq!(written(go_away), b"\x67\0\0\0\x04");
        assert_eq!(
            written(|out| parameter_status(out, b"disconnect_requested", b"on")),
            b"\x53\0\0\0\x1cdisconnect_requested\0on\0"
        );
    }

    #[test]
    fn writes_key_ready_and_ends_of_queries() {
        assert_eq!(
            written(|out| backend_key_data(out, 0x0102_0304, b"abcd")),
            b"K\0\0\0\x0c\x01\x02\x03\x04abcd"
        );
        assert_eq!(
            written(|out| ready_for_query(out, TransactionStatus::Failed)),
            b"Z\0\0\0\x05E"
        );
        assert_eq!(
            written(|out| command_complete(out, "SHOW")),
            b"C\0\0\0\x09SHOW\0"
        );
        assert_eq!(written(empty_query), b"I\0\0\0\x04");
    }

    #[test]
    fn writes_a_result() {
        let columns = [
            Column {
                name: "a",
                type_oid: 25,
                binary: false,
            },
            Column {
                name: "b",
                type_oid: 23,
                binary: true,
            },
        ];
        assert_eq!(
            written(|out| row_description(out, &columns)),
            b"T\0\0\0\x2e\0\x02\
              a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0\
              b\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\x01"
        );
        assert_eq!(
            written(|out| data_row(out, &[Some(b"x"), None])),
            b"D\0\0\0\x0f\0\x02\0\0\0\x01x\xff\xff\xff\xff"
        );
    }
}

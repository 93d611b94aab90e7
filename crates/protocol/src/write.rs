//! Every message that pgskein itself sends.
//!
//! All functions append one message to `out`. A string that holds a NUL, which
//! no message can carry, is written up to it.
//!
//! Source: PostgreSQL documentation, "Message Formats".

mod backend;
mod frontend;

pub use backend::{
    Column, Report, authentication_cleartext, authentication_md5, authentication_ok,
    authentication_sasl, authentication_sasl_continue, authentication_sasl_final, backend_key_data,
    bind_complete, close_complete, command_complete, data_row, empty_query, error, go_away,
    negotiate, no_data, no_parameters, notice, parameter_status, parse_complete, portal_suspended,
    ready_for_query, row_description,
};
pub use frontend::{
    CancelError, bind_names, cancel_request, close_statement, copy_fail, describe_statement,
    extended_query, parse, password, query, sasl_initial, sasl_response, ssl_request, startup,
    sync, terminate,
};

/// Appends a message with the body that `body` appends.
fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    packet(out, body);
}

/// Appends a length that counts itself, and then the bytes that `body` appends.
fn packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = out.len().saturating_sub(start);
    debug_assert!(length <= i32::MAX as usize, "message of {length} bytes");
    let length = length_field(length);
    if let Some(field) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut::<4>) {
        *field = length;
    }
}

fn length_field(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Appends `string`, up to its first NUL, and a NUL.
fn cstr(out: &mut Vec<u8>, string: &[u8]) {
    let end = memchr::memchr(0, string).unwrap_or(string.len());
    out.extend_from_slice(string.get(..end).unwrap_or(string));
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_strings_up_to_their_first_nul() {
        let mut out = Vec::new();
        query(&mut out, "select 1\0; drop table t");
        assert_eq!(out, b"Q\0\0\0\x0dselect 1\0");
    }

    #[test]
    fn writes_messages_about_prepared_statements() {
        let mut out = Vec::new();
        parse(&mut out, b"s", b"select 1\0\0\0");
        bind_names(&mut out, b"", b"s", 6);
        out.extend_from_slice(&[0; 6]);
        describe_statement(&mut out, b"s");
        close_statement(&mut out, b"s");
        assert_eq!(
            out,
            b"P\0\0\0\x11s\0select 1\0\0\0B\0\0\0\x0d\0s\0\0\0\0\0\0\0D\0\0\0\x07Ss\0C\0\0\0\x07Ss\0"
        );
    }

    #[test]
    fn keeps_what_was_already_written() {
        let mut out = b"before".to_vec();
        sync(&mut out);
        assert_eq!(out, b"beforeS\0\0\0\x04");
    }
}

use proptest::prelude::*;

use super::*;
use crate::write;

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [&length.to_be_bytes(), &code.to_be_bytes(), body].concat()
}

fn session(bytes: &[u8]) -> StartupMessage<'_> {
    match Startup::split(bytes) {
        Ok(Some((Startup::Session(message), []))) => message,
        other => panic!("not a session: {other:?}"),
    }
}

fn refusal(bytes: &[u8]) -> StartupError {
    Startup::split(bytes).unwrap_err()
}

#[test]
fn accepts_session_with_parameters() {
    let bytes = packet(0x0003_0002, b"user\0alice\0database\0shop\0\0");
    let message = session(&bytes);
    assert_eq!(message.version, Version::V3_2);
    assert_eq!(message.parameter(b"user"), Some(&b"alice"[..]));
    assert_eq!(message.parameter(b"database"), Some(&b"shop"[..]));
    assert_eq!(message.parameter(b"options"), None);
    assert_eq!(message.parameters().count(), 2);
}

#[test]
fn accepts_session_without_parameters() {
    assert_eq!(session(&packet(0x0003_0000, b"\0")).parameters().count(), 0);
}

#[test]
fn accepts_empty_value() {
    let bytes = packet(0x0003_0000, b"user\0\0\0");
    assert_eq!(session(&bytes).parameter(b"user"), Some(&b""[..]));
}

#[test]
fn keeps_the_last_of_repeated_parameters() {
    let bytes = packet(0x0003_0000, b"user\0alice\0user\0bob\0\0");
    assert_eq!(session(&bytes).parameter(b"user"), Some(&b"bob"[..]));
}

#[test]
fn waits_for_every_prefix_of_a_packet() {
    let bytes = packet(0x0003_0000, b"user\0alice\0\0");
    for end in 0..bytes.len() {
        assert!(matches!(Startup::split(&bytes[..end]), Ok(None)), "{end}");
    }
}

#[test]
fn keeps_what_follows_a_packet() {
    let bytes = [packet(SSL_REQUEST, b""), b"stuffed".to_vec()].concat();
    assert!(matches!(
        Startup::split(&bytes),
        Ok(Some((Startup::SslRequest, b"stuffed")))
    ));
}

#[test]
fn rejects_length_out_of_range_from_its_first_four_bytes() {
    for length in [0, 1, 3, 4, 7, 10_005, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        assert_eq!(
            refusal(&u32::to_be_bytes(length)),
            StartupError::Length(length)
        );
    }
}

#[test]
fn accepts_the_largest_packet_of_postgresql() {
    let value = vec![b'x'; 10_000 - 4 - b"user\0\0\0".len()];
    let bytes = packet(
        0x0003_0000,
        &[&b"user\0"[..], &value, &b"\0\0"[..]].concat(),
    );
    assert_eq!(bytes.len(), 10_004);
    assert_eq!(session(&bytes).parameter(b"user"), Some(&value[..]));
}

#[test]
fn rejects_bytes_missing_or_trailing_at_the_terminator() {
    let bodies: [&[u8]; 8] = [
        b"",
        b"user",
        b"user\0",
        b"user\0alice",
        b"user\0alice\0",
        b"user\0alice\0\0\0",
        b"user\0alice\0\0database\0shop\0\0",
        b"\0x",
    ];
    for body in bodies {
        let error = refusal(&packet(0x0003_0000, body));
        assert_eq!(error, StartupError::MissingTerminator, "{body:?}");
        assert_eq!(error.sqlstate(), "08P01");
        assert_eq!(
            error.to_string(),
            "invalid startup packet layout: expected terminator as last byte"
        );
    }
}

#[test]
fn rejects_versions_that_are_not_three_with_the_text_of_postgresql() {
    for (word, version) in [(0x0002_0000, "2.0"), (0x0004_0000, "4.0"), (0, "0.0")] {
        let error = refusal(&packet(word, b"user\0alice\0\0"));
        assert_eq!(error.sqlstate(), "0A000");
        assert_eq!(
            error.to_string(),
            format!("unsupported frontend protocol {version}: server supports 3.0 to 3.2")
        );
    }
}

#[test]
fn rejects_version_2_whatever_its_layout() {
    let mut body = [0; 288];
    body[..4].copy_from_slice(b"shop");
    assert_eq!(refusal(&packet(0x0002_0000, &body)).sqlstate(), "0A000");
}

#[test]
fn accepts_cancel_request_with_a_secret_of_1_to_256_bytes() {
    for len in [1, 4, 32, 256] {
        let body = [&[0x01, 0, 0, 9][..], &vec![7; len]].concat();
        let bytes = packet(CANCEL_REQUEST, &body);
        let Ok(Some((Startup::Cancel(request), []))) = Startup::split(&bytes) else {
            panic!("secret of {len} bytes");
        };
        assert_eq!(request.process_id, 0x0100_0009);
        assert_eq!(request.secret, vec![7; len]);
    }
}

#[test]
fn rejects_cancel_request_with_any_other_secret() {
    for len in [0, 257, 1000] {
        let body = [&[0x01, 0, 0, 9][..], &vec![7; len]].concat();
        assert_eq!(
            refusal(&packet(CANCEL_REQUEST, &body)),
            StartupError::CancelSecret(len)
        );
    }
    assert_eq!(
        refusal(&packet(CANCEL_REQUEST, b"\x01\0")),
        StartupError::CancelSecret(0)
    );
}

#[test]
fn rejects_encryption_requests_with_a_body() {
    assert_eq!(
        refusal(&packet(SSL_REQUEST, b"xyz")),
        StartupError::Length(11)
    );
    assert_eq!(
        refusal(&packet(GSSENC_REQUEST, b"x")),
        StartupError::Length(9)
    );
}

#[test]
fn accepts_a_cancel_request_where_nothing_else_may_come() {
    for secret in [&b"abcd"[..], &[7; MAX_SECRET]] {
        let mut body = 258_u32.to_be_bytes().to_vec();
        body.extend_from_slice(secret);
        let bytes = packet(CANCEL_REQUEST, &body);
        for end in 0..bytes.len() {
            assert_eq!(CancelRequest::split(&bytes[..end]), Ok(None), "{end}");
        }
        let request = CancelRequest {
            process_id: 258,
            secret,
        };
        let more = [&bytes[..], b"x"].concat();
        assert_eq!(CancelRequest::split(&more), Ok(Some((request, &b"x"[..]))));
    }
}

#[test]
fn rejects_anything_else_as_soon_as_it_can_be_told() {
    for bytes in [
        &packet(SSL_REQUEST, b"")[..],
        &[0, 0, 1, 0, 0, 3, 0, 0],
        &[0, 0, 0, 16, 0, 3, 0, 0],
        &[0, 0, 1, 13],
        b"GET ",
        &[0, 0, 0, 0],
        &packet(CANCEL_REQUEST, &[0, 0, 0, 1]),
    ] {
        assert!(CancelRequest::split(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn keeps_the_secret_out_of_debug_output() {
    let request = CancelRequest {
        process_id: 1,
        secret: &[201, 202],
    };
    assert!(!format!("{request:?}").contains("201"));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes: Vec<u8>) {
        let _ = (Startup::split(&bytes), CancelRequest::split(&bytes));
    }

    #[test]
    fn never_panics_on_any_body(code in prop_oneof![
        Just(CANCEL_REQUEST), Just(SSL_REQUEST), Just(0x0003_0000), any::<u32>()
    ], body: Vec<u8>) {
        if let Ok(Some((Startup::Session(message), _))) = Startup::split(&packet(code, &body)) {
            prop_assert_eq!(
                message.parameters().map(|(n, v)| n.len() + v.len() + 2).sum::<usize>() + 1,
                body.len()
            );
        }
    }

    #[test]
    fn reads_what_the_writer_wrote(
        minor: u16,
        pairs in prop::collection::vec((b_string(1), b_string(0)), 0..8)
    ) {
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(n, v)| (&n[..], &v[..])).collect();
        let mut bytes = Vec::new();
        write::startup(&mut bytes, Version { major: 3, minor }, &pairs);
        let message = session(&bytes);
        prop_assert_eq!(message.version.minor, minor);
        prop_assert_eq!(message.parameters().collect::<Vec<_>>(), pairs);
    }
}

fn b_string(min: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255_u8, min..20)
}

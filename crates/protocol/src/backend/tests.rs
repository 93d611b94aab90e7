use proptest::prelude::*;

use super::*;
use crate::frame::Frame;
use crate::write;

fn body(bytes: &[u8]) -> &[u8] {
    match Frame::split(bytes, u32::MAX) {
        Ok(Some((frame, []))) => frame.body,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_every_transaction_status_back() {
    for status in [
        TransactionStatus::Idle,
        TransactionStatus::InTransaction,
        TransactionStatus::Failed,
    ] {
        assert_eq!(TransactionStatus::parse(&[status.byte()]), Some(status));
    }
}

#[test]
fn rejects_transaction_status_of_any_other_form() {
    for body in [&b""[..], b"X", b"II", b"i", b"\0"] {
        assert_eq!(TransactionStatus::parse(body), None);
    }
}

#[test]
fn reads_every_authentication_request() {
    type Write = fn(&mut Vec<u8>);
    let cases: [(Write, Authentication<'_>); 6] = [
        (|out| write::authentication_ok(out), Authentication::Ok),
        (
            |out| write::authentication_cleartext(out),
            Authentication::CleartextPassword,
        ),
        (
            |out| write::authentication_md5(out, [1, 2, 3, 4]),
            Authentication::Md5Password { salt: [1, 2, 3, 4] },
        ),
        (
            |out| write::authentication_sasl(out, &["A", "B"]),
            Authentication::Sasl {
                mechanisms: b"A\0B\0\0",
            },
        ),
        (
            |out| write::authentication_sasl_continue(out, b"r=x"),
            Authentication::SaslContinue(b"r=x"),
        ),
        (
            |out| write::authentication_sasl_final(out, b"v=x"),
            Authentication::SaslFinal(b"v=x"),
        ),
    ];
    for (write, expected) in cases {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(Authentication::parse(body(&out)), Some(expected));
    }
}

#[test]
fn names_unknown_authentication_by_its_number() {
    assert_eq!(
        Authentication::parse(b"\0\0\0\x07"),
        Some(Authentication::Other(7))
    );
}

#[test]
fn rejects_authentication_of_wrong_length() {
    for body in [
        &b""[..],
        b"\0\0\0",
        b"\0\0\0\0x",
        b"\0\0\0\x03x",
        b"\0\0\0\x05abc",
        b"\0\0\0\x05abcde",
    ] {
        assert_eq!(Authentication::parse(body), None, "{body:?}");
    }
}

#[test]
fn finds_a_mechanism_by_its_whole_name() {
    let list = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
    assert!(Authentication::offers(list, "SCRAM-SHA-256"));
    assert!(!Authentication::offers(list, "SCRAM"));
    assert!(!Authentication::offers(list, ""));
    assert!(!Authentication::offers(b"SCRAM-SHA-256", "SCRAM-SHA-256"));
    assert!(!Authentication::offers(b"\0X\0", "X"));
}

#[test]
fn reads_the_answer_of_an_older_server() {
    let mut out = Vec::new();
    write::negotiate(&mut out, Version::V3_0, &["_pq_.goaway".to_owned()]);
    let negotiated = Negotiated::parse(body(&out)).unwrap();
    assert_eq!(negotiated.version, Version::V3_0);
    assert_eq!(
        negotiated.unknown().collect::<Vec<_>>(),
        [&b"_pq_.goaway"[..]]
    );
}

#[test]
fn rejects_negotiation_whose_count_is_wrong() {
    for body in [
        &b"\0\x03\0\0"[..],
        b"\0\x03\0\0\0\0\0\x01",
        b"\0\x03\0\0\xff\xff\xff\xffa\0",
        b"\0\x03\0\0\0\0\0\x01a\0b\0",
        b"\0\x03\0\0\0\0\0\0a\0",
    ] {
        assert_eq!(Negotiated::parse(body), None, "{body:?}");
    }
}

#[test]
fn reads_notice_of_a_leaving_server_as_a_parameter() {
    assert_eq!(
        parameter_status(b"disconnect_requested\0on\0"),
        Some((&b"disconnect_requested"[..], &b"on"[..]))
    );
}

#[test]
fn rejects_parameter_without_its_form() {
    for body in [&b""[..], b"a\0", b"a\0b", b"a\0b\0c"] {
        assert_eq!(parameter_status(body), None, "{body:?}");
    }
}

#[test]
fn accepts_key_with_a_secret_of_4_to_256_bytes() {
    for len in [0_usize, 3, 4, 32, 256, 257] {
        let secret = vec![9; len];
        let body = [&[0, 0, 1, 2][..], &secret].concat();
        let expected = (4..=256).contains(&len).then_some((0x102, &secret[..]));
        assert_eq!(backend_key_data(&body), expected, "{len}");
    }
    assert_eq!(backend_key_data(b"\0\0\0"), None);
}

#[test]
fn reads_the_tag_of_a_command() {
    assert_eq!(command_tag(b"SELECT 1\0"), Some(&b"SELECT 1"[..]));
    assert_eq!(command_tag(b"SELECT 1"), None);
    assert_eq!(command_tag(b"SELECT\x001\0"), None);
}

#[test]
fn stops_at_the_fault_of_a_row() {
    let row: Vec<_> = data_row(b"\0\x03\0\0\0\x01a\x7f\xff\xff\xffb").collect();
    assert_eq!(row, [Ok(Some(&b"a"[..])), Err(MalformedRow)]);
    assert_eq!(data_row(b"\0").collect::<Vec<_>>(), [Err(MalformedRow)]);
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(body: Vec<u8>) {
        let _ = TransactionStatus::parse(&body);
        let _ = Authentication::parse(&body);
        let _ = Authentication::offers(&body, "SCRAM-SHA-256");
        let _ = Negotiated::parse(&body).map(|negotiated| negotiated.unknown().count());
        let _ = (parameter_status(&body), backend_key_data(&body), command_tag(&body));
        let _ = data_row(&body).count();
    }

    #[test]
    fn reads_every_row_that_was_written(
        row in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..6)
    ) {
        let values: Vec<Option<&[u8]>> = row.iter().map(Option::as_deref).collect();
        let mut out = Vec::new();
        write::data_row(&mut out, &values);
        let read: Result<Vec<_>, _> = data_row(body(&out)).collect();
        prop_assert_eq!(read, Ok(values));
    }
}

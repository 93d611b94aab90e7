use proptest::prelude::*;

use super::*;

const MAX: usize = 1 << 16;

fn answers(mut bytes: &[u8]) -> Vec<Message<'_>> {
    let mut found = Vec::new();
    while let Some((message, rest)) = Message::split(bytes, MAX).unwrap() {
        found.push(message);
        bytes = rest;
    }
    assert_eq!(bytes, b"");
    found
}

#[test]
fn writes_a_bind() {
    let mut out = Vec::new();
    write_bind(&mut out, 1, b"cn=a", b"secret");
    assert_eq!(
        out,
        b"\x30\x16\x02\x01\x01\x60\x11\x02\x01\x03\x04\x04cn=a\x80\x06secret"
    );
}

#[test]
fn writes_a_search_for_names_only() {
    let mut out = Vec::new();
    let base = (&b"dc=x"[..], Scope::Subtree);
    write_search(&mut out, 2, base, (2, 5), |filter| {
        filter.bytes(0x87, b"uid");
    });
    assert_eq!(
        out,
        b"\x30\x26\x02\x01\x02\x63\x21\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\x02\
          \x02\x01\x05\x01\x01\x00\x87\x03uid\x30\x05\x04\x031.1"
    );
}

#[test]
fn writes_the_request_for_tls_and_the_good_bye() {
    let mut out = Vec::new();
    write_start_tls(&mut out, 1);
    assert_eq!(
        out,
        b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
    );
    out.clear();
    write_unbind(&mut out, 300);
    assert_eq!(out, b"\x30\x06\x02\x02\x01\x2c\x42\x00");
}

#[test]
fn writes_numbers_with_room_for_their_sign() {
    for (value, bytes) in [
        (0, &b"\x02\x01\x00"[..]),
        (127, b"\x02\x01\x7f"),
        (128, b"\x02\x02\x00\x80"),
        (u32::MAX, b"\x02\x05\x00\xff\xff\xff\xff"),
    ] {
        let mut out = Vec::new();
        Writer::new(&mut out).number(ber::INTEGER, value);
        assert_eq!(out, bytes, "{value}");
    }
}

#[test]
fn reads_what_a_directory_answers() {
    let bytes = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00\
        \x30\x13\x02\x01\x02\x64\x0e\x04\x0auid=a,dc=x\x30\x00\
        \x30\x0c\x02\x01\x02\x73\x07\x04\x05ldap:\
        \x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    let found = answers(bytes);
    let outcome = |code| Outcome { code, text: b"" };
    let expected = [
        (1, Answer::Bind(outcome(49))),
        (2, Answer::Entry(b"uid=a,dc=x")),
        (2, Answer::Reference),
        (2, Answer::SearchDone(outcome(0))),
    ];
    assert_eq!(found, expected.map(|(id, answer)| Message { id, answer }));
    assert_eq!(outcome(49).to_string(), "invalid credentials (49)");
    assert!(outcome(0).is_success());
}

#[test]
fn shows_the_text_of_a_directory_without_control_characters() {
    let outcome = Outcome {
        code: 53,
        text: b"no\nway",
    };
    assert_eq!(outcome.to_string(), "unwilling to perform (53): noway");
}

#[test]
fn reads_lengths_of_several_bytes() {
    let dn = vec![b'x'; 300];
    let mut out = Vec::new();
    write_message(&mut out, 7, |message| {
        message.nest(SEARCH_ENTRY, |entry| entry.bytes(ber::OCTETS, &dn));
    });
    assert_eq!(answers(&out)[0].answer, Answer::Entry(&dn));
}

#[test]
fn waits_for_every_prefix_of_a_message() {
    let bytes = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00";
    for end in 0..bytes.len() {
        assert_eq!(Message::split(&bytes[..end], MAX), Ok(None), "{end} bytes");
    }
}

#[test]
fn rejects_what_is_no_message() {
    for bytes in [
        // A length that is not said, one of five bytes, one over the limit.
        &b"\x30\x80\x00\x00"[..],
        b"\x30\x85\x00",
        b"\x30\x84\x7f\xff\xff\xff",
        // Another tag, a negative number, an element longer than what it is in.
        b"\x31\x00",
        b"\x30\x05\x02\x01\xff\x61\x00",
        b"\x30\x05\x02\x01\x01\x61\x09",
        b"\x30\x03\x02\x01\x01",
        // A bind's answer without its texts, a tag of two bytes.
        b"\x30\x08\x02\x01\x01\x61\x03\x0a\x01\x00",
        b"\x1f\x01\x00",
    ] {
        assert_eq!(Message::split(bytes, MAX), Err(Malformed), "{bytes:x?}");
    }
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>) {
        let _ = Message::split(&bytes, MAX);
    }

    #[test]
    fn never_panics_on_what_looks_like_a_message(bytes in "\x30[\0-\x20]{2}\x01[\x01adesx]([\0-\x20\x04]){0,40}") {
        let _ = Message::split(bytes.as_bytes(), MAX);
    }

    #[test]
    fn reads_what_was_written(dn: Vec<u8>, id in 0..u32::MAX) {
        let mut out = Vec::new();
        write_message(&mut out, id, |message| {
            message.nest(SEARCH_ENTRY, |entry| entry.bytes(ber::OCTETS, &dn));
        });
        let found = Message::split(&out, MAX).unwrap().unwrap();
        prop_assert_eq!(found, (Message { id, answer: Answer::Entry(&dn) }, &b""[..]));
    }
}

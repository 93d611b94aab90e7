//! Messages from a client, and a login by SCRAM among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::frontend::{self, Bind, SaslInitial, Statement, Target};
use pgskein_protocol::tag::frontend as tag;
use pgskein_protocol::{Frame, Header, ScramSecret, ScramServer, Secret, write};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    let mut login = ScramServer::new(ScramSecret::mock(b"nobody", b"key"), [7; 18]);
    loop {
        let header = Header::peek(bytes);
        let Ok(Some((frame, rest))) = Frame::split(bytes, MAX) else {
            return;
        };
        let header = header.unwrap().unwrap();
        assert_eq!(
            (header.tag, header.body_len()),
            (frame.tag, frame.body.len())
        );
        assert_eq!(header.total() + rest.len(), bytes.len());
        message(frame, &mut login);
        bytes = rest;
    }
});

fn message(frame: Frame<'_>, login: &mut ScramServer) {
    match frame.tag {
        tag::PASSWORD => {
            if let Some(initial) = SaslInitial::parse(frame.body) {
                assert!(
                    initial
                        .data
                        .is_none_or(|data| data.len() < frame.body.len())
                );
                let _ = login.first(initial.data.unwrap_or_default());
            }
            let _ = login.last(frame.body);
            if let Some(password) = frontend::password(frame.body) {
                let text = String::from_utf8_lossy(password);
                secret(&Secret::parse(&text), password);
            }
        }
        tag::QUERY => {
            let _ = frontend::query(frame.body);
        }
        tag::PARSE => {
            if let Some(parse) = Statement::parse(frame.body) {
                assert!(Statement::text(parse.tail).len() < parse.tail.len());
                written(frame, |out| write::parse(out, parse.name, parse.tail));
            }
        }
        tag::BIND => {
            if let Some(bind) = Bind::parse(frame.body) {
                let (_, rest) = frame.body.split_at(bind.names_len());
                written(frame, |out| {
                    write::bind_names(out, bind.portal, bind.statement, rest.len());
                    out.extend_from_slice(rest);
                });
            }
        }
        tag::DESCRIBE => {
            if let Some(Target::Statement(name)) = Target::parse(frame.body) {
                written(frame, |out| write::describe_statement(out, name));
            }
        }
        tag::CLOSE => {
            if let Some(Target::Statement(name)) = Target::parse(frame.body) {
                written(frame, |out| write::close_statement(out, name));
            }
        }
        _ => {}
    }
}

/// What was read is written as it was.
fn written(frame: Frame<'_>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    let (again, rest) = Frame::split(&out, u32::MAX).unwrap().unwrap();
    assert_eq!((again, rest), (frame, &[][..]));
}

/// A password that is the text of a secret, checked against itself.
fn secret(secret: &Secret, text: &[u8]) {
    match secret {
        Secret::Plain(plain) if !plain.is_empty() => {
            assert!(secret.accepts_password(b"alice", plain.as_bytes()));
        }
        Secret::Scram(scram) => {
            assert_eq!(ScramSecret::parse(&scram.to_string()).as_ref(), Some(scram));
        }
        Secret::Plain(_) | Secret::Md5(_) => {
            assert!(!secret.accepts_password(b"alice", text));
        }
    }
    let _ = secret.accepts_md5(b"alice", [1, 2, 3, 4], text);
}

/// The longest message that is read whole, in bytes.
const MAX: u32 = 1 << 20;

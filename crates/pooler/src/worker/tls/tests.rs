//! Tests of TLS on a stream.

use std::collections::VecDeque;

use pgskein_config::{Config, SslMode};

use super::*;
use crate::tls::Secured;

/// A socket whose other side says what it was given, and no more.
#[derive(Default)]
struct Other {
    says: VecDeque<u8>,
    heard: Vec<u8>,
}

impl Read for Other {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.says.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.says.read(bytes)
    }
}

impl Write for Other {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn asking(required: bool) -> Tls {
    let mut config = Config::default();
    config.settings.server_tls_sslmode = SslMode::Prefer;
    let secured = Secured::of(&config).unwrap();
    let config = secured.to_servers(SslMode::Prefer).unwrap().unwrap();
    let opening = if required {
        Opening::Demanded
    } else {
        Opening::Asked
    };
    Tls::open(
        Arc::clone(config),
        "db.example".try_into().unwrap(),
        opening,
    )
    .unwrap()
}

fn answered(required: bool, answer: &[u8]) -> (Tls, Other, io::Error) {
    let (mut tls, mut other) = (asking(required), Other::default());
    let refused = tls.write(&mut other, b"startup").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::WouldBlock);
    assert_eq!(other.heard, [0, 0, 0, 8, 4, 210, 22, 47]);
    other.heard.clear();
    other.says.extend(answer);
    let error = tls.read(&mut other, &mut [0; 64]).unwrap_err();
    (tls, other, error)
}

#[test]
fn begins_where_the_server_takes_part() {
    let (tls, other, error) = answered(true, b"S");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(!tls.is_declined());
    assert_eq!(other.heard.first(), Some(&0x16), "a ClientHello");
}

#[test]
fn goes_on_without_where_the_server_declines() {
    let (mut tls, mut other, error) = answered(false, b"Nhello");
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(tls.is_declined());
    let mut bytes = [0; 64];
    assert_eq!(tls.read(&mut other, &mut bytes).unwrap(), 5);
    assert_eq!(tls.write(&mut other, b"startup").unwrap(), 7);
    assert_eq!(other.heard, b"startup");
}

#[test]
fn refuses_what_is_not_encrypted_where_it_has_to_be() {
    let (_, _, error) = answered(true, b"N");
    assert_eq!(error.to_string(), "server does not support SSL");
    let (_, _, error) = answered(false, b"E\0\0\0\x20SFATAL");
    assert_eq!(
        error.to_string(),
        "server sent an error response during SSL exchange"
    );
}

/// CVE-2021-23222.
#[test]
fn takes_nothing_behind_the_answer_for_something_encrypted() {
    let (mut tls, mut other, _) = answered(true, b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
    let error = tls.read(&mut other, &mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

//! Messages from a server, and our login to it by SCRAM among them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::backend::{self, Negotiated};
use pgskein_protocol::scram::ScramKeys;
use pgskein_protocol::tag::backend as tag;
use pgskein_protocol::{
    Authentication, Bid, ErrorFields, Frame, Header, ScramClient, TransactionStatus, Version, md5,
};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    let keys = ScramKeys::of_client_key([1; 32], [2; 32]);
    let mut login = ScramClient::new(keys.into(), [7; 18]);
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

fn message(Frame { tag, body }: Frame<'_>, login: &mut ScramClient) {
    match tag {
        tag::AUTHENTICATION => authentication(body, login),
        tag::ERROR | tag::NOTICE => fields(ErrorFields::parse(body)),
        tag::PARAMETER_STATUS => {
            if let Some((name, value)) = backend::parameter_status(body) {
                assert_eq!(name.len() + value.len() + 2, body.len());
            }
        }
        tag::BACKEND_KEY_DATA => {
            if let Some((_, secret)) = backend::backend_key_data(body) {
                assert!((4..=256).contains(&secret.len()));
            }
        }
        tag::READY_FOR_QUERY => {
            if let Some(status) = TransactionStatus::parse(body) {
                assert_eq!(body, [status.byte()]);
            }
        }
        tag::NEGOTIATE => {
            if let Some(negotiated) = Negotiated::parse(body) {
                assert!(negotiated.unknown().count() <= body.len());
            }
            let mut bid = Bid::newest();
            if bid.on_negotiate(body).is_ok() {
                assert!(bid.version() < Version::V3_2 || !bid.goaway());
                assert!(bid.on_negotiate(body).is_err());
            }
        }
        tag::DATA_ROW => {
            let size: usize = backend::data_row(body)
                .flatten()
                .flatten()
                .map(<[u8]>::len)
                .sum();
            assert!(size <= body.len());
        }
        tag::COMMAND_COMPLETE => {
            let _ = backend::command_tag(body);
        }
        _ => {}
    }
}

fn authentication(body: &[u8], login: &mut ScramClient) {
    match Authentication::parse(body) {
        Some(Authentication::Md5Password { salt }) => {
            let secret = md5::md5_secret(b"secret", b"alice");
            assert_eq!(md5::md5_response(&secret, salt).len(), 35);
        }
        Some(Authentication::Sasl { mechanisms }) => {
            let _ = Authentication::offers(mechanisms, "SCRAM-SHA-256");
        }
        Some(Authentication::SaslContinue(data)) => {
            let _ = login.last(data);
        }
        Some(Authentication::SaslFinal(data)) => {
            let _ = login.verify(data);
        }
        _ => {}
    }
}

fn fields(fields: ErrorFields<'_>) {
    assert!(fields.sqlstate().is_none_or(|state| state.len() == 5));
    let _ = (
        fields.severity(),
        fields.message(),
        fields.detail(),
        fields.hint(),
    );
}

/// The longest message that is read whole, in bytes.
const MAX: u32 = 1 << 20;

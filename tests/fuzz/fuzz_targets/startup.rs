//! The packets before a session, and everything that is read from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::backend::Negotiated;
use pgskein_protocol::key::{CancelKey, hops, peer_id_of_process_id, with_hops};
use pgskein_protocol::{
    CancelRequest, Frame, Negotiation, Slot, Startup, StartupMessage, parse_options, write,
};

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes;
    while let Ok(Some((packet, rest))) = Startup::split(bytes) {
        let used = &bytes[..bytes.len() - rest.len()];
        match packet {
            Startup::Session(message) => session(&message, used),
            Startup::Cancel(request) => cancel(request, used),
            Startup::SslRequest | Startup::GssEncRequest => assert_eq!(used.len(), 8),
        }
        bytes = rest;
    }
});

fn session(message: &StartupMessage<'_>, used: &[u8]) {
    let parameters: Vec<_> = message.parameters().collect();
    let mut written = Vec::new();
    write::startup(&mut written, message.version, &parameters);
    assert_eq!(written, used, "the writer writes what the parser accepts");

    let options = message.parameter(b"options").unwrap_or_default();
    if let Ok(options) = std::str::from_utf8(options) {
        let settings = parse_options(options).unwrap_or_default();
        assert!(settings.iter().all(|(name, _)| !name.is_empty()));
    }
    match Negotiation::of(message) {
        Ok(negotiation) => negotiated(&negotiation),
        Err(refusal) => assert_eq!(refusal.sqlstate(), "08P01"),
    }
}

fn negotiated(negotiation: &Negotiation) {
    let mut reply = Vec::new();
    negotiation.write(&mut reply);
    let (frame, rest) = Frame::split(&reply, u32::MAX).unwrap().unwrap();
    assert!(rest.is_empty());
    let read = Negotiated::parse(frame.body).unwrap();
    assert_eq!(read.version, negotiation.version);
    assert!(
        read.unknown()
            .eq(negotiation.unknown.iter().map(String::as_bytes))
    );
}

fn cancel(request: CancelRequest<'_>, used: &[u8]) {
    let CancelRequest { process_id, secret } = request;
    let _ = (
        Slot::of_process_id(process_id),
        peer_id_of_process_id(process_id),
    );
    if let Some(left) = hops(secret) {
        assert_eq!(with_hops(secret, left), secret);
    }
    for counted in [false, true] {
        if let Some(key) = CancelKey::from_parts(process_id, secret, counted) {
            assert!(key.matches(secret));
        }
    }
    let mut written = Vec::new();
    if write::cancel_request(&mut written, process_id, secret).is_ok() {
        assert_eq!(written, used);
    }
}

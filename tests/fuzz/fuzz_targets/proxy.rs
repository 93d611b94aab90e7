//! The header of a proxy, whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::proxy::{MAX_PROXY_HEADER, ProxyHeader};

fuzz_target!(|bytes: &[u8]| {
    let whole = ProxyHeader::split(bytes);
    // The first prefix that is enough says what all longer ones say.
    for end in 0..=bytes.len().min(MAX_PROXY_HEADER) {
        match ProxyHeader::split(&bytes[..end]) {
            Ok(None) => {}
            Ok(Some((header, rest))) => {
                assert!(rest.is_empty(), "a shorter prefix was enough");
                assert_eq!(whole, Ok(Some((header, &bytes[end..]))));
                return;
            }
            Err(error) => {
                assert_eq!(whole, Err(error));
                return;
            }
        }
    }
    assert!(bytes.len() < MAX_PROXY_HEADER, "it must be over by now");
});

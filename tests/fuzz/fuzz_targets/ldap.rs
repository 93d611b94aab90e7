//! What a directory says to a login, whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::ldap::Message;

fuzz_target!(|bytes: &[u8]| {
    let whole = Message::split(bytes, MAX);
    // The first prefix that is enough says what all longer ones say.
    for end in 0..=bytes.len() {
        match Message::split(&bytes[..end], MAX) {
            Ok(None) => {}
            Ok(Some((message, rest))) => {
                assert!(rest.is_empty(), "a shorter prefix was enough");
                assert_eq!(whole, Ok(Some((message, &bytes[end..]))));
                return;
            }
            Err(error) => {
                assert_eq!(whole, Err(error));
                return;
            }
        }
    }
});

/// Longest message, in bytes.
const MAX: usize = 4096;

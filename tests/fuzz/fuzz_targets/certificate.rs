//! What is read of certificates: their names, and what they are hashed by.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_protocol::{common_name, tls_server_end_point};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(name) = common_name(bytes) {
        assert!(!name.is_empty() && !name.contains('\0'));
    }
    let hash = tls_server_end_point(bytes);
    assert!(hash.is_none_or(|hash| matches!(hash.len(), 28 | 32 | 48 | 64)));
});

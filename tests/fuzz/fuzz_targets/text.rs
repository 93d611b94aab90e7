//! The text of a Query, whole and in pieces.
//!
//! The first byte says how long the pieces are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgskein_pool::text::{Classes, Scanner, classes, deallocated};

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, text)) = bytes.split_first() else {
        return;
    };
    let whole = classes(text, &followed);
    let mut scanner = Scanner::new();
    for piece in text.chunks(usize::from(length).max(1)) {
        scanner.feed(piece, &followed);
    }
    let pieces = scanner.finish();
    // What nobody can tell needs no telling in a text that is harmless at a glance.
    assert!(pieces == whole || pieces == Classes::ALL);
    if deallocated(text).is_some() {
        assert_eq!(whole, Classes::NONE);
    }
});

fn followed(name: &[u8]) -> Option<u32> {
    name.eq_ignore_ascii_case(b"TimeZone").then_some(3)
}

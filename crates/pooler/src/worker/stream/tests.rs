//! Tests of streams.

use std::io::{Read, Write};

use super::*;

fn pair() -> (Stream, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let socket = Socket::Unix(mio::net::UnixStream::from_std(ours));
    (Stream::new(socket), theirs)
}

#[test]
fn reads_behind_what_was_left() {
    let (mut stream, mut theirs) = pair();
    theirs.write_all(b"def").unwrap();
    let mut inbox = b"abc".to_vec();
    let mut scratch = [0; 64];
    let Filled::Scratch(6) = stream.fill(&mut inbox, &mut scratch).unwrap() else {
        panic!("not in the scratch buffer");
    };
    assert_eq!(&scratch[..6], b"abcdef");
    assert!(inbox.is_empty());
}

#[test]
fn grows_a_long_inbox() {
    let (mut stream, mut theirs) = pair();
    theirs.write_all(b"def").unwrap();
    let mut inbox = vec![b'x'; 60];
    let Filled::Inbox(bytes) = stream.fill(&mut inbox, &mut [0; 64]).unwrap() else {
        panic!("not in the inbox");
    };
    assert_eq!(bytes.len(), 63);
}

#[test]
fn keeps_the_inbox_when_nothing_comes() {
    let (mut stream, _theirs) = pair();
    let mut inbox = b"abc".to_vec();
    let filled = stream.fill(&mut inbox, &mut [0; 64]).unwrap();
    assert!(matches!(filled, Filled::Nothing));
    assert!(!stream.readable());
    assert_eq!(inbox, b"abc");
}

#[test]
fn keeps_what_the_socket_does_not_take_and_forgets_it_when_it_does() {
    let (mut stream, mut theirs) = pair();
    let mut outbox = Outbox::default();
    let bytes = vec![7; 1 << 20];
    outbox.send(&mut stream, &bytes).unwrap();
    assert!(!outbox.is_empty());
    let mut received = 0;
    let mut scratch = vec![0; 1 << 16];
    while received < bytes.len() {
        received += theirs.read(&mut scratch).unwrap();
        stream.writable = true;
        outbox.flush(&mut stream).unwrap();
    }
    assert!(outbox.is_empty());
    assert_eq!(outbox.bytes.capacity(), 0);
}

//! Tokens: by what connections are known to the poll, and as which numbers they
//! are written down.

use std::io;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};

/// A token as a number that is carried.
pub(super) fn number_of(token: Token) -> u32 {
    u32::try_from(token.0).unwrap_or(u32::MAX)
}

/// The token that was written down as this number.
pub(super) fn token_of(number: u32) -> Token {
    Token(number as usize)
}

/// Wakes when the connection can be read or written.
pub(super) fn register(poll: &Poll, connection: &impl AsRawFd, token: Token) -> io::Result<()> {
    let both = Interest::READABLE | Interest::WRITABLE;
    let fd = connection.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), token, both)
}

/// Wakes when there is something to accept or to take.
pub(super) fn register_listener(
    poll: &Poll,
    listener: &impl AsRawFd,
    token: Token,
) -> io::Result<()> {
    let fd = listener.as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), token, Interest::READABLE)
}

/// Wakes no more for a connection that is closed next.
pub(super) fn deregister(poll: &Poll, connection: &impl AsRawFd) {
    let fd = connection.as_raw_fd();
    let _closed_next = poll.registry().deregister(&mut SourceFd(&fd));
}

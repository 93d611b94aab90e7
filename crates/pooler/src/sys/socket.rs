//! Socket options that no package knows.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// Has the kernel hand over connections only when their first bytes are there.
///
/// # Errors
///
/// The error of `setsockopt(2)`.
///
/// Source: tcp(7), `TCP_DEFER_ACCEPT`.
pub(crate) fn defer_accept(listener: BorrowedFd<'_>) -> io::Result<()> {
    // PgBouncer's value, in seconds; the kernel makes it a number of
    // retransmissions.
    let seconds: libc::c_int = 1;
    // SAFETY: the kernel reads one `int`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            INT_LEN,
        )
    };
    Errno::result(result)?;
    Ok(())
}

const INT_LEN: libc::socklen_t = 4;

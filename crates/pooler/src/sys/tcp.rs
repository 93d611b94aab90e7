//! What the kernel knows of a connection.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

/// Bytes that have arrived and were not read yet.
///
/// # Errors
///
/// The error of `ioctl(2)`.
pub(crate) fn unread(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int`, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    Errno::result(result)?;
    Ok(usize::try_from(bytes).unwrap_or_default())
}

/// The kernel's estimate of the round-trip time; `None` where there is none,
/// as on unix sockets.
///
/// Source: tcp(7), `TCP_INFO`.
pub(crate) fn round_trip_time(socket: &impl AsRawFd) -> Option<Duration> {
    let info = tcp_info(socket.as_raw_fd())?;
    Some(Duration::from_micros(info.tcpi_rtt.into()))
}

fn tcp_info(socket: RawFd) -> Option<libc::tcp_info> {
    // SAFETY: the structure is made of integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes into `info`, and what
    // it wrote into `length`; both live until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn counts_unread_bytes_and_knows_the_round_trip_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        assert_eq!(unread(&theirs).unwrap(), 0);
        ours.write_all(b"abc").unwrap();
        while unread(&theirs).unwrap() < 3 {}
        assert!(round_trip_time(&theirs).is_some());
    }

    #[test]
    fn knows_no_round_trip_time_of_a_unix_socket() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(round_trip_time(&one), None);
    }
}

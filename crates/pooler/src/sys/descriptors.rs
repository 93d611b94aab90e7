//! Descriptors: received from another process, and closed after a fork.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// Reads from a unix socket, with the descriptors that come along.
///
/// Returns the number of bytes, 0 at the end of the stream. Received
/// descriptors are added to `descriptors` and are close-on-exec.
///
/// # Errors
///
/// The error of `recvmsg(2)`; `InvalidData` when descriptors were lost, which
/// happens when this process has no room for them.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    descriptors: &mut impl Extend<OwnedFd>,
) -> io::Result<usize> {
    let message = receive_message(socket, bytes)?;
    if message.lost {
        return Err(io::ErrorKind::InvalidData.into());
    }
    descriptors.extend(message.descriptors);
    Ok(message.length)
}

/// What one read of a unix socket has given.
///
/// The kernel ends a read with the bytes that descriptors were sent with, so
/// that those of two writes never come together.
///
/// Source: unix(7), "Ancillary messages".
#[derive(Debug)]
pub(crate) struct Message {
    /// So many bytes, 0 at the end of the stream.
    pub length: usize,
    /// What came along; close-on-exec.
    pub descriptors: Vec<OwnedFd>,
    /// There were more, for which this process has no room.
    pub lost: bool,
}

/// Reads from a unix socket without waiting.
///
/// # Errors
///
/// The error of `recvmsg(2)`.
pub(crate) fn receive_message(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Message> {
    let mut space = [0_u64; CONTROL_WORDS];
    let mut slice = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: the structure is made of integers and pointers, for which zero is
    // a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut slice;
    header.msg_iovlen = 1;
    header.msg_control = space.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&space);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: all that the header points to lives until the end of this
    // function, and is as long as it says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
    let length = usize::try_from(Errno::result(length)?).unwrap_or_default();
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled in the header and what it points to.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !control.is_null() {
        // SAFETY: the kernel has written a whole control message there, and
        // those macros stay within what it has written.
        let (message, data, next) = unsafe {
            let next = libc::CMSG_NXTHDR(&raw const header, control);
            (control.read_unaligned(), libc::CMSG_DATA(control), next)
        };
        control = next;
        if (message.cmsg_level, message.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            continue;
        }
        // SAFETY: it computes a length and touches nothing.
        let before = unsafe { libc::CMSG_LEN(0) } as usize;
        let count = message.cmsg_len.saturating_sub(before) / size_of::<RawFd>();
        for place in 0..count {
            // SAFETY: the data of this message are so many descriptors, which
            // the kernel has just made for us; nobody else knows their numbers.
            let fd = unsafe {
                let fd = data.cast::<RawFd>().add(place).read_unaligned();
                OwnedFd::from_raw_fd(fd)
            };
            descriptors.push(fd);
        }
    }
    Ok(Message {
        length,
        descriptors,
        lost: header.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// A descriptor that the service manager has left to this process.
#[derive(Debug)]
pub(crate) struct PassedDescriptor {
    pub fd: OwnedFd,
    /// What it is called there.
    pub name: String,
}

/// Takes the descriptors that the service manager has left to this process, and
/// what the environment says of them.
///
/// For the very beginning of the program: before anything else is opened, and
/// before the first thread.
///
/// # Errors
///
/// What the environment says makes no sense, or is not true.
///
/// Source: sd_listen_fds(3).
pub(crate) fn take_passed() -> io::Result<Vec<PassedDescriptor>> {
    // SAFETY: there is one thread, so nobody reads the environment meanwhile.
    let passed = unsafe { sd_notify::listen_fds_with_names_and_unset_env() }?;
    let owned = passed.map(|(fd, name)| {
        // SAFETY: whoever has started this process has opened it for us, and
        // nothing here was opened yet that could have its number.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        PassedDescriptor { fd, name }
    });
    Ok(owned.collect())
}

/// Closes every descriptor of this process that is not in `keep`.
///
/// For a child right after the fork, which shares its descriptor numbers with
/// values of its parent that it will never use or drop.
///
/// # Errors
///
/// The error of `close_range(2)`.
pub(crate) fn close_all_but(mut keep: Vec<RawFd>) -> io::Result<()> {
    keep.sort_unstable();
    let mut first: RawFd = 0;
    for fd in keep {
        if fd > first {
            close_range(first, fd.saturating_sub(1))?;
        }
        first = first.max(fd.saturating_add(1));
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: the call touches no memory. The descriptors it closes belong to
    // values that the caller promised never to use again.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(result)?;
    Ok(())
}

/// Most descriptors that one message can carry, the kernel's `SCM_MAX_FD`.
pub(crate) const MAX_DESCRIPTORS: usize = 253;

/// Room for the header of a control message and so many descriptors.
const CONTROL_WORDS: usize = 2 + MAX_DESCRIPTORS.div_ceil(2);

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

    use super::*;

    fn send(socket: &UnixStream, bytes: &[u8], descriptors: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(descriptors)];
        let control = if descriptors.is_empty() {
            &[]
        } else {
            &rights[..]
        };
        let slices = [IoSlice::new(bytes)];
        let flags = MsgFlags::empty();
        sendmsg::<()>(socket.as_raw_fd(), &slices, control, flags, None).unwrap();
    }

    #[test]
    fn ends_a_read_where_descriptors_were_sent() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut file, copy) = UnixStream::pair().unwrap();
        send(&one, b"ab", &[]);
        send(&one, b"cd", &[copy.as_raw_fd(); 2]);
        send(&one, b"ef", &[copy.as_raw_fd(); 3]);
        send(&one, b"gh", &[]);
        let mut bytes = [0; 64];
        let mut counts = Vec::new();
        let mut last = None;
        let mut all = Vec::new();
        while all.len() < 8 {
            let message = receive_message(other.as_fd(), &mut bytes).unwrap();
            all.extend_from_slice(&bytes[..message.length]);
            assert!(!message.lost);
            if !message.descriptors.is_empty() {
                counts.push(message.descriptors.len());
            }
            last = message.descriptors.into_iter().next().or(last);
        }
        assert_eq!((&all[..], &counts[..]), (&b"abcdefgh"[..], &[2, 3][..]));
        file.write_all(b"x").unwrap();
        let mut received = UnixStream::from(last.unwrap());
        let mut byte = [0];
        received.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn carries_as_many_as_the_kernel_lets_travel_together() {
        let (one, other) = UnixStream::pair().unwrap();
        send(&one, b"x", &[one.as_raw_fd(); MAX_DESCRIPTORS]);
        let message = receive_message(other.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((message.descriptors.len(), message.lost), (253, false));
    }

    /// The limit is that of a process, so it is one of its own that has it.
    #[test]
    fn says_that_there_is_no_room_for_all_and_keeps_none_that_nobody_knows() {
        const ALONE: &str = "PGSKEIN_TEST_OF_DESCRIPTORS";
        if std::env::var_os(ALONE).is_none() {
            let name = "sys::descriptors::tests::\
                        says_that_there_is_no_room_for_all_and_keeps_none_that_nobody_knows";
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name])
                .env(ALONE, "1")
                .status();
            assert!(status.unwrap().success());
            return;
        }
        let (one, other) = UnixStream::pair().unwrap();
        let next = one.try_clone().unwrap();
        let free = u64::try_from(next.as_raw_fd()).unwrap();
        drop(next);
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, free + 1, hard).unwrap();
        for _ in 0..3 {
            send(&one, b"x", &[one.as_raw_fd(); 2]);
            let message = receive_message(other.as_fd(), &mut [0; 8]).unwrap();
            assert_eq!((message.length, message.lost), (1, true));
            assert_eq!(message.descriptors.len(), 1);
        }
    }

    #[test]
    fn says_the_end_of_the_stream_and_that_nothing_has_come() {
        let (one, other) = UnixStream::pair().unwrap();
        let error = receive_message(other.as_fd(), &mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(one);
        let message = receive_message(other.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!(message.length, 0);
    }
}

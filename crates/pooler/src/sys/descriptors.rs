//! Descriptors: received from another process, and closed after a fork.

use std::io;
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

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
    let mut space = cmsg_space!([RawFd; MAX_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            descriptors.extend(received.into_iter().map(|fd| {
                // SAFETY: the kernel has just made this descriptor for us and
                // nobody else knows its number.
                unsafe { OwnedFd::from_raw_fd(fd) }
            }));
        }
    }
    if message.flags.contains(MsgFlags::MSG_CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(message.bytes)
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

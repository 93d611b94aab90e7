//! Memory that all processes of the group see.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Maps the first `words` words of the memory behind `fd`.
///
/// The mapping is shared, also with processes forked later, and lasts until
/// the process ends. The memory must be at least `words` * 8 bytes long and is
/// never made shorter: the caller seals it against that.
///
/// # Errors
///
/// The error of `mmap(2)`; `EINVAL` for no words.
pub(crate) fn map(fd: impl AsFd, words: usize) -> io::Result<&'static [AtomicU64]> {
    let length = words
        .checked_mul(size_of::<AtomicU64>())
        .and_then(NonZeroUsize::new)
        .ok_or(io::ErrorKind::InvalidInput)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses a free range, so no memory in use is replaced.
    let start = unsafe { mmap(None, length, access, MapFlags::MAP_SHARED, fd, 0) }?;
    // SAFETY: the range is `words` words long, aligned to a page, readable,
    // writable and never unmapped. Every bit pattern is an AtomicU64, and all
    // processes use it through atomics only.
    Ok(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), words) })
}

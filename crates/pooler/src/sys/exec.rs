//! Another program in the place of this one, and the descriptors it inherits.
//!
//! Source: execve(2), `FD_CLOEXEC` in fcntl(2).

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::execv;

/// Descriptors that this program has inherited by name; each has one owner.
#[derive(Debug)]
pub(crate) struct Inherited(BTreeSet<RawFd>);

impl Inherited {
    /// Claims the descriptors with these numbers, which are close-on-exec from
    /// then on.
    ///
    /// To be called once, before this program has opened any descriptor itself:
    /// nobody else in it can have one of these.
    ///
    /// # Errors
    ///
    /// `InvalidData` when one is named twice; the error of `fcntl(2)`, which is
    /// `EBADF` for a number that is not open.
    pub(crate) fn claim(numbers: impl IntoIterator<Item = RawFd>) -> io::Result<Self> {
        let mut claimed = BTreeSet::new();
        for number in numbers {
            if number < 0 || !claimed.insert(number) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            set_close_on_exec(number, true)?;
        }
        Ok(Self(claimed))
    }

    /// Another descriptor of what one of these stands for.
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not claimed, or is owned; the error of `fcntl(2)`.
    pub(crate) fn duplicate(&self, number: RawFd) -> io::Result<OwnedFd> {
        let number = self.0.get(&number).ok_or(io::ErrorKind::NotFound)?;
        // SAFETY: by `claim` it is open, and nobody can close it before it is
        // taken, which needs `&mut self`.
        unsafe { BorrowedFd::borrow_raw(*number) }.try_clone_to_owned()
    }

    /// Takes a descriptor back that stays open without an owner.
    pub(crate) fn give_back(&mut self, descriptor: OwnedFd) {
        self.0.insert(descriptor.into_raw_fd());
    }

    /// The one owner of a descriptor; `None` if it was not claimed, or is owned.
    pub(crate) fn take(&mut self, number: RawFd) -> Option<OwnedFd> {
        self.0.remove(&number).then(|| {
            // SAFETY: by `claim` it is open and nobody owned it, and from now on
            // nobody else can.
            unsafe { OwnedFd::from_raw_fd(number) }
        })
    }
}

/// Sets whether a descriptor is closed when another program is executed.
///
/// # Errors
///
/// The error of `fcntl(2)`.
pub(crate) fn set_close_on_exec(number: RawFd, closed: bool) -> io::Result<()> {
    let flags = if closed {
        FdFlag::FD_CLOEXEC
    } else {
        FdFlag::empty()
    };
    if number < 0 {
        return Err(nix::errno::Errno::EBADF.into());
    }
    // SAFETY: it is not -1, it is used for this one call, which reports one that
    // is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(descriptor, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Executes the program at `path` in the place of this one; returns only if
/// that cannot be done.
pub(crate) fn execute<'a>(
    path: &Path,
    arguments: impl IntoIterator<Item = &'a OsStr>,
) -> io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::from);
    let arguments = arguments.into_iter().map(text);
    let result = text(path.as_os_str()).and_then(|path| {
        let arguments: Vec<CString> = arguments.collect::<io::Result<_>>()?;
        match execv(&path, &arguments) {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        }
    });
    match result {
        Ok(()) => io::ErrorKind::Other.into(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn gives_each_descriptor_to_one_owner() {
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let number = one.into_raw_fd();
        let mut inherited = Inherited::claim([number]).unwrap();
        assert!(inherited.take(other.as_raw_fd()).is_none());
        assert!(inherited.take(number).is_some());
        assert!(inherited.take(number).is_none());
    }

    #[test]
    fn rejects_what_is_not_open_and_what_is_named_twice() {
        assert!(Inherited::claim([i32::MAX]).is_err());
        assert!(Inherited::claim([-1]).is_err());
        assert!(Inherited::claim([2, 2]).is_err());
    }

    #[test]
    fn reports_what_cannot_be_executed() {
        let error = execute(Path::new("/nowhere/pgskein"), []);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

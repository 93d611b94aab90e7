//! A mark: which file it was.
//!
//! The group notes that of its unix socket in its folder. When a later group
//! finds that the socket still answers, the note tells whether it is that of the
//! workers which are left, or somebody else's.
//!
//! Format, version 1: `1 DEVICE INODE SECONDS NANOSECONDS`, the last two of the
//! modification time, with a line feed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which file it was, however it is called now.
///
/// The number of a file that is gone may be given to another one, but not with
/// the same time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    device: u64,
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Mark {
    /// That of the file at `path`.
    ///
    /// # Errors
    ///
    /// The error of `lstat(2)`.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::symlink_metadata(path)?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            seconds: found.mtime(),
            nanoseconds: found.mtime_nsec(),
        })
    }

    /// Whether the file at `path` is the one.
    pub(super) fn is_of(self, path: &Path) -> bool {
        Self::of(path).is_ok_and(|now| now == self)
    }

    /// What was noted in the folder of the group, if anything was.
    pub(super) fn noted(runtime_dir: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(file(runtime_dir)).ok()?)
    }

    /// Notes it in the folder of the group.
    ///
    /// # Errors
    ///
    /// The error of the system call that failed.
    pub(super) fn note(self, runtime_dir: &Path) -> io::Result<()> {
        fs::write(file(runtime_dir), self.text())
    }

    pub(super) fn text(self) -> String {
        let Self {
            device,
            inode,
            seconds,
            nanoseconds,
        } = self;
        format!("{VERSION} {device} {inode} {seconds} {nanoseconds}\n")
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        if words.next() != Some(VERSION) {
            return None;
        }
        let mark = Self {
            device: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
            seconds: words.next()?.parse().ok()?,
            nanoseconds: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(mark)
    }
}

fn file(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("unix_socket")
}

const VERSION: &str = "1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_version_1_wrote() {
        let mark = Mark {
            device: 2049,
            inode: 131_073,
            seconds: 1_763_800_000,
            nanoseconds: 42,
        };
        let text = "1 2049 131073 1763800000 42\n";
        assert_eq!(mark.text(), text);
        assert_eq!(Mark::parse(text), Some(mark));
    }

    #[test]
    fn rejects_what_is_cut_off_or_of_another_version() {
        for text in [
            "",
            "1 2 3 4 5",
            "1 2 3 4\n",
            "2 1 2 3 4\n",
            "1 2 3 4 5 6\n",
            "1 2 3 4 x\n",
        ] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }
}

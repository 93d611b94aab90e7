//! A descriptor that lines are written to, without ever waiting for it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use log::Level;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

use super::line::{Text, push_line};

/// One place where lines go.
#[derive(Debug)]
pub(crate) struct Sink {
    output: Output,
    /// Lines since the last one that could be written.
    lost: u64,
}

/// What kind of file is written to, because each has its own way not to block.
#[derive(Debug)]
enum Output {
    /// A file of our own: a regular file, which takes everything, or a pipe
    /// with a description that does not block and is shared with nobody else.
    Own(File),
    /// Standard error as a socket.
    Socket,
    /// Standard error as a terminal, a regular file or anything else: its
    /// description is shared with other programs, so it has to stay as it is.
    Shared,
}

impl Sink {
    /// The log file at `path`, which is made if there is none.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(OFlag::O_NONBLOCK.bits() | OFlag::O_NOCTTY.bits())
            .open(path)?;
        Ok(Self::new(Output::Own(file)))
    }

    /// Standard error.
    pub(crate) fn stderr() -> Self {
        let stderr = io::stderr();
        let kind = fstat(&stderr).map_or(SFlag::empty(), |stat| {
            SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
        });
        Self::new(if kind == SFlag::S_IFSOCK {
            Output::Socket
        } else if kind == SFlag::S_IFIFO {
            let own = OpenOptions::new()
                .append(true)
                .custom_flags(OFlag::O_NONBLOCK.bits())
                .open("/proc/self/fd/2");
            own.map_or(Output::Shared, Output::Own)
        } else {
            Output::Shared
        })
    }

    /// Writes one line, or counts it as lost.
    pub(crate) fn write(&mut self, level: Level, worker: u8, text: &Text) {
        let mut bytes = Vec::new();
        if self.lost > 0 {
            let note = format!("{} lines of the log were lost", self.lost);
            push_line(&mut bytes, Level::Warn, worker, &note);
        }
        push_line(&mut bytes, level, worker, &text.0);
        if self.output.write(&bytes) {
            self.lost = 0;
        } else {
            self.lost += 1;
        }
    }

    /// The descriptor that must stay open, beside standard error.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        match &self.output {
            Output::Own(file) => Some(file.as_raw_fd()),
            Output::Socket | Output::Shared => None,
        }
    }

    fn new(output: Output) -> Self {
        Self { output, lost: 0 }
    }
}

impl Output {
    /// Writes whole lines at once; false when it was lost.
    fn write(&self, lines: &[u8]) -> bool {
        let stderr = io::stderr();
        let written = match self {
            Self::Own(file) => write(file, lines),
            Self::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                send(stderr.as_raw_fd(), lines, flags)
            }
            Self::Shared if is_writable(stderr.as_fd()) => write(stderr.as_fd(), lines),
            Self::Shared => Err(Errno::EAGAIN),
        };
        written.is_ok()
    }
}

fn is_writable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO) == Ok(1)
        && fds
            .iter()
            .all(|fd| fd.revents() == Some(PollFlags::POLLOUT))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn text(text: &str) -> Text {
        Text(text.to_owned())
    }

    #[test]
    fn loses_lines_instead_of_waiting_and_says_how_many() {
        let folder = std::env::temp_dir().join(format!("pgskein-sink-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .unwrap();
        let mut sink = Sink::file(&path).unwrap();
        let long = text(&"x".repeat(1000));
        for _ in 0..1000 {
            sink.write(Level::Info, 0, &long);
        }
        let lost = sink.lost;
        assert!(lost > 0);
        let mut before = Vec::new();
        let _end = reader.read_to_end(&mut before);
        sink.write(Level::Info, 0, &text("again"));
        let mut after = [0; 4096];
        let count = reader.read(&mut after).unwrap();
        let after = String::from_utf8_lossy(&after[..count]).into_owned();
        assert!(after.contains(&format!("{lost} lines of the log were lost\n")));
        assert!(after.ends_with(" supervisor INFO again\n"));
        assert!(before.ends_with(b"x\n"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

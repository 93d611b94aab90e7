//! The system's log, spoken to over its datagram socket.
//!
//! Source: RFC 3164, section 4.1.1, priority; syslog(3).

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;

use log::Level;

use super::line::{Text, process};

/// A connection to the system's log that never blocks.
#[derive(Debug)]
pub(crate) struct Syslog {
    socket: UnixDatagram,
    facility: u8,
    ident: String,
    lost: u64,
}

impl Syslog {
    /// Connects to `/dev/log`.
    ///
    /// # Errors
    ///
    /// The error of `connect(2)`, or `InvalidInput` for a facility that does
    /// not exist.
    pub(crate) fn connect(facility: &str, ident: &str) -> io::Result<Self> {
        let facility = number(facility).ok_or(io::ErrorKind::InvalidInput)?;
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(PATH)?;
        Ok(Self {
            socket,
            facility,
            ident: ident.to_owned(),
            lost: 0,
        })
    }

    /// Sends one line, or counts it as lost.
    pub(crate) fn write(&mut self, level: Level, worker: u8, text: &Text) {
        if self.lost > 0 {
            let note = format!("{} lines of the log were lost", self.lost);
            if self.send(Level::Warn, worker, &note) {
                self.lost = 0;
            }
        }
        if self.lost > 0 || !self.send(level, worker, &text.0) {
            self.lost += 1;
        }
    }

    /// The descriptor of the connection.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn send(&self, level: Level, worker: u8, text: &str) -> bool {
        let line = line(self.facility, level, &self.ident, worker, text);
        match self.socket.send(line.as_bytes()) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // The system's log may have been started again.
            Err(_) => {
                self.socket.connect(PATH).is_ok() && self.socket.send(line.as_bytes()).is_ok()
            }
        }
    }
}

fn line(facility: u8, level: Level, ident: &str, worker: u8, text: &str) -> String {
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let priority = u32::from(facility) * 8 + severity;
    let pid = std::process::id();
    format!(
        "<{priority}>{ident}[{pid}]: {} {level} {text}",
        process(worker)
    )
}

/// Number of a facility in the priority of a line.
fn number(facility: &str) -> Option<u8> {
    let known = FACILITIES.iter().find(|(name, _)| *name == facility);
    known.map(|(_, number)| *number)
}

const PATH: &str = "/dev/log";

const FACILITIES: [(&str, u8); 12] = [
    ("user", 1),
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_priority_ident_and_process() {
        let pid = std::process::id();
        assert_eq!(
            line(3, Level::Warn, "pgbouncer", 2, "x"),
            format!("<28>pgbouncer[{pid}]: worker 2 WARN x")
        );
    }

    #[test]
    fn knows_the_facilities_of_syslog() {
        assert_eq!(number("local7"), Some(23));
        assert_eq!(number("mail2"), None);
    }
}

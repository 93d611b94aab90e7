//! A stand-in for systemd, which listens to what a pooler tells it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::account::Account;
use crate::folder::Folder;
use crate::wait::PATIENCE;

/// What listens on `NOTIFY_SOCKET`.
#[derive(Debug)]
pub struct ServiceManager {
    folder: Folder,
    socket: UnixDatagram,
}

impl ServiceManager {
    /// Listens.
    pub fn listen() -> Self {
        let folder = Folder::make("systemd", &Account::unprivileged());
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("a mode can be set");
        Self { folder, socket }
    }

    /// What the pooler's environment has to have.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = self.folder.join("notify");
        vec![("NOTIFY_SOCKET", path.display().to_string())]
    }

    /// The next message that has this line; those before it are thrown away.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn wait(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.next(left) {
                Some(message) if message.lines().any(|found| found == line) => return message,
                Some(_) => {}
                None => panic!("the service manager was never told {line:?}"),
            }
        }
    }

    /// The next message, if one comes within this time.
    pub fn next(&self, patience: Duration) -> Option<String> {
        let patience = patience.max(Duration::from_millis(1));
        let timed = self.socket.set_read_timeout(Some(patience));
        timed.expect("a timeout can be set");
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(count) => Some(String::from_utf8_lossy(&bytes[..count]).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }
}

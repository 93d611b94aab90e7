//! The folder of one group: its lock and the names of its peer sockets.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use pgskein_config::Settings;
use pgskein_protocol::key::Slot;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::start::account::Account;
use crate::start::error::StartError;

/// The folder of this group, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct RuntimeDir {
    path: PathBuf,
    lock: Flock<fs::File>,
}

impl RuntimeDir {
    /// Makes the folder, still with the rights of root if started with them.
    ///
    /// # Errors
    ///
    /// [`StartError::Make`] or [`StartError::ForeignFolder`] when it cannot be
    /// used; without a configured one, after all defaults were tried.
    pub(crate) fn make(settings: &Settings, account: &Account) -> Result<PathBuf, StartError> {
        let candidates = candidates(settings);
        let mut result = Err(StartError::NothingToListenOn);
        for path in candidates {
            result = make_own(&path, account).map(|()| path);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Locks the folder, as the user to run as.
    ///
    /// # Errors
    ///
    /// [`StartError::FolderInUse`] when another group has it.
    pub(crate) fn lock(path: PathBuf) -> Result<Self, StartError> {
        let lock = path.join("lock");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock)
            .map_err(|cause| StartError::Make { path: lock, cause })?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, lock }),
            Err(_) => Err(StartError::FolderInUse { path }),
        }
    }

    /// The folder that another program has locked in this process, with the
    /// file of its lock.
    ///
    /// # Errors
    ///
    /// The file, and the error of `flock(2)`.
    pub(crate) fn inherited(path: PathBuf, file: fs::File) -> Result<Self, (fs::File, io::Error)> {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { path, lock }),
            Err((file, error)) => Err((file, error.into())),
        }
    }

    /// The file of the lock.
    pub(crate) fn lock_file(&self) -> &fs::File {
        &self.lock
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// The peer socket of the worker of `slot` with this generation.
pub(crate) fn peer_socket_path(runtime_dir: &Path, slot: Slot, generation: u32) -> PathBuf {
    runtime_dir.join(format!("worker.{}.{generation}.sock", slot.get()))
}

/// The peer socket of the supervisor.
pub(crate) fn supervisor_socket_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("supervisor.sock")
}

/// Listens on a peer socket, in place of whatever had its name.
///
/// The socket does not block.
///
/// # Errors
///
/// The error of the system call that failed.
pub(crate) fn listen_for_peers(path: &Path) -> io::Result<UnixListener> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&new)?)?;
    socket.listen(PEER_BACKLOG)?;
    socket.set_nonblocking(true)?;
    fs::rename(&new, path)?;
    Ok(socket.into())
}

/// Has those who connect see this process as the one that listens, and not the
/// one that it was forked from.
///
/// # Errors
///
/// The error of `listen(2)`.
///
/// Source: unix(7), `SO_PEERCRED`.
pub(crate) fn listen_as_oneself(listener: &UnixListener) -> io::Result<()> {
    SockRef::from(listener).listen(PEER_BACKLOG)
}

/// A worker whose supervisor is dead, and where it listens for peers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Orphan {
    pub path: PathBuf,
    pub slot: Slot,
    pub generation: u32,
}

/// Peer sockets of workers in the folder, whoever made them.
pub(crate) fn peer_sockets(runtime_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(runtime_dir).into_iter().flatten().flatten();
    let sockets = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("worker.") && name.ends_with(".sock")
    });
    sockets.map(|entry| entry.path()).collect()
}

/// Workers of a dead supervisor that still serve; sockets that nobody listens
/// on are removed.
///
/// Only whoever holds the lock of the folder may ask.
pub(crate) fn orphans(runtime_dir: &Path) -> Vec<Orphan> {
    let found = peer_sockets(runtime_dir).into_iter();
    let living = found.filter_map(|path| {
        let name = path.file_name()?.to_str()?;
        let (slot, generation) = name
            .strip_prefix("worker.")?
            .strip_suffix(".sock")?
            .split_once('.')?;
        let slot = Slot::new(slot.parse().ok()?)?;
        let generation = generation.parse().ok()?;
        let dead = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if connect_to_peer(&path).is_err_and(dead) {
            let _gone_either_way = fs::remove_file(&path);
            return None;
        }
        Some(Orphan {
            path,
            slot,
            generation,
        })
    });
    living.collect()
}

/// Connects to a peer socket; an error of the kind `WouldBlock` means that its
/// queue is full.
///
/// The socket does not block.
///
/// # Errors
///
/// The error of the system call that failed.
pub(crate) fn connect_to_peer(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Where the folder may be, best first.
fn candidates(settings: &Settings) -> Vec<PathBuf> {
    if !settings.runtime_dir.is_empty() {
        return vec![PathBuf::from(&settings.runtime_dir)];
    }
    let port = settings.listen_port;
    let base = match settings.unix_socket_dir.as_str() {
        dir if dir.is_empty() || dir.starts_with('@') => "/tmp",
        dir => dir,
    };
    vec![
        Path::new("/run/pgskein").join(port.to_string()),
        Path::new(base).join(format!(".pgskein.{port}")),
    ]
}

/// Makes a folder that only its owner can enter, or checks that it is one.
fn make_own(path: &Path, account: &Account) -> Result<(), StartError> {
    let failed = |cause| StartError::Make {
        path: path.to_owned(),
        cause,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return account.give(path).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    // Not through a link: it may be in a folder where anybody can make one.
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let owner = found.uid();
    let own = owner == account.uid.as_raw() || owner == 0 && geteuid().is_root();
    if !found.is_dir() || !own {
        return Err(StartError::ForeignFolder {
            path: path.to_owned(),
        });
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .and_then(|()| account.give(path))
        .map_err(failed)
}

/// Peers that may wait to be accepted.
const PEER_BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_configured_folder_and_falls_back_from_abstract_sockets() {
        let mut settings = Settings::default();
        let paths = |settings: &Settings| {
            let found = candidates(settings).into_iter();
            found
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            paths(&settings),
            ["/run/pgskein/6432", "/tmp/.pgskein.6432"]
        );
        settings.unix_socket_dir = "@pgskein".to_owned();
        assert_eq!(
            paths(&settings),
            ["/run/pgskein/6432", "/tmp/.pgskein.6432"]
        );
        settings.unix_socket_dir = "/var/run/x".to_owned();
        assert_eq!(paths(&settings)[1], "/var/run/x/.pgskein.6432");
        settings.runtime_dir = "/a".to_owned();
        assert_eq!(paths(&settings), ["/a"]);
    }

    #[test]
    fn replaces_a_peer_socket_by_rename() {
        let folder = std::env::temp_dir().join(format!("pgskein-peer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = peer_socket_path(&folder, Slot::new(2).unwrap(), 1);
        let _old = listen_for_peers(&path).unwrap();
        let new = listen_for_peers(&path).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(new.accept().is_ok());
        assert_eq!(peer_sockets(&folder), std::slice::from_ref(&path));
        let orphan = Orphan {
            path: path.clone(),
            slot: Slot::new(2).unwrap(),
            generation: 1,
        };
        assert_eq!(orphans(&folder), [orphan]);
        drop(new);
        assert_eq!(orphans(&folder), []);
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}

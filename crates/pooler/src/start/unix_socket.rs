//! The unix socket for clients, which all workers share.

mod mark;

use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::Group;
use pgskein_config::Settings;
use socket2::{Domain, SockAddr, Socket, Type};

use self::mark::Mark;
use super::error::StartError;

/// The unix socket for clients.
#[derive(Debug)]
pub(crate) struct UnixSocket {
    pub listener: UnixListener,
    /// Its name; an abstract one begins with `@`.
    pub path: PathBuf,
    file: Option<OwnFile>,
}

/// The file of a socket, as it was when we made it.
///
/// It is removed when this value goes, unless another process has replaced it.
#[derive(Debug)]
struct OwnFile {
    path: PathBuf,
    mark: Mark,
}

impl UnixSocket {
    /// Listens on `.s.PGSQL.PORT` in `unix_socket_dir`; `None` if that is
    /// empty. A name that begins with `@` is an abstract one.
    ///
    /// The socket does not block. A file that a dead process left behind is
    /// replaced. One that still answers is replaced only if there are `orphaned`
    /// workers of a dead supervisor of this folder, `runtime_dir`, and it is
    /// theirs; they keep their clients.
    ///
    /// # Errors
    ///
    /// [`StartError::UnixSocketInUse`], [`StartError::UnixSocket`] or
    /// [`StartError::UnknownGroup`].
    pub(crate) fn listen(
        settings: &Settings,
        runtime_dir: &Path,
        orphaned: bool,
    ) -> Result<Option<Self>, StartError> {
        let folder = &settings.unix_socket_dir;
        if folder.is_empty() {
            return Ok(None);
        }
        let path = Path::new(folder).join(format!(".s.PGSQL.{}", settings.listen_port));
        let group = group(&settings.unix_socket_group)?;
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::AddrInUse => StartError::UnixSocketInUse { path: path.clone() },
            _ => StartError::UnixSocket {
                path: path.clone(),
                cause,
            },
        };
        if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
            let listener = bind(format!("\0{name}"), settings).map_err(failed)?;
            return Ok(Some(Self {
                listener,
                path,
                file: None,
            }));
        }
        let answered = is_answered(&path).map_err(failed)?;
        let theirs = || orphaned && Mark::noted(runtime_dir).is_some_and(|mark| mark.is_of(&path));
        if answered && !theirs() {
            return Err(StartError::UnixSocketInUse { path });
        }
        let (listener, file) = bind_file(&path, answered, group, settings).map_err(failed)?;
        if let Err(error) = file.mark.note(runtime_dir) {
            log::warn!("a later group will not take over the unix socket: {error}");
        }
        Ok(Some(Self {
            listener,
            path,
            file: Some(file),
        }))
    }

    /// Takes a socket that the service manager has opened and keeps.
    pub(crate) fn passed(listener: UnixListener) -> Self {
        let address = listener.local_addr().ok();
        let path = address.and_then(|address| match address.as_pathname() {
            Some(path) => Some(path.to_owned()),
            None => {
                let name = address.as_abstract_name()?;
                Some(PathBuf::from(format!("@{}", name.escape_ascii())))
            }
        });
        Self {
            listener,
            path: path.unwrap_or_default(),
            file: None,
        }
    }
}

impl UnixSocket {
    /// The one on which another program has listened in this process; `mark` is
    /// that of its file, as it was written.
    pub(crate) fn inherited(listener: UnixListener, path: PathBuf, mark: Option<&str>) -> Self {
        let file = mark.and_then(Mark::parse).map(|mark| OwnFile {
            path: path.clone(),
            mark,
        });
        Self {
            listener,
            path,
            file,
        }
    }

    /// The mark of its file, to be written, if it has one.
    pub(crate) fn mark(&self) -> Option<String> {
        self.file.as_ref().map(|file| file.mark.text())
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.mark.is_of(&self.path) {
            let _gone_either_way = fs::remove_file(&self.path);
        }
    }
}

/// Somebody answers on the socket; what nobody answers on is removed.
fn is_answered(path: &Path) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue is an answer as well, and not worth waiting for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map(|()| false)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the file; in place of one that answers only when all is ready, so that
/// nobody finds none.
fn bind_file(
    path: &Path,
    replace: bool,
    group: Option<u32>,
    settings: &Settings,
) -> io::Result<(UnixListener, OwnFile)> {
    let mut made = path.to_owned();
    if replace {
        made.as_mut_os_string().push(".new");
        match fs::remove_file(&made) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    // Nobody is to connect before the mode and the group are right.
    let mask = umask(Mode::from_bits_truncate(0o777));
    let listener = bind(&made, settings);
    umask(mask);
    let listener = listener?;
    let ready = || {
        if group.is_some() {
            chown(&made, None, group)?;
        }
        fs::set_permissions(&made, fs::Permissions::from_mode(settings.unix_socket_mode))?;
        let mark = Mark::of(&made)?;
        if replace {
            fs::rename(&made, path)?;
        }
        Ok(mark)
    };
    match ready() {
        Ok(mark) => {
            let path = path.to_owned();
            Ok((listener, OwnFile { path, mark }))
        }
        Err(error) => {
            let _left_as_it_is = fs::remove_file(&made);
            Err(error)
        }
    }
}

fn bind(path: impl AsRef<Path>, settings: &Settings) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(i32::try_from(settings.listen_backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The group by its name or number.
fn group(name: &str) -> Result<Option<u32>, StartError> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = Group::from_name(name).ok().flatten();
    let number = found.map(|group| group.gid.as_raw());
    match number.or_else(|| name.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(StartError::UnknownGroup {
            name: name.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &str, mode: u32) -> Settings {
        Settings {
            unix_socket_dir: folder.to_owned(),
            unix_socket_mode: mode,
            ..Settings::default()
        }
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("pgskein-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn gives_the_file_its_mode_and_removes_it_in_the_end() {
        let folder = folder("unix-mode");
        let settings = settings(folder.to_str().unwrap(), 0o750);
        let socket = UnixSocket::listen(&settings, Path::new("/nowhere"), false)
            .unwrap()
            .unwrap();
        let path = folder.join(".s.PGSQL.6432");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o750);
        drop(socket);
        assert!(!path.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn refuses_a_living_socket_and_replaces_a_dead_one() {
        let folder = folder("unix-live");
        let settings = settings(folder.to_str().unwrap(), 0o777);
        let first = UnixSocket::listen(&settings, Path::new("/nowhere"), false)
            .unwrap()
            .unwrap();
        let second = UnixSocket::listen(&settings, Path::new("/nowhere"), false);
        assert!(matches!(second, Err(StartError::UnixSocketInUse { .. })));
        // As if its process had been killed: the file stays.
        drop(first.listener);
        std::mem::forget(first.file);
        assert!(
            UnixSocket::listen(&settings, Path::new("/nowhere"), false)
                .unwrap()
                .is_some()
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn replaces_a_living_socket_only_if_it_is_that_of_the_orphans() {
        let folder = folder("unix-orphans");
        let settings = settings(folder.to_str().unwrap(), 0o777);
        let listen = |orphaned| UnixSocket::listen(&settings, &folder, orphaned);
        let first = listen(false).unwrap().unwrap();
        assert!(listen(false).is_err());
        let second = listen(true).unwrap().unwrap();
        // The older one does not take the file along.
        drop(first);
        assert!(second.path.exists());
        // Somebody else has come, without a note in our folder.
        fs::remove_file(&second.path).unwrap();
        let _other = UnixListener::bind(&second.path).unwrap();
        assert!(matches!(
            listen(true),
            Err(StartError::UnixSocketInUse { .. })
        ));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn listens_on_an_abstract_name() {
        let name = format!("@pgskein-test-{}", std::process::id());
        let settings = settings(&name, 0o777);
        let _first = UnixSocket::listen(&settings, Path::new("/nowhere"), false)
            .unwrap()
            .unwrap();
        let second = UnixSocket::listen(&settings, Path::new("/nowhere"), false);
        assert!(matches!(second, Err(StartError::UnixSocketInUse { .. })));
    }

    #[test]
    fn rejects_an_unknown_group() {
        let settings = Settings {
            unix_socket_group: "no such group".to_owned(),
            ..settings("/nowhere", 0o777)
        };
        let result = UnixSocket::listen(&settings, Path::new("/nowhere"), false);
        assert!(matches!(result, Err(StartError::UnknownGroup { .. })));
    }
}

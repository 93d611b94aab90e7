//! Why pgskein could not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Why pgskein could not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Root would have to become another user, but which is not said.
    RootWithoutUser,
    /// There is no such user, or it could not be looked up.
    UnknownUser { name: String },
    /// There is no such group, or it could not be looked up.
    UnknownGroup { name: String },
    /// Becoming the user failed.
    SwitchUser { name: String, cause: io::Error },
    /// `-d` was given without `pidfile`.
    DaemonWithoutPidfile,
    /// `-d` was given without `logfile` or `syslog`.
    DaemonWithoutLog,
    /// A folder or file could not be made.
    Make { path: PathBuf, cause: io::Error },
    /// The folder belongs to another user or is no folder.
    ForeignFolder { path: PathBuf },
    /// Another group has locked the folder.
    FolderInUse { path: PathBuf },
    /// The pidfile names a pgskein that lives.
    Running { pidfile: PathBuf, pid: i32 },
    /// A socket that the service manager has opened cannot be used.
    Passed { name: String, cause: io::Error },
    /// A name in `listen_addr` could not be resolved.
    Resolve { name: String, cause: io::Error },
    /// Neither an address nor a unix socket is configured.
    NothingToListenOn,
    /// Somebody else listens on the address.
    AddressInUse { address: SocketAddr },
    /// The address could not be listened on.
    Listen {
        address: SocketAddr,
        cause: io::Error,
    },
    /// Somebody else listens on the unix socket.
    UnixSocketInUse { path: PathBuf },
    /// The unix socket could not be listened on.
    UnixSocket { path: PathBuf, cause: io::Error },
    /// The kernel refused something that every process may have.
    System {
        /// What was to be done, as in "cannot …".
        what: &'static str,
        cause: io::Error,
    },
    /// Every worker ended, or hung, before it was ready.
    NoWorkerReady { waited: Duration },
}

impl StartError {
    /// For `map_err`: the kernel refused to do `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::System {
            what,
            cause: cause.into(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootWithoutUser => {
                f.write_str("started as root, but neither user nor -u says whom to run as")
            }
            Self::UnknownUser { name } => write!(f, "unknown user {name}"),
            Self::UnknownGroup { name } => write!(f, "unknown group {name}"),
            Self::SwitchUser { name, .. } => write!(f, "cannot become user {name}"),
            Self::DaemonWithoutPidfile => f.write_str("-d needs the setting pidfile"),
            Self::DaemonWithoutLog => f.write_str("-d needs the setting logfile or syslog"),
            Self::Make { path, .. } => write!(f, "cannot make {}", path.display()),
            Self::ForeignFolder { path } => write!(
                f,
                "{} is not a folder of the user to run as",
                path.display()
            ),
            Self::FolderInUse { path } => {
                write!(f, "another pgskein uses the folder {}", path.display())
            }
            Self::Running { pidfile, pid } => write!(
                f,
                "pgskein is running already: process {pid} in {}",
                pidfile.display()
            ),
            Self::Passed { name, .. } => {
                write!(f, "cannot use the socket {name} of the service manager")
            }
            Self::Resolve { name, .. } => write!(f, "cannot resolve {name}"),
            Self::NothingToListenOn => {
                f.write_str("listen_addr and unix_socket_dir are both empty")
            }
            Self::AddressInUse { address } => write!(f, "address {address} is in use"),
            Self::Listen { address, .. } => write!(f, "cannot listen on {address}"),
            Self::UnixSocketInUse { path } => {
                write!(f, "unix socket {} is in use", path.display())
            }
            Self::UnixSocket { path, .. } => {
                write!(f, "cannot listen on unix socket {}", path.display())
            }
            Self::System { what, .. } => write!(f, "cannot {what}"),
            Self::NoWorkerReady { waited } => {
                write!(f, "no worker was ready within {} s", waited.as_secs())
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::SwitchUser { cause, .. }
            | Self::Make { cause, .. }
            | Self::Passed { cause, .. }
            | Self::Resolve { cause, .. }
            | Self::Listen { cause, .. }
            | Self::UnixSocket { cause, .. }
            | Self::System { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

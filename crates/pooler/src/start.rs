//! The start: from a configuration to a supervisor that can fork.
//!
//! As root, folders and files are made and given to the user first; everything
//! after that is done as the user, so that later binds have the same user id:
//! the kernel refuses a group of SO_REUSEPORT sockets of two users.

pub(crate) mod account;
pub(crate) mod adopt;
pub(crate) mod daemon;
pub(crate) mod error;
pub(crate) mod listen;
pub(crate) mod passed;
pub(crate) mod pidfile;
pub(crate) mod program;
pub(crate) mod unix_socket;

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pgskein_config::{Config, Finding, Settings, Sources};
use pgskein_protocol::key::Slot;

use self::account::Account;
use self::error::StartError;
use self::passed::Passed;
use self::pidfile::Pidfile;
use self::unix_socket::UnixSocket;
use crate::runtime_dir::{Orphan, RuntimeDir, listen_for_peers, orphans, supervisor_socket_path};
use crate::scoreboard::Scoreboard;
use crate::worker::MOST_FOR_CANCELS;
use crate::{files, logging};

/// What a supervisor begins with.
#[derive(Debug)]
pub(crate) struct Foundation {
    pub sources: Sources,
    pub config: Config,
    pub runtime_dir: RuntimeDir,
    pub pidfile: Option<Pidfile>,
    /// TCP listeners of each slot.
    pub slots: Vec<(Slot, Vec<TcpListener>)>,
    pub unix: Option<UnixSocket>,
    /// Where other hosts bring cancel requests.
    pub cancel_listeners: Vec<TcpListener>,
    /// Where HTTP is answered, if anywhere.
    pub http: Vec<TcpListener>,
    /// The supervisor's own peer socket.
    pub peer: UnixListener,
    pub scoreboard: Scoreboard,
    /// Where the program was started from.
    pub program: PathBuf,
    /// Workers of a dead supervisor that serve in the same place.
    pub orphans: Vec<Orphan>,
}

impl Foundation {
    /// Makes and binds everything that has to be there before the first fork.
    ///
    /// # Errors
    ///
    /// [`StartError`] for the first thing that could not be done.
    pub(crate) fn lay(
        sources: Sources,
        config: Config,
        mut passed: Passed,
    ) -> Result<Self, StartError> {
        let settings = &config.settings;
        let account = Account::choose(settings)?;
        let passed_unix = passed.take_unix();
        let (peer_listen, http_listen) = (&settings.peer_listen, &settings.http_listen);
        let passed_for_cancels = passed.take_apart(&listen::sockets(peer_listen.as_ref())?);
        let passed_for_http = passed.take_apart(&listen::sockets(http_listen.as_ref())?);
        let tcp = passed.has_tcp() || !settings.listen_addr.is_empty();
        if !tcp && passed_unix.is_none() && settings.unix_socket_dir.is_empty() {
            return Err(StartError::NothingToListenOn);
        }
        let pidfile = Some(Path::new(&settings.pidfile)).filter(|path| *path != Path::new(""));
        let pidfile = pidfile.map(Pidfile::claim).transpose()?;
        let runtime_dir = RuntimeDir::make(settings, &account)?;
        for file in [&settings.pidfile, &settings.logfile] {
            if !file.is_empty() {
                account.make_folders_above(Path::new(file))?;
                account.make_file(Path::new(file))?;
            }
        }
        let binds = !passed.has_tcp() && !settings.listen_addr.is_empty();
        let for_cancels = peer_listen.iter().filter(|_| passed_for_cancels.is_empty());
        let for_http = http_listen.iter().filter(|_| passed_for_http.is_empty());
        let mut ports = for_cancels.chain(for_http).map(|place| place.port);
        let privileged = |port: u16| port < 1024;
        let low_port = (binds && privileged(settings.listen_port)) || ports.any(privileged);
        account.become_user(low_port)?;
        logging::apply(settings);
        for warning in &config.warnings {
            log::warn!("{warning}");
        }
        if account.is_switched() {
            for finding in unreadable(sources.main()) {
                log::warn!("{finding}");
            }
        }

        let runtime_dir = RuntimeDir::lock(runtime_dir)?;
        let slots = slots(settings);
        let orphans = orphans(runtime_dir.path());
        let orphaned = !orphans.is_empty();
        let listeners = if passed.has_tcp() {
            passed.deal(settings, slots.len())?
        } else {
            listen::listen(settings, slots.len(), orphaned)?
        };
        let unix = match passed_unix {
            Some(listener) => Some(UnixSocket::passed(listener)),
            None => UnixSocket::listen(settings, runtime_dir.path(), orphaned)?,
        };
        let cancel_listeners = if passed_for_cancels.is_empty() {
            listen::listen_for_cancels(settings, orphaned)?
        } else {
            passed_for_cancels
        };
        log_listeners(listeners.first(), unix.as_ref(), &cancel_listeners);
        let http = if passed_for_http.is_empty() {
            listen::listen_for_http(settings, orphaned)?
        } else {
            passed_for_http
        };
        for address in http.iter().filter_map(|it| it.local_addr().ok()) {
            log::info!("answering HTTP on {address}");
        }
        let peer = listen_for_peers(&supervisor_socket_path(runtime_dir.path()))
            .map_err(StartError::system("listen on supervisor.sock"))?;
        pidfile.as_ref().map(Pidfile::write).transpose()?;
        let scoreboard = Scoreboard::create().map_err(StartError::system("make the scoreboard"))?;
        raise_file_limit(&config);
        Ok(Self {
            sources,
            runtime_dir,
            pidfile,
            slots: slots.into_iter().zip(listeners).collect(),
            unix,
            cancel_listeners,
            http,
            peer,
            scoreboard,
            program: program::path().map_err(StartError::system("find the program"))?,
            orphans,
            config,
        })
    }
}

/// What root could read and the user whom root is to become cannot; this process
/// becomes that user for it.
pub(crate) fn unreadable_to_the_user(main: &Path, settings: &Settings) -> Vec<Finding> {
    match Account::choose(settings) {
        Ok(account) if account.is_switched() && account.become_user(false).is_ok() => {
            unreadable(main)
        }
        _ => Vec::new(),
    }
}

/// What root could read and this user cannot: a reload would fail.
fn unreadable(main: &Path) -> Vec<Finding> {
    let mut findings = files::read(main).err().unwrap_or_default();
    for finding in &mut findings {
        let consequence = "RELOAD and RESTART will fail, which do not read as root: ";
        finding.problem.insert_str(0, consequence);
    }
    findings
}

fn log_listeners(
    tcp: Option<&Vec<TcpListener>>,
    unix: Option<&UnixSocket>,
    cancels: &[TcpListener],
) {
    let addresses = tcp.into_iter().flatten().map(TcpListener::local_addr);
    for address in addresses.flatten() {
        log::info!("listening on {address}");
    }
    if let Some(unix) = unix {
        log::info!("listening on unix socket {}", unix.path.display());
    }
    for address in cancels.iter().filter_map(|it| it.local_addr().ok()) {
        log::info!("listening on {address} for cancel requests of other hosts");
    }
}

/// The slots of the group: as many as `workers` says, or as there are
/// processors that this process may use.
pub(crate) fn slots(settings: &Settings) -> Vec<Slot> {
    let available = || thread::available_parallelism().map_or(1, usize::from);
    let count = settings
        .workers
        .map_or_else(available, |workers| workers as usize)
        .clamp(1, MOST_SLOTS);
    (1..=u8::MAX).filter_map(Slot::new).take(count).collect()
}

/// Raises the limit of open files as far as this process may.
fn raise_file_limit(config: &Config) {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok(hard)
    });
    let needed = most_files(config);
    match raised {
        Ok(limit) if limit < needed => log::warn!(
            "a worker may need {needed} open files, but the limit is {limit}: \
             some clients may not get in"
        ),
        Ok(_) => {}
        Err(error) => log::warn!("cannot raise the limit of open files: {error}"),
    }
}

/// Open files of one worker if it has all clients and all servers.
fn most_files(config: &Config) -> u64 {
    let settings = &config.settings;
    let databases = config.databases.len() + usize::from(config.wildcard.is_some());
    let servers = u64::from(settings.default_pool_size) * databases.max(1) as u64;
    let for_cancels = settings
        .peer_listen
        .as_ref()
        .map(|_| MOST_FOR_CANCELS as u64);
    u64::from(settings.max_client_conn) + servers + for_cancels.unwrap_or(0) + OTHER_FILES
}

/// Slots are numbers of seven bits.
const MOST_SLOTS: usize = 127;

/// Listeners, links, logs and what is open for a moment.
const OTHER_FILES: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_slot_for_each_worker() {
        let of = |workers| {
            let settings = Settings {
                workers,
                ..Settings::default()
            };
            slots(&settings).len()
        };
        assert_eq!(of(Some(3)), 3);
        assert_eq!(of(Some(127)), 127);
        assert_eq!(of(Some(1000)), 127);
        assert_eq!(
            of(None),
            thread::available_parallelism().unwrap().get().min(127)
        );
    }

    #[test]
    fn counts_the_files_of_the_worst_skew() {
        let mut config = Config::default();
        config.settings.max_client_conn = 100;
        config.settings.default_pool_size = 20;
        assert_eq!(most_files(&config), 100 + 20 + OTHER_FILES);
    }
}

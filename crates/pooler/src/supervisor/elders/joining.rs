//! Joining: the talk with one orphan, from the question to its last report.
//!
//! ```text
//! unasked ──its queue has room──> asked ──Joined──> reporting ──Reported──> joined
//! ```

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::{Pid, geteuid};
use pgskein_pool::control::ToSupervisor;
use pgskein_pool::ledger::Report;
use pgskein_pool::peer::{PeerAnswer, PeerRequest};
use pgskein_pool::prepared::StatementKey;
use pgskein_pool::runtime::{FromWorker, RuntimeState};

use super::super::peers::fill;
use crate::link::Link;
use crate::runtime_dir::{Orphan, connect_to_peer};
use crate::sys::process;

/// An orphan that was asked to join and has not said everything yet.
#[derive(Debug)]
pub(crate) struct Joining {
    pub orphan: Orphan,
    /// The group serves already.
    pub late: bool,
    /// How often the supervisor has looked since it began to serve.
    pub looks: u32,
    /// Nothing more is done about its silence.
    pub given_up: bool,
    talk: Talk,
}

/// What an orphan has said when it joined.
#[derive(Debug)]
pub(super) struct Joined {
    pub link: Link,
    pub pid: Pid,
    pub reports: Vec<Report>,
    pub last_id: u64,
    pub last_lease: u64,
    pub statement_key: StatementKey,
    /// What it was told to pause and the like, with its version.
    pub runtime: (u64, RuntimeState),
}

#[derive(Debug)]
enum Talk {
    /// There was no room in its queue yet.
    Unasked,
    Asked {
        stream: UnixStream,
        inbox: Vec<u8>,
    },
    Reporting {
        link: Link,
        pid: Pid,
        reports: Vec<Report>,
        runtime: (u64, RuntimeState),
    },
    Over,
}

impl Joining {
    pub(super) fn with(orphan: Orphan) -> Self {
        Self {
            orphan,
            late: false,
            looks: 0,
            given_up: false,
            talk: Talk::Unasked,
        }
    }

    /// The connection to it, once there is one; it stays the same.
    pub(super) fn connection(&self) -> Option<BorrowedFd<'_>> {
        match &self.talk {
            Talk::Asked { stream, .. } => Some(stream.as_fd()),
            Talk::Reporting { link, .. } => Some(link.as_fd()),
            Talk::Unasked | Talk::Over => None,
        }
    }

    /// Asks it, if its queue has room.
    ///
    /// # Errors
    ///
    /// That of the connection: it cannot join.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        match ask(&self.orphan) {
            Ok(stream) => {
                let inbox = Vec::new();
                self.talk = Talk::Asked { stream, inbox };
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes what it has said; never waits.
    ///
    /// # Errors
    ///
    /// That of the connection, or what it says is no answer: it cannot join.
    pub(super) fn go_on(&mut self) -> io::Result<Option<Joined>> {
        self.take_answer()?;
        self.take_reports()
    }

    /// The process that listens on its peer socket, if that can be told.
    ///
    /// Who listened is noted when it began to. That it has not ended since, and
    /// its number is nobody else's, is known while the connection is whole.
    pub(super) fn process(&self) -> Option<Pid> {
        let connection = self.connection()?;
        let peer = getsockopt(&connection, PeerCredentials).ok()?;
        let pid = Pid::from_raw(peer.pid());
        let own = peer.uid() == geteuid().as_raw() && process::is_pgskein(pid);
        (own && !has_ended(connection)).then_some(pid)
    }

    fn take_answer(&mut self) -> io::Result<()> {
        let Talk::Asked { stream, inbox } = &mut self.talk else {
            return Ok(());
        };
        let open = fill(stream, inbox);
        let pid = match PeerAnswer::split(inbox).map_err(io::Error::other)? {
            Some((PeerAnswer::Joined { pid }, rest)) => {
                let pid = i32::try_from(pid).map_err(io::Error::other)?;
                *inbox = rest.to_vec();
                Pid::from_raw(pid)
            }
            Some((answer, _)) => {
                return Err(io::Error::other(format!("its answer is {answer:?}")));
            }
            None if open => return Ok(()),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if let Talk::Asked { stream, inbox } = std::mem::replace(&mut self.talk, Talk::Over) {
            self.talk = Talk::Reporting {
                link: Link::after(stream, inbox)?,
                pid,
                reports: Vec::new(),
                runtime: (0, RuntimeState::default()),
            };
        }
        Ok(())
    }

    fn take_reports(&mut self) -> io::Result<Option<Joined>> {
        let Talk::Reporting {
            link,
            reports,
            runtime,
            ..
        } = &mut self.talk
        else {
            return Ok(None);
        };
        let (last_id, last_lease, statement_key) = loop {
            let Some((frame, _)) = link.receive().map_err(io::Error::other)? else {
                return Ok(None);
            };
            match ToSupervisor::decode(&frame).map_err(io::Error::other)? {
                ToSupervisor::Lease(report) => reports.push(report),
                ToSupervisor::Runtime(FromWorker::State { version, state }) => {
                    *runtime = (version, state);
                }
                ToSupervisor::Reported {
                    last_id,
                    last_lease,
                    statement_key,
                } => break (last_id, last_lease, statement_key),
                other => return Err(io::Error::other(format!("it says {other:?}"))),
            }
        };
        Ok(match std::mem::replace(&mut self.talk, Talk::Over) {
            Talk::Reporting {
                link,
                pid,
                reports,
                runtime,
            } => Some(Joined {
                link,
                pid,
                reports,
                last_id,
                last_lease,
                statement_key,
                runtime,
            }),
            _ => None,
        })
    }
}

/// Waits until one of them has said something, or its queue may have room.
///
/// # Errors
///
/// The error of `poll(2)`.
pub(super) fn wait<'a>(
    joining: impl Iterator<Item = &'a Joining>,
    deadline: Instant,
) -> io::Result<()> {
    let mut left = deadline.saturating_duration_since(Instant::now());
    let mut fds = Vec::new();
    for joining in joining {
        match joining.connection() {
            Some(fd) => fds.push(PollFd::new(fd, PollFlags::POLLIN)),
            None => left = left.min(RETRY),
        }
    }
    let timeout = PollTimeout::try_from(left).map_err(io::Error::other)?;
    poll(&mut fds, timeout)?;
    Ok(())
}

fn ask(orphan: &Orphan) -> io::Result<UnixStream> {
    let mut stream = connect_to_peer(&orphan.path)?;
    let mut request = Vec::new();
    PeerRequest::Join.encode(&mut request);
    // A new connection takes a request whole.
    stream.write_all(&request)?;
    Ok(stream)
}

/// The other side has closed the connection, or has died.
fn has_ended(connection: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(connection, PollFlags::empty())];
    let ended = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut fds, PollTimeout::ZERO).is_err()
        || fds[0].revents().is_none_or(|found| found.intersects(ended))
}

/// When one whose queue is full is asked again.
const RETRY: Duration = Duration::from_millis(20);

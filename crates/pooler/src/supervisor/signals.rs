//! Signals: blocked for good, and read in the loop.
//!
//! They stay blocked across every fork, so that a child takes none before it
//! has decided what it does with them.

use std::os::fd::{AsRawFd, RawFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pgskein_pool::control::{Asked, ToWorker};
use pgskein_pool::drain_order::DrainKind;

use super::Supervisor;
use super::ask::Asker;
use crate::logging;
use crate::sys::process;

/// The signals that the supervisor takes.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks the signals and takes them from now on.
    ///
    /// # Errors
    ///
    /// The error of `sigprocmask(2)` or `signalfd(2)`.
    pub(crate) fn block() -> nix::Result<Self> {
        let mut set = ignored_by_workers();
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        // A signal that the parent had us ignore would never arrive.
        process::restore(set)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&set, flags).map(Self)
    }

    /// The next signal, if there is one.
    fn next(&self) -> Option<Signal> {
        let info = self.0.read_signal().ok().flatten()?;
        let number = i32::try_from(info.ssi_signo).ok()?;
        Signal::try_from(number).ok()
    }
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Signals that go to the whole process group and are the supervisor's alone.
pub(crate) fn ignored_by_workers() -> SigSet {
    [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ]
    .into_iter()
    .collect()
}

impl Supervisor {
    /// Takes every signal that has come.
    pub(crate) fn on_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Signal::SIGCHLD => self.reap(),
                Signal::SIGHUP => {
                    log::info!("got SIGHUP, re-reading config");
                    logging::reopen();
                    self.tell_all(&ToWorker::ReopenLog);
                    self.renew_http();
                    self.ask(Asker::Signal, Asked::Reload);
                }
                Signal::SIGTERM => self.end_by(signal, DrainKind::WaitForClients),
                Signal::SIGINT => self.end_by(signal, DrainKind::WaitForServers),
                Signal::SIGQUIT => {
                    log::info!("got SIGQUIT, fast exit");
                    self.end_at_once();
                }
                Signal::SIGUSR1 => self.pause_by_signal(),
                Signal::SIGUSR2 => self.resume_by_signal(),
                _ => log::warn!("got {signal}: not supported yet"),
            }
        }
    }

    fn end_by(&mut self, signal: Signal, kind: DrainKind) {
        if self.is_draining() {
            log::info!("got {signal} while shutting down, fast exit");
            self.end_at_once();
        } else {
            log::info!("got {signal}, shutting down");
            self.drain_by_signal(kind);
        }
    }
}

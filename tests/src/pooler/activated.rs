//! A pooler to which somebody else passes its sockets, as systemd does.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use super::{Pooler, files, in_session};
use crate::pgskein::{Pgskein, Run};
use crate::postgres::Postgres;

impl Pooler {
    /// Starts it with the sockets that `open` makes for its port.
    pub fn start_activated(
        postgres: &Postgres,
        settings: &str,
        open: impl FnOnce(u16) -> Vec<OwnedFd>,
    ) -> Self {
        Self::started(Self::try_start_activated(postgres, settings, open))
    }

    /// Starts it with the sockets that `open` makes for its port, at most three,
    /// or tells how it refused.
    ///
    /// # Errors
    ///
    /// As [`Pooler::try_start`].
    pub fn try_start_activated(
        postgres: &Postgres,
        settings: &str,
        open: impl FnOnce(u16) -> Vec<OwnedFd>,
    ) -> Result<Self, Run> {
        let databases = format!("* = {}", postgres.address());
        Self::try_run(&databases, settings, |folder, port| {
            let sockets = open(port);
            let mut command = in_session(Path::new("sh"));
            command.arg("-c").arg(SCRIPT);
            command.arg(sockets.len().to_string());
            command.arg(folder.join("stderr"));
            command.arg(Pgskein::path()).arg(files::ini(folder));
            // A descriptor that is open in this process may reach whatever
            // another thread starts; these reach this child alone.
            let mut sockets = sockets.into_iter().map(Stdio::from);
            command.stdin(sockets.next().unwrap_or_else(Stdio::null));
            command.stdout(sockets.next().unwrap_or_else(Stdio::null));
            command.stderr(sockets.next().unwrap_or_else(Stdio::null));
            assert!(sockets.next().is_none(), "three sockets at most");
            command
        })
    }
}

/// Its arguments: how many sockets there are, a file, the program and its own.
const SCRIPT: &str = "exec 3<&0 4<&1 5<&2 </dev/null >/dev/null 2>\"$1\"; \
    export LISTEN_FDS=$0 LISTEN_PID=$$; shift; exec \"$@\"";

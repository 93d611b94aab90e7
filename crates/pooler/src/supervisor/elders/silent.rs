//! Orphans that do not answer: asked on, and in the end killed.
//!
//! One that does not answer is a worker that hangs. It keeps clients in the
//! queue of its listeners, and its servers count towards no limit. Nobody can
//! adopt its listeners, so until it joins or is gone its part of the
//! connections waits.

use std::io;

use mio::Token;
use nix::sys::signal::{Signal, kill};

use super::super::Supervisor;
use super::super::hang::LOOK;
use super::super::tokens::{deregister, register};
use super::{IDS_APART, Joined, Joining};

impl Supervisor {
    /// Asks an orphan to join, or takes what it has said.
    pub(crate) fn ask_to_join(&mut self, token: Token) {
        match self.talk_with(token) {
            Ok(None) => {}
            Ok(Some(joined)) => {
                if let Some(Joining { orphan, late, .. }) = self.joining.remove(&token) {
                    self.welcome_elder(token, &orphan, joined, late);
                }
            }
            Err(error) => self.does_not_join(token, &error),
        }
    }

    /// The group begins to serve, though these have not joined yet.
    pub(super) fn begin_without_the_silent(&mut self) {
        if !self.joining.is_empty() {
            // What they hold has numbers that are not known.
            self.ledger.skip(IDS_APART);
            self.scoreboard
                .skip_ids(self.scoreboard.last_id().saturating_add(IDS_APART));
        }
        for joining in self.joining.values_mut() {
            joining.late = true;
            let (slot, generation) = (joining.orphan.slot, joining.orphan.generation);
            log::warn!(
                "worker {slot} of generation {generation}: does not answer, its servers are not \
                 counted until it joins"
            );
        }
    }

    /// Asks those again whose queue was full, and kills one that has been
    /// silent for `worker_hang_timeout`.
    pub(crate) fn look_at_the_silent(&mut self) {
        let timeout = self.config.settings.worker_hang_timeout;
        let mut killed = false;
        for token in self.joining.keys().copied().collect::<Vec<_>>() {
            self.ask_to_join(token);
            let Some(joining) = self.joining.get_mut(&token) else {
                continue;
            };
            joining.looks = joining.looks.saturating_add(1);
            let silent = LOOK * joining.looks;
            let over = !timeout.is_zero() && silent >= timeout && !joining.given_up;
            // One at a time, as others that hang.
            if !over || std::mem::replace(&mut killed, true) {
                continue;
            }
            joining.given_up = true;
            let (slot, generation) = (joining.orphan.slot, joining.orphan.generation);
            let age = silent.as_secs();
            match joining.process() {
                Some(pid) => {
                    log::error!(
                        "worker {slot} of generation {generation}: no answer for {age} s; \
                         killing it, pid={pid}"
                    );
                    let _dead_already = kill(pid, Signal::SIGKILL);
                }
                None => log::error!(
                    "worker {slot} of generation {generation}: no answer for {age} s; \
                     which process it is cannot be told"
                ),
            }
        }
    }

    fn does_not_join(&mut self, token: Token, error: &io::Error) {
        let Some(joining) = self.joining.remove(&token) else {
            return;
        };
        if let Some(connection) = joining.connection() {
            deregister(&self.poll, &connection);
        }
        let (slot, generation) = (joining.orphan.slot, joining.orphan.generation);
        log::warn!("worker {slot} of generation {generation}: does not join: {error}");
    }

    fn talk_with(&mut self, token: Token) -> io::Result<Option<Joined>> {
        let Some(joining) = self.joining.get_mut(&token) else {
            return Ok(None);
        };
        if joining.connection().is_none() {
            joining.ask()?;
            let Some(connection) = joining.connection() else {
                return Ok(None);
            };
            register(&self.poll, &connection, token)?;
        }
        joining.go_on()
    }
}

//! Names of the users of the system behind unix sockets, for the method `peer`.
//!
//! A directory may have to be asked for them (NSS), and may not answer. So
//! threads of their own find them, once for all who wait, and keep them for a
//! moment. Too many at the same time are refused.
//!
//! Source: PostgreSQL documentation, "Peer Authentication".

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgskein_pool::desk::Asked;
use pgskein_pool::line::Line;
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::chores::{Chore, NAME_THREADS};
use super::client::{Client, Origin};
use super::denied::Denied;
use super::login::Step;
use super::reason::Reason;

/// What is known of the users of the system, and who waits for their names.
#[derive(Debug)]
pub(super) struct UserNames {
    known: HashMap<u32, Known>,
    line: Line<u32, ClientId>,
}

#[derive(Debug)]
struct Known {
    until: Instant,
    name: String,
}

impl UserNames {
    fn find(&self, uid: u32, now: Instant) -> Option<&str> {
        let known = self.known.get(&uid)?;
        (known.until > now).then_some(known.name.as_str())
    }

    fn keep(&mut self, uid: u32, name: &str, now: Instant) {
        self.known.retain(|_, known| known.until > now);
        let known = Known {
            until: now + KEPT,
            name: name.to_owned(),
        };
        self.known.insert(uid, known);
    }
}

impl Default for UserNames {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            line: Line::new(NAME_THREADS, ROOM),
        }
    }
}

impl Worker {
    /// Has the name found of the user of the system behind a client's socket.
    ///
    /// # Errors
    ///
    /// [`Denied::NamelessPeer`] when it is not known who is behind it, and
    /// [`Denied::PeerNotLookedUp`] when too many are being looked up.
    pub(super) fn ask_for_peer(&mut self, id: ClientId) -> Result<(), Reason> {
        let now = self.now;
        let Some((login, origin)) = self.login_mut(id) else {
            return Ok(());
        };
        let Origin::Unix { uid: Some(uid), .. } = origin else {
            return Err(Reason::Denied(Denied::NamelessPeer));
        };
        login.step = Step::Deriving;
        if let Some(name) = self.user_names.find(uid, now) {
            let name = name.to_owned();
            return self.admit_peer(id, Some(&name));
        }
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        match self.user_names.line.wait(uid, id, waits) {
            Asked::Now(uid) => {
                let started = self.start_chore(Chore::NameUser { uid });
                if started.is_err() {
                    // Nothing is in the queue where this was not.
                    self.user_names.line.on_answered(&uid, |_| false);
                }
                started
            }
            Asked::Waits => Ok(()),
            Asked::Full => Err(Reason::Denied(Denied::PeerNotLookedUp)),
        }
    }

    /// The name of a user of the system was looked up: those who have waited go
    /// on.
    pub(super) fn user_named(&mut self, uid: u32, name: Option<String>) {
        if let Some(name) = &name {
            self.user_names.keep(uid, name, self.now);
        }
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        let (waiting, next) = self.user_names.line.on_answered(&uid, waits);
        if let Some(uid) = next {
            // Its threads are there.
            let _ = self.start_chore(Chore::NameUser { uid });
        }
        for id in waiting {
            match self.login_mut(id) {
                Some((login, _)) if login.step.is_deriving() => {}
                _ => continue,
            }
            let outcome = self.admit_peer(id, name.as_deref());
            self.go_on(id, outcome);
        }
    }
}

/// How long names are kept.
const KEPT: Duration = Duration::from_secs(5);

/// Names that wait for being looked up at most, while a directory does not answer.
const ROOM: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_name_for_a_moment() {
        let mut names = UserNames::default();
        let now = Instant::now();
        names.keep(7, "alice", now);
        assert_eq!(names.find(7, now), Some("alice"));
        assert_eq!(names.find(8, now), None);
        assert_eq!(names.find(7, now + KEPT), None);
        names.keep(8, "bob", now + KEPT);
        assert_eq!(names.known.len(), 1);
    }
}

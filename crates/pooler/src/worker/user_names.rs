//! Names of the users of the system behind unix sockets, for the method `peer`.
//!
//! A directory may have to be asked for them (NSS), and may not answer. So
//! threads of their own find them, once for all who wait, and keep them for a
//! moment. Too many at the same time are refused.
//!
//! Source: PostgreSQL documentation, "Peer Authentication".

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pgskein_pool::slab::ClientId;

use super::Worker;
use super::chores::Chore;
use super::client::Origin;
use super::denied::Denied;
use super::login::Step;
use super::reason::Reason;

/// What is known of the users of the system, and who waits for their names.
#[derive(Debug, Default)]
pub(super) struct UserNames {
    known: HashMap<u32, Known>,
    waiting: HashMap<u32, Vec<ClientId>>,
}

#[derive(Debug)]
struct Known {
    until: Instant,
    name: String,
}

/// What becomes of somebody who waits for a name.
#[derive(Debug, Eq, PartialEq)]
enum Waiting {
    /// The name is to be found.
    First,
    /// It is being found.
    Joined,
    /// Too many are.
    Refused,
}

impl UserNames {
    fn find(&self, uid: u32, now: Instant) -> Option<&str> {
        let known = self.known.get(&uid)?;
        (known.until > now).then_some(known.name.as_str())
    }

    fn wait(&mut self, uid: u32, id: ClientId) -> Waiting {
        if let Some(waiting) = self.waiting.get_mut(&uid) {
            waiting.push(id);
            return Waiting::Joined;
        }
        if self.waiting.len() >= WAITING_MAX {
            return Waiting::Refused;
        }
        self.waiting.insert(uid, vec![id]);
        Waiting::First
    }

    /// Takes those who wait, and keeps the name if there is one.
    fn settle(&mut self, uid: u32, name: Option<&str>, now: Instant) -> Vec<ClientId> {
        if let Some(name) = name {
            self.known.retain(|_, known| known.until > now);
            let known = Known {
                until: now + KEPT,
                name: name.to_owned(),
            };
            self.known.insert(uid, known);
        }
        self.waiting.remove(&uid).unwrap_or_default()
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
        match self.user_names.wait(uid, id) {
            Waiting::First => {
                let started = self.start_chore(Chore::NameUser { uid });
                if started.is_err() {
                    self.user_names.settle(uid, None, now);
                }
                started
            }
            Waiting::Joined => Ok(()),
            Waiting::Refused => Err(Reason::Denied(Denied::PeerNotLookedUp)),
        }
    }

    /// The name of a user of the system was looked up: those who have waited go
    /// on.
    pub(super) fn user_named(&mut self, uid: u32, name: Option<String>) {
        for id in self.user_names.settle(uid, name.as_deref(), self.now) {
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

/// Names that are looked up at once at most, while a directory does not answer.
const WAITING_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use pgskein_pool::slab::Slab;

    use super::*;

    #[test]
    fn finds_a_name_once_for_all_who_wait_and_keeps_it_for_a_moment() {
        let id = Slab::<ClientId, ()>::default().insert_with(|_| ());
        let mut names = UserNames::default();
        let now = Instant::now();
        assert_eq!(names.wait(7, id), Waiting::First);
        assert_eq!(names.wait(7, id), Waiting::Joined);
        assert_eq!(names.settle(7, Some("alice"), now), [id, id]);
        assert_eq!(names.find(7, now), Some("alice"));
        assert_eq!(names.find(7, now + KEPT), None);
        // Who has no name may have one soon.
        assert_eq!(names.wait(8, id), Waiting::First);
        assert_eq!(names.settle(8, None, now), [id]);
        assert_eq!(names.find(8, now), None);
    }

    #[test]
    fn refuses_too_many_names_at_once() {
        let id = Slab::<ClientId, ()>::default().insert_with(|_| ());
        let mut names = UserNames::default();
        for uid in 0..100 {
            assert_eq!(names.wait(uid, id), Waiting::First);
        }
        assert_eq!(names.wait(5_000, id), Waiting::Refused);
        assert_eq!(names.wait(3, id), Waiting::Joined);
        names.settle(3, None, Instant::now());
        assert_eq!(names.wait(5_000, id), Waiting::First);
    }
}

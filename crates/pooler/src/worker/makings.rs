//! Makings: SCRAM secrets are made of plain passwords, to ask clients by them.
//!
//! That takes milliseconds each, so a thread does it, one after the other. Who is
//! not there waits as long as who is, so the same is done for names that nobody
//! has. The queue has an end: what no login waits for any more is left out, and
//! who finds the queue full is refused. What was made for such names is remembered
//! apart, so that no user's secret is forgotten for them.

use pgskein_pool::desk::{Asked, Desk};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::ScramSecret;
use zeroize::Zeroizing;

use super::Worker;
use super::chores::Chore;
use super::client::Client;
use super::credentials::Making;
use super::denied::Denied;
use super::login::Step;
use super::once::Once;
use super::reason::Reason;

/// Secrets that are made, that wait to be, and that there are.
pub(super) struct Makings {
    /// Secrets of users.
    secrets: Once<Making, ScramSecret, ClientId>,
    /// For which names that nobody has as much was done.
    strangers: Once<Making, (), ClientId>,
    desk: Desk<Question>,
}

/// A secret that is to be made.
struct Question {
    making: Making,
    password: Zeroizing<String>,
    /// Bytes that make equal passwords different.
    salt: Vec<u8>,
}

impl Makings {
    /// The secret of a user, if it was made.
    pub(super) fn find(&self, making: &Making) -> Option<&ScramSecret> {
        self.secrets.find(making)
    }

    /// Whether as much was done for a name that nobody has.
    pub(super) fn has_done(&self, making: &Making) -> bool {
        self.strangers.find(making).is_some()
    }

    /// Forgets the secrets whose keys are more or less slow to derive than this.
    pub(super) fn keep_those_of(&mut self, iterations: u32) {
        self.secrets
            .retain(|making| making.iterations == iterations);
        self.strangers
            .retain(|making| making.iterations == iterations);
    }

    fn wait(&mut self, making: &Making, id: ClientId) -> bool {
        match making.is_of_user() {
            true => self.secrets.wait(making, id),
            false => self.strangers.wait(making, id),
        }
    }

    /// Leaves out what nobody waits for any more, if `waits` says who still does.
    fn clear(&mut self, waits: impl Fn(ClientId) -> bool) {
        self.secrets.abandon(|&id| waits(id));
        self.strangers.abandon(|&id| waits(id));
    }

    /// Takes a question in that nobody else has asked.
    fn ask(&mut self, question: Question) -> Asked<Question> {
        let (secrets, strangers) = (&self.secrets, &self.strangers);
        self.desk.ask(question, |Question { making, .. }| {
            secrets.is_waited_for(making) || strangers.is_waited_for(making)
        })
    }

    /// The next question, after one was answered.
    fn next(&mut self) -> Option<Question> {
        let (secrets, strangers) = (&self.secrets, &self.strangers);
        self.desk.on_answered(|Question { making, .. }| {
            secrets.is_waited_for(making) || strangers.is_waited_for(making)
        })
    }

    /// Takes those who wait, and keeps what was made, if anything was.
    fn settle(&mut self, making: Making, secret: Option<ScramSecret>) -> Vec<ClientId> {
        match making.is_of_user() {
            true => self.secrets.settle(making, secret),
            false => self.strangers.settle(making, secret.map(drop)),
        }
    }
}

impl Default for Makings {
    fn default() -> Self {
        Self {
            secrets: Once::default(),
            strangers: Once::default(),
            desk: Desk::new(1, ROOM),
        }
    }
}

impl Question {
    fn chore(self) -> Chore {
        Chore::DeriveSecret {
            making: self.making,
            password: self.password,
            salt: self.salt,
        }
    }
}

impl Worker {
    /// Has a client wait until a secret was made for the user that it wants to be.
    ///
    /// # Errors
    ///
    /// [`Denied::Crowded`] when too many wait for that already.
    pub(super) fn make_secret(
        &mut self,
        id: ClientId,
        making: Making,
        password: Zeroizing<String>,
    ) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        login.step = Step::Deriving;
        let user = login.user.clone();
        if !self.credentials.makings.wait(&making, id) {
            return Ok(());
        }
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        self.credentials.makings.clear(waits);
        let question = Question {
            making,
            password,
            // That of a mock secret: all workers have the same.
            salt: self.credentials.mock(&user, false).salt,
        };
        match self.credentials.makings.ask(question) {
            Asked::Now(question) => {
                let started = self.start_chore(question.chore());
                if started.is_err() {
                    self.credentials.makings.settle(making, None);
                    // Nothing waits where this one had not to wait.
                    self.credentials.makings.next();
                }
                started
            }
            Asked::Waits => Ok(()),
            Asked::Full => {
                self.credentials.makings.settle(making, None);
                Err(Reason::Denied(Denied::Crowded))
            }
        }
    }

    /// A SCRAM secret was made of a plain password: those who have waited for it
    /// go on, in as many turns as that takes.
    pub(super) fn secret_made(&mut self, making: Making, secret: ScramSecret) {
        let waiting = self.credentials.makings.settle(making, Some(secret));
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        self.credentials.makings.clear(waits);
        if let Some(question) = self.credentials.makings.next() {
            let making = question.making;
            if let Err(reason) = self.start_chore(question.chore()) {
                for id in self.credentials.makings.settle(making, None) {
                    self.close_client(id, &reason);
                }
            }
        }
        for id in waiting {
            if let Some((login, _)) = self.login_mut(id)
                && login.step.is_deriving()
            {
                login.step = Step::Derived;
                self.wake_client(id);
            }
        }
    }
}

/// Secrets that wait to be made at most: seconds of work.
const ROOM: usize = 1_000;

#[cfg(test)]
mod tests {
    use pgskein_config::Config;
    use pgskein_pool::slab::Slab;

    use super::super::credentials::Credentials;
    use super::*;

    fn making(name: &str, password: Option<&str>) -> Making {
        Credentials::new(&Config::default(), [7; 16], b"host").making(name, password)
    }

    fn question(making: Making) -> Question {
        Question {
            making,
            password: Zeroizing::default(),
            salt: Vec::new(),
        }
    }

    #[test]
    fn forgets_no_secret_of_a_user_for_names_that_nobody_has() {
        let mut makings = Makings::default();
        let secret = ScramSecret::mock(b"alice", b"key");
        let alice = making("alice", Some("rabbit"));
        makings.settle(alice, Some(secret.clone()));
        let strangers: Vec<_> = (0..11_000)
            .map(|number| making(&format!("nobody{number}"), None))
            .collect();
        for stranger in &strangers {
            makings.settle(*stranger, Some(secret.clone()));
            assert!(makings.has_done(stranger));
        }
        assert!(!makings.has_done(&strangers[0]));
        assert!(makings.find(&alice) == Some(&secret));
        makings.keep_those_of(7);
        assert!(makings.find(&alice).is_none());
    }

    #[test]
    fn leaves_out_what_nobody_waits_for_and_has_an_end() {
        let mut makings = Makings::default();
        let mut clients = Slab::<ClientId, ()>::default();
        let (stays, left) = (clients.insert_with(|_| ()), clients.insert_with(|_| ()));
        let mut ask = |making, id| {
            assert!(makings.wait(&making, id));
            makings.clear(|id| id == stays);
            makings.ask(question(making))
        };
        let stranger = |number: u32| making(&format!("nobody{number}"), None);
        assert!(matches!(ask(stranger(0), stays), Asked::Now(_)));
        for number in 1..3_000 {
            assert!(
                matches!(ask(stranger(number), left), Asked::Waits),
                "{number}"
            );
        }
        let alice = making("alice", Some("rabbit"));
        assert!(matches!(ask(alice, stays), Asked::Waits));
        for number in 10_000..10_999 {
            assert!(matches!(ask(stranger(number), stays), Asked::Waits));
        }
        assert!(matches!(ask(stranger(20_000), stays), Asked::Full));
        assert_eq!(makings.next().map(|next| next.making), Some(alice));
    }

    #[test]
    fn tells_who_has_waited_in_either_case() {
        let mut makings = Makings::default();
        let id = Slab::<ClientId, ()>::default().insert_with(|_| ());
        for making in [making("alice", Some("")), making("alice", None)] {
            assert!(makings.wait(&making, id));
            assert!(!makings.wait(&making, id));
            assert_eq!(makings.settle(making, None), [id, id]);
            assert!(makings.find(&making).is_none() && !makings.has_done(&making));
        }
    }
}

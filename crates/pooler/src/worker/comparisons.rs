//! Comparisons: passwords that clients send are compared with SCRAM secrets.
//!
//! That takes milliseconds each, so a thread does it, one after the other. The
//! same comparison is made once for all who wait for it, a right one is
//! remembered, and the queue has an end: comparisons that no login waits for
//! any more are left out, and who finds the queue full is refused. Wrong
//! passwords so delay others only as long as those who sent them stay.

use pgskein_pool::desk::{Asked, Desk};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::ScramSecret;
use pgskein_protocol::scram::ScramKeys;
use zeroize::Zeroizing;

use super::Worker;
use super::chores::Chore;
use super::client::Client;
use super::credentials::Comparison;
use super::denied::Denied;
use super::once::Once;
use super::reason::Reason;

/// Comparisons that are made, that wait, and that were right.
pub(super) struct Comparisons {
    /// The keys of passwords that clients have sent, if they were right.
    right: Once<Comparison, ScramKeys, ClientId>,
    desk: Desk<Question>,
}

/// A comparison that is to be made.
struct Question {
    comparison: Comparison,
    password: Zeroizing<String>,
    secret: ScramSecret,
}

impl Comparisons {
    /// Leaves out what nobody waits for any more, if `waits` says who still does.
    fn clear(&mut self, waits: impl Fn(ClientId) -> bool) {
        self.right.abandon(|&id| waits(id));
    }

    /// Takes a question in that nobody else has asked.
    fn ask(&mut self, question: Question) -> Asked<Question> {
        let right = &self.right;
        self.desk
            .ask(question, |one| right.is_waited_for(&one.comparison))
    }

    /// The next question, after one was answered.
    fn next(&mut self) -> Option<Question> {
        let right = &self.right;
        self.desk
            .on_answered(|one| right.is_waited_for(&one.comparison))
    }
}

impl Default for Comparisons {
    fn default() -> Self {
        Self {
            right: Once::default(),
            desk: Desk::new(1, ROOM),
        }
    }
}

impl std::fmt::Debug for Comparisons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Comparisons(..)")
    }
}

impl Question {
    fn chore(self) -> Chore {
        Chore::Compare {
            comparison: self.comparison,
            password: self.password,
            secret: self.secret,
        }
    }
}

impl Worker {
    /// Has a password compared with a secret.
    ///
    /// # Errors
    ///
    /// [`Denied::Crowded`] when too many wait for that already.
    pub(super) fn compare(
        &mut self,
        id: ClientId,
        password: &[u8],
        secret: ScramSecret,
    ) -> Result<(), Reason> {
        let password = Zeroizing::new(String::from_utf8_lossy(password).into_owned());
        let comparison = self.credentials.comparison(&password, &secret);
        if let Some(keys) = self.comparisons.right.find(&comparison) {
            let keys = keys.clone();
            return self.conclude(id, Some(keys));
        }
        if !self.comparisons.right.wait(&comparison, id) {
            return Ok(());
        }
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        self.comparisons.clear(waits);
        let question = Question {
            comparison,
            password,
            secret,
        };
        match self.comparisons.ask(question) {
            Asked::Now(question) => {
                let started = self.start_chore(question.chore());
                if started.is_err() {
                    self.comparisons.right.settle(comparison, None);
                    // Nothing waits where this one had not to wait.
                    self.comparisons.next();
                }
                started
            }
            Asked::Waits => Ok(()),
            Asked::Full => {
                self.comparisons.right.settle(comparison, None);
                Err(Reason::Denied(Denied::Crowded))
            }
        }
    }

    /// A password was compared with a SCRAM secret, and is the right one if these
    /// are its keys.
    pub(super) fn compared(&mut self, comparison: Comparison, keys: Option<ScramKeys>) {
        let waiting = self.comparisons.right.settle(comparison, keys.clone());
        let clients = &self.clients;
        let waits = |id| clients.get(id).is_some_and(Client::is_deriving);
        self.comparisons.clear(waits);
        if let Some(question) = self.comparisons.next() {
            let comparison = question.comparison;
            if let Err(reason) = self.start_chore(question.chore()) {
                for id in self.comparisons.right.settle(comparison, None) {
                    self.close_client(id, &reason);
                }
            }
        }
        for id in waiting {
            if self.clients.get(id).is_some_and(Client::is_deriving) {
                let outcome = self.conclude(id, keys.clone());
                self.go_on(id, outcome);
            }
        }
    }
}

/// Comparisons that wait at most: seconds of work.
const ROOM: usize = 1_000;

#[cfg(test)]
mod tests {
    use pgskein_config::Config;
    use pgskein_pool::slab::Slab;

    use super::super::credentials::Credentials;
    use super::*;

    fn question(number: u32) -> Question {
        let password = format!("wrong{number}");
        let secret = ScramSecret::mock(b"alice", b"key");
        let credentials = Credentials::new(&Config::default(), [7; 16], b"host");
        Question {
            comparison: credentials.comparison(&password, &secret),
            password: Zeroizing::new(password),
            secret,
        }
    }

    #[test]
    fn leaves_out_what_nobody_waits_for_and_has_an_end() {
        let mut comparisons = Comparisons::default();
        let mut clients = Slab::<ClientId, ()>::default();
        let (stays, left) = (clients.insert_with(|_| ()), clients.insert_with(|_| ()));
        let mut ask = |number, id| {
            let question = question(number);
            assert!(comparisons.right.wait(&question.comparison, id));
            comparisons.clear(|id| id == stays);
            comparisons.ask(question)
        };
        assert!(matches!(ask(0, stays), Asked::Now(_)));
        for number in 1..5_000 {
            assert!(matches!(ask(number, left), Asked::Waits), "{number}");
        }
        let first = 10_000;
        for number in 0..1_000 {
            assert!(matches!(ask(first + number, stays), Asked::Waits));
        }
        assert!(matches!(ask(20_000, stays), Asked::Full));
        let next = comparisons.next().map(|next| next.comparison);
        assert_eq!(next, Some(question(first).comparison));
    }
}

//! Claims: places for clients under the limits of their database and user.
//!
//! The supervisor counts for the whole group. It is asked at a login, once the
//! client has proved who it is, and only where a limit is set; the login goes
//! on with the answer.

use std::collections::{HashMap, HashSet};

use pgskein_config::ClientLimits;
use pgskein_pool::control::{ClaimAnswer, HandoffReport, ToSupervisor};
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::client::Stage;
use super::handoff::Place;
use super::login::Step;
use super::reason::Reason;

/// What a worker knows of the places of its clients.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Clients that wait for an answer, by their number.
    pending: HashMap<u64, ClientId>,
    /// Numbers of the clients that count at the supervisor, or will.
    counted: HashSet<u64>,
    /// Users that clients have logged in as, where their pool has another.
    users: HashMap<u64, Box<str>>,
}

impl Claims {
    /// The user that a client has logged in as, if its pool has another.
    pub(super) fn user(&self, client: u64) -> Option<&str> {
        self.users.get(&client).map(|user| &**user)
    }

    /// Whether a client counts at the supervisor.
    pub(super) fn counts(&self, client: u64) -> bool {
        self.counted.contains(&client)
    }
}

impl Worker {
    /// Asks for a place for a client that has proved who it is, if there is a
    /// limit and it has none yet; true if its login waits for the answer.
    ///
    /// # Errors
    ///
    /// [`Reason::ShuttingDown`] when there is nobody to ask.
    pub(super) fn claim(
        &mut self,
        id: ClientId,
        database: &str,
        user: &str,
    ) -> Result<bool, Reason> {
        let limits = self.config.client_limits(database, user);
        let Some(client) = self.clients.get_mut(id) else {
            return Ok(false);
        };
        let number = client.number;
        if limits == ClientLimits::default() || self.claims.counted.contains(&number) {
            return Ok(false);
        }
        if self.control.is_none() {
            return Err(Reason::ShuttingDown);
        }
        if let Stage::Login(login) = &mut client.stage {
            login.step = Step::Claiming;
        }
        self.claims.counted.insert(number);
        self.claims.pending.insert(number, id);
        self.tell_supervisor(&ToSupervisor::Claim {
            client: number,
            database: database.to_owned(),
            user: user.to_owned(),
        });
        Ok(true)
    }

    /// Remembers whom a client has logged in as, if its pool does not tell.
    pub(super) fn note_user(&mut self, id: ClientId, user: &str, of_pool: &str) {
        if user != of_pool
            && let Some(client) = self.clients.get(id)
        {
            self.claims.users.insert(client.number, user.into());
        }
    }

    /// The supervisor has answered.
    pub(super) fn on_claimed(&mut self, number: u64, answer: ClaimAnswer) {
        let Some(id) = self.claims.pending.remove(&number) else {
            return;
        };
        let reason = match answer {
            ClaimAnswer::Granted => {
                let outcome = self.enter_pool(id);
                return self.go_on(id, outcome);
            }
            ClaimAnswer::DatabaseFull => Reason::TooManyOfDatabase,
            ClaimAnswer::UserFull => Reason::TooManyOfUser,
        };
        self.claims.counted.remove(&number);
        self.close_client(id, &reason);
    }

    /// A client is going to be another worker's, where its place counts on.
    pub(super) fn hand_claim_over(&mut self, number: u64, to: Place) {
        self.claims.users.remove(&number);
        if self.claims.counted.remove(&number)
            && let Some(to) = self.process_at(to)
        {
            let client = HandoffReport::Client { client: number, to };
            self.tell_supervisor(&ToSupervisor::Handoff(client));
        }
    }

    /// A client has come from another worker, with its place.
    pub(super) fn claim_taken(&mut self, number: u64, database: &str, user: &str) {
        self.claims.counted.insert(number);
        self.tell_supervisor(&ToSupervisor::Present {
            client: number,
            database: database.to_owned(),
            user: user.to_owned(),
        });
    }

    /// A client is gone.
    pub(super) fn forget_claim(&mut self, number: u64) {
        self.claims.pending.remove(&number);
        self.claims.users.remove(&number);
        if self.claims.counted.remove(&number) {
            self.tell_supervisor(&ToSupervisor::Left { client: number });
        }
    }

    /// Has everybody counted by a supervisor that knows of nobody.
    pub(super) fn count_all_present(&mut self) {
        self.claims.counted.clear();
        self.count_present();
    }

    /// Has those counted who were here before their limit was set.
    pub(super) fn count_present(&mut self) {
        let mut present = Vec::new();
        for (_, client) in self.clients.iter() {
            let session = client.session().filter(|_| !client.is_coming());
            let Some(session) = session else {
                continue;
            };
            let Some(pool) = self.pools.get(session.pool) else {
                continue;
            };
            let user = self.claims.users.get(&client.number);
            let user = user.map_or(pool.key.user.as_str(), |user| &**user);
            let limits = self.config.client_limits(&pool.key.database, user);
            if limits != ClientLimits::default() && self.claims.counted.insert(client.number) {
                present.push(ToSupervisor::Present {
                    client: client.number,
                    database: pool.key.database.clone(),
                    user: user.to_owned(),
                });
            }
        }
        for message in present {
            self.tell_supervisor(&message);
        }
    }

    /// Nobody will answer any more.
    pub(super) fn refuse_claims(&mut self) {
        let waiting = self.claims.pending.values().copied().collect();
        self.close_waiting(waiting, &Reason::ShuttingDown);
    }
}

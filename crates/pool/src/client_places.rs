//! Client places: clients that count towards the limit of a database or a user.
//!
//! The supervisor keeps them for the whole group. A worker asks at a login, only
//! where a limit is set, and says when the client has left.

use std::collections::BTreeMap;

use pgskein_config::ClientLimits;

use crate::control::ClaimAnswer;
use crate::ledger::{WorkerId, put_worker, worker};
use crate::octets::{Octets, Truncated, put_bytes, put_count};

/// The clients that count, by their number in the group's one sequence.
///
/// Always true: the counts are those of the clients.
#[derive(Debug, Default)]
pub struct ClientPlaces {
    clients: BTreeMap<u64, Place>,
    databases: BTreeMap<String, u32>,
    users: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Place {
    worker: WorkerId,
    database: String,
    user: String,
}

impl ClientPlaces {
    /// A client asks for a place; it has it from then on, unless refused.
    pub fn claim(
        &mut self,
        worker: WorkerId,
        client: u64,
        database: String,
        user: String,
        limits: ClientLimits,
    ) -> ClaimAnswer {
        let full = |counts: &BTreeMap<String, u32>, name: &str, limit: u32| {
            limit > 0 && counts.get(name).is_some_and(|count| *count >= limit)
        };
        if self.clients.contains_key(&client) {
            return ClaimAnswer::Granted;
        }
        if full(&self.databases, &database, limits.of_database) {
            return ClaimAnswer::DatabaseFull;
        }
        if full(&self.users, &user, limits.of_user) {
            return ClaimAnswer::UserFull;
        }
        self.enter(worker, client, database, user);
        ClaimAnswer::Granted
    }

    /// A client was there before its limit was set: it counts, even beyond it.
    pub fn enter(&mut self, worker: WorkerId, client: u64, database: String, user: String) {
        if self.clients.contains_key(&client) {
            return;
        }
        *self.databases.entry(database.clone()).or_default() += 1;
        *self.users.entry(user.clone()).or_default() += 1;
        let place = Place {
            worker,
            database,
            user,
        };
        self.clients.insert(client, place);
    }

    /// A client of this worker has left.
    pub fn left(&mut self, worker: WorkerId, client: u64) {
        let own = |place: &Place| place.worker == worker;
        if self.clients.get(&client).is_some_and(own)
            && let Some(place) = self.clients.remove(&client)
        {
            self.give_back(&place);
        }
    }

    /// A worker is gone with all its clients.
    pub fn worker_died(&mut self, worker: WorkerId) {
        let clients = self.clients.iter();
        let own = clients.filter(|(_, place)| place.worker == worker);
        for client in own.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.left(worker, client);
        }
    }

    /// Appends them to `out`: version (1), number of clients (4), then number
    /// (8), worker, database and user of each.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_count(out, self.clients.len());
        for (client, place) in &self.clients {
            out.extend_from_slice(&client.to_be_bytes());
            put_worker(out, place.worker);
            put_bytes(out, place.database.as_bytes());
            put_bytes(out, place.user.as_bytes());
        }
    }

    /// Takes them from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        let mut places = Self::default();
        for _ in 0..octets.u32()? {
            let (client, worker) = (octets.u64()?, worker(octets)?);
            places.enter(worker, client, octets.text()?, octets.text()?);
        }
        Ok(places)
    }

    fn give_back(&mut self, place: &Place) {
        for (counts, name) in [
            (&mut self.databases, &place.database),
            (&mut self.users, &place.user),
        ] {
            if let Some(count) = counts.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(name);
                }
            }
        }
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use pgskein_protocol::key::Slot;

    use super::*;

    fn worker(slot: u8) -> WorkerId {
        WorkerId {
            slot: Slot::new(slot).unwrap(),
            generation: 1,
            incarnation: 1,
        }
    }

    /// Claims of a client of worker 1, or 2 from client 10 on.
    fn claim(
        places: &mut ClientPlaces,
        client: u64,
        database: &str,
        user: &str,
        limits: (u32, u32),
    ) -> ClaimAnswer {
        let limits = ClientLimits {
            of_database: limits.0,
            of_user: limits.1,
        };
        let worker = worker(if client < 10 { 1 } else { 2 });
        places.claim(worker, client, database.to_owned(), user.to_owned(), limits)
    }

    #[test]
    fn refuses_whoever_comes_after_the_last_place() {
        let mut places = ClientPlaces::default();
        for client in [1, 10] {
            let answer = claim(&mut places, client, "shop", "bob", (2, 0));
            assert_eq!(answer, ClaimAnswer::Granted);
        }
        let answer = claim(&mut places, 2, "shop", "eve", (2, 0));
        assert_eq!(answer, ClaimAnswer::DatabaseFull);
        let answer = claim(&mut places, 2, "other", "bob", (2, 2));
        assert_eq!(answer, ClaimAnswer::UserFull);
        let answer = claim(&mut places, 2, "other", "bob", (0, 0));
        assert_eq!(answer, ClaimAnswer::Granted);
    }

    #[test]
    fn gives_a_place_to_the_next_once_and_only_when_its_owner_leaves() {
        let mut places = ClientPlaces::default();
        claim(&mut places, 1, "shop", "bob", (1, 1));
        claim(&mut places, 1, "shop", "bob", (1, 1));
        places.left(worker(2), 1);
        let answer = claim(&mut places, 2, "shop", "bob", (1, 1));
        assert_eq!(answer, ClaimAnswer::DatabaseFull);
        places.left(worker(1), 1);
        places.left(worker(1), 1);
        for (client, expected) in [(2, ClaimAnswer::Granted), (3, ClaimAnswer::DatabaseFull)] {
            let answer = claim(&mut places, client, "shop", "bob", (1, 1));
            assert_eq!(answer, expected);
        }
    }

    #[test]
    fn gives_back_the_places_of_a_dead_worker() {
        let mut places = ClientPlaces::default();
        for client in [1, 2, 10] {
            claim(&mut places, client, "shop", "bob", (3, 0));
        }
        places.worker_died(worker(1));
        for (client, expected) in [
            (11, ClaimAnswer::Granted),
            (12, ClaimAnswer::Granted),
            (13, ClaimAnswer::DatabaseFull),
        ] {
            let answer = claim(&mut places, client, "shop", "bob", (3, 0));
            assert_eq!(answer, expected);
        }
        places.worker_died(worker(2));
        assert!(places.clients.is_empty() && places.databases.is_empty());
        assert!(places.users.is_empty());
    }

    #[test]
    fn counts_those_who_were_there_before_the_limit() {
        let mut places = ClientPlaces::default();
        for client in [1, 2] {
            places.enter(worker(1), client, "shop".to_owned(), "bob".to_owned());
        }
        let answer = claim(&mut places, 3, "shop", "bob", (1, 0));
        assert_eq!(answer, ClaimAnswer::DatabaseFull);
        places.left(worker(1), 1);
        let answer = claim(&mut places, 3, "shop", "bob", (1, 0));
        assert_eq!(answer, ClaimAnswer::DatabaseFull);
    }
}

//! Client places: clients that count towards the limit of a database or a user.
//!
//! The supervisor keeps them for the whole group. A worker asks at a login, only
//! where a limit is set, and says when the client has left, or is handed over to
//! another worker. That one says when it has come; the two may be heard in any
//! order.

use std::collections::{BTreeMap, BTreeSet};

use pgskein_config::ClientLimits;

use crate::control::ClaimAnswer;
use crate::ledger::{EndedStreams, Giver, WorkerId, put_worker, worker};
use crate::octets::{Octets, Truncated, put_bytes, put_count, put_option};

/// The clients that count, by their number in the group's one sequence.
///
/// Always true: the counts are those of the clients.
#[derive(Debug, Default)]
pub struct ClientPlaces {
    clients: BTreeMap<u64, Place>,
    databases: BTreeMap<String, u32>,
    users: BTreeMap<String, u32>,
    /// Clients on their way from one worker to another.
    moving: BTreeSet<u64>,
    /// The last clients that have left after they had moved.
    passed: BTreeSet<u64>,
    ended: EndedStreams,
}

#[derive(Debug)]
struct Place {
    worker: WorkerId,
    /// Who has handed it over, until its worker says that it has it.
    from: Option<From>,
    /// It was handed over once.
    moved: bool,
    database: String,
    user: String,
}

/// A worker that has handed a client over.
#[derive(Clone, Copy, Debug)]
struct From {
    worker: WorkerId,
    /// It has died since.
    died: bool,
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

    /// A client was there before its limit was set, or has come from another
    /// worker: it counts, even beyond the limit.
    pub fn enter(&mut self, worker: WorkerId, client: u64, database: String, user: String) {
        if let Some(place) = self.clients.get_mut(&client) {
            place.moved |= place.worker != worker;
            (place.worker, place.from) = (worker, None);
            self.moving.remove(&client);
            return;
        }
        if self.passed.contains(&client) {
            return;
        }
        *self.databases.entry(database.clone()).or_default() += 1;
        *self.users.entry(user.clone()).or_default() += 1;
        let place = Place {
            worker,
            from: None,
            moved: false,
            database,
            user,
        };
        self.clients.insert(client, place);
    }

    /// A worker is about to hand a client over to another for good; `to` is
    /// missing if that has died.
    pub fn handed_over(&mut self, worker: WorkerId, client: u64, to: Option<WorkerId>) {
        let Some(to) = to else {
            return self.left(worker, client);
        };
        let own = self.clients.get_mut(&client);
        if let Some(place) = own.filter(|place| place.worker == worker) {
            place.worker = to;
            place.from = Some(From {
                worker,
                died: false,
            });
            place.moved = true;
            self.moving.insert(client);
        }
    }

    /// A stream of handoffs to a worker is over, and all clients that came on it
    /// are there, or were let go.
    pub fn handoffs_over(&mut self, worker: WorkerId, giver: Giver) {
        if let Giver::Living(giver) = giver {
            self.ended.0.insert((giver, worker));
        }
        self.drop_moving(|place, from, _| {
            place.worker == worker && giver.is(from.worker, from.died)
        });
    }

    /// A client of this worker has left.
    pub fn left(&mut self, worker: WorkerId, client: u64) {
        let own = |place: &Place| place.worker == worker;
        if self.clients.get(&client).is_some_and(own)
            && let Some(place) = self.clients.remove(&client)
        {
            self.give_back(&place);
            self.moving.remove(&client);
            if place.moved {
                // What an earlier worker has said of it may come yet.
                self.passed.insert(client);
                if self.passed.len() > MOST_PASSED {
                    self.passed.pop_first();
                }
            }
        }
    }

    /// A worker is gone with all its clients.
    pub fn worker_died(&mut self, worker: WorkerId) {
        let clients = self.clients.iter();
        let own = clients.filter(|(_, place)| place.worker == worker);
        for client in own.map(|(client, _)| *client).collect::<Vec<_>>() {
            self.left(worker, client);
        }
        for client in &self.moving {
            let place = self.clients.get_mut(client);
            if let Some(from) = place.and_then(|place| place.from.as_mut()) {
                from.died |= from.worker == worker;
            }
        }
        self.drop_moving(|place, from, ended| {
            from.died && ended.0.contains(&(from.worker, place.worker))
        });
        self.ended.forget(worker);
    }

    /// Appends them to `out`: version (1), number of clients (4), then number
    /// (8), worker, database and user of each. Version 2, which is written only
    /// where clients move, has after each what the place knows of its giver: none
    /// (0), or (1) its worker and whether it is dead (1).
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let moves = !self.moving.is_empty();
        out.push(if moves { VERSION } else { WITHOUT_MOVES });
        put_count(out, self.clients.len());
        for (client, place) in &self.clients {
            out.extend_from_slice(&client.to_be_bytes());
            put_worker(out, place.worker);
            put_bytes(out, place.database.as_bytes());
            put_bytes(out, place.user.as_bytes());
            if moves {
                put_option(out, place.from, |out, from| {
                    put_worker(out, from.worker);
                    out.push(from.died.into());
                });
            }
        }
    }

    /// Takes them from the start of `octets`.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        let moves = match octets.u8()? {
            WITHOUT_MOVES => false,
            VERSION => true,
            _ => return Err(Truncated),
        };
        let mut places = Self::default();
        for _ in 0..octets.u32()? {
            let (client, worker) = (octets.u64()?, worker(octets)?);
            places.enter(worker, client, octets.text()?, octets.text()?);
            if moves && let Some(from) = octets.option(from)? {
                places.moving.insert(client);
                if let Some(place) = places.clients.get_mut(&client) {
                    (place.from, place.moved) = (Some(from), true);
                }
            }
        }
        Ok(places)
    }

    /// Drops the clients on their way for which this is true.
    fn drop_moving(&mut self, lost: impl Fn(&Place, From, &EndedStreams) -> bool) {
        let dropped = self.moving.iter().filter_map(|client| {
            let place = self.clients.get(client)?;
            lost(place, place.from?, &self.ended).then_some((*client, place.worker))
        });
        for (client, worker) in dropped.collect::<Vec<_>>() {
            self.left(worker, client);
        }
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

fn from(octets: &mut Octets<'_>) -> Result<From, Truncated> {
    Ok(From {
        worker: worker(octets)?,
        died: octets.u8()? != 0,
    })
}

const VERSION: u8 = 2;
const WITHOUT_MOVES: u8 = 1;

/// So many clients that have moved and left are remembered.
const MOST_PASSED: usize = 4096;

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
    fn follows_a_client_to_another_worker_whoever_is_heard_first() {
        let enter = |places: &mut ClientPlaces, who| {
            places.enter(worker(who), 1, "shop".to_owned(), "bob".to_owned());
        };
        for taker_first in [false, true] {
            let mut places = ClientPlaces::default();
            claim(&mut places, 1, "shop", "bob", (1, 0));
            if taker_first {
                enter(&mut places, 2);
            }
            places.handed_over(worker(1), 1, Some(worker(2)));
            if !taker_first {
                enter(&mut places, 2);
            }
            places.left(worker(1), 1);
            places.worker_died(worker(1));
            assert_eq!(places.databases["shop"], 1);
            places.left(worker(2), 1);
            assert!(places.databases.is_empty());
            // What comes late does not bring it back.
            enter(&mut places, 2);
            assert!(places.databases.is_empty());
        }
    }

    #[test]
    fn forgets_a_client_that_was_lost_on_its_way() {
        let dead = |who: u8| Giver::Dead {
            slot: worker(who).slot,
            generation: 1,
        };
        let mut places = ClientPlaces::default();
        claim(&mut places, 1, "shop", "bob", (1, 0));
        places.handed_over(worker(1), 1, Some(worker(2)));
        places.worker_died(worker(1));
        places.handoffs_over(worker(2), dead(3));
        places.handoffs_over(worker(3), dead(1));
        assert_eq!(places.databases["shop"], 1);
        places.handoffs_over(worker(2), dead(1));
        assert!(places.databases.is_empty());
        // The end of the stream may be heard of before the death.
        claim(&mut places, 2, "shop", "bob", (1, 0));
        places.handoffs_over(worker(2), Giver::Living(worker(1)));
        places.handed_over(worker(1), 2, Some(worker(2)));
        assert_eq!(places.databases["shop"], 1);
        places.worker_died(worker(1));
        assert!(places.databases.is_empty());
        // And the taker may be dead.
        claim(&mut places, 3, "shop", "bob", (1, 0));
        places.handed_over(worker(1), 3, None);
        assert!(places.databases.is_empty() && places.moving.is_empty());
    }

    #[test]
    fn carries_a_client_on_its_way() {
        let mut places = ClientPlaces::default();
        claim(&mut places, 1, "a", "x", (1, 0));
        let mut bytes = Vec::new();
        places.encode(&mut bytes);
        assert_eq!(bytes[0], 1);
        places.handed_over(worker(1), 1, Some(worker(2)));
        bytes.clear();
        places.encode(&mut bytes);
        let sample: &[u8] = b"\x02\0\0\0\x01\0\0\0\0\0\0\0\x01\
            \x02\0\0\0\x01\0\0\0\x01\0\0\0\x01a\0\0\0\x01x\
            \x01\x01\0\0\0\x01\0\0\0\x01\0";
        assert_eq!(bytes, sample);
        let mut again = ClientPlaces::decode(&mut Octets(sample)).unwrap();
        again.worker_died(worker(1));
        assert_eq!(again.databases["a"], 1);
        again.worker_died(worker(2));
        assert!(again.databases.is_empty());
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

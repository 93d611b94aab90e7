//! Moves: which clients of a worker are to go to a sibling, and how far that is.
//!
//! ```text
//! queued ──its turn──> in flight ──> moved
//!   ^  └──not at rest──> at rest? ──at rest──> queued
//!   │                      in flight ──refused──> later ──after a pause──┐
//!   └──────────────────────────────────────────────────────────────────┘
//!      cannot be moved at all, or was refused for too long ──> given up
//! ```
//!
//! A worker that leaves moves all its clients to its successor; whoever is given
//! up is asked to go instead, and nobody else. A console has single clients
//! moved, or so many of a worker; who is given up then stays as it is.
//!
//! [`MoveBook`] is the supervisor's side: which console waits for what.

mod balance;
mod book;
mod messages;
mod stay;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use pgskein_protocol::key::Slot;

pub use self::balance::{Gift, even_out};
pub use self::book::{Ended, MoveBook};
pub use self::messages::{FromWorker, MoveAnswer, Succession, ToWorker};
pub use self::stay::{Refused, Stay};
use crate::ledger::WorkerId;
use crate::slab::ClientId;

/// A worker as somewhere to go. One that died is replaced by another in the same
/// place.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Its slot.
    pub slot: Slot,
    /// Its generation.
    pub generation: u32,
}

/// The moves of one worker.
#[derive(Debug, Default)]
pub struct Moves {
    succession: Succession,
    clients: BTreeMap<ClientId, Wanted>,
    queue: VecDeque<ClientId>,
    in_flight: u32,
    /// Clients of which it is said when they come to rest.
    busy: u32,
    given_up: BTreeSet<ClientId>,
    requests: HashMap<u64, Request>,
    answers: VecDeque<(u64, MoveAnswer)>,
    moved: u32,
    refused: Refused,
}

/// A client that is to be moved.
#[derive(Debug)]
struct Wanted {
    to: Place,
    /// The request of a console; none if it moves because its worker leaves.
    request: Option<u64>,
    phase: Phase,
    /// Since when it could have been moved and was not.
    refused_since: Option<Instant>,
}

/// How far the moving of a client has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// Its turn has not come.
    Queued,
    /// It is in the middle of something.
    Busy,
    /// It was refused, and is offered again.
    Later(Instant),
    /// It is offered.
    InFlight,
}

/// What a console has asked for.
#[derive(Debug)]
struct Request {
    /// How many of its clients are not decided yet.
    left: u32,
    moved: u32,
    /// The last reason of one that stays.
    stay: Option<Stay>,
    /// One client was asked for by its number, rather than so many.
    one: bool,
    /// When those are left where they are who are not offered by then.
    until: Option<Instant>,
}

/// What becomes of a client that could not be moved now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is tried again.
    Waits,
    /// It stays; if its worker leaves it is asked to go.
    GivenUp,
}

impl Moves {
    /// Whether there is nobody to be moved.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether it matters that somebody comes to rest.
    #[inline]
    pub fn has_busy(&self) -> bool {
        self.busy > 0
    }

    /// Whether somebody's turn has come, or something is to be answered.
    #[inline]
    pub fn has_turn(&self) -> bool {
        let turn = !self.queue.is_empty() && self.in_flight < MOST_IN_FLIGHT;
        turn || !self.requests.is_empty() || !self.answers.is_empty()
    }

    /// Where the clients of this worker go.
    pub fn succession(&self) -> Succession {
        self.succession
    }

    /// Says where the clients of this worker go, if it leaves.
    pub fn succeed(&mut self, succession: Succession) {
        self.succession = succession;
        if succession == Succession::Nobody {
            let stays =
                |wanted: &Wanted| wanted.request.is_some() || wanted.phase == Phase::InFlight;
            self.clients.retain(|_, wanted| stays(wanted));
            let clients = &self.clients;
            self.queue.retain(|id| clients.contains_key(id));
            self.count_busy();
        }
    }

    /// Whether a client is not to be asked to go, because it will be moved or
    /// may be.
    pub fn spares(&self, id: ClientId) -> bool {
        self.succession != Succession::Nobody && !self.given_up.contains(&id)
    }

    /// Whether a client is offered to a sibling right now.
    pub fn is_in_flight(&self, id: ClientId) -> bool {
        let wanted = self.clients.get(&id);
        wanted.is_some_and(|wanted| wanted.phase == Phase::InFlight)
    }

    /// Whether a client is still to be moved.
    pub fn is_wanted(&self, id: ClientId) -> bool {
        self.clients.contains_key(&id)
    }

    /// Whether the worker leaves and all its clients are moved or given up, but
    /// for those that are in the middle of something.
    pub fn is_settled(&self) -> bool {
        let busy = |wanted: &Wanted| wanted.phase == Phase::Busy;
        matches!(self.succession, Succession::To(_)) && self.clients.values().all(busy)
    }

    /// How many clients the worker that leaves has handed over, and why others
    /// could not be.
    pub fn counts(&self) -> (u32, Refused) {
        (self.moved, self.refused)
    }

    /// Has a client go to the successor, if there is one and the client was not
    /// given up.
    pub fn join(&mut self, id: ClientId) {
        let Succession::To(to) = self.succession else {
            return;
        };
        if !self.clients.contains_key(&id) && !self.given_up.contains(&id) {
            self.want(id, to, None);
        }
    }

    /// Has one client moved; it may be busy for as long as it likes.
    pub fn ask(&mut self, request: u64, id: ClientId, to: Place) {
        match self.clients.get_mut(&id) {
            Some(wanted) if wanted.phase == Phase::InFlight || wanted.request.is_some() => {
                let answer = MoveAnswer::Stayed(Stay::Moving);
                return self.answers.push_back((request, answer));
            }
            // It would have moved anyhow, and does so to another place.
            Some(wanted) => {
                wanted.to = to;
                wanted.request = Some(request);
            }
            None => self.want(id, to, Some(request)),
        }
        self.answers.push_back((request, MoveAnswer::Here));
        self.requests.insert(request, Request::new(1, true, None));
    }

    /// Has those clients moved who can be until a time; gifts of a request may
    /// come in several calls, before any of them is answered.
    pub fn give(
        &mut self,
        request: u64,
        to: Place,
        ids: impl IntoIterator<Item = ClientId>,
        until: Instant,
    ) {
        let entry = self.requests.entry(request);
        entry.or_insert_with(|| Request::new(0, false, Some(until)));
        for id in ids {
            if self.clients.contains_key(&id) {
                continue;
            }
            self.want(id, to, Some(request));
            if let Some(request) = self.requests.get_mut(&request) {
                request.left += 1;
            }
        }
    }

    /// The next client to be offered, and where; what has come of that is said
    /// with [`Moves::on_offered`] or [`Moves::on_stayed`].
    pub fn poll(&mut self) -> Option<(ClientId, Place)> {
        while self.in_flight < MOST_IN_FLIGHT {
            let id = self.queue.pop_front()?;
            if let Some(wanted) = self.clients.get(&id)
                && wanted.phase == Phase::Queued
            {
                return Some((id, wanted.to));
            }
        }
        None
    }

    /// A client is offered.
    pub fn on_offered(&mut self, id: ClientId) {
        if let Some(wanted) = self.clients.get_mut(&id)
            && wanted.phase != Phase::InFlight
        {
            wanted.phase = Phase::InFlight;
            self.in_flight += 1;
        }
    }

    /// A client has come to rest.
    pub fn on_rest(&mut self, id: ClientId) {
        if let Some(wanted) = self.clients.get_mut(&id)
            && wanted.phase == Phase::Busy
        {
            wanted.phase = Phase::Queued;
            self.busy -= 1;
            self.queue.push_back(id);
        }
    }

    /// A client has gone to a sibling.
    pub fn on_moved(&mut self, id: ClientId) {
        let Some(wanted) = self.remove(id) else {
            return;
        };
        match wanted.request {
            None => self.moved = self.moved.saturating_add(1),
            Some(request) => self.decide(request, None),
        }
    }

    /// A client could not be offered, or was refused.
    pub fn on_stayed(&mut self, id: ClientId, why: Stay, now: Instant) -> Fate {
        let Some(wanted) = self.clients.get_mut(&id) else {
            return Fate::Waits;
        };
        if wanted.phase == Phase::InFlight {
            self.in_flight -= 1;
            wanted.phase = Phase::Queued;
        }
        let since = *wanted.refused_since.get_or_insert(now);
        match why {
            Stay::Busy => {
                wanted.refused_since = None;
                wanted.phase = Phase::Busy;
                self.busy += 1;
                return Fate::Waits;
            }
            why if why.may_pass() && now.saturating_duration_since(since) < PATIENCE => {
                wanted.phase = Phase::Later(now + PAUSE);
                return Fate::Waits;
            }
            _ => {}
        }
        let request = wanted.request;
        self.remove(id);
        match request {
            Some(request) => {
                self.decide(request, Some(why));
                // It still goes if its worker does.
                self.join(id);
            }
            None => {
                self.refused.add(why);
                self.given_up.insert(id);
            }
        }
        Fate::GivenUp
    }

    /// A client has left.
    pub fn on_left(&mut self, id: ClientId) {
        self.given_up.remove(&id);
        if let Some(Wanted {
            request: Some(request),
            ..
        }) = self.remove(id)
        {
            self.decide(request, Some(Stay::Left));
        }
    }

    /// Looks now and then who has come to rest unseen, whose pause is over, and
    /// what has taken too long.
    pub fn look_again(&mut self, now: Instant) {
        let requests = self.requests.iter();
        let over = requests.filter(|(_, request)| request.until.is_some_and(|at| at <= now));
        let over: Vec<u64> = over.map(|(number, _)| *number).collect();
        let late = |wanted: &Wanted| {
            let of_late = wanted.request.is_some_and(|number| over.contains(&number));
            of_late && wanted.phase != Phase::InFlight
        };
        let late = self.clients.iter().filter(|(_, wanted)| late(wanted));
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(request) = self.remove(id).and_then(|wanted| wanted.request) {
                self.decide(request, Some(Stay::Busy));
            }
        }
        for (id, wanted) in &mut self.clients {
            match wanted.phase {
                Phase::Busy => self.busy -= 1,
                Phase::Later(at) if at <= now => {}
                _ => continue,
            }
            wanted.phase = Phase::Queued;
            self.queue.push_back(*id);
        }
    }

    /// When [`Moves::look_again`] has something to do, at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        let later = self
            .clients
            .values()
            .filter_map(|wanted| match wanted.phase {
                Phase::Later(at) => Some(at),
                _ => None,
            });
        let until = self.requests.values().filter_map(|request| request.until);
        later.chain(until).min()
    }

    /// The next answer to the supervisor.
    pub fn poll_answer(&mut self) -> Option<(u64, MoveAnswer)> {
        let decided = |_: &u64, request: &mut Request| request.left == 0;
        let decided = self.requests.extract_if(decided);
        let decided = decided.map(|(number, request)| (number, request.answer()));
        self.answers.extend(decided);
        self.answers.pop_front()
    }

    fn want(&mut self, id: ClientId, to: Place, request: Option<u64>) {
        let wanted = Wanted {
            to,
            request,
            phase: Phase::Queued,
            refused_since: None,
        };
        self.clients.insert(id, wanted);
        self.queue.push_back(id);
    }

    fn remove(&mut self, id: ClientId) -> Option<Wanted> {
        let wanted = self.clients.remove(&id)?;
        match wanted.phase {
            Phase::Busy => self.busy -= 1,
            Phase::InFlight => self.in_flight -= 1,
            Phase::Queued | Phase::Later(_) => {}
        }
        Some(wanted)
    }

    fn decide(&mut self, request: u64, stay: Option<Stay>) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.left -= 1;
            match stay {
                None => request.moved += 1,
                Some(why) => request.stay = Some(why),
            }
        }
    }

    fn count_busy(&mut self) {
        let clients = self.clients.values();
        let busy = clients.filter(|wanted| wanted.phase == Phase::Busy).count();
        self.busy = u32::try_from(busy).unwrap_or(u32::MAX);
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl Place {
    /// Where a worker is.
    pub fn of(worker: WorkerId) -> Self {
        let WorkerId {
            slot, generation, ..
        } = worker;
        Self { slot, generation }
    }
}

impl Request {
    fn new(left: u32, one: bool, until: Option<Instant>) -> Self {
        Self {
            left,
            moved: 0,
            stay: None,
            one,
            until,
        }
    }

    fn answer(&self) -> MoveAnswer {
        match (self.one, self.stay) {
            (true, Some(why)) => MoveAnswer::Stayed(why),
            _ => MoveAnswer::Moved(self.moved),
        }
    }
}

/// Clients that are offered to siblings at the same time.
pub const MOST_IN_FLIGHT: u32 = 32;

/// How long a client that is refused is offered again and again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two offers of the same client.
const PAUSE: Duration = Duration::from_millis(50);

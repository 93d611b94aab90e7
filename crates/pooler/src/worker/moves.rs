//! Moves: when clients go to siblings.
//!
//! Whose turn it is is decided by [`Moves`], how a client goes by
//! [`Worker::hand_over`]. A worker that leaves moves everybody to its successor,
//! as soon as each is at rest, and asks nobody to go but those who cannot move.
//!
//! [`Moves`]: pgskein_pool::moves::Moves

use std::time::{Duration, Instant};

use pgskein_pool::control::ToSupervisor;
use pgskein_pool::drain::Leaving;
use pgskein_pool::handoff::Refusal;
use pgskein_pool::moves::{Fate, FromWorker, MoveAnswer, Place, Stay, Succession, ToWorker};
use pgskein_pool::slab::ClientId;

use super::Worker;
use super::client::{Carrier, Stage};
use super::drain::{member, unix_milliseconds};
use super::handoff::{Cargo, Unmovable};
use super::quiet::is_between;

impl Worker {
    /// The supervisor says something about clients that move.
    pub(super) fn on_move(&mut self, message: ToWorker) {
        match message {
            ToWorker::Succession(succession) => self.on_succession(succession),
            ToWorker::Client { number, client, to } => self.move_client(number, client, to),
            ToWorker::Give { number, gifts } => self.give_clients(number, &gifts),
        }
    }

    /// Where clients go when this worker leaves.
    pub(super) fn on_succession(&mut self, succession: Succession) {
        self.moves.succeed(succession);
        match succession {
            Succession::Nobody => self.tell_due(),
            Succession::Expected => {}
            Succession::To(_) => self.move_all(),
        }
    }

    /// Nobody will say any more who the successor is.
    pub(super) fn forget_succession(&mut self) {
        if self.moves.succession() == Succession::Expected {
            self.on_succession(Succession::Nobody);
        }
    }

    /// Has all clients go to the successor of this worker, if it leaves and has
    /// one.
    pub(super) fn move_all(&mut self) {
        if !self.is_draining() || !matches!(self.moves.succession(), Succession::To(_)) {
            return;
        }
        for (id, client) in self.clients.iter() {
            if matches!(client.stage, Stage::Session(_) | Stage::Console(_)) {
                self.moves.join(id);
            }
        }
    }

    /// Offers those whose turn it is, and says what has come of others.
    pub(super) fn moves_turn(&mut self) {
        while let Some((id, to)) = self.moves.poll() {
            let offered = match self.cargo(id) {
                Ok(cargo) => self.hand_over(cargo, to).map_err(stay),
                Err(why) => Err(why),
            };
            match offered {
                Ok(()) => self.moves.on_offered(id),
                Err(why) => self.stays(id, why),
            }
        }
        while let Some((number, answer)) = self.moves.poll_answer() {
            self.answer_move(number, answer);
        }
        if self.moves.is_settled() && !self.ending.moves_logged && self.is_draining() {
            self.ending.moves_logged = true;
            self.log_moves();
        }
    }

    /// Looks now and then whether those can move that could not before.
    pub(super) fn sweep_moves(&mut self) {
        self.move_all();
        self.moves.look_again(self.now);
        self.moves_turn();
        if let Some(at) = self.moves.next_deadline() {
            let left = at.saturating_duration_since(self.now);
            self.ticker.within(left.max(SHORTEST_WAIT));
        }
    }

    /// A client is going to be another worker's: what is known of it here is
    /// still there, and is forgotten next.
    pub(super) fn moved(&mut self, id: ClientId, to: Place) {
        if let Some(client) = self.clients.get(id) {
            log::debug!("c{}: moves to worker {to}", client.number);
        }
        self.drains.on_left(id, Leaving::Moved);
        self.moves.on_moved(id);
        self.cell.add_moved();
    }

    /// A client stays here after all, and goes on.
    pub(super) fn stayed(&mut self, id: ClientId, why: Unmovable) {
        self.stays(id, stay(why));
    }

    /// A client has come from another worker and goes on here.
    pub(super) fn arrived(&mut self, id: ClientId) {
        self.cell.add_arrived();
        let Some(client) = self.clients.get(id) else {
            return;
        };
        log::debug!("c{}: has moved here", client.number);
        if let Some(member) = member(id, client, &self.pools, &self.claims) {
            let age = self.now.saturating_duration_since(client.accepted);
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let connected = unix_milliseconds().saturating_sub(age);
            self.drains.on_arrival(&member, connected, self.now);
            self.ask_clients();
        }
        self.move_all();
    }

    /// Moves one client, or says why it stays; it is asked for by its number in
    /// the group's one sequence.
    fn move_client(&mut self, number: u64, client: u64, to: Place) {
        let known = self.clients.ids(|known| {
            let here = !matches!(
                known.stage,
                Stage::Closing { .. } | Stage::Cancelling { .. }
            );
            known.number == client && here
        });
        match known.first().copied() {
            None => self.answer_move(number, MoveAnswer::NotHere),
            Some(_) if to == self.place() => self.answer_move(number, MoveAnswer::Moved(0)),
            Some(id) => self.moves.ask(number, id, to),
        }
    }

    /// Gives so many clients to others, of those who can move: idle ones first.
    fn give_clients(&mut self, number: u64, gifts: &[(Place, u32)]) {
        let until = self.now + GIVING_AT_MOST;
        let sessions = self.clients.iter().filter(|(id, client)| {
            let session = client.session();
            let movable = |carrier| !matches!(carrier, Carrier::Never(_));
            session.is_some_and(|session| movable(session.carrier)) && !self.moves.is_wanted(*id)
        });
        let (mut giving, busy): (Vec<_>, Vec<_>) =
            sessions.partition(|(_, client)| is_between(client, &self.servers));
        giving.extend(busy);
        let mut giving = giving
            .into_iter()
            .map(|(id, _)| id)
            .collect::<Vec<_>>()
            .into_iter();
        for (to, count) in gifts {
            let some = giving.by_ref().take(*count as usize);
            self.moves.give(number, *to, some, until);
        }
        self.ticker.within(GIVING_AT_MOST);
    }

    /// A client as something that can be handed over, once it is at rest; in a
    /// transaction its server goes with it.
    fn cargo(&self, id: ClientId) -> Result<Cargo, Stay> {
        let client = self.clients.get(id).ok_or(Stay::Left)?;
        match &client.stage {
            // Its keys are not to leave this process.
            Stage::Session(_) | Stage::Console(_) if client.stream.tls().is_some() => {
                Err(Stay::Tls)
            }
            Stage::Session(session) => match session.carrier {
                Carrier::Never(_) => Err(Stay::Replication),
                // An order may wait for its server, and would not find it there.
                _ if self.orders.wait() && client.linked().is_some() => Err(Stay::Busy),
                _ => Ok(Cargo::Session(id)),
            },
            Stage::Console(_) => Ok(Cargo::Console(id)),
            Stage::Login(_) => Err(Stay::Busy),
            Stage::Cancelling { .. } | Stage::Closing { .. } => Err(Stay::Left),
        }
    }

    /// A client was not moved, or not yet.
    fn stays(&mut self, id: ClientId, why: Stay) {
        if self.moves.on_stayed(id, why, self.now) == Fate::Waits {
            if let Some(at) = self.moves.next_deadline() {
                let left = at.saturating_duration_since(self.now);
                self.ticker.within(left.max(SHORTEST_WAIT));
            }
            return;
        }
        if let Some(client) = self.clients.get(id) {
            log::debug!("c{}: cannot move: {why}", client.number);
        }
        if self.is_draining() && !self.moves.spares(id) {
            self.drains.on_refused(id, why);
            self.cell.add_unmoved();
            self.tell(id);
        }
    }

    fn answer_move(&mut self, number: u64, answer: MoveAnswer) {
        let message = FromWorker::Answer { number, answer };
        self.tell_supervisor(&ToSupervisor::Move(message));
    }

    fn log_moves(&self) {
        let Succession::To(to) = self.moves.succession() else {
            return;
        };
        let (moved, refused) = self.moves.counts();
        let busy = self
            .clients
            .iter()
            .filter(|(id, _)| self.moves.is_wanted(*id));
        let since = self.ending.leaving_since.unwrap_or(self.now);
        log::info!(
            "moved {moved} clients to worker {to} in {} ms, busy={} refused={} ({refused})",
            since_now(since, self.now),
            busy.count(),
            refused.total(),
        );
    }
}

fn since_now(since: Instant, now: Instant) -> u128 {
    now.saturating_duration_since(since).as_millis()
}

/// Why a client stays, for those who are told.
fn stay(why: Unmovable) -> Stay {
    match why {
        Unmovable::Busy => Stay::Busy,
        Unmovable::Replication => Stay::Replication,
        Unmovable::Tls => Stay::Tls,
        Unmovable::TooLarge | Unmovable::Refused(Refusal::TooLarge) => Stay::TooLarge,
        Unmovable::Full
        | Unmovable::NoDescriptors
        | Unmovable::Refused(Refusal::Full | Refusal::NoMemory | Refusal::NoDescriptors) => {
            Stay::Full
        }
        Unmovable::Refused(Refusal::Unknown) => Stay::Unknown,
        // An order has come meanwhile; it is offered again when that is done.
        Unmovable::Outdated | Unmovable::NoWay | Unmovable::Late => Stay::NoWay,
        Unmovable::Refused(Refusal::KeyTaken | Refusal::Leaving | Refusal::Other) => Stay::Other,
    }
}

/// How long clients that are to be given may take to come to rest.
const GIVING_AT_MOST: Duration = Duration::from_secs(3);

/// Looks that are due sooner are taken together.
const SHORTEST_WAIT: Duration = Duration::from_millis(10);

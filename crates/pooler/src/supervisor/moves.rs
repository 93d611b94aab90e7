//! Moves: to whom the clients of a worker go that leaves, and what consoles have
//! moved.

use std::collections::BTreeMap;
use std::time::Instant;

use mio::Token;
use pgskein_pool::control::ToWorker;
use pgskein_pool::ledger::WorkerId;
use pgskein_pool::moves::{self, Ended, FromWorker, MoveBook, Place, Stay, Succession, even_out};
use pgskein_pool::runtime::OrderError;
use pgskein_protocol::key::Slot;

use super::Supervisor;
use super::ask::Asker;
use super::orders::silence;
use crate::worker::unix_milliseconds;

/// A book whose numbers were not used by a supervisor before.
pub(crate) fn new_book() -> MoveBook<Asker> {
    MoveBook::new(unix_milliseconds() << 16)
}

impl Supervisor {
    /// Says where the clients of a worker go that leaves.
    pub(crate) fn tell_succession(&mut self, token: Token, succession: Succession) {
        let message = moves::ToWorker::Succession(succession);
        self.tell(token, &ToWorker::Move(message));
    }

    /// Who takes over the clients of a worker: the one that has its slot by now,
    /// or, if nobody has, the one with the fewest clients of those that stay.
    pub(crate) fn successor_of(&self, token: Token) -> Succession {
        let Some(worker) = self.workers.get(&token) else {
            return Succession::Nobody;
        };
        let place = self.places.get(&worker.id.slot);
        let own = place.and_then(|place| place.worker);
        let own = own.filter(|own| *own != token);
        let fewest = || {
            let others = self.places.values().filter_map(|place| place.worker);
            let others = others.filter(|other| *other != token);
            let stays = |other: &Token| {
                let worker = self.workers.get(other);
                worker.is_some_and(|worker| !worker.leaving && worker.ready_since.is_some())
            };
            others.filter(stays).min_by_key(|other| {
                let worker = self.workers.get(other);
                let slot = worker.map(|worker| worker.id.slot);
                let clients = worker.map_or(0, |worker| worker.cell.clients());
                (
                    slot.is_some_and(|slot| self.is_to_be_replaced(slot)),
                    clients,
                )
            })
        };
        let successor = own.or_else(fewest);
        let successor = successor.and_then(|token| self.workers.get(&token));
        successor.map_or(Succession::Nobody, |worker| {
            Succession::To(Place::of(worker.id))
        })
    }

    /// Has one client moved to the worker of a slot.
    pub(crate) fn move_client(&mut self, asker: Asker, client: u64, to: Slot) {
        if let Some(why) = self.moves_nobody() {
            return self.answer(asker, Err(why));
        }
        let place = self.places.get(&to).and_then(|place| place.worker);
        let Some(worker) = place.and_then(|token| self.workers.get(&token)) else {
            return self.answer(asker, Err(OrderError::NoSuchWorker(to).to_string()));
        };
        if worker.ready_since.is_none() {
            return self.answer(asker, Err(format!("worker {to} is not ready")));
        }
        let to = Place::of(worker.id);
        let workers = self.worker_ids();
        let deadline = self.patience_for_moves();
        let number = self.moves.ask(asker, workers, deadline);
        let message = moves::ToWorker::Client { number, client, to };
        self.tell_all(&ToWorker::Move(message));
    }

    /// Has clients moved until every worker has as many as the others.
    pub(crate) fn balance(&mut self, asker: Asker) {
        if let Some(why) = self.moves_nobody() {
            return self.answer(asker, Err(why));
        }
        if let Some(slot) = self.not_ready() {
            return self.answer(asker, Err(format!("worker {slot} is not ready")));
        }
        let tokens = self.places.values().filter_map(|place| place.worker);
        let workers: BTreeMap<Place, (Token, WorkerId)> = tokens
            .filter_map(|token| {
                let worker = self.workers.get(&token)?;
                Some((Place::of(worker.id), (token, worker.id)))
            })
            .collect();
        let clients = workers.iter().map(|(place, (token, _))| {
            let worker = self.workers.get(token);
            (*place, worker.map_or(0, |worker| worker.cell.clients()))
        });
        let mut giving: BTreeMap<Place, Vec<(Place, u32)>> = BTreeMap::new();
        for gift in even_out(clients) {
            giving
                .entry(gift.from)
                .or_default()
                .push((gift.to, gift.count));
        }
        let givers = giving.keys().filter_map(|place| workers.get(place));
        let givers = givers.map(|(_, id)| *id);
        // They answer in time by themselves.
        let deadline = self.patience_for_moves();
        let number = self.moves.balance(asker, givers, deadline);
        for (from, gifts) in giving {
            if let Some((token, _)) = workers.get(&from) {
                let message = moves::ToWorker::Give { number, gifts };
                self.tell(*token, &ToWorker::Move(message));
            }
        }
        self.moves_due();
    }

    /// Takes what a worker says about moves.
    pub(crate) fn hear_of_moves(&mut self, worker: WorkerId, message: FromWorker) {
        let FromWorker::Answer { number, answer } = message;
        self.moves.on_answer(worker, number, answer);
    }

    /// Answers those whose clients have moved, or will not.
    pub(crate) fn moves_due(&mut self) {
        while let Some((asker, ended)) = self.moves.poll_ended(self.now) {
            let outcome = match ended {
                Ended::Moved => Ok(String::new()),
                Ended::NoSuchClient(silent) => {
                    let error = OrderError::NoSuchClient.to_string();
                    Err(with_silence(error, &silent))
                }
                Ended::Stayed(Stay::Left) => Err("client has left".to_owned()),
                Ended::Stayed(why) => Err(format!("client cannot be moved: {why}")),
                Ended::Balanced(moved, silent) => {
                    let moved = match moved {
                        1 => "1 client was moved".to_owned(),
                        moved => format!("{moved} clients were moved"),
                    };
                    Ok(with_silence(moved, &silent))
                }
            };
            self.answer(asker, outcome);
        }
    }

    /// Waits for nothing any more: another program will not know of it.
    pub(crate) fn give_up_moves(&mut self) {
        for asker in self.moves.give_up() {
            let why = "the group is being restarted, nobody waits for the move any more";
            self.answer(asker, Err(why.to_owned()));
        }
    }

    /// Why nobody is moved now, if there is a reason.
    fn moves_nobody(&self) -> Option<String> {
        if self.is_draining() {
            Some(OrderError::ShuttingDown.to_string())
        } else if self.orders.state().is_suspended() {
            Some("pooler is suspended".to_owned())
        } else {
            None
        }
    }

    fn patience_for_moves(&self) -> Option<Instant> {
        let patience = self.config.settings.console_timeout;
        (!patience.is_zero()).then(|| self.now + patience)
    }
}

fn with_silence(text: String, silent: &[Slot]) -> String {
    match silence(silent) {
        nobody if nobody.is_empty() => text,
        silent => format!("{text}\n{silent}"),
    }
}

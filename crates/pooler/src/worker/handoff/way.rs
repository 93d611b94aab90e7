//! Way: the stream from one worker that gives to one that takes.
//!
//! ```text
//! giver   connect, Handoff ──> calling ──Takes──> open ──┐
//! taker   accept, Handoff ─────────────> taking ─────────┴─> broken
//! ```
//!
//! It is made when there is something to give for the first time, and lives as
//! long as both workers. A taker that has not answered in time is offered
//! nothing more until it is heard of again.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use pgskein_pool::handoff::{CargoKind, Giving, Taking, ToGiver, ToTaker};
use pgskein_pool::peer::{PeerAnswer, PeerRequest};
use pgskein_pool::slab::{ErrandId, Slab, WayId};

use super::super::connect::open_socket;
use super::super::server::Target;
use super::super::stream::Stream;
use super::super::token::Subject;
use super::super::{Runnable, Worker};
use super::pipe::{Pipe, Read};
use super::{Cargo, Packed, Place, Reserved, Unmovable};
use crate::runtime_dir::peer_socket_path;

/// All streams of this worker.
pub(in super::super) type Ways = Slab<WayId, Way>;

/// One end of a stream.
#[derive(Debug)]
pub(in super::super) struct Way {
    pub(super) pipe: Pipe,
    /// Whether it is in the run queue.
    queued: bool,
    /// The worker at the other end.
    pub(super) place: Place,
    pub(super) end: End,
}

#[derive(Debug)]
pub(super) enum End {
    Giver {
        /// The other side has said that it takes offers.
        answered: bool,
        giving: Giving<Offered>,
        /// An offer was not answered in time, and nothing was heard since.
        late: bool,
    },
    Taker {
        /// The process at the other end.
        pid: i32,
        taking: Taking<Reserved>,
    },
}

/// What was offered, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered {
    cargo: Cargo,
    at: Instant,
}

/// The stream cannot be used any more.
pub(super) struct Broken;

impl Worker {
    /// The way to a worker, if something of this kind can be offered there now.
    pub(super) fn way_to(&mut self, to: Place, kind: CargoKind) -> Result<WayId, Unmovable> {
        // What cannot be withdrawn goes only to who answers.
        let patience = if kind.starts_at_once() {
            A_MOMENT
        } else {
            PATIENCE
        };
        for (id, way) in self.ways.iter() {
            match &way.end {
                End::Giver { .. } if way.place != to => {}
                End::Giver { late: true, .. } => return Err(Unmovable::Late),
                End::Giver { giving, .. } if self.waits(giving, patience) => {
                    return Err(Unmovable::Late);
                }
                End::Giver { giving, .. } if giving.is_full() => return Err(Unmovable::Full),
                End::Giver { .. } => return Ok(id),
                End::Taker { .. } => {}
            }
        }
        self.call(to)
    }

    /// Whether an answer takes longer than that.
    fn waits(&self, giving: &Giving<Offered>, patience: Duration) -> bool {
        let age = |offered: &Offered| self.now.saturating_duration_since(offered.at);
        giving.offered().any(|offered| age(offered) >= patience)
    }

    /// Puts an offer on its way.
    pub(super) fn offer(&mut self, id: WayId, cargo: Cargo, packed: Packed) {
        let at = self.now;
        let Some(Way {
            pipe,
            end: End::Giver { giving, .. },
            ..
        }) = self.ways.get_mut(id)
        else {
            return self.keep(cargo, Unmovable::NoWay);
        };
        let Ok(number) = giving.offer(cargo.kind(), Offered { cargo, at }) else {
            return self.keep(cargo, Unmovable::Full);
        };
        let offer = ToTaker::Offer {
            id: number,
            cargo: cargo.kind().code(),
            descriptors: u8::try_from(packed.descriptors.len()).unwrap_or(u8::MAX),
            body: &packed.body,
        };
        let mut frame = Vec::with_capacity(packed.body.len() + FRAME_HEADER);
        offer.encode(&mut frame);
        pipe.push_offer(number, frame, packed.descriptors);
        pipe.flush();
    }

    /// Whether anything is offered, or was given and not started yet.
    pub(in super::super) fn hands_over(&self) -> bool {
        self.ways.iter().any(|(_, way)| match &way.end {
            End::Giver { giving, .. } => !giving.is_over(),
            End::Taker { .. } => false,
        })
    }

    /// The process that takes what is offered to a worker.
    pub(in super::super) fn process_at(&self, to: Place) -> Option<u32> {
        let mut ways = self.ways.iter();
        let (_, way) =
            ways.find(|(_, way)| way.place == to && matches!(way.end, End::Giver { .. }))?;
        u32::try_from(peer_pid(way.pipe.socket()).ok()?).ok()
    }

    /// Another worker is going to hand something over: the connection of its
    /// request is a way from now on.
    pub(in super::super) fn take_from(&mut self, errand: ErrandId, from: Place) {
        let Some(mut errand) = self.errands.remove(errand) else {
            return;
        };
        errand.stream.deregister(self.poll.registry());
        let Some(socket) = errand.stream.into_unix() else {
            return;
        };
        let Ok(pid) = peer_pid(&socket) else {
            return;
        };
        if !errand.inbox.is_empty() {
            // Whatever came with it has lost its descriptors.
            return;
        }
        let mut pipe = Pipe::new(socket);
        let mut answer = Vec::new();
        PeerAnswer::Takes.encode(&mut answer);
        pipe.push(answer);
        let taking = Taking::default();
        let end = End::Taker { pid, taking };
        if let Err(error) = self.add_way(pipe, from, end) {
            log::warn!("no way from worker {from}: {error}");
        }
    }

    /// Puts a way into the run queue.
    pub(in super::super) fn wake_way(&mut self, id: WayId) {
        if let Some(way) = self.ways.get_mut(id)
            && !way.queued
        {
            way.queued = true;
            self.runnable.push(Runnable::Way(id));
        }
    }

    /// Gives a way its turn.
    pub(in super::super) fn way_turn(&mut self, id: WayId) {
        let Some(way) = self.ways.get_mut(id) else {
            return;
        };
        way.queued = false;
        match self.hear(id) {
            Ok(true) => self.wake_way(id),
            Ok(false) => {}
            Err(Broken) => self.break_way(id),
        }
    }

    /// Takes back what was not answered in time, and tries again what could not
    /// be written.
    pub(in super::super) fn sweep_ways(&mut self) {
        let now = self.now;
        let overdue = |offered: &Offered| now.saturating_duration_since(offered.at) >= PATIENCE;
        let mut kept = Vec::new();
        let mut wake = Vec::new();
        for (id, way) in self.ways.iter_mut() {
            if !way.pipe.is_flushed() {
                wake.push(id);
            }
            let End::Giver { giving, late, .. } = &mut way.end else {
                continue;
            };
            *late |= giving.offered().any(overdue);
            let pipe = &mut way.pipe;
            for (number, offered) in giving.withdraw(overdue, |number| pipe.unsend(number)) {
                let mut frame = Vec::new();
                ToTaker::Withdraw { id: number }.encode(&mut frame);
                pipe.push(frame);
                kept.push((offered.cargo, way.place));
                wake.push(id);
            }
        }
        for (cargo, place) in kept {
            log::debug!("worker {place} has not answered an offer in time");
            self.keep(cargo, Unmovable::Late);
        }
        for id in wake {
            self.wake_way(id);
        }
        self.settle_places();
    }

    /// Connects to a worker.
    fn call(&mut self, to: Place) -> Result<WayId, Unmovable> {
        let path = peer_socket_path(&self.runtime_dir, to.slot, to.generation);
        let socket = open_socket(&Target::Unix(path), &self.config.settings);
        let socket = match socket.map(|socket| Stream::new(socket).into_unix()) {
            Ok(Some(socket)) => socket,
            Ok(None) => return Err(Unmovable::NoWay),
            Err(error) => {
                log::debug!("no way to worker {to}: {error}");
                return Err(Unmovable::NoWay);
            }
        };
        let mut hello = Vec::new();
        let request = PeerRequest::Handoff {
            slot: self.slot,
            generation: self.generation,
        };
        request.encode(&mut hello);
        let end = End::Giver {
            answered: false,
            giving: Giving::default(),
            late: false,
        };
        let added = self.add_way(Pipe::calling(socket, hello), to, end);
        added.map_err(|_| Unmovable::NoWay)
    }

    fn add_way(&mut self, pipe: Pipe, place: Place, end: End) -> std::io::Result<WayId> {
        let id = self.ways.insert_with(|_| Way {
            pipe,
            queued: false,
            place,
            end,
        });
        let registered = self.ways.get(id).map_or(Ok(()), |way| {
            let token = Subject::Way(id).token();
            way.pipe.register(self.poll.registry(), token)
        });
        match registered {
            Ok(()) => self.wake_way(id),
            Err(error) => {
                self.ways.remove(id);
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Writes, reads and obeys, a bounded number of times; says whether more is
    /// to be done.
    fn hear(&mut self, id: WayId) -> Result<bool, Broken> {
        for _ in 0..STEPS {
            let Some(way) = self.ways.get_mut(id) else {
                return Ok(false);
            };
            way.pipe.flush();
            let inbox = std::mem::take(&mut way.pipe.inbox);
            let (taken, result) = match way.end {
                End::Giver { .. } => self.on_answers(id, &inbox),
                End::Taker { .. } => self.on_offers(id, &inbox),
            };
            let Some(way) = self.ways.get_mut(id) else {
                return Ok(false);
            };
            way.pipe.inbox = inbox;
            way.pipe.inbox.drain(..taken);
            result?;
            if taken > 0 {
                continue;
            }
            match way.pipe.read(&mut self.scratch) {
                Ok(Read::Some) => {}
                Ok(Read::Nothing) => return Ok(false),
                Ok(Read::End) | Err(_) => return Err(Broken),
            }
        }
        Ok(true)
    }

    /// Does what the taker says; gives how many bytes it took to say it.
    fn on_answers(&mut self, id: WayId, bytes: &[u8]) -> (usize, Result<(), Broken>) {
        let mut rest = bytes;
        for _ in 0..ANSWERS {
            match self.on_answer(id, rest) {
                Ok(Some(left)) => rest = left,
                Ok(None) => break,
                Err(Broken) => return (bytes.len() - rest.len(), Err(Broken)),
            }
        }
        (bytes.len() - rest.len(), Ok(()))
    }

    /// Does the first thing that the taker says, if it is whole.
    fn on_answer<'a>(&mut self, id: WayId, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Broken> {
        let Some(way) = self.ways.get_mut(id) else {
            return Ok(None);
        };
        let place = way.place;
        let End::Giver {
            answered,
            giving,
            late,
        } = &mut way.end
        else {
            return Ok(None);
        };
        if !*answered {
            return match PeerAnswer::split(bytes) {
                Ok(None) => Ok(None),
                Ok(Some((PeerAnswer::Takes, rest))) => {
                    (*answered, *late) = (true, false);
                    way.pipe.open();
                    Ok(Some(rest))
                }
                // An older program.
                Ok(Some(_)) | Err(_) => Err(Broken),
            };
        }
        let split = ToGiver::split(bytes).map_err(|error| {
            log::warn!("worker {place}: {error}");
            Broken
        })?;
        let Some((answer, rest)) = split else {
            return Ok(None);
        };
        *late = false;
        match answer {
            ToGiver::Ready { id: number } => {
                if let Some(offered) = giving.on_ready(number) {
                    self.on_ready(id, number, offered.cargo, place);
                }
            }
            ToGiver::Refused {
                id: number,
                refusal,
            } => {
                if let Some(offered) = giving.on_refused(number) {
                    self.keep(offered.cargo, Unmovable::Refused(refusal));
                }
            }
            ToGiver::Taken { id: number } => {
                if let Some(offered) = giving.on_taken(number) {
                    self.forget_passed_on(offered.cargo);
                }
            }
        }
        Ok(Some(rest))
    }

    /// The taker is ready: it gets it, unless it has gone meanwhile.
    fn on_ready(&mut self, id: WayId, number: u32, cargo: Cargo, to: Place) {
        // Nothing of it is left here when the taker is told.
        let given = self.give(cargo, to);
        let Some(way) = self.ways.get_mut(id) else {
            return;
        };
        let mut frame = Vec::new();
        if given {
            ToTaker::Commit { id: number }.encode(&mut frame);
        } else {
            if let End::Giver { giving, .. } = &mut way.end {
                // What is committed is not started at once.
                let _ = giving.on_taken(number);
            }
            ToTaker::Withdraw { id: number }.encode(&mut frame);
        }
        way.pipe.push(frame);
        way.pipe.flush();
    }

    /// The other side has gone: what is not decided stays where it is.
    fn break_way(&mut self, id: WayId) {
        let Some(way) = self.ways.remove(id) else {
            return;
        };
        way.pipe.deregister(self.poll.registry());
        let Way {
            pipe, place, end, ..
        } = way;
        match end {
            End::Giver { mut giving, .. } => {
                let broken = giving.on_broken(|number| pipe.was_sent(number));
                drop(pipe);
                for offered in broken.kept {
                    self.keep(offered.cargo, Unmovable::NoWay);
                }
                for offered in broken.lost {
                    self.forget_passed_on(offered.cargo);
                }
            }
            End::Taker { pid, mut taking } => {
                for reserved in taking.on_broken() {
                    self.release(reserved, place);
                }
                self.handoffs_over(place, pid);
            }
        }
    }
}

/// The process at the other end of a socket.
fn peer_pid(socket: &UnixStream) -> nix::Result<i32> {
    getsockopt(socket, PeerCredentials).map(|peer| peer.pid())
}

/// How long a taker may take to answer, until the next sweep.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long it may take to answer before clients are not passed on to it.
const A_MOMENT: Duration = Duration::from_millis(10);

/// Offers, commits and reads of one turn.
const STEPS: usize = 16;

/// Answers taken together.
const ANSWERS: usize = 64;

/// What an offer needs beside its body, in bytes.
const FRAME_HEADER: usize = 12;

//! Servers, and sessions with theirs, that go from one worker to another.
//!
//! A stream for each pair carries offers and commits one way, and answers the
//! other. What a worker has written arrives though it is dead; what nobody reads
//! any more is lost.

use std::time::Instant;

use super::super::{Report, ReportedServer};
use super::link::Link;
use super::process::{Client, ClientState, Life, Server, ServerState};
use super::servers::key;
use super::setup::{ms, us};
use super::world::{What, World};
use crate::control::{HandoffReport, LeaseId, PoolKey, ToSupervisor};
use crate::slab::{ClientId, ServerId};
use pgskein_config::PoolMode;

/// What goes from one worker to another.
pub(super) struct Stream {
    pub from: u32,
    pub to: u32,
    forward: Link<Forward>,
    back: Link<Back>,
    /// What was offered and not committed, as the taker knows it.
    reserved: Vec<Offer>,
    /// Nobody reads what is offered any more.
    pub broken: bool,
}

/// A server, and its client in the middle of a session.
#[derive(Clone, Debug)]
struct Offer {
    server: ServerId,
    lease: LeaseId,
    pool: PoolKey,
    backend: Option<u32>,
    session: Option<Session>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    client: ClientId,
    /// Which of the pools of the setup it uses.
    pool: usize,
    until: Instant,
}

#[derive(Debug)]
enum Forward {
    Offer(Offer),
    Commit(ServerId, LeaseId),
    /// The giver is dead.
    End,
}

#[derive(Debug)]
enum Back {
    Ready(ServerId),
    Refused(ServerId),
    /// The taker reads no more.
    End,
}

impl World {
    /// Hands a server over to another worker, if that is there, or closes it.
    pub(super) fn give_up(&mut self, worker: u32, id: ServerId, to: Option<u32>) {
        let lives = |to: &u32| self.processes.get(to).is_some_and(|to| to.lives());
        match to.filter(|to| *to != worker && lives(to)) {
            Some(to) => self.offer(worker, id, to, None),
            None => self.close_server(worker, id),
        }
    }

    /// Has sessions that are in the middle go to the successor of their worker.
    pub(super) fn move_sessions(&mut self, worker: u32) {
        let process = &self.processes[&worker];
        let id = process.id;
        let mut others = self.processes.values();
        let successor = others.find(|other| {
            other.life == Life::Serving
                && other.id.slot == id.slot
                && other.id.generation > id.generation
        });
        let Some(successor) = successor.map(|successor| successor.id.incarnation) else {
            return;
        };
        for server_id in process.servers.ids(|server| !server.owned && !server.tried) {
            let process = self.processes.get_mut(&worker).unwrap();
            let server = process.servers.get_mut(server_id).unwrap();
            let ServerState::Linked(client_id) = server.state else {
                continue;
            };
            server.tried = true;
            let backend = server.backend.and_then(|number| self.backends.get(&number));
            let until = backend.map_or(self.now, |backend| backend.busy_until);
            let pool = process.clients.get(client_id).unwrap().pool;
            if self.setup.pools[pool].mode == PoolMode::Session {
                let session = Session {
                    client: client_id,
                    pool,
                    until,
                };
                self.offer(worker, server_id, successor, Some(session));
            }
        }
    }

    fn offer(&mut self, worker: u32, id: ServerId, to: u32, session: Option<Session>) {
        let process = self.processes.get_mut(&worker).unwrap();
        let server = process.servers.get_mut(id).unwrap();
        server.state = ServerState::Offered {
            session: session.map(|session| session.client),
            done: false,
        };
        let offer = Offer {
            server: id,
            lease: server.lease,
            pool: process.pools.get(server.pool).unwrap().key.clone(),
            backend: server.backend,
            session,
        };
        let known = process.streams.get(&to).copied();
        let number = known.unwrap_or_else(|| {
            self.last_stream += 1;
            let stream = Stream {
                from: worker,
                to,
                forward: Link::new(),
                back: Link::new(),
                reserved: Vec::new(),
                broken: false,
            };
            self.streams.insert(self.last_stream, stream);
            process.streams.insert(to, self.last_stream);
            self.last_stream
        });
        self.send_forward(number, Forward::Offer(offer));
    }

    /// Something arrives at the worker that takes.
    pub(super) fn forward(&mut self, number: u32) {
        let (now, refuses) = (self.now, self.setup.refuses);
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let Some(message) = stream.forward.receive(now) else {
            return;
        };
        let taker = stream.to;
        match message {
            Forward::Offer(offer) => {
                let id = offer.server;
                let leaves = self
                    .processes
                    .get(&taker)
                    .is_none_or(|taker| taker.life != Life::Serving && taker.clients.is_empty());
                if leaves || self.random.once_in(refuses) {
                    return self.send_back(number, Back::Refused(id));
                }
                stream.reserved.push(offer);
                self.send_back(number, Back::Ready(id));
            }
            Forward::Commit(id, lease) => {
                let mut reserved = stream.reserved.iter();
                let at = reserved.position(|offer| offer.server == id && offer.lease == lease);
                let offer = stream.reserved.remove(at.expect("it was reserved"));
                self.start(taker, offer);
            }
            Forward::End => {
                stream.reserved.clear();
                self.say_over(number);
                self.streams.remove(&number);
            }
        }
    }

    /// Something arrives at the worker that gives.
    pub(super) fn back(&mut self, number: u32) {
        let now = self.now;
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        let Some(message) = stream.back.receive(now) else {
            return;
        };
        let (giver, taker) = (stream.from, stream.to);
        if self.living(giver).is_none() {
            return;
        }
        match message {
            Back::Ready(id) => self.give(giver, number, id),
            Back::Refused(id) => self.keep(giver, id),
            Back::End => {
                self.streams.remove(&number);
                let process = self.processes.get_mut(&giver).unwrap();
                process.streams.remove(&taker);
                // There is one stream for a pair, so that these were on it.
                let offered = self.offered.remove(&number).unwrap_or_default();
                for id in offered {
                    self.keep(giver, id);
                }
            }
        }
    }

    /// The other worker is ready: from here on there is no way back.
    fn give(&mut self, worker: u32, number: u32, id: ServerId) {
        let to = self.streams[&number].to;
        let process = self.processes.get_mut(&worker).unwrap();
        let server = process.servers.remove(id).expect("it is offered");
        let ServerState::Offered { session, .. } = server.state else {
            panic!("what was not offered is given");
        };
        process.pools.get_mut(server.pool).unwrap().on_given();
        process.wish(server.pool);
        if let Some(client) = session {
            process.clients.remove(client).expect("it is offered");
        }
        let lease = server.lease;
        let lent = HandoffReport::Lent { lease, to };
        self.tell(worker, ToSupervisor::Handoff(lent));
        self.offered
            .entry(number)
            .or_default()
            .retain(|other| *other != id);
        let backend = server.backend;
        // It may die here, and nobody has it then.
        if self.is_troubled() && self.setup.faults.is_some() && self.random.once_in(60) {
            self.lose(lease, backend);
            return self.kill(worker);
        }
        self.under_way.insert(lease, backend);
        self.send_forward(number, Forward::Commit(id, lease));
    }

    /// What was offered stays, and is closed if it was to go.
    fn keep(&mut self, worker: u32, id: ServerId) {
        self.offered
            .values_mut()
            .for_each(|ids| ids.retain(|other| *other != id));
        let now = self.now;
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let server = process.servers.get_mut(id).expect("it is offered");
        let ServerState::Offered { session, done } = server.state else {
            panic!("what was not offered is kept");
        };
        match session {
            Some(client) => {
                server.state = ServerState::Linked(client);
                if done {
                    self.done(worker, id);
                }
            }
            None => {
                server.state = ServerState::Idle(now);
                self.close_server(worker, id);
            }
        }
        self.end_turn(worker);
    }

    /// The taker has it.
    fn start(&mut self, worker: u32, offer: Offer) {
        let now = self.now;
        self.under_way.remove(&offer.lease);
        let lease = offer.lease.handed_on();
        let setup = self
            .setup
            .pools
            .iter()
            .find(|setup| setup.key == offer.pool);
        let settings = setup.unwrap().settings();
        let process = self.processes.get_mut(&worker).unwrap();
        let pool_id = process.pools.find(&offer.pool, || settings);
        let report = Report {
            lease,
            pool: offer.pool,
            dedicated: false,
            server: ReportedServer::Held(offer.backend.map(key)),
        };
        let client = offer.session.map(|session| {
            process.clients.insert_with(|_| Client {
                pool: session.pool,
                dedicated: false,
                state: ClientState::Linked,
            })
        });
        let id = process.servers.insert_with(|_| Server {
            pool: pool_id,
            lease,
            state: client.map_or(ServerState::Idle(now), ServerState::Linked),
            backend: offer.backend,
            used: client.is_some(),
            owned: false,
            tried: false,
        });
        let pool = process.pools.get_mut(pool_id).unwrap();
        pool.on_taken();
        process.wish(pool_id);
        self.moved += 1;
        let received = HandoffReport::Received(report);
        self.tell(worker, ToSupervisor::Handoff(received));
        // The supervisor would tell what a server says at its login.
        self.greet(worker, pool_id);
        match offer.session {
            Some(session) => self.at(session.until.max(now), What::Done(worker, id)),
            None => self.lend(worker, id),
        }
        self.end_turn(worker);
    }

    /// Whether something is on its way to a worker that has said yes to it.
    pub(super) fn expects(&self, worker: u32) -> bool {
        let mut streams = self.streams.values();
        streams.any(|stream| stream.to == worker && !stream.reserved.is_empty())
    }

    /// What follows from the death of a worker for streams.
    pub(super) fn end_streams(&mut self, dead: u32) {
        let concerned = self.streams.iter();
        let concerned = concerned.filter(|(_, stream)| stream.from == dead || stream.to == dead);
        for number in concerned.map(|(number, _)| *number).collect::<Vec<_>>() {
            if self.streams[&number].to == dead {
                self.break_stream(number);
            } else {
                self.offered.remove(&number);
                self.send_forward(number, Forward::End);
            }
        }
    }

    /// Nobody reads what is offered on a stream any more.
    pub(super) fn break_stream(&mut self, number: u32) {
        let stream = self.streams.get_mut(&number).unwrap();
        if stream.broken {
            return;
        }
        stream.broken = true;
        stream.reserved.clear();
        let unread: Vec<_> = std::iter::from_fn(|| stream.forward.take()).collect();
        for message in unread {
            self.lose_message(&message);
        }
        self.say_over(number);
        self.send_back(number, Back::End);
    }

    /// A taker says that it gets nothing more on this stream.
    fn say_over(&mut self, number: u32) {
        let stream = &self.streams[&number];
        let (giver, taker) = (stream.from, stream.to);
        let id = self.ids[&giver];
        if self.living(taker).is_some() {
            let over = HandoffReport::Over {
                slot: id.slot,
                generation: id.generation,
                process: giver,
            };
            self.tell(taker, ToSupervisor::Handoff(over));
        }
    }

    fn send_forward(&mut self, number: u32, message: Forward) {
        let arrival = self.now + self.random.time(&(us(20)..ms(1)));
        let stream = self.streams.get_mut(&number).unwrap();
        if let Forward::Offer(offer) = &message {
            self.offered.entry(number).or_default().push(offer.server);
        }
        if stream.broken {
            return self.lose_message(&message);
        }
        let at = stream.forward.send(arrival, message);
        self.at(at, What::Forward(number));
    }

    fn send_back(&mut self, number: u32, message: Back) {
        let arrival = self.now + self.random.time(&(us(20)..ms(1)));
        let stream = self.streams.get_mut(&number).unwrap();
        let at = stream.back.send(arrival, message);
        self.at(at, What::Back(number));
    }

    fn lose_message(&mut self, message: &Forward) {
        if let Forward::Commit(_, lease) = message
            && let Some(backend) = self.under_way.remove(lease)
        {
            self.lose(*lease, backend);
        }
    }

    /// A server was given and is taken by nobody: its connection ends.
    fn lose(&mut self, lease: LeaseId, backend: Option<u32>) {
        self.lost.insert(lease.id, self.now);
        if let Some(number) = backend {
            self.abandon_backend(number);
        }
    }
}

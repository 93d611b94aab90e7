//! A worker: the real pools, with clients and servers that do what they do in
//! no time of their own.

use std::collections::BTreeMap;
use std::time::Instant;

use super::super::{Report, WorkerId};
use super::link::Link;
use super::setup::ms;
use super::world::{What, World};
use crate::control::{Demand, LeaseId, PoolKey, ToSupervisor, ToWorker};
use crate::pools::{Free, PoolId, Pools, Request};
use crate::slab::{ClientId, ServerId, Slab};

/// A worker.
pub(super) struct Process {
    pub id: WorkerId,
    pub life: Life,
    pub pools: Pools,
    pub servers: Slab<ServerId, Server>,
    pub clients: Slab<ClientId, Client>,
    pub up: Link<Up>,
    pub down: Link<Down>,
    /// The last lease that it was granted.
    pub last_lease: u64,
    pub wishing: Vec<PoolId>,
    /// The streams to other workers.
    pub streams: BTreeMap<u32, u32>,
    wish_due: bool,
}

/// What a worker says.
#[derive(Debug)]
pub(super) enum Up {
    Says(ToSupervisor),
    /// What it holds, for the supervisor that has asked.
    Reports(u32, Vec<Report>),
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Down {
    Says(ToWorker),
    /// It is to report what it holds, to this supervisor.
    AsksForReport(u32),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Life {
    Serving,
    /// It has a successor, and ends with its last client.
    Retiring,
    Dead,
}

/// How a connect ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Fine,
    Failed,
    /// PostgreSQL has too many connections.
    Refused,
}

#[derive(Debug)]
pub(super) struct Server {
    pub pool: PoolId,
    pub lease: LeaseId,
    pub state: ServerState,
    pub backend: Option<u32>,
    pub used: bool,
    pub owned: bool,
    /// Its session was offered to another worker once.
    pub tried: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ServerState {
    Opening,
    Idle(Instant),
    Linked(ClientId),
    /// Another worker may take it, with the client that is in a session.
    Offered {
        session: Option<ClientId>,
        /// The client needs it no longer.
        done: bool,
    },
    Closing,
}

#[derive(Debug)]
pub(super) struct Client {
    /// Which of the pools of the setup it uses.
    pub pool: usize,
    pub dedicated: bool,
    pub state: ClientState,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClientState {
    Greeting(Instant),
    Idle,
    Waiting(Instant),
    Linked,
}

impl Process {
    pub(super) fn new(id: WorkerId) -> Self {
        Self {
            id,
            life: Life::Serving,
            pools: Pools::default(),
            servers: Slab::default(),
            clients: Slab::default(),
            up: Link::new(),
            down: Link::new(),
            last_lease: 0,
            wishing: Vec::new(),
            streams: BTreeMap::new(),
            wish_due: false,
        }
    }

    pub(super) fn lives(&self) -> bool {
        self.life != Life::Dead
    }

    pub(super) fn wish(&mut self, pool: PoolId) {
        if !self.wishing.contains(&pool) {
            self.wishing.push(pool);
        }
    }

    /// The pool of a key, of those that share.
    pub(super) fn key(&self, pool: PoolId) -> &PoolKey {
        &self.pools.get(pool).unwrap().key
    }
}

impl World {
    /// A client comes to some worker that serves.
    pub(super) fn login(&mut self, at: usize, dedicated: bool) {
        if self.stopping {
            return;
        }
        let serving = self.processes.values().filter(|p| p.life == Life::Serving);
        let serving: Vec<u32> = serving.map(|p| p.id.incarnation).collect();
        // The kernel's hash is uneven.
        let skewed = self.random.position(serving.len());
        let worker = match self.random.once_in(3) {
            true => serving.get(skewed / 2).copied(),
            false => self.random.pick(&serving),
        };
        let Some(worker) = worker else {
            return self.after(ms(20), What::Login(at, dedicated));
        };
        let (now, setup) = (self.now, self.setup.pools[at].clone());
        let retry = self.setup.login_retry;
        let process = self.processes.get_mut(&worker).unwrap();
        let id = process.pools.find(&setup.key, || setup.settings());
        let pool = process.pools.get_mut(id).unwrap();
        if pool.failure(retry, now).is_some() {
            return self.after(ms(300), What::Login(at, dedicated));
        }
        let greeted = pool.welcome.is_some();
        let client = process.clients.insert_with(|_| Client {
            pool: at,
            dedicated,
            state: match (dedicated, greeted) {
                (true, _) => ClientState::Waiting(now),
                (_, true) => ClientState::Idle,
                _ => ClientState::Greeting(now),
            },
        });
        let pool = process.pools.get_mut(id).unwrap();
        if dedicated {
            pool.request_dedicated(client, now);
            self.make_way(worker, id);
        } else if greeted {
            self.after(ms(0), What::Ask(worker, client));
        } else {
            pool.greet_later(client, now);
        }
        self.processes.get_mut(&worker).unwrap().wish(id);
        self.end_turn(worker);
    }

    pub(super) fn ask(&mut self, worker: u32, id: ClientId) {
        let stopping = self.stopping;
        let Some((now, process)) = self.living(worker) else {
            return;
        };
        let Some(client) = process.clients.get_mut(id) else {
            return;
        };
        if client.state != ClientState::Idle || stopping {
            return;
        }
        client.state = ClientState::Waiting(now);
        let at = client.pool;
        let key = &self.setup.pools[at].key;
        let process = self.processes.get_mut(&worker).unwrap();
        let pool_id = process.pools.lookup(key).unwrap();
        match process
            .pools
            .get_mut(pool_id)
            .unwrap()
            .request(id, false, None, now)
        {
            Request::Link(server) => self.link(worker, id, server),
            Request::Wait => process.wish(pool_id),
            Request::Test(_) => unreachable!("nothing is tested here"),
        }
    }

    pub(super) fn link(&mut self, worker: u32, client_id: ClientId, server_id: ServerId) {
        let now = self.now;
        let process = self.processes.get_mut(&worker).unwrap();
        let client = process
            .clients
            .get_mut(client_id)
            .expect("the client is there");
        let ClientState::Waiting(since) = client.state else {
            panic!("a client that does not wait got a server");
        };
        client.state = ClientState::Linked;
        let pool = client.pool;
        let server = process
            .servers
            .get_mut(server_id)
            .expect("the server is there");
        assert!(!matches!(
            server.state,
            ServerState::Closing | ServerState::Linked(_) | ServerState::Offered { .. }
        ));
        server.state = ServerState::Linked(client_id);
        let backend = server.backend;
        self.waits.push(now - since);
        let duration = self
            .random
            .time(&self.setup.pools[pool].transaction.clone());
        if let Some(backend) = backend.and_then(|backend| self.backends.get_mut(&backend)) {
            backend.busy_until = now + duration;
        }
        self.after(duration, What::Done(worker, server_id));
    }

    pub(super) fn done(&mut self, worker: u32, id: ServerId) {
        let think = if self.random.once_in(self.setup.burst) {
            self.random.time(&self.setup.think.clone())
        } else {
            ms(0)
        };
        let leaves = self.setup.faults.is_some() && self.random.once_in(50);
        let Some((_, process)) = self.living(worker) else {
            return;
        };
        let retiring = process.life == Life::Retiring;
        let Some(server) = process.servers.get_mut(id) else {
            return;
        };
        if let ServerState::Offered { done, .. } = &mut server.state {
            *done = true;
        }
        let ServerState::Linked(client_id) = server.state else {
            return;
        };
        let owned = server.owned;
        let client = process
            .clients
            .get_mut(client_id)
            .expect("the client is there");
        client.state = ClientState::Idle;
        let (at, dedicated) = (client.pool, client.dedicated);
        if owned || leaves || retiring {
            process.clients.remove(client_id);
            self.after(think, What::Login(at, dedicated));
        } else {
            self.after(think, What::Ask(worker, client_id));
        }
        if owned {
            self.close_server(worker, id);
        } else {
            self.lend(worker, id);
        }
    }

    pub(super) fn lend(&mut self, worker: u32, id: ServerId) {
        let now = self.now;
        let process = self.processes.get_mut(&worker).unwrap();
        let server = process.servers.get_mut(id).unwrap();
        server.state = ServerState::Idle(now);
        let pool = process.pools.get_mut(server.pool).unwrap();
        let free = if std::mem::replace(&mut server.used, true) {
            pool.free(id, now)
        } else {
            pool.free_new(id, now)
        };
        match free {
            Free::Link(client) => self.link(worker, client, id),
            Free::Idle => {}
            Free::GiveUp(to) => self.give_up(worker, id, to.map(|to| to.incarnation)),
            Free::GiveWay => self.close_server(worker, id),
        }
    }

    pub(super) fn wish_again(&mut self, worker: u32) {
        if let Some((_, process)) = self.living(worker) {
            process.wish_due = false;
        }
    }

    /// What follows from all that a worker did in one turn.
    pub(super) fn end_turn(&mut self, worker: u32) {
        self.retire_idle(worker);
        let retry = self.setup.login_retry;
        let Some((now, process)) = self.living(worker) else {
            return;
        };
        let mut said = Vec::new();
        let mut later = Vec::new();
        for id in std::mem::take(&mut process.wishing) {
            let pool = process.pools.get_mut(id).unwrap();
            match pool.poll_wanted(retry, now) {
                Some((wanted, oldest_wait)) => said.push(ToSupervisor::Wanted {
                    pool: pool.key.clone(),
                    demand: Demand {
                        wanted,
                        oldest_wait,
                        last_lease: process.last_lease,
                    },
                }),
                None if pool.unreported(retry, now) => later.push(id),
                None => {}
            }
        }
        let due = !later.is_empty() && !std::mem::replace(&mut process.wish_due, true);
        process.wishing = later;
        if due {
            self.after(ms(5), What::Wish(worker));
        }
        for message in said {
            self.tell(worker, message);
        }
    }

    /// A worker with a successor sends away who is idle, and ends.
    pub(super) fn retire_idle(&mut self, worker: u32) {
        let stopping = self.stopping;
        let Some((_, process)) = self.living(worker) else {
            return;
        };
        if process.life != Life::Retiring {
            return;
        }
        let idle = process
            .clients
            .ids(|client| client.state == ClientState::Idle);
        let mut leaving = Vec::new();
        for id in idle {
            leaving.extend(process.clients.remove(id));
        }
        let done = process.clients.is_empty();
        self.move_sessions(worker);
        for client in leaving {
            if !stopping {
                self.after(ms(5), What::Login(client.pool, client.dedicated));
            }
        }
        if done {
            for id in self.processes[&worker].servers.ids(|_| true) {
                self.close_server(worker, id);
            }
            if self.processes[&worker].servers.is_empty() && !self.expects(worker) {
                self.processes.get_mut(&worker).unwrap().life = Life::Dead;
                self.end_streams(worker);
                self.after(ms(1), What::Bury(worker));
            }
        }
    }
}

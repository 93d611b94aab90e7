//! What a worker does with servers: opens, lends, gives up and closes them.

use super::super::{Report, ReportedServer};
use super::process::{ClientState, Down, Outcome, Server, ServerState, Up};
use super::setup::ms;
use super::world::{What, World};
use crate::control::{Backend, LeaseId, ToSupervisor, ToWorker};
use crate::parameters::Parameters;
use crate::pools::{Failure, PoolId, Welcome};
use crate::slab::ServerId;
use std::time::Instant;

impl World {
    pub(super) fn on_supervisor(&mut self, worker: u32, message: Down) {
        let now = self.now;
        let message = match message {
            Down::Says(message) => message,
            Down::AsksForReport(supervisor) => return self.report(worker, supervisor),
        };
        let process = self.processes.get_mut(&worker).unwrap();
        match message {
            ToWorker::Grant { lease, pool } => {
                process.last_lease = lease.id;
                let id = process.pools.lookup(&pool);
                let used = id.is_some_and(|id| process.pools.get_mut(id).unwrap().on_grant());
                match id.filter(|_| used) {
                    Some(id) => self.open(worker, id, lease),
                    None => self.tell(worker, ToSupervisor::Returned { lease }),
                }
            }
            ToWorker::Open { lease, pool } => {
                process.last_lease = lease.id;
                let setup = self.setup.pools.iter().find(|setup| setup.key == pool);
                let settings = setup.unwrap().settings();
                let id = process.pools.find(&pool, || settings);
                process.pools.get_mut(id).unwrap().on_ordered();
                self.open(worker, id, lease);
            }
            ToWorker::Recall {
                pool,
                count,
                unused,
            } => {
                if let Some(id) = process.pools.lookup(&pool) {
                    let pool = process.pools.get_mut(id).unwrap();
                    for given in pool.on_recall(count, unused, now) {
                        let to = given.to.map(|to| to.incarnation);
                        self.give_up(worker, given.server, to);
                    }
                }
            }
            ToWorker::Lend { pool, to } => {
                if let Some(id) = process.pools.lookup(&pool) {
                    process.pools.get_mut(id).unwrap().on_lend(to);
                }
            }
            ToWorker::LetGo { lease } => self.let_go(worker, lease),
            ToWorker::CancelOrphan { lease, backend } => {
                if !self.random.once_in(10) {
                    let after = self.random.time(&(ms(1)..ms(20)));
                    self.after(after, What::Cancelled(worker, lease, backend.process_id));
                }
            }
            other => panic!("no supervisor says {other:?} here"),
        }
    }

    /// Says what the worker holds; whatever was said before may be forgotten.
    fn report(&mut self, worker: u32, supervisor: u32) {
        let process = self.processes.get_mut(&worker).unwrap();
        let reports = process.servers.iter().map(|(_, server)| Report {
            lease: server.lease,
            pool: process.key(server.pool).clone(),
            dedicated: server.owned,
            server: match server.state {
                ServerState::Opening => ReportedServer::Opening,
                ServerState::Closing => ReportedServer::Closing,
                _ => ReportedServer::Held(server.backend.map(key)),
            },
        });
        let reports = reports.collect();
        let ids: Vec<PoolId> = process.pools.iter().map(|(id, _)| id).collect();
        for id in ids {
            process.pools.get_mut(id).unwrap().tell_anew();
            process.wish(id);
        }
        self.send_up(worker, Up::Reports(supervisor, reports));
    }

    fn open(&mut self, worker: u32, pool: PoolId, lease: LeaseId) {
        let backend = self.connect();
        let fails = self.is_troubled() && self.random.once_in(self.setup.fails);
        let hangs = self.is_troubled() && self.random.once_in(self.setup.fails);
        let outcome = match backend {
            None => Outcome::Refused,
            Some(_) if fails || hangs => Outcome::Failed,
            Some(_) => Outcome::Fine,
        };
        let process = self.processes.get_mut(&worker).unwrap();
        let id = process.servers.insert_with(|_| Server {
            pool,
            lease,
            state: ServerState::Opening,
            backend,
            used: false,
            owned: false,
            tried: false,
        });
        let after = if hangs {
            ms(1000)
        } else {
            self.random.time(&self.setup.connect.clone())
        };
        self.after(after, What::Opened(worker, id, outcome));
    }

    pub(super) fn opened(&mut self, worker: u32, id: ServerId, outcome: Outcome) {
        let Some((now, process)) = self.living(worker) else {
            return;
        };
        let Some(server) = process.servers.get(id) else {
            return;
        };
        if server.state != ServerState::Opening {
            return;
        }
        let (pool_id, lease, backend) = (server.pool, server.lease, server.backend);
        let pool = process.pools.get_mut(pool_id).unwrap();
        match outcome {
            Outcome::Fine => {
                self.lately.accepted.push_back(now);
                return self.logged_in(worker, id, lease, backend.map(key));
            }
            Outcome::Refused => {
                pool.on_refused();
                self.check_tries();
                self.tell(worker, too_many(lease));
            }
            Outcome::Failed => {
                let failure = Failure {
                    sqlstate: "08006".to_owned(),
                    message: "connect failed".to_owned(),
                };
                pool.on_open_failed(Some(failure), now);
                let mut clients = pool.take_greeting();
                clients.extend(pool.take_suitors());
                for client in clients {
                    let process = self.processes.get_mut(&worker).unwrap();
                    let client = process.clients.remove(client).unwrap();
                    self.after(ms(100), What::Login(client.pool, client.dedicated));
                }
            }
        }
        self.drop_server(worker, id);
    }

    fn logged_in(&mut self, worker: u32, id: ServerId, lease: LeaseId, backend: Option<Backend>) {
        let process = self.processes.get_mut(&worker).unwrap();
        let pool_id = process.servers.get(id).unwrap().pool;
        if let Some((owner, pool)) = process.pools.claim(pool_id) {
            let server = process.servers.get_mut(id).unwrap();
            server.pool = pool;
            server.owned = true;
            self.tell(worker, ToSupervisor::Dedicated { lease });
            self.tell(worker, ToSupervisor::Held { lease, backend });
            return self.link(worker, owner, id);
        }
        self.opened += 1;
        self.tell(worker, ToSupervisor::Held { lease, backend });
        let process = self.processes.get_mut(&worker).unwrap();
        process.pools.get_mut(pool_id).unwrap().on_opened();
        self.greet(worker, pool_id);
        self.lend(worker, id);
    }

    /// Clients that wait for the greeting of a server have it.
    pub(super) fn greet(&mut self, worker: u32, pool: PoolId) {
        let process = self.processes.get_mut(&worker).unwrap();
        let pool = process.pools.get_mut(pool).unwrap();
        pool.welcome = Some(Welcome {
            fixed: Vec::new(),
            parameters: Parameters::new(&[]).empty(),
        });
        let greeted = pool.take_greeting();
        for client in &greeted {
            process.clients.get_mut(*client).unwrap().state = ClientState::Idle;
        }
        for client in greeted {
            self.after(ms(0), What::Ask(worker, client));
        }
    }

    pub(super) fn close_server(&mut self, worker: u32, id: ServerId) {
        let process = self.processes.get_mut(&worker).unwrap();
        let Some(server) = process.servers.get_mut(id) else {
            return;
        };
        let (pool, lease) = (server.pool, server.lease);
        match server.state {
            // What is offered is not here to be closed; should it stay, it is seen
            // again.
            ServerState::Closing | ServerState::Offered { .. } => return,
            ServerState::Opening => {
                let now = self.now;
                process
                    .pools
                    .get_mut(pool)
                    .unwrap()
                    .on_open_failed(None, now);
                return self.drop_server(worker, id);
            }
            ServerState::Idle(_) | ServerState::Linked(_) => {}
        }
        server.state = ServerState::Closing;
        process.pools.get_mut(pool).unwrap().forget_idle(id);
        process.wish(pool);
        self.tell(worker, ToSupervisor::Closing { lease });
        let goodbye = self.random.time(&self.setup.goodbye.clone());
        self.after(goodbye, What::Gone(worker, id));
    }

    pub(super) fn drop_server(&mut self, worker: u32, id: ServerId) {
        let Some((_, process)) = self.living(worker) else {
            return;
        };
        let Some(server) = process.servers.remove(id) else {
            return;
        };
        process.pools.get_mut(server.pool).unwrap().forget_idle(id);
        let pool = process.pools.on_returned(server.pool);
        process.wish(pool);
        if let Some(backend) = server.backend {
            self.backends.remove(&backend);
        }
        let lease = server.lease;
        self.tell(worker, ToSupervisor::Returned { lease });
    }

    fn let_go(&mut self, worker: u32, lease: LeaseId) {
        let (now, timeout) = (self.now, self.setup.idle_timeout);
        let process = &self.processes[&worker];
        let found = process
            .servers
            .iter()
            .find(|(_, server)| server.lease == lease);
        let Some((id, server)) = found else {
            return;
        };
        match server.state {
            ServerState::Idle(since) if now - since >= timeout => self.close_server(worker, id),
            _ => self.tell(worker, ToSupervisor::Kept { lease }),
        }
    }

    pub(super) fn sweep(&mut self, worker: u32) {
        let (timeout, retry) = (self.setup.idle_timeout, self.setup.login_retry);
        let setups = self.setup.pools.clone();
        let Some((now, process)) = self.living(worker) else {
            return;
        };
        let mut closed = Vec::new();
        let mut given = Vec::new();
        let mut said = Vec::new();
        let mut suited = Vec::new();
        for (id, pool) in process.pools.iter_mut() {
            given.extend(pool.poll_unused(now));
            let keeps = pool.settings.min_pool_size > 0;
            let long = |since: Instant| now - since >= timeout;
            let idle: Vec<_> = pool.idle().filter(|(_, since)| long(*since)).collect();
            if !keeps {
                closed.extend(idle.iter().map(|(id, _)| *id));
            } else if !idle.is_empty() && pool.asks_to_close(now) {
                for (server, _) in idle {
                    let lease = process.servers.get(server).unwrap().lease;
                    said.push(ToSupervisor::MayClose { lease });
                }
            }
            let at = setups.iter().position(|setup| setup.key == pool.key);
            let clients = process.clients.iter();
            let in_use = clients
                .filter(|(_, c)| Some(c.pool) == at && !c.dedicated)
                .count()
                > 0;
            if let Some(in_use) = pool.poll_in_use(in_use) {
                let pool = pool.key.clone();
                said.push(ToSupervisor::InUse { pool, in_use });
            }
            if pool.unreported(retry, now) && !process.wishing.contains(&id) {
                process.wishing.push(id);
            }
            suited.push(id);
        }
        for server in closed {
            self.close_server(worker, server);
        }
        for given in given {
            let to = given.to.map(|to| to.incarnation);
            self.give_up(worker, given.server, to);
        }
        for message in said {
            self.tell(worker, message);
        }
        for pool in suited {
            self.make_way(worker, pool);
        }
        self.after(ms(250), What::Sweep(worker));
    }

    pub(super) fn make_way(&mut self, worker: u32, id: PoolId) {
        let now = self.now;
        loop {
            let process = self.processes.get_mut(&worker).unwrap();
            let Some(server) = process.pools.get_mut(id).unwrap().poll_way(now) else {
                return;
            };
            self.close_server(worker, server);
        }
    }
}

/// How a connection to PostgreSQL is cancelled: by its number.
pub(super) fn key(backend: u32) -> Backend {
    Backend {
        target: String::new(),
        process_id: backend,
        secret: Vec::new(),
    }
}

fn too_many(lease: LeaseId) -> ToSupervisor {
    let message = "sorry, too many clients already".to_owned();
    ToSupervisor::TooMany { lease, message }
}

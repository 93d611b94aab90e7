//! The group as a whole: what happens next, and the supervisor.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

use super::super::{Giver, Ledger, Limits, WorkerId};
use super::check::{Ceilings, Lately};
use super::moves::Stream;
use super::process::{ClientState, Down, Outcome, Process, Up};
use super::random::Random;
use super::setup::{PoolSetup, Setup, ms};
use crate::control::{HandoffReport, LeaseId, PoolKey, ToSupervisor};
use crate::slab::{ClientId, ServerId};
use pgskein_protocol::key::Slot;

/// A group in virtual time.
pub(super) struct World {
    pub setup: Setup,
    pub random: Random,
    pub start: Instant,
    pub now: Instant,
    pub ledger: Ledger,
    /// Workers that live, or have died and are not buried, by incarnation.
    pub processes: BTreeMap<u32, Process>,
    /// Connections as PostgreSQL sees them.
    pub backends: BTreeMap<u32, Backend>,
    /// Leases of buried workers, with the time of the burial.
    pub orphans: BTreeMap<u64, Instant>,
    /// Leases that were lost between two workers, with the time.
    pub lost: BTreeMap<u64, Instant>,
    /// Leases that were given and are not taken yet, with their connections.
    pub under_way: BTreeMap<LeaseId, Option<u32>>,
    /// What goes from worker to worker, by a number.
    pub streams: BTreeMap<u32, Stream>,
    pub last_stream: u32,
    /// What is offered on each stream.
    pub offered: BTreeMap<u32, Vec<ServerId>>,
    /// All workers that there ever were.
    pub ids: BTreeMap<u32, WorkerId>,
    /// How many servers have gone from one worker to another.
    pub moved: u32,
    pub ceilings: Ceilings,
    /// Since when each pool could have one more connection.
    pub spare_since: Vec<Option<Instant>>,
    /// How long clients have waited for a server, once they had one.
    pub waits: Vec<Duration>,
    /// How many servers were opened.
    pub opened: u32,
    /// What PostgreSQL has said lately to those who connected.
    pub lately: Lately,
    /// Clients ask for nothing any more.
    pub stopping: bool,
    /// The how-manieth supervisor it is.
    pub supervisor: u32,
    last_incarnation: u32,
    last_backend: u32,
    queue: BinaryHeap<Reverse<Entry>>,
    last_entry: u64,
    pub alarm: Option<Instant>,
}

/// A connection as PostgreSQL sees it.
#[derive(Debug)]
pub(super) struct Backend {
    /// Its client is a worker that has died.
    pub orphaned: bool,
    pub busy_until: Instant,
}

/// Something that will happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A message arrives at the supervisor, or at a worker.
    Up(u32),
    Down(u32),
    /// Something arrives at either end of a stream between workers.
    Forward(u32),
    Back(u32),
    /// The ledger wanted to look again.
    Alarm,
    /// A client of a pool comes; it may want a server of its own.
    Login(usize, bool),
    /// A client needs a server.
    Ask(u32, ClientId),
    /// A client needs its server no longer.
    Done(u32, ServerId),
    Opened(u32, ServerId, Outcome),
    /// A server has closed its side.
    Gone(u32, ServerId),
    Sweep(u32),
    Wish(u32),
    /// PostgreSQL ends a connection whose worker is dead.
    Ends(u32),
    /// A cancel that was sent for an orphan has ended.
    Cancelled(u32, LeaseId, u32),
    /// The supervisor buries a worker.
    Bury(u32),
    Spawn(Slot, u32),
    Fault,
    Check,
}

struct Entry {
    at: Instant,
    number: u64,
    what: What,
}

impl World {
    pub(super) fn new(setup: Setup) -> Self {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut world = Self {
            random: setup.random.clone(),
            start,
            now: start,
            ledger: Ledger::new(),
            processes: BTreeMap::new(),
            backends: BTreeMap::new(),
            orphans: BTreeMap::new(),
            lost: BTreeMap::new(),
            under_way: BTreeMap::new(),
            streams: BTreeMap::new(),
            last_stream: 0,
            offered: BTreeMap::new(),
            ids: BTreeMap::new(),
            moved: 0,
            ceilings: Ceilings::default(),
            spare_since: vec![None; setup.pools.len()],
            waits: Vec::new(),
            opened: 0,
            lately: Lately::default(),
            stopping: false,
            supervisor: 1,
            last_incarnation: 0,
            last_backend: 0,
            queue: BinaryHeap::new(),
            last_entry: 0,
            alarm: None,
            setup,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.renew_limits();
        for number in 1..=self.setup.slots {
            self.spawn(Slot::new(number).unwrap(), 1);
        }
        for at in 0..self.setup.pools.len() {
            let pool = self.setup.pools[at].clone();
            for number in 0..pool.clients + pool.dedicated {
                let after = self.random.time(&(ms(0)..ms(100)));
                self.after(after, What::Login(at, number >= pool.clients));
            }
        }
        self.after(ms(0), What::Check);
        if self.setup.faults.is_some() {
            self.after(ms(50), What::Fault);
        }
    }

    /// Runs everything to its end.
    pub(super) fn run(mut self) {
        self.run_until(self.start + self.setup.troubled);
        self.run_until(self.now + ms(1000));
        self.stopping = true;
        let deadline = self.now + Duration::from_secs(300);
        while self.somebody_waits() {
            assert!(self.now < deadline, "never served: {}", self.describe());
            self.run_until(self.now + ms(100));
        }
        // All that is not needed closes; the last linger and idle times end.
        self.run_until(self.now + ms(8000));
        self.check_rest();
    }

    pub(super) fn run_until(&mut self, until: Instant) {
        while let Some(Reverse(entry)) = self.queue.pop() {
            if entry.at > until {
                self.queue.push(Reverse(entry));
                break;
            }
            self.now = entry.at;
            self.step(entry.what);
            self.check();
        }
        self.now = until;
    }

    /// The longest time that a client has waited, or waits by now.
    pub(super) fn longest_wait(&self) -> Duration {
        let clients = self.processes.values().flat_map(|p| p.clients.iter());
        let waiting = clients.filter_map(|(_, client)| match client.state {
            ClientState::Waiting(since) | ClientState::Greeting(since) => Some(self.now - since),
            ClientState::Idle | ClientState::Linked => None,
        });
        let longest = self.waits.iter().copied().chain(waiting).max();
        longest.unwrap_or_default()
    }

    pub(super) fn after(&mut self, duration: Duration, what: What) {
        self.at(self.now + duration, what);
    }

    pub(super) fn at(&mut self, at: Instant, what: What) {
        self.last_entry += 1;
        self.queue.push(Reverse(Entry {
            at,
            number: self.last_entry,
            what,
        }));
    }

    /// Things still go wrong.
    pub(super) fn is_troubled(&self) -> bool {
        self.now < self.start + self.setup.troubled
    }

    fn step(&mut self, what: What) {
        match what {
            What::Up(worker) => {
                let process = self.processes.get_mut(&worker);
                if let Some(message) = process.and_then(|process| process.up.receive(self.now)) {
                    self.hear(worker, message);
                    self.pass_on();
                }
            }
            What::Down(worker) => {
                if let Some(process) = self.living(worker)
                    && let Some(message) = process.1.down.receive(process.0)
                {
                    self.on_supervisor(worker, message);
                }
            }
            What::Forward(stream) => self.forward(stream),
            What::Back(stream) => self.back(stream),
            What::Alarm => {
                if self.alarm.is_some_and(|at| at <= self.now) {
                    self.alarm = None;
                    self.ledger.on_time(self.now);
                    self.pass_on();
                }
            }
            What::Login(pool, dedicated) => self.login(pool, dedicated),
            What::Ask(worker, client) => self.ask(worker, client),
            What::Done(worker, server) => self.done(worker, server),
            What::Opened(worker, server, outcome) => self.opened(worker, server, outcome),
            What::Gone(worker, server) => self.drop_server(worker, server),
            What::Sweep(worker) => self.sweep(worker),
            What::Wish(worker) => self.wish_again(worker),
            What::Ends(backend) => drop(self.backends.remove(&backend)),
            What::Cancelled(worker, lease, backend) => self.cancelled(worker, lease, backend),
            What::Bury(worker) => self.bury(worker),
            What::Spawn(slot, generation) => self.spawn(slot, generation),
            What::Fault => self.fault(),
            What::Check => {
                self.watch_spare();
                self.check_patience();
                self.after(ms(100), What::Check);
            }
        }
        if let What::Down(worker)
        | What::Ask(worker, _)
        | What::Done(worker, _)
        | What::Opened(worker, ..)
        | What::Gone(worker, _)
        | What::Sweep(worker)
        | What::Wish(worker) = what
        {
            self.end_turn(worker);
        }
    }

    pub(super) fn living(&mut self, worker: u32) -> Option<(Instant, &mut Process)> {
        let process = self.processes.get_mut(&worker)?;
        process.lives().then_some((self.now, process))
    }

    /// Limits of a pool, as the configuration has them.
    pub(super) fn limits(&self, key: &PoolKey) -> Limits {
        limits(&self.setup.pools, key)
    }

    fn hear(&mut self, worker: u32, message: Up) {
        let id = self.processes[&worker].id;
        let now = self.now;
        let message = match message {
            Up::Says(message) => message,
            // One before it has asked, too.
            Up::Reports(supervisor, _) if supervisor != self.supervisor => return,
            Up::Reports(_, reports) => {
                let pools = &self.setup.pools;
                let limits = |key: &PoolKey| limits(pools, key);
                return self.ledger.adopt(id, reports, limits, now);
            }
        };
        match message {
            ToSupervisor::Ready => self.ledger.worker_ready(id),
            ToSupervisor::Wanted { pool, demand } => {
                let limits = self.limits(&pool);
                self.ledger.wanted(id, &pool, demand, limits, now);
            }
            ToSupervisor::InUse { pool, in_use } => {
                let limits = self.limits(&pool);
                self.ledger.in_use(id, &pool, in_use, limits, now);
            }
            ToSupervisor::Held { lease, backend } => {
                self.ledger.held(id, lease, backend, now);
            }
            ToSupervisor::Dedicated { lease } => self.ledger.dedicated(id, lease),
            ToSupervisor::TooMany { lease, .. } => {
                assert!(self.ledger.too_many(id, lease, now).is_some());
            }
            ToSupervisor::MayClose { lease } => self.ledger.may_close(id, lease),
            ToSupervisor::Kept { lease } => self.ledger.kept(id, lease),
            ToSupervisor::Closing { lease } => {
                self.ledger.closing(id, lease, now);
                // What is said twice must not count twice.
                self.ledger.closing(id, lease, now);
            }
            ToSupervisor::Returned { lease } => {
                self.ledger.returned(id, lease, now);
                self.ledger.returned(id, lease, now);
            }
            ToSupervisor::OrphanCancelled { lease } => {
                self.ledger.orphan_cancelled(id, lease, now);
            }
            ToSupervisor::Handoff(report) => self.hear_of_handoff(id, report),
            other => panic!("no worker says {other:?} here"),
        }
    }

    fn hear_of_handoff(&mut self, id: WorkerId, report: HandoffReport) {
        let (now, linger) = (self.now, self.setup.linger);
        let buried = |worker: &u32| !self.processes.contains_key(worker);
        match report {
            HandoffReport::Lent { lease, to } => {
                let to = Some(to).filter(|to| !buried(to)).map(|to| self.ids[&to]);
                self.ledger.lent(id, lease, to, linger, now);
                self.ledger.lent(id, lease, to, linger, now);
            }
            HandoffReport::Received(report) => {
                let limits = self.limits(&report.pool);
                self.ledger.received(id, report.clone(), limits, now);
                self.ledger.received(id, report, limits, now);
            }
            HandoffReport::Over {
                slot,
                generation,
                process,
            } => {
                let giver = match buried(&process) {
                    true => Giver::Dead { slot, generation },
                    false => Giver::Living(self.ids[&process]),
                };
                self.ledger.handoffs_over(id, giver, linger, now);
            }
            HandoffReport::Client { .. } => unreachable!("no client counts here"),
        }
    }

    pub(super) fn pass_on(&mut self) {
        while let Some(action) = self.ledger.poll_action(self.now) {
            let worker = action.worker().incarnation;
            self.send_down(worker, Down::Says(action.into_message()));
        }
        if let Some(at) = self.ledger.next_deadline()
            && self.alarm.is_none_or(|alarm| at < alarm)
        {
            self.alarm = Some(at);
            self.at(at.max(self.now), What::Alarm);
        }
    }

    pub(super) fn send_down(&mut self, worker: u32, message: Down) {
        let arrival = self.now + self.random.time(&self.setup.delay);
        let process = self.processes.get_mut(&worker).expect("told the buried");
        let at = process.down.send(arrival, message);
        self.at(at, What::Down(worker));
    }

    pub(super) fn tell(&mut self, worker: u32, message: ToSupervisor) {
        self.send_up(worker, Up::Says(message));
    }

    pub(super) fn send_up(&mut self, worker: u32, message: Up) {
        let arrival = self.now + self.random.time(&self.setup.delay);
        if let Some(process) = self.processes.get_mut(&worker) {
            let at = process.up.send(arrival, message);
            self.at(at, What::Up(worker));
        }
    }

    /// A connection to PostgreSQL, unless it has too many.
    pub(super) fn connect(&mut self) -> Option<u32> {
        if self.backends.len() >= self.setup.max_connections {
            return None;
        }
        self.last_backend += 1;
        let backend = Backend {
            orphaned: false,
            busy_until: self.now,
        };
        self.backends.insert(self.last_backend, backend);
        Some(self.last_backend)
    }

    pub(super) fn spawn(&mut self, slot: Slot, generation: u32) {
        self.last_incarnation += 1;
        let id = WorkerId {
            slot,
            generation,
            incarnation: self.last_incarnation,
        };
        self.ids.insert(id.incarnation, id);
        self.processes.insert(id.incarnation, Process::new(id));
        self.tell(id.incarnation, ToSupervisor::Ready);
        let sweep = self.random.time(&(ms(1)..ms(250)));
        self.after(sweep, What::Sweep(id.incarnation));
    }

    fn bury(&mut self, worker: u32) {
        let Some(process) = self.processes.get_mut(&worker) else {
            return;
        };
        let id = process.id;
        let said: Vec<_> = std::iter::from_fn(|| process.up.take()).collect();
        for message in said {
            self.hear(worker, message);
        }
        for lease in self.leases_of(id) {
            self.orphans.insert(lease, self.now);
        }
        self.ledger.worker_died(id, self.setup.linger, self.now);
        self.processes.remove(&worker);
        self.pass_on();
    }

    fn cancelled(&mut self, worker: u32, lease: LeaseId, number: u32) {
        if let Some(backend) = self.backends.get_mut(&number) {
            assert!(backend.orphaned, "a living server was cancelled");
            backend.busy_until = self.now;
            let last_breath = self.random.time(&(ms(1)..ms(10)));
            self.after(last_breath, What::Ends(number));
        }
        if self.living(worker).is_some() {
            self.tell(worker, ToSupervisor::OrphanCancelled { lease });
        }
    }

    pub(super) fn renew_limits(&mut self) {
        let pools = &self.setup.pools;
        self.ledger.on_limits(|key| limits(pools, key));
        let kept = pools
            .iter()
            .filter(|pool| pool.kept && pool.limits.min_pool_size > 0);
        self.ledger
            .keep(kept.map(|pool| (pool.key.clone(), pool.limits)));
        self.pass_on();
    }
}

fn limits(pools: &[PoolSetup], key: &PoolKey) -> Limits {
    pools.iter().find(|pool| pool.key == *key).unwrap().limits
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

//! Pools: who waits, who is linked next, and how many servers are wanted.
//!
//! A pool belongs to one database and one server-side user, within one worker.
//! Clients wait first in, first out; idle servers are lent last in, first out
//! (or round robin). The pool knows the leases that its worker holds and says
//! how many more it could use, at a bounded rate.
//!
//! Source: PostgreSQL documentation, "Message Flow" (a server is lent between
//! two ReadyForQuery messages outside a transaction).

mod dedicated;
mod demand;
mod handoff;
mod pause;
mod recall;
mod trouble;
mod unused;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pgskein_config::PoolSettings;

pub use self::dedicated::HOPE;
use self::dedicated::Suitor;
use self::demand::Told;
pub use self::recall::GivenUp;
pub(crate) use self::recall::QUANTUM;
use self::recall::Recall;
pub use self::trouble::Leaving;
use self::trouble::Trouble;
use crate::control::PoolKey;
use crate::ledger::WorkerId;
use crate::parameters::ParametersId;
pub use crate::slab::PoolId;
use crate::slab::{ClientId, ServerId, Slab};
use crate::statistics::PoolStatistics;

/// What a client that needs a server gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// This idle server, at once.
    Link(ServerId),
    /// A place in the queue; this idle server was unused for long and must
    /// prove first that it is alive.
    Test(ServerId),
    /// A place in the queue.
    Wait,
}

/// What becomes of a server that is free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Free {
    /// It is lent to the client that waited longest.
    Link(ClientId),
    /// It is idle.
    Idle,
    /// It is lent to this worker, or closed, since its lease is wanted elsewhere.
    GiveUp(Option<WorkerId>),
    /// It is closed, since its lease is wanted for a dedicated server.
    GiveWay,
}

/// What the first server of a pool said at login, for the clients to come.
#[derive(Debug, Eq, PartialEq)]
pub struct Welcome {
    /// ParameterStatus messages of settings that are not followed.
    pub fixed: Vec<u8>,
    /// Values of those that are.
    pub parameters: ParametersId,
}

/// Why the last attempt to open a server failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// SQLSTATE for clients.
    pub sqlstate: String,
    /// Text for clients and the log.
    pub message: String,
}

/// One pool.
#[derive(Debug)]
pub struct Pool {
    /// Its name.
    pub key: PoolKey,
    /// Its limits and timeouts, resolved.
    pub settings: PoolSettings,
    /// What new clients are greeted with, once a server has logged in.
    pub welcome: Option<Welcome>,
    /// What is counted of it.
    pub statistics: PoolStatistics,
    /// No server is lent or opened; see [`Pool::pause`].
    paused: bool,
    idle: VecDeque<(ServerId, Instant)>,
    waiting: VecDeque<(ClientId, Instant)>,
    greeting: Vec<(ClientId, Instant)>,
    /// It is not known yet whether somebody else knows a greeting.
    asking: bool,
    /// Clients that wait for a server of their own.
    suitors: VecDeque<Suitor>,
    /// Servers that clients have for themselves; they are not among `held`.
    dedicated: u32,
    /// The pool that these servers came from, in a pool of dedicated servers.
    source: Option<PoolId>,
    held: u32,
    opening: u32,
    told: Told,
    recall: Option<Recall>,
    /// Who wants the servers that the ledger wants back.
    takers: VecDeque<WorkerId>,
    trouble: Trouble,
    leaving: Option<Leaving>,
    retired_at: Option<Instant>,
    /// Since when it was seen without a client and a server.
    unused_since: Option<Instant>,
}

impl Pool {
    /// A pool without servers or clients.
    pub fn new(key: PoolKey, settings: PoolSettings) -> Self {
        Self {
            key,
            settings,
            welcome: None,
            statistics: PoolStatistics::default(),
            paused: false,
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            greeting: Vec::new(),
            asking: false,
            suitors: VecDeque::new(),
            dedicated: 0,
            source: None,
            held: 0,
            opening: 0,
            told: Told::default(),
            recall: None,
            takers: VecDeque::new(),
            trouble: Trouble::default(),
            leaving: None,
            retired_at: None,
            unused_since: None,
        }
    }

    /// A client needs a server.
    ///
    /// A server that is idle since before `stale` is tested first; `None` never
    /// tests.
    #[inline(always)]
    pub fn request(
        &mut self,
        client: ClientId,
        round_robin: bool,
        stale: Option<Instant>,
        now: Instant,
    ) -> Request {
        let next = if round_robin {
            self.idle.pop_front()
        } else {
            self.idle.pop_back()
        };
        match next {
            Some((server, since)) => match stale {
                Some(stale) if since < stale => {
                    self.waiting.push_back((client, now));
                    self.opening += 1;
                    Request::Test(server)
                }
                _ => Request::Link(server),
            },
            None => {
                self.waiting.push_back((client, now));
                Request::Wait
            }
        }
    }

    /// A server can be lent or rest.
    #[inline]
    pub fn free(&mut self, server: ServerId, now: Instant) -> Free {
        if self.recall.is_some()
            && let Some(to) = self.gives_up(now)
        {
            return Free::GiveUp(to);
        }
        self.lend_or_keep(server, now)
    }

    /// A server can be lent for the first time here: whatever the ledger wants
    /// back, it has not come for nothing if somebody waits for it.
    pub fn free_new(&mut self, server: ServerId, now: Instant) -> Free {
        self.lend_or_keep(server, now)
    }

    #[inline]
    fn lend_or_keep(&mut self, server: ServerId, now: Instant) -> Free {
        if !self.suitors.is_empty() && self.makes_way(now) {
            return Free::GiveWay;
        }
        match self.waiting.pop_front() {
            Some((client, since)) => {
                self.statistics.on_waited(since, now);
                Free::Link(client)
            }
            None => match self.gives_up(now) {
                Some(to) => Free::GiveUp(to),
                None => {
                    self.idle.push_back((server, now));
                    Free::Idle
                }
            },
        }
    }

    /// A client that waits, or an idle server, is no longer there.
    pub fn forget_client(&mut self, client: ClientId) {
        self.waiting.retain(|(waiting, _)| *waiting != client);
        self.greeting.retain(|(waiting, _)| *waiting != client);
        self.suitors.retain(|suitor| suitor.client != client);
    }

    /// Takes a server out of the idle ones; says whether it was one.
    pub fn forget_idle(&mut self, server: ServerId) -> bool {
        let before = self.idle.len();
        self.idle.retain(|(idle, _)| *idle != server);
        before != self.idle.len()
    }

    /// A client waits for the first server's greeting.
    pub fn greet_later(&mut self, client: ClientId, now: Instant) {
        self.greeting.push((client, now));
    }

    /// Others are to be asked for a greeting, before a server is opened for it;
    /// false when they were.
    pub fn ask_for_welcome(&mut self) -> bool {
        !std::mem::replace(&mut self.asking, true)
    }

    /// The others have answered.
    pub fn welcome_answered(&mut self) {
        self.asking = false;
    }

    /// The clients that wait for a greeting, to be greeted or refused now.
    pub fn take_greeting(&mut self) -> Vec<ClientId> {
        self.greeting.drain(..).map(|(client, _)| client).collect()
    }

    /// A lease has come; says whether a server is to be opened with it, or the
    /// lease given back.
    pub fn on_grant(&mut self) -> bool {
        self.was_granted_one();
        let use_it = !self.paused && self.need() > self.opening;
        if use_it {
            self.held += 1;
            self.opening += 1;
        }
        use_it
    }

    /// A lease has come that a server is to be opened with in any case.
    pub fn on_ordered(&mut self) {
        self.held += 1;
        self.opening += 1;
    }

    /// A lease of this pool went back to the ledger.
    pub fn on_returned(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// Whether a server that has reached `server_lifetime` may be closed for it
    /// now.
    ///
    /// Servers of the same age are not all closed at once, but spread over a
    /// part of their lifetime for each server of the pool, as in PgBouncer.
    pub fn may_retire(&mut self, now: Instant) -> bool {
        let spread = self.settings.server_lifetime / self.settings.pool_size.max(1);
        let soon = self
            .retired_at
            .is_some_and(|at| now.saturating_duration_since(at) < spread);
        if !soon {
            self.retired_at = Some(now);
        }
        !soon
    }

    /// How long somebody has waited for this pool: for a server, for one of his
    /// own, or for the greeting.
    pub fn longest_wait(&self, now: Instant) -> Option<Duration> {
        let queue = self.waiting.front().map(|(_, since)| *since);
        let greeting = self.greeting.first().map(|(_, since)| *since);
        let waiting = [queue, greeting, self.oldest_suit()];
        let since = waiting.into_iter().flatten().min()?;
        Some(now.saturating_duration_since(since))
    }

    /// The clients in the queue, first come first.
    pub fn waiting(&self) -> impl Iterator<Item = (ClientId, Instant)> {
        self.waiting.iter().copied()
    }

    /// The idle servers with the time since when, oldest first.
    pub fn idle(&self) -> impl Iterator<Item = (ServerId, Instant)> {
        self.idle.iter().copied()
    }

    /// Servers that could be used by clients that share, and by those that do
    /// not.
    fn need(&self) -> u32 {
        let suitors = u32::try_from(self.suitors.len()).unwrap_or(u32::MAX);
        self.shared_need().saturating_add(suitors)
    }

    fn shared_need(&self) -> u32 {
        let greeting = usize::from(!self.greeting.is_empty() && !self.asking);
        u32::try_from(self.waiting.len() + greeting).unwrap_or(u32::MAX)
    }
}

/// All pools of a worker.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Slab<PoolId, Pool>,
    ids: HashMap<PoolKey, PoolId>,
    /// The pools of dedicated servers, by the pool that they come from.
    dedicated: HashMap<PoolId, PoolId>,
}

impl Pools {
    /// The pool with this name, made with `settings` if there is none.
    pub fn find(&mut self, key: &PoolKey, settings: impl FnOnce() -> PoolSettings) -> PoolId {
        if let Some(&id) = self.ids.get(key) {
            return id;
        }
        let id = self.insert(Pool::new(key.clone(), settings()));
        self.ids.insert(key.clone(), id);
        id
    }

    /// The pool with this name, if there is one.
    pub fn lookup(&self, key: &PoolKey) -> Option<PoolId> {
        self.ids.get(key).copied()
    }

    /// A pool.
    #[inline]
    pub fn get(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id)
    }

    /// A pool to change.
    #[inline]
    pub fn get_mut(&mut self, id: PoolId) -> Option<&mut Pool> {
        self.pools.get_mut(id)
    }

    /// All pools with their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PoolId, &mut Pool)> {
        self.pools.iter_mut()
    }

    /// All pools.
    pub fn iter(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter()
    }

    fn insert(&mut self, pool: Pool) -> PoolId {
        self.pools.insert_with(|_| pool)
    }
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;

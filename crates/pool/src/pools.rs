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

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use pgskein_config::PoolSettings;

pub use self::dedicated::HOPE;
use self::dedicated::Suitor;
use crate::control::PoolKey;
use crate::parameters::ParametersId;
use crate::slab::{ClientId, ServerId};

/// A pool of this worker.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PoolId(u32);

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
    /// It is closed, since its lease is wanted elsewhere.
    GiveUp,
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
    idle: VecDeque<(ServerId, Instant)>,
    waiting: VecDeque<(ClientId, Instant)>,
    greeting: Vec<ClientId>,
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
    reported: u32,
    reported_at: Option<Instant>,
    recall: Option<Recall>,
    failure: Option<(Instant, Failure)>,
    retired_at: Option<Instant>,
}

/// Servers that the ledger wants back.
#[derive(Clone, Copy, Debug)]
struct Recall {
    /// Of any, after their quantum if they are in use.
    count: u32,
    /// More, of those that nobody uses.
    unused: u32,
    since: Instant,
    transactions: u32,
}

impl Pool {
    /// A pool without servers or clients.
    pub fn new(key: PoolKey, settings: PoolSettings) -> Self {
        Self {
            key,
            settings,
            welcome: None,
            idle: VecDeque::new(),
            waiting: VecDeque::new(),
            greeting: Vec::new(),
            asking: false,
            suitors: VecDeque::new(),
            dedicated: 0,
            source: None,
            held: 0,
            opening: 0,
            reported: 0,
            reported_at: None,
            recall: None,
            failure: None,
            retired_at: None,
        }
    }

    /// A client needs a server.
    ///
    /// A server that is idle since before `stale` is tested first; `None` never
    /// tests.
    #[inline]
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
        if let Some(recall) = &mut self.recall {
            recall.transactions += 1;
            let over = recall.count > 0
                && (recall.transactions > QUANTUM_TRANSACTIONS
                    || now.saturating_duration_since(recall.since) > QUANTUM);
            if over || self.waiting.is_empty() {
                self.gave_up_one(now);
                return Free::GiveUp;
            }
        }
        if !self.suitors.is_empty() && self.makes_way(now) {
            return Free::GiveWay;
        }
        match self.waiting.pop_front() {
            Some((client, _)) => Free::Link(client),
            None => {
                self.idle.push_back((server, now));
                Free::Idle
            }
        }
    }

    /// A client that waits, or an idle server, is no longer there.
    pub fn forget_client(&mut self, client: ClientId) {
        self.waiting.retain(|(waiting, _)| *waiting != client);
        self.greeting.retain(|waiting| *waiting != client);
        self.suitors.retain(|suitor| suitor.client != client);
    }

    /// Takes a server out of the idle ones; says whether it was one.
    pub fn forget_idle(&mut self, server: ServerId) -> bool {
        let before = self.idle.len();
        self.idle.retain(|(idle, _)| *idle != server);
        before != self.idle.len()
    }

    /// A client waits for the first server's greeting.
    pub fn greet_later(&mut self, client: ClientId) {
        self.greeting.push(client);
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
        std::mem::take(&mut self.greeting)
    }

    /// A lease has come; says whether a server is to be opened with it, or the
    /// lease given back.
    pub fn on_grant(&mut self) -> bool {
        self.reported = self.reported.saturating_sub(1);
        let use_it = self.need() > self.opening;
        if use_it {
            self.held += 1;
            self.opening += 1;
        }
        use_it
    }

    /// A server that was opened or tested is ready.
    pub fn on_opened(&mut self) {
        self.opening = self.opening.saturating_sub(1);
        self.failure = None;
    }

    /// A server could not be opened, or did not stand its test.
    pub fn on_open_failed(&mut self, failure: Option<Failure>, now: Instant) {
        self.opening = self.opening.saturating_sub(1);
        if let Some(failure) = failure {
            self.failure = Some((now, failure));
        }
    }

    /// A lease of this pool went back to the ledger.
    pub fn on_returned(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// The ledger wants `count` servers back, and `unused` more of those that
    /// nobody uses, in place of what it wanted so far. Returns the idle servers
    /// that are to be closed for it.
    pub fn on_recall(&mut self, count: u32, unused: u32, now: Instant) -> Vec<ServerId> {
        self.recall = (count + unused > 0).then_some(Recall {
            count,
            unused,
            since: now,
            transactions: 0,
        });
        let mut closed = Vec::new();
        while self.recall.is_some() {
            let Some((server, _)) = self.idle.pop_front() else {
                break;
            };
            self.gave_up_one(now);
            closed.push(server);
        }
        closed
    }

    /// How many servers to ask the ledger for, if that is to be said now.
    ///
    /// `retry` is how long nothing is asked for after a failure.
    pub fn poll_wanted(&mut self, retry: Duration, now: Instant) -> Option<(u32, Duration)> {
        let wanted = self.wanted(retry, now);
        if wanted == self.reported {
            return None;
        }
        let patience = match wanted {
            _ if self.reported == 0 => Duration::ZERO,
            more if more > self.reported => RAISE_INTERVAL,
            _ => LOWER_INTERVAL,
        };
        if let Some(at) = self.reported_at
            && now.saturating_duration_since(at) < patience
        {
            return None;
        }
        self.reported = wanted;
        self.reported_at = Some(now);
        let oldest = self.oldest_wait(now).max(self.oldest_suit(now));
        Some((wanted, oldest.unwrap_or_default()))
    }

    /// Whether the ledger was last told something else than what is wanted.
    pub fn unreported(&self, retry: Duration, now: Instant) -> bool {
        self.wanted(retry, now) != self.reported
    }

    /// The failure that still holds back new attempts.
    pub fn failure(&self, retry: Duration, now: Instant) -> Option<&Failure> {
        self.failure
            .as_ref()
            .filter(|(at, _)| now.saturating_duration_since(*at) < retry)
            .map(|(_, failure)| failure)
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

    /// Forgets past failures, so that the next attempt is made at once.
    pub fn forget_failure(&mut self) {
        self.failure = None;
    }

    /// How long the first client in the queue has waited.
    pub fn oldest_wait(&self, now: Instant) -> Option<Duration> {
        let (_, since) = self.waiting.front()?;
        Some(now.saturating_duration_since(*since))
    }

    /// The clients in the queue, first come first.
    pub fn waiting(&self) -> impl Iterator<Item = (ClientId, Instant)> {
        self.waiting.iter().copied()
    }

    /// The idle servers with the time since when, oldest first.
    pub fn idle(&self) -> impl Iterator<Item = (ServerId, Instant)> {
        self.idle.iter().copied()
    }

    /// Leases that the worker holds for this pool.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Servers that could be used now, beyond those that are on their way.
    fn wanted(&self, retry: Duration, now: Instant) -> u32 {
        if self.failure(retry, now).is_some() {
            return 0;
        }
        let open = self.held + self.dedicated;
        let room = self.settings.pool_size.saturating_sub(open);
        self.need().saturating_sub(self.opening).min(room)
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

    fn gave_up_one(&mut self, now: Instant) {
        let Some(recall) = &mut self.recall else {
            return;
        };
        if recall.count > 0 {
            recall.count -= 1;
        } else {
            recall.unused = recall.unused.saturating_sub(1);
        }
        recall.since = now;
        recall.transactions = 0;
        if recall.count + recall.unused == 0 {
            self.recall = None;
        }
    }
}

/// All pools of a worker.
#[derive(Debug, Default)]
pub struct Pools {
    pools: Vec<Pool>,
    numbers: HashMap<PoolKey, u32>,
    /// The pools of dedicated servers, by the pool that they come from.
    dedicated: HashMap<PoolId, PoolId>,
}

impl Pools {
    /// The pool with this name, made with `settings` if there is none.
    pub fn find(&mut self, key: &PoolKey, settings: impl FnOnce() -> PoolSettings) -> PoolId {
        if let Some(&number) = self.numbers.get(key) {
            return PoolId(number);
        }
        let number = u32::try_from(self.pools.len()).unwrap_or(u32::MAX);
        self.pools.push(Pool::new(key.clone(), settings()));
        self.numbers.insert(key.clone(), number);
        PoolId(number)
    }

    /// The pool with this name, if there is one.
    pub fn lookup(&self, key: &PoolKey) -> Option<PoolId> {
        self.numbers.get(key).copied().map(PoolId)
    }

    /// A pool.
    #[inline]
    pub fn get(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id.0 as usize)
    }

    /// A pool to change.
    #[inline]
    pub fn get_mut(&mut self, id: PoolId) -> Option<&mut Pool> {
        self.pools.get_mut(id.0 as usize)
    }

    /// All pools with their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (PoolId, &mut Pool)> {
        (0u32..).map(PoolId).zip(self.pools.iter_mut())
    }

    /// All pools.
    pub fn iter(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        (0u32..).map(PoolId).zip(self.pools.iter())
    }
}

/// How long, and for how many transactions, a holder with clients of its own
/// serves them before it gives up a server that is wanted elsewhere.
const QUANTUM: Duration = Duration::from_millis(2);
const QUANTUM_TRANSACTIONS: u32 = 8;

/// The ledger hears of a changed wish no more often than this.
const RAISE_INTERVAL: Duration = Duration::from_millis(5);
const LOWER_INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;

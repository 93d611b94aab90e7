//! Demand: what a pool wants of the ledger, and when it says so.
//!
//! The ledger hears of every demand that begins or ends, and of changes that
//! would change what it does, at a bounded rate.

use std::time::{Duration, Instant};

use super::Pool;

/// What the ledger knows of what the pool wants.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When it was told.
    at: Option<Instant>,
    /// Servers wanted, less those granted since.
    wanted: u32,
    /// Since when the oldest client waits.
    oldest: Option<Instant>,
    /// How long it had waited when that was told.
    oldest_wait: Duration,
    /// That client has waited long enough for the reserve.
    aged: bool,
    /// The pool has no server at all.
    starving: bool,
    /// The pool has clients.
    in_use: bool,
    /// When it was asked whether unused servers may be closed.
    asked: Option<Instant>,
}

/// What is to be told.
struct Wish {
    wanted: u32,
    oldest: Option<Instant>,
    oldest_wait: Duration,
    aged: bool,
    starving: bool,
}

impl Pool {
    /// How many servers to ask the ledger for and how long the oldest client
    /// waits, if that is to be said now.
    ///
    /// `retry` is how long nothing is asked for after a failure.
    pub fn poll_wanted(&mut self, retry: Duration, now: Instant) -> Option<(u32, Duration)> {
        let wish = self.wish(retry, now);
        if !self.told.differs(&wish) {
            return None;
        }
        let patience = match wish.wanted {
            _ if self.told.wanted == 0 => Duration::ZERO,
            _ if wish.starving && !self.told.starving => Duration::ZERO,
            less if less < self.told.wanted => LOWER_INTERVAL,
            _ => RAISE_INTERVAL,
        };
        let lately = |at| now.saturating_duration_since(at) < patience;
        if self.told.at.is_some_and(lately) {
            return None;
        }
        self.told = Told {
            at: Some(now),
            wanted: wish.wanted,
            oldest: wish.oldest,
            oldest_wait: wish.oldest_wait,
            aged: wish.aged,
            starving: wish.starving,
            ..self.told
        };
        Some((wish.wanted, wish.oldest_wait))
    }

    /// Whether the ledger is to be told something else than it was.
    pub fn unreported(&self, retry: Duration, now: Instant) -> bool {
        self.told.differs(&self.wish(retry, now))
    }

    /// Forgets what the ledger was told and has asked for, because it may not
    /// know any more.
    pub fn tell_anew(&mut self) {
        self.told = Told::default();
        self.recall = None;
        self.takers.clear();
    }

    /// What to tell the ledger of whether the pool has clients, if anything.
    pub fn poll_in_use(&mut self, in_use: bool) -> Option<bool> {
        let matters = self.settings.min_pool_size > 0 && !self.is_dedicated();
        let changed = matters && in_use != self.told.in_use;
        changed.then(|| {
            self.told.in_use = in_use;
            in_use
        })
    }

    /// Whether to ask the ledger now which unused servers may be closed.
    pub fn asks_to_close(&mut self, now: Instant) -> bool {
        let recently = |at| now.saturating_duration_since(at) < ASK_INTERVAL;
        let ask = !self.told.asked.is_some_and(recently);
        if ask {
            self.told.asked = Some(now);
        }
        ask
    }

    /// The ledger knows of no client of the pool, and of nothing that it wants.
    pub(super) fn told_nothing(&self) -> bool {
        self.told.wanted == 0 && !self.told.in_use
    }

    /// The ledger has granted one of the servers that were asked for.
    pub(super) fn was_granted_one(&mut self) {
        self.told.wanted = self.told.wanted.saturating_sub(1);
    }

    fn wish(&self, retry: Duration, now: Instant) -> Wish {
        let wanted = self.wanted(retry, now);
        let oldest = self.oldest().filter(|_| wanted > 0);
        let waited = |since| now.saturating_duration_since(since);
        let oldest_wait = oldest.map(waited).unwrap_or_default();
        let settings = &self.settings;
        Wish {
            wanted,
            oldest,
            oldest_wait,
            aged: settings.reserve_pool_size > 0 && oldest_wait >= settings.reserve_pool_timeout,
            starving: self.held == 0,
        }
    }

    /// Since when somebody waits for a server.
    fn oldest(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(_, since)| *since);
        let greeting = self.greeting.first().filter(|_| !self.asking);
        let greeting = greeting.map(|(_, since)| *since);
        let suit = self.oldest_suit();
        [waiting, greeting, suit].into_iter().flatten().min()
    }

    /// Servers that could be used now, beyond those that are on their way.
    fn wanted(&self, retry: Duration, now: Instant) -> u32 {
        if self.paused || self.holds_back(retry, now) {
            return 0;
        }
        self.need().saturating_sub(self.opening)
    }
}

impl Told {
    fn differs(&self, wish: &Wish) -> bool {
        if wish.wanted == 0 || self.wanted == 0 {
            return wish.wanted != self.wanted;
        }
        wish.wanted.abs_diff(self.wanted) > self.wanted / 4
            || wish.aged != self.aged
            || if wish.starving {
                wish.oldest != self.oldest
            } else {
                let change = wish.oldest_wait.abs_diff(self.oldest_wait);
                change > self.oldest_wait / 4 + SMALL_WAIT
            }
    }
}

/// The ledger hears of a changed demand no more often than this.
const RAISE_INTERVAL: Duration = Duration::from_millis(5);
const LOWER_INTERVAL: Duration = Duration::from_millis(20);

/// Changes of a wait that do not matter.
const SMALL_WAIT: Duration = Duration::from_millis(10);

/// The ledger is asked about unused servers no more often than this.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

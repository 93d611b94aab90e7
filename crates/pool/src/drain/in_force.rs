//! One order in force in a worker, and the clients that it covers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Counts, Leaving, Member, Report};
use crate::drain_order::DrainOrder;
use crate::moves::Stay;
use crate::slab::ClientId;

/// An order with the clients that it covers and that are still there.
///
/// Always true: `pending` is the number of members that were not asked yet.
#[derive(Debug)]
pub(super) struct InForce {
    pub order: DrainOrder,
    /// The end of its delay, from when its timeouts count.
    pub since: Instant,
    members: BTreeMap<ClientId, Asked>,
    pending: usize,
    /// When the next one has its turn, if there is a rate.
    next_turn: Option<Instant>,
    counts: Counts,
    reported: Option<(Instant, Counts)>,
    ended: Option<Instant>,
}

/// How far the asking of a client has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// Its turn has not come.
    Pending,
    /// Its turn has come, and it was not at rest.
    Due,
    /// It knows.
    Told,
    /// It cannot be told.
    Silent,
}

impl InForce {
    pub(super) fn new(order: DrainOrder, since: Instant) -> Self {
        Self {
            order,
            since,
            members: BTreeMap::new(),
            pending: 0,
            next_turn: None,
            counts: Counts::default(),
            reported: None,
            ended: None,
        }
    }

    pub(super) fn is_shutdown(&self) -> bool {
        self.order.kind.is_shutdown()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// Whether there is somebody whom a deadline may close.
    pub(super) fn is_timed(&self) -> bool {
        let timed = !self.order.timeout.is_zero() || !self.order.kill_timeout.is_zero();
        timed && !self.members.is_empty()
    }

    pub(super) fn covers(&self, member: &Member<'_>) -> bool {
        self.order.covers(member)
    }

    /// Covers one client more.
    pub(super) fn add(&mut self, member: &Member<'_>, now: Instant) {
        let asked = if member.told {
            self.counts.told = self.counts.told.saturating_add(1);
            Asked::Told
        } else {
            if self.pending == 0 {
                // Turns that nobody was there to take are lost.
                self.next_turn = self.next_turn.map(|at| at.max(now));
            }
            self.pending += 1;
            Asked::Pending
        };
        self.ended = None;
        self.members.insert(member.id, asked);
    }

    /// Covers one that a sibling had; whether it was told was counted there.
    pub(super) fn add_arrival(&mut self, member: &Member<'_>, now: Instant) {
        let told = self.counts.told;
        self.add(member, now);
        self.counts.told = told;
    }

    pub(super) fn on_refused(&mut self, id: ClientId, why: Stay) {
        if self.members.contains_key(&id) {
            self.counts.refused.add(why);
        }
    }

    /// Those whose turn comes now.
    pub(super) fn take_turns(
        &mut self,
        now: Instant,
        random: &mut impl FnMut() -> u32,
        idle: &impl Fn(ClientId) -> bool,
    ) -> Vec<ClientId> {
        if self.pending == 0 || now < self.since {
            return Vec::new();
        }
        let count = self.turns(now, random);
        if count == 0 {
            return Vec::new();
        }
        let pending = self.members.iter();
        let pending = pending.filter(|(_, asked)| **asked == Asked::Pending);
        let (mut turns, busy): (Vec<ClientId>, Vec<ClientId>) =
            pending.map(|(id, _)| *id).partition(|id| idle(*id));
        turns.extend(busy);
        turns.truncate(count);
        for id in &turns {
            self.set_asked(*id, Asked::Due);
        }
        turns
    }

    /// How many have their turn now.
    fn turns(&mut self, now: Instant, random: &mut impl FnMut() -> u32) -> usize {
        if self.order.rate == 0 {
            return self.pending;
        }
        let interval = Duration::from_secs(1) / self.order.rate;
        // Workers do not begin at the same moment.
        let mut next = match self.next_turn {
            Some(at) => at,
            None => self.since + scale(interval, random()),
        };
        // A worker that was held up does not make up for all of it at once.
        if let Some(earliest) = now.checked_sub(MOST_CATCHING_UP.max(interval)) {
            next = next.max(earliest);
        }
        let mut count = 0;
        while next <= now && count < self.pending {
            count += 1;
            next += interval / 2 + scale(interval, random());
        }
        self.next_turn = Some(next);
        count
    }

    pub(super) fn is_due(&self, id: ClientId) -> bool {
        self.members.get(&id) == Some(&Asked::Due)
    }

    pub(super) fn set_asked(&mut self, id: ClientId, asked: Asked) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(member, asked);
        if before == Asked::Pending {
            self.pending -= 1;
        }
        if asked == Asked::Told && before != Asked::Told {
            self.counts.told = self.counts.told.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, id: ClientId, how: Leaving) {
        if let Some(asked) = self.members.remove(&id) {
            if asked == Asked::Pending {
                self.pending -= 1;
            }
            self.counts.on_left(how);
        }
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = ClientId> {
        self.members.keys().copied()
    }

    /// Whether members are closed by now, and if so, at once.
    pub(super) fn closes(&self, now: Instant) -> Option<bool> {
        let waited = now.checked_duration_since(self.since)?;
        let over = |timeout: Duration| !timeout.is_zero() && waited >= timeout;
        if over(self.order.kill_timeout) {
            return Some(true);
        }
        over(self.order.timeout).then_some(false)
    }

    /// When something is to be done that is not yet.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let turn = self.has_pending().then(|| match self.next_turn {
            Some(at) => at.max(self.since),
            None => self.since,
        });
        let timeouts = [self.order.timeout, self.order.kill_timeout];
        let timeouts = timeouts.into_iter().filter(|timeout| !timeout.is_zero());
        let timeouts = timeouts.map(|timeout| self.since + timeout);
        let ahead = timeouts.filter(|at| *at > now && !self.members.is_empty());
        ahead.chain(turn).min()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            remaining: u32::try_from(self.members.len()).unwrap_or(u32::MAX),
            ..self.counts
        }
    }

    pub(super) fn poll_report(&mut self, now: Instant) -> Option<Report> {
        let counts = self.counts();
        let due = match &self.reported {
            None => true,
            Some((_, last)) if *last == counts => false,
            Some((at, _)) => counts.remaining == 0 || now >= *at + REPORT_INTERVAL,
        };
        due.then(|| {
            self.reported = Some((now, counts));
            let id = self.order.id;
            Report { id, counts }
        })
    }

    /// What was reported is not known any more.
    pub(super) fn report_anew(&mut self) {
        self.reported = None;
    }

    /// An order to go away ends with the last client that it covers.
    pub(super) fn note_end(&mut self, now: Instant) {
        if !self.is_shutdown() && self.members.is_empty() {
            self.ended.get_or_insert(now);
        }
    }

    pub(super) fn ended_before(&self, now: Instant, long: Duration) -> bool {
        let ended = self.ended;
        ended.is_some_and(|at| now.saturating_duration_since(at) >= long)
    }
}

/// A part of a duration, from none of it to all.
fn scale(duration: Duration, random: u32) -> Duration {
    let nanos = (duration.as_nanos() * u128::from(random)) >> u32::BITS;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How much of the time in which nobody was asked is made up for.
const MOST_CATCHING_UP: Duration = Duration::from_millis(250);

/// How often a worker tells how far it has come.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

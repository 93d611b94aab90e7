//! Drains: which clients of a worker are asked to go, when, and who is closed.
//!
//! ```text
//! covered ──its turn──> due ──at rest──> told ──> left by itself
//!    └────────────────────┴──────────────┴──────> closed at a deadline
//! ```
//!
//! Several orders may be in force: each covers clients of its own, a client is
//! told once whoever covers it, and the earliest deadline that covers it holds.
//! Idle clients have their turn first, at the rate of the order. An order to go
//! away covers those who are logged in when it arrives; a shutdown, those who
//! log in later as well.
//!
//! [`DrainBook`] is the supervisor's side: what is in force in the group, and
//! how far all workers have come.

mod book;
mod counts;
mod in_force;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

pub use self::book::{DrainBook, Line, Stage};
pub use self::counts::{Counts, Report};
use self::in_force::{Asked, InForce};
use crate::drain_order::{DrainKind, DrainOrder, DrainScope};
use crate::moves::Stay;
use crate::slab::ClientId;

/// The drains of one worker.
#[derive(Debug, Default)]
pub struct Drains {
    orders: Vec<InForce>,
    /// Clients whose turn has come and who were not at rest yet.
    due: BTreeSet<ClientId>,
    /// Those of them who are told for a reason of their own.
    asked: BTreeSet<ClientId>,
    /// Ids of orders that were obeyed, the last ones.
    seen: VecDeque<[u8; 16]>,
}

/// A client that is logged in, as far as an order is about it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its id in this worker.
    pub id: ClientId,
    /// Its number in the group's one sequence.
    pub number: u64,
    /// Its database.
    pub database: &'a str,
    /// The user that it has logged in as.
    pub user: &'a str,
    /// Whether it was asked to go before.
    pub told: bool,
}

/// How a client that was covered has gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leaving {
    /// By itself, or for a reason that is none of the drain's.
    ByItself,
    /// To a sibling, which goes on with it.
    Moved,
    /// Closed by the drain, between transactions.
    ClosedIdle,
    /// Closed by the drain, in the middle of one.
    ClosedInTransaction,
}

/// A client whose time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overdue {
    /// The client.
    pub client: ClientId,
    /// Whether it is closed in the middle of a transaction as well.
    pub at_once: bool,
    /// Whether the group ends, rather than that it was asked to go.
    pub shutdown: bool,
}

impl Drains {
    /// Whether there is nothing to do and nothing to show.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.due.is_empty()
    }

    /// Whether somebody is to be told as soon as it is at rest.
    #[inline]
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether every turn of the loop matters: somebody is still to be asked,
    /// or may have to be closed.
    pub fn is_busy(&self) -> bool {
        let mut orders = self.orders.iter();
        orders.any(|order| order.is_shutdown() || order.has_pending() || order.is_timed())
    }

    /// Whether the worker is to end.
    pub fn is_shutdown(&self) -> bool {
        self.orders.iter().any(InForce::is_shutdown)
    }

    /// Whether clients get no server any more.
    #[inline]
    pub fn refuses_servers(&self, now: Instant) -> bool {
        let mut orders = self.orders.iter();
        orders.any(|order| order.order.kind == DrainKind::WaitForServers && order.since <= now)
    }

    /// When the group stops to serve new sessions, if it is to end.
    pub fn stops_at(&self) -> Option<Instant> {
        let shutdowns = self.orders.iter().filter(|order| order.is_shutdown());
        shutdowns.map(|order| order.since).min()
    }

    /// Takes an order into force, unless it was obeyed before.
    ///
    /// `since` is the end of its delay. An order about another worker covers
    /// nobody; the caller gives no members then. Gives the number of clients
    /// that it covers, or `None` if it was obeyed before.
    pub fn obey<'a>(
        &mut self,
        order: DrainOrder,
        since: Instant,
        members: impl IntoIterator<Item = Member<'a>>,
        now: Instant,
    ) -> Option<u32> {
        if self.seen.contains(&order.id) {
            return None;
        }
        self.seen.push_back(order.id);
        if self.seen.len() > MOST_SEEN {
            self.seen.pop_front();
        }
        self.forget_ended(now);
        let mut in_force = InForce::new(order, since);
        for member in members {
            if in_force.covers(&member) {
                in_force.add(&member, now);
            }
        }
        let covered = in_force.counts().remaining;
        self.orders.push(in_force);
        Some(covered)
    }

    /// Withdraws what is not done yet of orders to go away. Who was told stays
    /// told.
    pub fn stop(&mut self) {
        self.orders.retain(InForce::is_shutdown);
        let (orders, asked) = (&self.orders, &self.asked);
        let due = |id: &ClientId| orders.iter().any(|order| order.is_due(*id));
        self.due.retain(|id| asked.contains(id) || due(id));
    }

    /// Has one client told for a reason of its own, once it is at rest.
    pub fn ask(&mut self, id: ClientId) {
        self.due.insert(id);
        self.asked.insert(id);
    }

    /// Whether a client is to be told for a reason of its own, wherever it goes.
    pub fn is_asked(&self, id: ClientId) -> bool {
        self.asked.contains(&id)
    }

    /// A client has logged in; a shutdown is about it as well.
    pub fn on_login(&mut self, member: &Member<'_>, now: Instant) {
        for order in &mut self.orders {
            if order.is_shutdown() && order.covers(member) {
                order.add(member, now);
            }
        }
    }

    /// Those who are to be asked now, idle ones first. Each is told at once if
    /// it is at rest, and otherwise when it comes to be ([`Drains::is_due`]).
    pub fn ask_due(
        &mut self,
        now: Instant,
        mut random: impl FnMut() -> u32,
        idle: impl Fn(ClientId) -> bool,
    ) -> Vec<ClientId> {
        let mut asked = Vec::new();
        for order in &mut self.orders {
            asked.extend(order.take_turns(now, &mut random, &idle));
        }
        self.due.extend(&asked);
        asked
    }

    /// Whether a client is to be told as soon as it is at rest.
    #[inline]
    pub fn is_due(&self, id: ClientId) -> bool {
        self.due.contains(&id)
    }

    /// Those who are told as soon as they are at rest.
    pub fn due(&self) -> Vec<ClientId> {
        self.due.iter().copied().collect()
    }

    /// A client was told.
    pub fn on_told(&mut self, id: ClientId) {
        self.due.remove(&id);
        self.asked.remove(&id);
        for order in &mut self.orders {
            order.set_asked(id, Asked::Told);
        }
    }

    /// A client cannot be told anything, and stays.
    pub fn on_silent(&mut self, id: ClientId) {
        self.due.remove(&id);
        self.asked.remove(&id);
        for order in &mut self.orders {
            order.set_asked(id, Asked::Silent);
        }
    }

    /// A client should have moved to a sibling, and cannot.
    pub fn on_refused(&mut self, id: ClientId, why: Stay) {
        for order in &mut self.orders {
            order.on_refused(id, why);
        }
    }

    /// A client has come from a sibling, which has known it since `connected`, in
    /// milliseconds since 1970. An order to go away that was given later goes on
    /// to be about it, unless that is about a worker.
    pub fn on_arrival(&mut self, member: &Member<'_>, connected: u64, now: Instant) {
        for order in &mut self.orders {
            let given = order.order.given;
            let of_worker = matches!(order.order.scope, DrainScope::Worker(_));
            let about = order.is_shutdown() || connected <= given && !of_worker;
            if about && order.covers(member) {
                order.add_arrival(member, now);
            }
        }
    }

    /// A client has gone.
    pub fn on_left(&mut self, id: ClientId, how: Leaving) {
        self.due.remove(&id);
        self.asked.remove(&id);
        for order in &mut self.orders {
            order.remove(id, how);
        }
    }

    /// Clients whose deadline is over, by the earliest that covers each.
    pub fn overdue(&self, now: Instant) -> Vec<Overdue> {
        let mut overdue: BTreeMap<ClientId, Overdue> = BTreeMap::new();
        for order in &self.orders {
            let Some(at_once) = order.closes(now) else {
                continue;
            };
            let shutdown = order.is_shutdown();
            for client in order.clients() {
                let entry = overdue.entry(client).or_insert(Overdue {
                    client,
                    at_once,
                    shutdown,
                });
                entry.at_once |= at_once;
                entry.shutdown |= shutdown;
            }
        }
        overdue.into_values().collect()
    }

    /// Whether whoever is not logged in yet is closed as well: the group ends,
    /// and does not wait any longer.
    pub fn ends_logins(&self, now: Instant) -> bool {
        let mut shutdowns = self.orders.iter().filter(|order| order.is_shutdown());
        shutdowns.any(|order| order.closes(now) == Some(true))
    }

    /// When somebody is to be asked next, or a deadline is over; `None` when
    /// nothing of that lies ahead.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let orders = self.orders.iter();
        orders.filter_map(|order| order.next_deadline(now)).min()
    }

    /// What has changed since it was reported last, at most once a second for
    /// each order unless that has come to its end.
    pub fn poll_report(&mut self, now: Instant) -> Option<Report> {
        let mut orders = self.orders.iter_mut();
        orders.find_map(|order| order.poll_report(now))
    }

    /// Whoever is reported to has heard nothing yet: every order is due to be
    /// reported. Gives what there is to say of those that were forgotten here.
    pub fn report_anew(&mut self) -> Vec<Report> {
        for order in &mut self.orders {
            order.report_anew();
        }
        let known = |id: &[u8; 16]| self.orders.iter().any(|order| order.order.id == *id);
        let forgotten = self.seen.iter().filter(|id| !known(id));
        let reports = forgotten.map(|id| Report {
            id: *id,
            counts: Counts::default(),
        });
        reports.collect()
    }

    /// Every order in force or ended lately, with the end of its delay and how
    /// far it has come.
    pub fn progress(&self) -> impl Iterator<Item = (&DrainOrder, Instant, Counts)> {
        let orders = self.orders.iter();
        orders.map(|order| (&order.order, order.since, order.counts()))
    }

    /// Drops orders that have ended some time ago.
    pub fn forget_ended(&mut self, now: Instant) {
        for order in &mut self.orders {
            order.note_end(now);
        }
        self.orders.retain(|order| !order.ended_before(now, SHOWN));
    }
}

impl DrainOrder {
    /// Whether the order is about a client; it may be about a worker as well,
    /// which this does not ask.
    fn covers(&self, member: &Member<'_>) -> bool {
        match &self.scope {
            DrainScope::All | DrainScope::Worker(_) => true,
            DrainScope::Client(number) => *number == member.number,
            DrainScope::Database(name) => name == member.database,
            DrainScope::User(name) => name == member.user,
        }
    }
}

/// How long an order that has ended is shown.
pub(crate) const SHOWN: Duration = Duration::from_secs(60);

/// How many orders are remembered. A repeat comes soon.
const MOST_SEEN: usize = 256;

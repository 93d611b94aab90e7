//! Orders: those that are being carried out, and who waits for the answer.
//!
//! ```text
//! given ── makes no sense ──> refused
//!   │
//!   └──> under way ── all living workers have done it ──> done
//!            ├─────── some have not, and time is over ──> done but for those
//!            └─────── another order takes it back ──────> refused
//! ```
//!
//! An order that waits for clients has no time that could be over.

mod carry;

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use pgskein_protocol::key::Slot;

use super::{Activity, Known, Order, OrderError, RuntimeState, Scope};
use crate::ledger::WorkerId;

/// The runtime state and the orders that change it; `A` is whoever asks.
#[derive(Debug)]
pub struct Orders<A> {
    state: RuntimeState,
    version: u64,
    under_way: Vec<UnderWay<A>>,
    answers: VecDeque<(A, Outcome)>,
    /// Who has given the order to stand still.
    suspended_by: Option<A>,
}

/// How an order has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was carried out.
    Done {
        /// By all but the workers of these slots, who have not said so.
        silent: Vec<Slot>,
    },
    /// It was not.
    Refused(OrderError),
}

#[derive(Debug)]
struct UnderWay<A> {
    version: u64,
    order: Order,
    asker: A,
    waiting_for: BTreeSet<WorkerId>,
    deadline: Option<Instant>,
    /// Somebody had what it is about.
    found: bool,
}

impl<A> Default for Orders<A> {
    fn default() -> Self {
        Self {
            state: RuntimeState::default(),
            version: 0,
            under_way: Vec::new(),
            answers: VecDeque::new(),
            suspended_by: None,
        }
    }
}

impl<A: Clone + PartialEq> Orders<A> {
    /// What holds now.
    pub fn state(&self) -> &RuntimeState {
        &self.state
    }

    /// Number of the last order.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Gives an order to `workers`, who are to be told if this returns true.
    /// They are waited for until `deadline`.
    pub fn give(
        &mut self,
        order: &Order,
        asker: A,
        known: impl Fn(&str) -> Known,
        workers: impl IntoIterator<Item = WorkerId>,
        deadline: Option<Instant>,
    ) -> bool {
        match self.state.after(order, known) {
            Ok(state) => self.state = state,
            Err(error) => {
                self.refuse(asker, error);
                return false;
            }
        }
        self.version += 1;
        self.take_back();
        if *order == Order::Suspend {
            self.suspended_by = Some(asker.clone());
        } else if !self.state.is_suspended() {
            self.suspended_by = None;
        }
        self.under_way.push(UnderWay {
            version: self.version,
            order: order.clone(),
            asker,
            waiting_for: workers.into_iter().collect(),
            deadline,
            found: false,
        });
        true
    }

    /// Takes over what held in a group whose supervisor has died, if that is
    /// newer. Nothing stands still any more: whoever wanted that is gone.
    pub fn inherit(&mut self, version: u64, state: RuntimeState) {
        if version > self.version {
            self.version = version;
            self.state = state;
            if self.state.is_suspended() {
                self.state.activity = Activity::Active;
            }
        }
    }

    /// Refuses what was never an order.
    pub fn refuse(&mut self, asker: A, error: OrderError) {
        self.answers.push_back((asker, Outcome::Refused(error)));
    }

    /// A worker has carried out the order of this version; `found` if it had
    /// what the order is about.
    pub fn applied(&mut self, worker: WorkerId, version: u64, found: bool) {
        let mut orders = self.under_way.iter_mut();
        if let Some(order) = orders.find(|order| order.version == version) {
            order.waiting_for.remove(&worker);
            order.found |= found;
        }
    }

    /// A worker has died: it is not waited for.
    pub fn worker_died(&mut self, worker: WorkerId) {
        for order in &mut self.under_way {
            order.waiting_for.remove(&worker);
        }
    }

    /// Those who asked are no longer there; their orders stay in force. Gives
    /// the order that has to follow: nobody could end it if who had everything
    /// stand still is gone.
    pub fn askers_gone(&mut self, gone: impl Fn(&A) -> bool) -> Option<Order> {
        self.under_way.retain(|order| !gone(&order.asker));
        self.suspended_by.take_if(|asker| gone(asker))?;
        Some(Order::Resume(Scope::All))
    }

    /// When time is over for the first order, if ever.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = self.under_way.iter().filter_map(|order| order.deadline);
        deadlines.min()
    }

    /// The next answer to give.
    pub fn poll_answer(&mut self, now: Instant) -> Option<(A, Outcome)> {
        let over = |order: &UnderWay<A>| {
            order.waiting_for.is_empty() || order.deadline.is_some_and(|at| at <= now)
        };
        if let Some(at) = self.under_way.iter().position(over) {
            let order = self.under_way.remove(at);
            let outcome = order.outcome();
            self.answers.push_back((order.asker, outcome));
        }
        self.answers.pop_front()
    }

    /// Refuses the orders that are no longer in force.
    fn take_back(&mut self) {
        let (kept, ended) = std::mem::take(&mut self.under_way)
            .into_iter()
            .partition(|order| order.taken_back(&self.state).is_none());
        self.under_way = kept;
        for order in ended {
            let error = order.taken_back(&self.state);
            let error = error.unwrap_or(OrderError::NotPaused);
            self.answers
                .push_back((order.asker, Outcome::Refused(error)));
        }
    }
}

impl<A> UnderWay<A> {
    /// Why it is no longer in force, if it is not.
    fn taken_back(&self, state: &RuntimeState) -> Option<OrderError> {
        match &self.order {
            Order::Suspend => (!state.is_suspended()).then_some(OrderError::NotPaused),
            Order::Pause(scope) | Order::Kill(scope) if !state.pauses(scope) => Some(match scope {
                Scope::All => OrderError::NotPaused,
                Scope::Database(name) => OrderError::DatabaseNotPaused(name.clone()),
            }),
            _ => None,
        }
    }

    fn outcome(&self) -> Outcome {
        let silent: Vec<Slot> = self.waiting_for.iter().map(|worker| worker.slot).collect();
        match &self.order {
            order if order.is_about_one_client() && !self.found && silent.is_empty() => {
                Outcome::Refused(OrderError::NoSuchClient)
            }
            _ => Outcome::Done { silent },
        }
    }
}

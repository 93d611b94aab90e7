//! Carry: the orders in the hands of the next program.
//!
//! Layout, version 1: version (1), number of the last order (8), the state,
//! who has everything stand still (an option), number of orders that are under
//! way (4), and each of these: number (8), order, who waits for it (an option),
//! number (4) and names of the workers that it waits for, whether somebody had
//! what it is about (1), and the time that is left (an option).

use std::time::Instant;

use super::{Orders, UnderWay};
use crate::ledger::{put_worker, worker};
use crate::legacy::AskerId;
use crate::octets::{Octets, Truncated, put_count, put_duration, put_option};
use crate::runtime::{Order, RuntimeState};

impl<A: Clone + PartialEq> Orders<A> {
    /// Appends the orders, as they are at `now`, to `out`; `name` says whose
    /// they are, if somebody waits for the answer.
    pub(crate) fn encode(
        &self,
        now: Instant,
        name: impl Fn(&A) -> Option<AskerId>,
        out: &mut Vec<u8>,
    ) {
        debug_assert!(self.answers.is_empty(), "somebody was not answered");
        out.push(VERSION);
        out.extend_from_slice(&self.version.to_be_bytes());
        self.state.encode(out);
        put_option(out, self.suspended_by.as_ref(), |out, asker| {
            put_option(out, name(asker), |out, asker| asker.encode(out));
        });
        put_count(out, self.under_way.len());
        for order in &self.under_way {
            out.extend_from_slice(&order.version.to_be_bytes());
            order.order.encode(out);
            put_option(out, name(&order.asker), |out, asker| asker.encode(out));
            put_count(out, order.waiting_for.len());
            for worker in &order.waiting_for {
                put_worker(out, *worker);
            }
            out.push(u8::from(order.found));
            put_option(out, order.deadline, |out, at| {
                put_duration(out, at.saturating_duration_since(now));
            });
        }
    }

    /// Takes orders that were written down just before `now`; `asker` finds
    /// whoever has this name, or none.
    pub(crate) fn decode(
        octets: &mut Octets<'_>,
        now: Instant,
        asker: impl Fn(Option<AskerId>) -> A,
    ) -> Result<Self, Truncated> {
        if octets.u8()? != VERSION {
            return Err(Truncated);
        }
        let mut orders = Self {
            version: octets.u64()?,
            state: RuntimeState::take(octets)?,
            ..Self::default()
        };
        orders.suspended_by = octets.option(|octets| octets.option(AskerId::decode).map(&asker))?;
        orders.under_way = octets.list(|octets| {
            Ok(UnderWay {
                version: octets.u64()?,
                order: Order::take(octets)?,
                asker: asker(octets.option(AskerId::decode)?),
                waiting_for: octets.list(worker)?,
                found: octets.u8()? != 0,
                deadline: octets
                    .option(Octets::duration)?
                    .map(|left| now.checked_add(left).ok_or(Truncated))
                    .transpose()?,
            })
        })?;
        Ok(orders)
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pgskein_protocol::key::Slot;

    use super::*;
    use crate::ledger::WorkerId;
    use crate::runtime::{Known, Outcome, Scope};

    fn asker(request: u64) -> Option<AskerId> {
        Some(AskerId { worker: 7, request })
    }

    fn carried(orders: &Orders<Option<AskerId>>, now: Instant) -> Orders<Option<AskerId>> {
        let mut bytes = Vec::new();
        orders.encode(now, |asker| *asker, &mut bytes);
        let mut octets = Octets(&bytes);
        let orders = Orders::decode(&mut octets, now, |asker| asker).unwrap();
        assert_eq!(octets.end(), Ok(()));
        orders
    }

    #[test]
    fn answers_who_waited_before_once_all_workers_are_done() {
        let now = Instant::now();
        let worker = WorkerId {
            slot: Slot::new(1).unwrap(),
            generation: 1,
            incarnation: 7,
        };
        let mut orders = Orders::default();
        let pause = Order::Pause(Scope::All);
        assert!(orders.give(&pause, asker(3), |_| Known::Database, [worker], None));
        let mut orders = carried(&orders, now);
        assert_eq!(orders.poll_answer(now), None);
        orders.applied(worker, 1, true);
        let done = Outcome::Done { silent: Vec::new() };
        assert_eq!(orders.poll_answer(now), Some((asker(3), done)));
        assert_eq!(orders.version(), 1);
    }

    #[test]
    fn ends_what_stands_still_when_who_wanted_it_is_gone() {
        let now = Instant::now();
        let mut orders = Orders::default();
        let deadline = Some(now + Duration::from_secs(1));
        assert!(orders.give(&Order::Suspend, asker(3), |_| Known::Database, [], deadline));
        assert!(orders.poll_answer(now).is_some());
        let mut orders = carried(&orders, now);
        assert!(orders.state().is_suspended());
        let resume = orders.askers_gone(|gone| *gone == asker(3));
        assert_eq!(resume, Some(Order::Resume(Scope::All)));
    }
}

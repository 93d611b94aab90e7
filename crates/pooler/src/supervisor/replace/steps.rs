//! What is replaced, why, and how far that has come.

use std::collections::VecDeque;
use std::time::Instant;

use mio::Token;
use pgskein_pool::drain_order::DrainOrder;
use pgskein_protocol::key::Slot;

use crate::supervisor::ask::Asker;

/// Workers that get successors, and the one whose turn it is.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(super) purpose: Purpose,
    pub(super) waiting: VecDeque<Step>,
    pub(super) current: Option<Current>,
    /// Until when every slot has to be ready again, after the last step.
    pub(super) ready_by: Option<Instant>,
    /// Deaths of workers meanwhile.
    pub(super) deaths: u32,
}

/// Why workers get successors.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The group was restarted.
    Restart {
        asker: Asker,
        /// When it was asked for.
        asked_at: Instant,
        /// Version of the program before.
        from: String,
        /// What whoever asks is told in the end.
        notice: String,
        /// The id of the order to drain that workers get that leave.
        drain: [u8; 16],
    },
    /// The clients of one worker were asked to go.
    GoAway(DrainOrder),
}

/// What a slot is to get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// A worker of the next generation.
    Replace(Slot),
    /// No worker: its listeners go to another one.
    Retire(Slot),
}

/// The step that is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Current {
    /// A successor was started.
    Starting {
        slot: Slot,
        successor: Token,
        failures: u32,
    },
    /// Another worker is to adopt the listeners.
    Retiring { slot: Slot },
}

impl Step {
    pub(super) fn slot(self) -> Slot {
        match self {
            Self::Replace(slot) | Self::Retire(slot) => slot,
        }
    }
}

impl Replacement {
    /// The steps of a restart to this number of workers, that of `last` at last.
    pub(super) fn steps(of: &[(Slot, bool)], workers: usize, last: Option<Slot>) -> VecDeque<Step> {
        let slots = of.iter().enumerate().filter(|(_, (_, served))| *served);
        let step = |(at, (slot, _)): (usize, &(Slot, bool))| {
            if at < workers {
                Step::Replace(*slot)
            } else {
                Step::Retire(*slot)
            }
        };
        let mut steps: Vec<Step> = slots.map(step).collect();
        // In their order otherwise.
        steps.sort_by_key(|step| Some(step.slot()) == last);
        steps.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u8) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn replaces_or_retires_every_worker_and_that_of_whoever_asks_at_last() {
        let slots = [1, 2, 3].map(|number| (slot(number), true));
        let steps = Replacement::steps(&slots, 2, Some(slot(1)));
        let expected = [
            Step::Replace(slot(2)),
            Step::Retire(slot(3)),
            Step::Replace(slot(1)),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn leaves_slots_without_a_worker_to_be_served_by_a_new_one() {
        let slots = [(slot(1), true), (slot(2), false)];
        let steps = Replacement::steps(&slots, 2, None);
        assert_eq!(steps, [Step::Replace(slot(1))]);
    }
}

//! Handoffs between two workers that are killed, refuse and withdraw at random:
//! every connection has one owner, or none but a dead one.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{Giving, MOST_IN_FLIGHT, Refusal, Taking, ToGiver, ToTaker};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The giver offers its next connection.
    Offer,
    /// The taker hears the next frame; it refuses an offer or not.
    TakerHears { refuses: bool },
    /// The giver hears the next frame.
    GiverHears,
    /// The giver has waited for too long.
    Withdraw,
    /// The giver finds that it has gone elsewhere before the taker was ready.
    Closed,
    /// The giver dies; what it has written is still read.
    GiverDies,
    /// The taker dies.
    TakerDies,
}

#[derive(Default)]
struct World {
    /// What the giver may read and write, offered ones not.
    own: BTreeSet<u32>,
    /// What the taker may read and write.
    taken: BTreeSet<u32>,
    /// What was closed by its owner.
    closed: BTreeSet<u32>,
    /// What died with its owner.
    lost: BTreeSet<u32>,
    giving: Giving<u32>,
    taking: Taking<u32>,
    to_taker: VecDeque<Vec<u8>>,
    to_giver: VecDeque<Vec<u8>>,
    giver_is_dead: bool,
    taker_is_dead: bool,
    /// Given, and not seen by the taker yet.
    on_its_way: BTreeSet<u32>,
}

const CONNECTIONS: u32 = 100;

impl World {
    fn new() -> Self {
        Self {
            own: (0..CONNECTIONS).collect(),
            ..Self::default()
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Offer if !self.giver_is_dead && !self.taker_is_dead => self.offer(),
            Step::TakerHears { refuses } if !self.taker_is_dead => self.taker_hears(refuses),
            Step::GiverHears if !self.giver_is_dead => self.giver_hears(),
            Step::Withdraw if !self.giver_is_dead => {
                for (id, connection) in self.giving.withdraw(|connection| connection % 2 == 0) {
                    self.keep([connection]);
                    self.tell_taker(ToTaker::Withdraw { id });
                }
            }
            Step::Closed if !self.giver_is_dead => {
                if let Some(connection) = self.giving.offered().next().copied() {
                    self.closed.insert(connection);
                }
            }
            Step::GiverDies if !self.giver_is_dead => {
                self.giver_is_dead = true;
                self.to_giver.clear();
                let kept = self.giving.on_broken();
                self.keep(kept);
                self.lost.append(&mut self.own);
            }
            Step::TakerDies if !self.taker_is_dead => {
                self.taker_is_dead = true;
                self.to_taker.clear();
                self.lost.append(&mut self.taken);
                self.lost.append(&mut self.on_its_way);
                // What it has reserved is not its own.
                self.taking.on_broken();
            }
            _ => {}
        }
        self.check();
    }

    fn offer(&mut self) {
        let Some(connection) = self.own.pop_first() else {
            return;
        };
        match self.giving.offer(connection) {
            Ok(id) => self.tell_taker(ToTaker::Offer {
                id,
                cargo: 1,
                descriptors: 1,
                body: &connection.to_be_bytes(),
            }),
            Err(connection) => {
                assert!(self.giving.is_full());
                self.own.insert(connection);
            }
        }
    }

    fn taker_hears(&mut self, refuses: bool) {
        let Some(frame) = self.to_taker.pop_front() else {
            if self.giver_is_dead {
                self.taking.on_broken();
            }
            return;
        };
        match ToTaker::split(&frame).unwrap().unwrap().0 {
            ToTaker::Offer { id, body, .. } => {
                self.taking.on_offer(id).unwrap();
                if refuses {
                    let refusal = Refusal::Full;
                    return self.tell_giver(ToGiver::Refused { id, refusal });
                }
                let connection = u32::from_be_bytes(body.try_into().unwrap());
                self.taking.reserved(id, connection);
                self.tell_giver(ToGiver::Ready { id });
            }
            ToTaker::Commit { id } => {
                let connection = self.taking.on_commit(id).unwrap();
                assert!(self.on_its_way.remove(&connection));
                assert!(self.taken.insert(connection));
                self.tell_giver(ToGiver::Taken { id });
            }
            ToTaker::Withdraw { id } => {
                self.taking.on_withdraw(id);
            }
        }
    }

    fn giver_hears(&mut self) {
        let Some(frame) = self.to_giver.pop_front() else {
            if self.taker_is_dead {
                let kept = self.giving.on_broken();
                self.keep(kept);
                assert!(self.giving.is_over());
            }
            return;
        };
        match ToGiver::split(&frame).unwrap().unwrap().0 {
            ToGiver::Ready { id } => {
                let Some(connection) = self.giving.on_ready(id) else {
                    return;
                };
                if self.closed.contains(&connection) {
                    self.giving.on_taken(id);
                    self.tell_taker(ToTaker::Withdraw { id });
                } else if self.taker_is_dead {
                    // Nobody reads the commit.
                    self.lost.insert(connection);
                } else {
                    self.on_its_way.insert(connection);
                    self.tell_taker(ToTaker::Commit { id });
                }
            }
            ToGiver::Refused { id, .. } => {
                let kept = self.giving.on_refused(id);
                self.keep(kept);
            }
            ToGiver::Taken { id } => self.giving.on_taken(id),
        }
    }

    /// They stay with the giver, if they were not closed meanwhile.
    fn keep(&mut self, connections: impl IntoIterator<Item = u32>) {
        let kept = connections.into_iter();
        self.own
            .extend(kept.filter(|connection| !self.closed.contains(connection)));
    }

    fn tell_taker(&mut self, frame: ToTaker<'_>) {
        if !self.taker_is_dead {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            self.to_taker.push_back(bytes);
        }
    }

    fn tell_giver(&mut self, frame: ToGiver) {
        if !self.giver_is_dead {
            let mut bytes = Vec::new();
            frame.encode(&mut bytes);
            self.to_giver.push_back(bytes);
        }
    }

    /// No connection is in two places, and none is nowhere.
    fn check(&self) {
        let offered = self.giving.offered().filter(|c| !self.closed.contains(c));
        let everywhere: Vec<u32> = (self.own.iter())
            .chain(&self.taken)
            .chain(&self.lost)
            .chain(&self.on_its_way)
            .chain(&self.closed)
            .chain(offered)
            .copied()
            .collect();
        let different: BTreeSet<u32> = everywhere.iter().copied().collect();
        assert_eq!(everywhere.len(), different.len(), "{everywhere:?}");
        assert_eq!(different.len(), CONNECTIONS as usize);
        assert!(self.taking.all().count() <= MOST_IN_FLIGHT);
    }

    /// Everybody who lives hears all that was said.
    fn settle(&mut self) {
        for _ in 0..4 * CONNECTIONS {
            self.step(Step::TakerHears { refuses: false });
            self.step(Step::GiverHears);
        }
        if !self.giver_is_dead {
            assert!(self.giving.is_over());
        }
        assert!(self.taking.is_empty());
        if !self.giver_is_dead && !self.taker_is_dead {
            assert_eq!(self.lost, BTreeSet::new(), "nobody has died");
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Offer),
        20 => Just(Step::TakerHears { refuses: false }),
        4 => Just(Step::TakerHears { refuses: true }),
        20 => Just(Step::GiverHears),
        2 => Just(Step::Withdraw),
        2 => Just(Step::Closed),
        1 => Just(Step::GiverDies),
        1 => Just(Step::TakerDies),
    ]
}

proptest! {
    #[test]
    fn connection_has_one_owner_or_none_but_a_dead_one(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}

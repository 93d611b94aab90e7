//! Handoffs between two workers that are killed, refuse and withdraw at random:
//! every connection has one owner, or none but a dead one.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{CargoKind, Giving, MOST_IN_FLIGHT, Refusal, Taking, ToGiver, ToTaker};

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
    /// The taker has refused to start them, which the giver does not know yet.
    refused: BTreeSet<u32>,
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
                // Everything that was offered was sent.
                let wanted = |connection: &u32| connection.is_multiple_of(2);
                for (id, connection) in self.giving.withdraw(wanted, |_| false) {
                    assert!(!kind(connection).starts_at_once());
                    self.keep([connection]);
                    self.tell_taker(ToTaker::Withdraw { id });
                }
            }
            Step::Closed if !self.giver_is_dead => {
                let offered = self.giving.offered().copied();
                // What may be the taker's is closed by nobody else.
                let mut own = offered.filter(|connection| !kind(*connection).starts_at_once());
                if let Some(connection) = own.next() {
                    self.closed.insert(connection);
                }
            }
            Step::GiverDies if !self.giver_is_dead => {
                self.giver_is_dead = true;
                self.to_giver.clear();
                let broken = self.giving.on_broken(|_| true);
                self.keep(broken.kept);
                self.lost.append(&mut self.own);
                self.lost.append(&mut self.refused);
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
        let kind = kind(connection);
        match self.giving.offer(kind, connection) {
            Ok(id) => {
                if kind.starts_at_once() {
                    self.on_its_way.insert(connection);
                }
                self.tell_taker(ToTaker::Offer {
                    id,
                    cargo: kind.code(),
                    descriptors: 1,
                    body: &connection.to_be_bytes(),
                });
            }
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
                let connection = u32::from_be_bytes(body.try_into().unwrap());
                let on_its_way = self.on_its_way.remove(&connection);
                assert_eq!(on_its_way, kind(connection).starts_at_once());
                if refuses {
                    if on_its_way && self.giver_is_dead {
                        self.lost.insert(connection);
                    } else if on_its_way {
                        self.refused.insert(connection);
                    }
                    let refusal = Refusal::Full;
                    return self.tell_giver(ToGiver::Refused { id, refusal });
                }
                if on_its_way {
                    assert!(self.taken.insert(connection));
                    return self.tell_giver(ToGiver::Taken { id });
                }
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
                let broken = self.giving.on_broken(|_| true);
                self.keep(broken.kept);
                // It closes its copies of what died with the taker.
                self.lost.append(&mut self.refused);
                let dead = |lost: &u32| self.lost.contains(lost);
                assert!(broken.lost.iter().all(dead));
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
                if let Some(kept) = kept {
                    self.refused.remove(&kept);
                }
                self.keep(kept);
            }
            ToGiver::Taken { id } => {
                if let Some(connection) = self.giving.on_taken(id) {
                    assert!(kind(connection).starts_at_once());
                }
            }
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
        let waits = |c: &&u32| !kind(**c).starts_at_once() && !self.closed.contains(c);
        let offered = self.giving.offered().filter(waits);
        let everywhere: Vec<u32> = (self.own.iter())
            .chain(&self.taken)
            .chain(&self.lost)
            .chain(&self.on_its_way)
            .chain(&self.refused)
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

/// Every third is started at once.
fn kind(connection: u32) -> CargoKind {
    if connection.is_multiple_of(3) {
        CargoKind::Accepted
    } else {
        CargoKind::Session
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

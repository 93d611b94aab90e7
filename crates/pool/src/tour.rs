//! Tour: which host of a database a server is opened at.
//!
//! A server that is to be opened has one lease and a list of places, the
//! addresses of all hosts. One after the other is tried, each once, until one
//! fits. Which comes first is decided by what is known of them and by
//! `load_balance_hosts`.
//!
//! ```text
//! next ──> (connect, login) ──> fits
//!  ^             │
//!  └── refused <─┘        nothing left: refusals
//! ```

use std::cmp::Ordering;
use std::time::Duration;

use pgskein_config::{LoadBalanceHosts, TargetSessionAttrs};

/// The tries of one server.
#[derive(Debug)]
pub struct Tour {
    places: Vec<Place>,
    hosts: usize,
    balance: LoadBalanceHosts,
    turn: usize,
    wanted: TargetSessionAttrs,
    refusals: Vec<Refusal>,
}

/// What is known of a place before it is tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// When it has last failed, if it ever has.
    pub failed: Option<Failed>,
    /// It was of another role than the wanted one when that was last seen.
    pub unfit: bool,
}

/// When a place has last failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failed {
    /// Its number in the order of all failures of the group, from 1.
    pub order: u64,
    /// That is so short ago that it is tried last, whatever the balance.
    pub lately: bool,
}

/// Why a place was left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its address, or the name that has none.
    pub host: String,
    /// What has failed, or was said.
    pub why: String,
    /// It could not be reached, or has turned us away because it shuts down or
    /// starts; true if it has said that itself.
    pub gone: Option<bool>,
}

#[derive(Debug)]
struct Place {
    host: usize,
    /// Position among the addresses of the host, and how many these are.
    address: usize,
    addresses: usize,
    tried: Tried,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tried {
    Not,
    /// It is tried now, or was left for good.
    Done,
    /// It serves, and is no standby.
    Unfit,
}

impl Tour {
    /// A tour of hosts with so many addresses each. `turn` counts the tours of a
    /// pool.
    pub fn new(
        addresses: &[usize],
        balance: LoadBalanceHosts,
        turn: usize,
        wanted: TargetSessionAttrs,
    ) -> Self {
        let hosts = addresses.iter().enumerate();
        let places = hosts.flat_map(|(host, &addresses)| {
            (0..addresses).map(move |address| Place {
                host,
                address,
                addresses,
                tried: Tried::Not,
            })
        });
        Self {
            places: places.collect(),
            hosts: addresses.len(),
            balance,
            turn,
            wanted,
            refusals: Vec::new(),
        }
    }

    /// The place to try next, counted over the addresses of all hosts; `None`
    /// when all were tried.
    pub fn next(&mut self, standing: impl Fn(usize) -> Standing) -> Option<usize> {
        if !self.has(Tried::Not) && self.wanted == TargetSessionAttrs::PreferStandby {
            // There is no standby: another will do.
            self.wanted = TargetSessionAttrs::Any;
            for place in &mut self.places {
                if place.tried == Tried::Unfit {
                    place.tried = Tried::Not;
                }
            }
        }
        let places = self.places.iter().enumerate();
        let left = places.filter(|(_, place)| place.tried == Tried::Not);
        let ranked = left.map(|(at, place)| (self.rank(place, standing(at)), at));
        let (_, at) = ranked.min_by(|(a, _), (b, _)| a.cmp(b))?;
        self.places.get_mut(at)?.tried = Tried::Done;
        Some(at)
    }

    /// What a server at the place that is tried now has to be.
    pub fn wanted(&self) -> TargetSessionAttrs {
        let prefers = self.wanted == TargetSessionAttrs::PreferStandby;
        if prefers && !self.has(Tried::Not) && !self.has(Tried::Unfit) {
            // It would be the only one to be tried again.
            return TargetSessionAttrs::Any;
        }
        self.wanted
    }

    /// The place was left; `unfit` if it serves and is only not what was wanted.
    pub fn refused(&mut self, at: usize, refusal: Refusal, unfit: bool) {
        if unfit
            && self.wanted == TargetSessionAttrs::PreferStandby
            && let Some(place) = self.places.get_mut(at)
        {
            place.tried = Tried::Unfit;
        }
        self.refusals.push(refusal);
    }

    /// A host has no address.
    pub fn unknown_host(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
    }

    /// How much of the time that is left the place may take that is tried now:
    /// one that does not answer leaves as much to each of the others.
    pub fn share(&self, left: Duration) -> Duration {
        let others = self.places.iter();
        let others = others.filter(|place| place.tried != Tried::Done).count();
        left / u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Whether there is more than one place, or a host that has none.
    pub fn has_several(&self) -> bool {
        self.places.len() > 1 || self.hosts > 1
    }

    /// Why each place was left, in order.
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    fn has(&self, tried: Tried) -> bool {
        self.places.iter().any(|place| place.tried == tried)
    }

    fn rank(&self, place: &Place, standing: Standing) -> Rank {
        let failed = standing.failed;
        let (host, address, failed) = match self.balance {
            LoadBalanceHosts::RoundRobin => (
                distance(place.host, self.turn, self.hosts),
                distance(
                    place.address,
                    self.turn / self.hosts.max(1),
                    place.addresses,
                ),
                failed.filter(|failed| failed.lately),
            ),
            // Whichever failed longest ago: one that has not failed since is the
            // same for all, until it fails.
            LoadBalanceHosts::Disable => (place.host, place.address, failed),
        };
        let lately = failed.filter(|failed| failed.lately);
        Rank {
            lately: lately.map_or(0, |failed| failed.order),
            unfit: standing.unfit,
            failed: failed.map_or(0, |failed| failed.order),
            host,
            address,
        }
    }
}

/// What comes first; the order of the fields is that of their weight.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Rank {
    /// The order of a failure, if that is lately.
    lately: u64,
    unfit: bool,
    /// That of any failure, where it counts.
    failed: u64,
    host: usize,
    address: usize,
}

/// How far behind `turn` something comes that goes round.
fn distance(at: usize, turn: usize, count: usize) -> usize {
    let turn = turn.checked_rem(count).unwrap_or(0);
    match at.cmp(&turn) {
        Ordering::Less => at + count - turn,
        Ordering::Equal | Ordering::Greater => at - turn,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use LoadBalanceHosts::{Disable, RoundRobin};
    use TargetSessionAttrs::{Any, PreferStandby, Primary, Standby};

    fn fine(_: usize) -> Standing {
        Standing::default()
    }

    fn no() -> Refusal {
        Refusal {
            host: "a".to_owned(),
            why: "no".to_owned(),
            gone: None,
        }
    }

    fn failed(order: u64, lately: bool) -> Standing {
        Standing {
            failed: Some(Failed { order, lately }),
            unfit: false,
        }
    }

    /// The places in the order in which they are tried.
    fn order(mut tour: Tour, standing: impl Fn(usize) -> Standing) -> Vec<usize> {
        std::iter::from_fn(|| tour.next(&standing)).collect()
    }

    #[test]
    fn begins_with_the_next_host_each_time() {
        let tried = |turn| order(Tour::new(&[1, 2, 1], RoundRobin, turn, Any), fine);
        assert_eq!(tried(0), [0, 1, 2, 3]);
        assert_eq!(tried(1), [1, 2, 3, 0]);
        assert_eq!(tried(2), [3, 0, 1, 2]);
        // The next time round it is the next address.
        assert_eq!(tried(4), [2, 1, 3, 0]);
    }

    #[test]
    fn tries_last_what_has_failed_lately() {
        let standing = |at| match at {
            0 => failed(8, true),
            1 => failed(7, true),
            2 => failed(9, false),
            _ => fine(at),
        };
        let tour = Tour::new(&[1; 4], RoundRobin, 0, Any);
        assert_eq!(order(tour, standing), [2, 3, 1, 0]);
    }

    #[test]
    fn stays_with_a_host_until_it_fails() {
        let mut failures = [0; 3];
        let first = |failures: [u64; 3]| {
            let tour = Tour::new(&[1; 3], Disable, 7, Any);
            order(tour, |at| match failures[at] {
                0 => fine(at),
                order => failed(order, false),
            })[0]
        };
        for (number, expected) in [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1)] {
            assert_eq!(first(failures), expected, "before failure {number}");
            failures[expected] = number;
        }
    }

    #[test]
    fn tries_what_is_known_not_to_fit_behind_what_may() {
        let standing = |at| Standing {
            unfit: at == 1,
            failed: None,
        };
        let tour = Tour::new(&[1; 3], RoundRobin, 1, Primary);
        assert_eq!(order(tour, standing), [2, 0, 1]);
    }

    #[test]
    fn does_not_begin_with_a_standby_because_the_primary_failed_once() {
        let first = |lately| {
            let tour = Tour::new(&[1; 2], Disable, 0, Primary);
            let standing = |at| match at {
                0 => failed(1, lately),
                _ => Standing {
                    unfit: true,
                    failed: None,
                },
            };
            order(tour, standing)[0]
        };
        // It may have been promoted.
        assert_eq!(first(true), 1);
        assert_eq!(first(false), 0);
    }

    #[test]
    fn counts_hosts_and_their_addresses() {
        let several = |addresses: &[usize]| {
            let mut tour = Tour::new(addresses, RoundRobin, 0, Any);
            if let Some(at) = tour.next(fine) {
                tour.refused(at, no(), false);
            }
            tour.has_several()
        };
        assert!(!several(&[1]), "what it has refused is no other place");
        assert!(several(&[2]));
        assert!(several(&[1, 0]));
    }

    #[test]
    fn takes_another_where_there_is_no_standby() {
        let mut tour = Tour::new(&[1; 3], RoundRobin, 0, PreferStandby);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(0), PreferStandby));
        tour.refused(0, no(), true);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(1), PreferStandby));
        tour.refused(1, no(), false);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(2), PreferStandby));
        tour.refused(2, no(), true);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(0), Any));
        tour.refused(0, no(), false);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(2), Any));
        assert_eq!(
            tour.next(fine),
            None,
            "what cannot be reached is left alone"
        );
    }

    #[test]
    fn takes_the_last_one_at_once_if_it_could_only_come_back_to_it() {
        let mut tour = Tour::new(&[1; 2], RoundRobin, 0, PreferStandby);
        tour.next(fine);
        tour.refused(0, no(), false);
        assert_eq!((tour.next(fine), tour.wanted()), (Some(1), Any));
        let mut alone = Tour::new(&[1], RoundRobin, 0, Standby);
        assert_eq!((alone.next(fine), alone.wanted()), (Some(0), Standby));
    }

    #[test]
    fn leaves_time_for_the_others() {
        let second = Duration::from_secs(1);
        let mut tour = Tour::new(&[1; 3], RoundRobin, 0, PreferStandby);
        tour.next(fine);
        assert_eq!(tour.share(15 * second), 5 * second);
        tour.refused(0, no(), true);
        tour.next(fine);
        // The first may have to be tried again.
        assert_eq!(tour.share(12 * second), 4 * second);
        tour.refused(1, no(), false);
        tour.next(fine);
        tour.refused(2, no(), false);
        tour.next(fine);
        assert_eq!(tour.share(3 * second), 3 * second);
    }

    proptest! {
        #[test]
        fn tries_each_place_once_and_in_order(
            addresses in proptest::collection::vec(0_usize..4, 0..5),
            turn: usize,
            sticks: bool,
            known in proptest::collection::vec((0_u64..4, any::<bool>(), any::<bool>()), 20),
        ) {
            let balance = if sticks { Disable } else { RoundRobin };
            let standing = |at: usize| {
                let (order, lately, unfit) = known[at];
                let failed = (order > 0).then_some(Failed { order, lately });
                Standing { failed, unfit }
            };
            let tried = order(Tour::new(&addresses, balance, turn, Any), standing);
            let mut all = tried.clone();
            all.sort_unstable();
            let count: usize = addresses.iter().sum();
            prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
            for pair in tried.windows(2) {
                let weight = |at| {
                    let standing = standing(at);
                    let order = |counts: bool| {
                        let failed = standing.failed.filter(|failed| counts || failed.lately);
                        failed.map(|failed| failed.order)
                    };
                    (order(false), standing.unfit, order(sticks))
                };
                prop_assert!(weight(pair[0]) <= weight(pair[1]));
            }
        }

        #[test]
        fn spreads_evenly(hosts in 1_usize..6, start in 0_usize..1000, rounds in 1_usize..5) {
            let mut first = vec![0; hosts];
            for turn in start..start + hosts * rounds {
                let addresses = vec![1; hosts];
                first[order(Tour::new(&addresses, RoundRobin, turn, Any), fine)[0]] += 1;
            }
            prop_assert_eq!(first, vec![rounds; hosts]);
        }

        #[test]
        fn sticks_whatever_the_turn(hosts in 1_usize..6, turn: usize) {
            let tour = Tour::new(&vec![2; hosts], Disable, turn, Any);
            prop_assert_eq!(order(tour, fine)[0], 0);
        }
    }
}

//! Giving: what one worker has offered to another.
//!
//! ```text
//!           ┌─ Ready ────> given ── Taken ──> (over)
//! offered ──┤
//!           └─ Refused, withdrawn, broken ──> kept
//!
//! at once   ┌─ Taken ─────────────────────> (over)
//! offered ──┼─ Refused ───────────────────> kept
//!           └─ broken ────────────────────> lost, or kept if it was not sent
//! ```
//!
//! What is [started at once](CargoKind::starts_at_once) is the taker's as soon as
//! it has the offer, so that it cannot be withdrawn once that was sent.

use std::collections::{BTreeMap, BTreeSet};

use super::{CargoKind, MOST_IN_FLIGHT};

/// What was offered to one taker and is not over yet.
#[derive(Debug)]
pub struct Giving<T> {
    offered: BTreeMap<u32, Offered<T>>,
    /// The taker was told to start them, and has not said that it has.
    given: BTreeSet<u32>,
    last: u32,
}

#[derive(Debug)]
struct Offered<T> {
    at_once: bool,
    cargo: T,
}

/// What becomes of that which was offered when the stream is no more.
#[derive(Debug, Eq, PartialEq)]
pub struct Broken<T> {
    /// To be kept.
    pub kept: Vec<T>,
    /// To be closed: the taker may have read of it.
    pub lost: Vec<T>,
}

impl<T> Default for Giving<T> {
    fn default() -> Self {
        Self {
            offered: BTreeMap::new(),
            given: BTreeSet::new(),
            last: 0,
        }
    }
}

impl<T> Giving<T> {
    /// Whether nothing more can be offered for now.
    pub fn is_full(&self) -> bool {
        self.offered.len() >= MOST_IN_FLIGHT
    }

    /// Whether nothing is offered, and all that was given has been started.
    pub fn is_over(&self) -> bool {
        self.offered.is_empty() && self.given.is_empty()
    }

    /// Offers something; gives the number of the offer.
    ///
    /// # Errors
    ///
    /// `cargo` itself when [`Giving::is_full`].
    pub fn offer(&mut self, kind: CargoKind, cargo: T) -> Result<u32, T> {
        if self.is_full() {
            return Err(cargo);
        }
        self.last = self.last.wrapping_add(1);
        let at_once = kind.starts_at_once();
        self.offered.insert(self.last, Offered { at_once, cargo });
        Ok(self.last)
    }

    /// The taker is ready; gives what is to be forgotten here, then committed.
    ///
    /// `None` if it was withdrawn meanwhile.
    pub fn on_ready(&mut self, id: u32) -> Option<T> {
        if self.offered.get(&id)?.at_once {
            return None;
        }
        self.given.insert(id);
        self.offered.remove(&id).map(|offered| offered.cargo)
    }

    /// The taker refuses; gives what is to be kept.
    ///
    /// `None` if it was withdrawn meanwhile.
    pub fn on_refused(&mut self, id: u32) -> Option<T> {
        self.offered.remove(&id).map(|offered| offered.cargo)
    }

    /// The taker has started what it was given; gives what is to be forgotten
    /// here only now.
    pub fn on_taken(&mut self, id: u32) -> Option<T> {
        self.given.remove(&id);
        self.on_refused(id)
    }

    /// What `wanted` says yes to is not offered any more; it is to be kept, and
    /// the taker to be told. What is started at once is withdrawn only if `unsend`
    /// succeeds in that no byte of its offer is sent; the taker then knows nothing
    /// of it.
    pub fn withdraw(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
        mut unsend: impl FnMut(u32) -> bool,
    ) -> Vec<(u32, T)> {
        let mut withdrawn = |(id, offered): (&u32, &Offered<T>)| {
            let may = wanted(&offered.cargo) && (!offered.at_once || unsend(*id));
            may.then_some(*id)
        };
        let ids: Vec<u32> = self.offered.iter().filter_map(&mut withdrawn).collect();
        ids.into_iter()
            .filter_map(|id| Some((id, self.on_refused(id)?)))
            .collect()
    }

    /// The stream is no more; `was_sent` says whether an offer was, to its last
    /// byte.
    pub fn on_broken(&mut self, was_sent: impl Fn(u32) -> bool) -> Broken<T> {
        self.given.clear();
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        for (id, offered) in std::mem::take(&mut self.offered) {
            if offered.at_once && was_sent(id) {
                lost.push(offered.cargo);
            } else {
                kept.push(offered.cargo);
            }
        }
        Broken { kept, lost }
    }

    /// What is offered.
    pub fn offered(&self) -> impl Iterator<Item = &T> {
        self.offered.values().map(|offered| &offered.cargo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_taker_is_ready_for_and_keeps_what_it_refuses() {
        let mut giving = Giving::default();
        let one = giving.offer(CargoKind::Session, "one").unwrap();
        let two = giving.offer(CargoKind::Session, "two").unwrap();
        assert_eq!(giving.on_refused(one), Some("one"));
        assert_eq!(giving.on_ready(two), Some("two"));
        assert!(!giving.is_over());
        giving.on_taken(two);
        assert!(giving.is_over());
    }

    #[test]
    fn decides_about_an_offer_once() {
        let mut giving = Giving::default();
        let id = giving.offer(CargoKind::Session, "one").unwrap();
        assert_eq!(giving.on_ready(id), Some("one"));
        assert_eq!(giving.on_ready(id), None);
        assert_eq!(giving.on_refused(id), None);
        assert_eq!(giving.withdraw(|_| true, |_| true), []);
        assert!(giving.on_broken(|_| true).kept.is_empty());
    }

    #[test]
    fn ignores_the_answer_to_an_offer_that_was_withdrawn() {
        let mut giving = Giving::default();
        let one = giving.offer(CargoKind::Session, "one").unwrap();
        let two = giving.offer(CargoKind::Session, "two").unwrap();
        let withdrawn = giving.withdraw(|cargo| *cargo == "one", |_| false);
        assert_eq!(withdrawn, [(one, "one")]);
        assert_eq!(giving.on_ready(one), None);
        assert_eq!(giving.on_ready(two), Some("two"));
    }

    #[test]
    fn keeps_all_that_was_not_given_when_the_stream_breaks() {
        let mut giving = Giving::default();
        let one = giving.offer(CargoKind::Session, "one").unwrap();
        giving.offer(CargoKind::Session, "two").unwrap();
        giving.on_ready(one);
        assert_eq!(giving.on_broken(|_| true).kept, ["two"]);
        assert!(giving.is_over());
    }

    #[test]
    fn forgets_what_is_started_at_once_when_it_was_taken_and_keeps_it_when_not() {
        let mut giving = Giving::default();
        let kind = CargoKind::Accepted;
        let ids = ["one", "two", "three", "four"].map(|cargo| giving.offer(kind, cargo).unwrap());
        assert_eq!(giving.on_ready(ids[0]), None);
        assert_eq!(giving.on_taken(ids[0]), Some("one"));
        assert_eq!(giving.on_refused(ids[1]), Some("two"));
        assert_eq!(giving.withdraw(|_| true, |_| false), []);
        let broken = Broken {
            kept: vec!["four"],
            lost: vec!["three"],
        };
        assert_eq!(giving.on_broken(|id| id == ids[2]), broken);
        assert!(giving.is_over());
    }

    #[test]
    fn withdraws_what_is_started_at_once_while_it_was_not_sent() {
        let mut giving = Giving::default();
        let id = giving.offer(CargoKind::Accepted, "one").unwrap();
        assert_eq!(giving.withdraw(|_| true, |_| true), [(id, "one")]);
        assert!(giving.is_over());
    }

    #[test]
    fn offers_no_more_than_may_be_in_flight() {
        let mut giving = Giving::default();
        let ids: Vec<u32> = (0..MOST_IN_FLIGHT)
            .map(|cargo| giving.offer(CargoKind::Server, cargo).unwrap())
            .collect();
        assert_eq!(giving.offer(CargoKind::Server, 99), Err(99));
        giving.on_ready(ids[0]);
        assert!(giving.offer(CargoKind::Server, 99).is_ok());
    }
}

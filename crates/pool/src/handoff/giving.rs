//! Giving: what one worker has offered to another.
//!
//! ```text
//!           ┌─ Ready ────> given ── Taken ──> (over)
//! offered ──┤
//!           └─ Refused, withdrawn, broken ──> kept
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::MOST_IN_FLIGHT;

/// What was offered to one taker and is not over yet.
#[derive(Debug)]
pub struct Giving<T> {
    offered: BTreeMap<u32, T>,
    /// The taker was told to start them, and has not said that it has.
    given: BTreeSet<u32>,
    last: u32,
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
    pub fn offer(&mut self, cargo: T) -> Result<u32, T> {
        if self.is_full() {
            return Err(cargo);
        }
        self.last = self.last.wrapping_add(1);
        self.offered.insert(self.last, cargo);
        Ok(self.last)
    }

    /// The taker is ready; gives what is to be forgotten here, then committed.
    ///
    /// `None` if it was withdrawn meanwhile.
    pub fn on_ready(&mut self, id: u32) -> Option<T> {
        let cargo = self.offered.remove(&id)?;
        self.given.insert(id);
        Some(cargo)
    }

    /// The taker refuses; gives what is to be kept.
    ///
    /// `None` if it was withdrawn meanwhile.
    pub fn on_refused(&mut self, id: u32) -> Option<T> {
        self.offered.remove(&id)
    }

    /// The taker has started what it was given.
    pub fn on_taken(&mut self, id: u32) {
        self.given.remove(&id);
    }

    /// What `wanted` says yes to is not offered any more; it is to be kept, and
    /// the taker to be told.
    pub fn withdraw(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Vec<(u32, T)> {
        let offered = self.offered.iter();
        let ids: Vec<u32> = offered
            .filter_map(|(id, cargo)| wanted(cargo).then_some(*id))
            .collect();
        ids.into_iter()
            .filter_map(|id| Some((id, self.offered.remove(&id)?)))
            .collect()
    }

    /// The stream is no more; gives all that is to be kept.
    pub fn on_broken(&mut self) -> Vec<T> {
        self.given.clear();
        std::mem::take(&mut self.offered).into_values().collect()
    }

    /// What is offered.
    pub fn offered(&self) -> impl Iterator<Item = &T> {
        self.offered.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_taker_is_ready_for_and_keeps_what_it_refuses() {
        let mut giving = Giving::default();
        let one = giving.offer("one").unwrap();
        let two = giving.offer("two").unwrap();
        assert_eq!(giving.on_refused(one), Some("one"));
        assert_eq!(giving.on_ready(two), Some("two"));
        assert!(!giving.is_over());
        giving.on_taken(two);
        assert!(giving.is_over());
    }

    #[test]
    fn decides_about_an_offer_once() {
        let mut giving = Giving::default();
        let id = giving.offer("one").unwrap();
        assert_eq!(giving.on_ready(id), Some("one"));
        assert_eq!(giving.on_ready(id), None);
        assert_eq!(giving.on_refused(id), None);
        assert_eq!(giving.withdraw(|_| true), []);
        assert!(giving.on_broken().is_empty());
    }

    #[test]
    fn ignores_the_answer_to_an_offer_that_was_withdrawn() {
        let mut giving = Giving::default();
        let one = giving.offer("one").unwrap();
        let two = giving.offer("two").unwrap();
        assert_eq!(giving.withdraw(|cargo| *cargo == "one"), [(one, "one")]);
        assert_eq!(giving.on_ready(one), None);
        assert_eq!(giving.on_ready(two), Some("two"));
    }

    #[test]
    fn keeps_all_that_was_not_given_when_the_stream_breaks() {
        let mut giving = Giving::default();
        let one = giving.offer("one").unwrap();
        giving.offer("two").unwrap();
        giving.on_ready(one);
        assert_eq!(giving.on_broken(), ["two"]);
        assert!(giving.is_over());
    }

    #[test]
    fn offers_no_more_than_may_be_in_flight() {
        let mut giving = Giving::default();
        let ids: Vec<u32> = (0..MOST_IN_FLIGHT)
            .map(|cargo| giving.offer(cargo).unwrap())
            .collect();
        assert_eq!(giving.offer(99), Err(99));
        giving.on_ready(ids[0]);
        assert!(giving.offer(99).is_ok());
    }
}

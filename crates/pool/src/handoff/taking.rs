//! Taking: what one worker has reserved for another's offers.
//!
//! ```text
//!            ┌─ Commit ──────────────> started
//! reserved ──┤
//!            └─ Withdraw, broken ────> released
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::MOST_IN_FLIGHT;

/// What is reserved for the offers of one giver.
#[derive(Debug)]
pub struct Taking<R> {
    reserved: BTreeMap<u32, R>,
}

/// The giver says what cannot be; the stream has to be closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unexpected;

impl<R> Default for Taking<R> {
    fn default() -> Self {
        Self {
            reserved: BTreeMap::new(),
        }
    }
}

impl<R> Taking<R> {
    /// Whether nothing is reserved.
    pub fn is_empty(&self) -> bool {
        self.reserved.is_empty()
    }

    /// Whether an offer with this number may come now.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] when it is in use, or too many are.
    pub fn on_offer(&self, id: u32) -> Result<(), Unexpected> {
        if self.reserved.contains_key(&id) || self.reserved.len() >= MOST_IN_FLIGHT {
            return Err(Unexpected);
        }
        Ok(())
    }

    /// What an offer needs is reserved.
    pub fn reserved(&mut self, id: u32, reserved: R) {
        self.reserved.insert(id, reserved);
    }

    /// The giver has given it up; gives what is to be started.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] when nothing is reserved for it.
    pub fn on_commit(&mut self, id: u32) -> Result<R, Unexpected> {
        self.reserved.remove(&id).ok_or(Unexpected)
    }

    /// The giver keeps it; gives what is to be released.
    ///
    /// `None` if it was refused meanwhile.
    pub fn on_withdraw(&mut self, id: u32) -> Option<R> {
        self.reserved.remove(&id)
    }

    /// The stream is no more; gives all that is to be released.
    pub fn on_broken(&mut self) -> Vec<R> {
        std::mem::take(&mut self.reserved).into_values().collect()
    }

    /// What is reserved.
    pub fn all(&self) -> impl Iterator<Item = &R> {
        self.reserved.values()
    }

    /// What is reserved, to change it.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut R> {
        self.reserved.values_mut()
    }
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unexpected handoff frame")
    }
}

impl std::error::Error for Unexpected {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_what_is_committed_and_releases_what_is_withdrawn() {
        let mut taking = Taking::default();
        taking.reserved(1, "one");
        taking.reserved(2, "two");
        assert_eq!(taking.on_commit(1), Ok("one"));
        assert_eq!(taking.on_withdraw(2), Some("two"));
        assert!(taking.is_empty());
    }

    #[test]
    fn rejects_a_commit_of_what_it_has_not_reserved() {
        let mut taking = Taking::default();
        assert_eq!(taking.on_commit(1), Err(Unexpected));
        taking.reserved(1, "one");
        taking.on_withdraw(1);
        assert_eq!(taking.on_commit(1), Err(Unexpected));
        assert_eq!(taking.on_withdraw(1), None);
    }

    #[test]
    fn rejects_an_offer_with_a_number_in_use_and_one_too_many() {
        let mut taking = Taking::default();
        for id in 0..31 {
            assert_eq!(taking.on_offer(id), Ok(()));
            taking.reserved(id, id);
        }
        assert_eq!(taking.on_offer(30), Err(Unexpected));
        assert_eq!(taking.on_offer(31), Ok(()));
        taking.reserved(31, 31);
        assert_eq!(taking.on_offer(32), Err(Unexpected));
    }

    #[test]
    fn releases_all_when_the_stream_breaks() {
        let mut taking = Taking::default();
        taking.reserved(1, "one");
        taking.reserved(2, "two");
        taking.on_commit(1).unwrap();
        assert_eq!(taking.on_broken(), ["two"]);
    }
}

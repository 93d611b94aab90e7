//! Slots: the places of workers in their group.

use std::fmt;
use std::num::NonZeroU8;

/// A place in the group of workers, as written into cancel keys; 1 to 127.
///
/// It outlives the workers that serve it: a successor takes over the slot of
/// the worker it replaces, so that keys of moved sessions still find the way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Slot(NonZeroU8);

impl Slot {
    /// The slot with this number, if it is 1 to 127.
    pub fn new(number: u8) -> Option<Self> {
        if number > MAX_SLOT {
            return None;
        }
        NonZeroU8::new(number).map(Self)
    }

    /// The home slot of a cancel key with this process id.
    ///
    /// The slot takes the seven bits below the sign bit, so process ids stay
    /// positive.
    pub fn of_process_id(process_id: u32) -> Option<Self> {
        let [high, ..] = process_id.to_be_bytes();
        NonZeroU8::new(high & MAX_SLOT).map(Self)
    }

    /// The number of the slot.
    pub fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The highest number that seven bits hold.
const MAX_SLOT: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_1_to_127() {
        for number in 0..=255 {
            let slot = Slot::new(number).map(Slot::get);
            assert_eq!(slot, (1..=127).contains(&number).then_some(number));
        }
    }

    #[test]
    fn reads_the_home_slot_below_the_sign_bit() {
        assert_eq!(Slot::of_process_id(0x0300_0000), Slot::new(3));
        assert_eq!(Slot::of_process_id(0x83ff_ffff), Slot::new(3));
        assert_eq!(Slot::of_process_id(0x00ff_ffff), None);
        assert_eq!(Slot::of_process_id(0x8000_0000), None);
    }

    #[test]
    fn writes_its_number() {
        assert_eq!(Slot::new(12).unwrap().to_string(), "12");
    }
}

//! Classes: what of a server connection has to be undone.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of kinds of session state that a client has changed.
///
/// Beside the kinds it has the positions of *followed* parameters that a SET
/// named: those are restored for each client where the server reports them,
/// and are settings like all others ([`Classes::GUC`]) where it does not.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Classes {
    kinds: u32,
    /// A bit for each position of a followed parameter.
    pub followed: u32,
}

impl Classes {
    /// Nothing.
    pub const NONE: Self = Self::kind(0);
    /// Settings, by SET.
    pub const GUC: Self = Self::kind(1);
    /// The user, by SET ROLE or SET SESSION AUTHORIZATION.
    pub const ROLE: Self = Self::kind(1 << 1);
    /// Temporary tables, views, sequences and whatever else is in `pg_temp`.
    pub const TEMP: Self = Self::kind(1 << 2);
    /// Channels that are listened to.
    pub const LISTEN: Self = Self::kind(1 << 3);
    /// Statements prepared in SQL.
    pub const PREPARE: Self = Self::kind(1 << 4);
    /// Cursors that outlive their transaction.
    pub const HOLD: Self = Self::kind(1 << 5);
    /// What `connect_query` has set, by RESET or DISCARD.
    pub const BACK: Self = Self::kind(1 << 6);
    /// Every kind: for a text of which nobody can tell.
    pub const ALL: Self = Self::kind((1 << 7) - 1);

    /// The followed parameter at `position`, as a setting like all others
    /// where that is too high.
    pub const fn followed(position: u32) -> Self {
        if position < u32::BITS {
            Self {
                kinds: 0,
                followed: 1 << position,
            }
        } else {
            Self::GUC
        }
    }

    /// The kinds with these numbers, unless one is not known.
    pub const fn of_kinds(kinds: u32) -> Option<Self> {
        if kinds & !Self::ALL.kinds == 0 {
            Some(Self::kind(kinds))
        } else {
            None
        }
    }

    /// The kinds as a number, without the followed parameters.
    pub const fn kinds(self) -> u32 {
        self.kinds
    }

    /// Whether nothing is in it.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.kinds | self.followed == 0
    }

    /// Whether something is in it.
    #[inline]
    pub const fn any(self) -> bool {
        !self.is_empty()
    }

    /// Whether all of `other` is in it.
    #[inline]
    pub const fn contains(self, other: Self) -> bool {
        self.kinds & other.kinds == other.kinds && self.followed & other.followed == other.followed
    }

    /// What is in it, but not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self {
            kinds: self.kinds & !other.kinds,
            followed: self.followed & !other.followed,
        }
    }

    /// Whether a kind of `other` is in it.
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.kinds & other.kinds != 0
    }

    /// The kinds without the followed parameters; of those, the ones that
    /// `known` does not know become settings like all others.
    #[must_use]
    pub fn settle(self, known: impl Fn(u32) -> bool) -> Self {
        let mut left = self.followed;
        let mut settled = Self::kind(self.kinds);
        while left != 0 {
            if !known(left.trailing_zeros()) {
                settled |= Self::GUC;
            }
            left &= left - 1;
        }
        settled
    }

    const fn kind(kinds: u32) -> Self {
        Self { kinds, followed: 0 }
    }
}

impl BitOr for Classes {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self {
            kinds: self.kinds | other.kinds,
            followed: self.followed | other.followed,
        }
    }
}

impl BitOrAssign for Classes {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = *self | other;
    }
}

/// The kinds in words, with a comma between two.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, word) in WORDS {
            if self.contains(kind) {
                write!(f, "{separator}{word}")?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

const WORDS: [(Classes, &str); 6] = [
    (Classes::GUC, "settings"),
    (Classes::ROLE, "role"),
    (Classes::TEMP, "temporary objects"),
    (Classes::LISTEN, "LISTEN"),
    (Classes::PREPARE, "prepared statements"),
    (Classes::HOLD, "cursors"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_what_is_not_reported_into_settings() {
        let classes = Classes::followed(3) | Classes::ROLE;
        assert_eq!(classes.settle(|position| position == 3), Classes::ROLE);
        assert_eq!(
            classes.settle(|position| position != 3),
            Classes::ROLE | Classes::GUC
        );
        assert_eq!(Classes::followed(32), Classes::GUC);
    }

    #[test]
    fn names_its_kinds() {
        let classes = Classes::TEMP | Classes::GUC;
        assert_eq!(classes.to_string(), "settings, temporary objects");
        assert_eq!(Classes::NONE.to_string(), "");
    }
}

//! Why a client stays where it is.

use std::fmt;

/// Why a client stays where it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stay {
    /// It is in the middle of something.
    Busy,
    /// Its connection is encrypted, or that of its server.
    Tls,
    /// It speaks replication.
    Replication,
    /// It has prepared, or set, more than one offer carries.
    TooLarge,
    /// The sibling has no room for it, by its limits, memory or descriptors.
    Full,
    /// The sibling does not understand what it is: a program of another version.
    Unknown,
    /// The sibling cannot be reached.
    NoWay,
    /// It is being moved already.
    Moving,
    /// It has left meanwhile.
    Left,
    /// For another reason of the sibling.
    Other,
}

/// How many clients could not be moved, by the reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refused {
    /// Encrypted connections.
    pub tls: u32,
    /// Streams of replication.
    pub replication: u32,
    /// Sessions that are too large.
    pub too_large: u32,
    /// Refused for want of room.
    pub full: u32,
    /// Not understood by the program of the sibling.
    pub unknown: u32,
    /// Sibling not to be reached, and other reasons.
    pub other: u32,
}

impl Stay {
    /// Whether it may be otherwise a moment later.
    pub(super) fn may_pass(self) -> bool {
        matches!(self, Self::Full | Self::NoWay)
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Busy => 1,
            Self::Tls => 2,
            Self::Replication => 3,
            Self::TooLarge => 4,
            Self::Full => 5,
            Self::Unknown => 6,
            Self::NoWay => 7,
            Self::Moving => 8,
            Self::Left => 9,
            Self::Other => 10,
        }
    }

    /// The reason with this code. One of another version is some other reason.
    pub(super) fn of_code(code: u8) -> Self {
        let known = [
            Self::Busy,
            Self::Tls,
            Self::Replication,
            Self::TooLarge,
            Self::Full,
            Self::Unknown,
            Self::NoWay,
            Self::Moving,
            Self::Left,
        ];
        let mut known = known.into_iter();
        known
            .find(|stay| stay.code() == code)
            .unwrap_or(Self::Other)
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "it is in the middle of something",
            Self::Tls => "its connection is encrypted",
            Self::Replication => "it speaks replication",
            Self::TooLarge => "it has prepared or set too much",
            Self::Full => "that worker has no room for it",
            Self::Unknown => "that worker runs a version that does not know all it has",
            Self::NoWay => "that worker cannot be reached",
            Self::Moving => "it is being moved already",
            Self::Left => "it has left",
            Self::Other => "that worker does not take it",
        })
    }
}

impl Refused {
    /// Counts one more.
    pub fn add(&mut self, why: Stay) {
        let count = match why {
            Stay::Tls => &mut self.tls,
            Stay::Replication => &mut self.replication,
            Stay::TooLarge => &mut self.too_large,
            Stay::Full => &mut self.full,
            Stay::Unknown => &mut self.unknown,
            Stay::NoWay | Stay::Other => &mut self.other,
            // They were not refused.
            Stay::Busy | Stay::Moving | Stay::Left => return,
        };
        *count = count.saturating_add(1);
    }

    /// How many, for whatever reason.
    pub fn total(&self) -> u32 {
        self.all().into_iter().fold(0, u32::saturating_add)
    }

    pub(crate) fn all(&self) -> [u32; 6] {
        [
            self.tls,
            self.replication,
            self.too_large,
            self.full,
            self.unknown,
            self.other,
        ]
    }

    pub(crate) fn all_mut(&mut self) -> [&mut u32; 6] {
        [
            &mut self.tls,
            &mut self.replication,
            &mut self.too_large,
            &mut self.full,
            &mut self.unknown,
            &mut self.other,
        ]
    }
}

impl fmt::Display for Refused {
    /// As it is written in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tls,
            replication,
            too_large,
            full,
            unknown,
            other,
        } = self;
        write!(
            f,
            "tls={tls} replication={replication} too_large={too_large} full={full} \
             unknown={unknown} other={other}"
        )
    }
}

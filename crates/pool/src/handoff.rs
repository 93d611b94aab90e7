//! Handoff: a live connection goes from one worker to another.
//!
//! ```text
//! giver                                   taker
//! out of the event loop; Offer ─────────> decodes, reserves, touches no byte
//!                              <───────── Ready
//! forgets it; Commit           ─────────> starts
//!                              <───────── Taken
//! ```
//!
//! Instead of Ready there may be Refused, and instead of Commit Withdraw; the
//! giver then goes on as if nothing had been. So it does when the stream breaks
//! before it has written Commit, and the taker forgets what it has reserved.
//! After Commit the giver never goes back. Of a client that was just accepted there
//! is nothing to be reserved, and it waits: the taker starts it with its Offer, and
//! says Taken or Refused; until then the giver holds its own copy and leaves it
//! alone. Whoever dies at whatever step, the
//! connection has one owner, or none but the dead one.
//!
//! One stream carries what one worker gives to one other: the offers and what
//! is decided about them one way, the answers the other way. What is offered is
//! a byte of its [`CargoKind`] and a body with a version and tagged fields, so
//! that an older program can refuse what it does not understand.

pub mod accepted;
mod away;
pub mod console;
mod fields;
mod frames;
mod giving;
pub mod server;
pub mod session;
mod taking;

pub use self::away::Away;
pub use self::fields::{BodyError, VERSION};
pub use self::frames::{FrameError, MAX_BODY, Refusal, ToGiver, ToTaker};
pub use self::giving::{Broken, Giving};
pub use self::taking::{Taking, Unexpected};

/// What a connection is to those who hand it over.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CargoKind {
    /// A client of which nothing was read yet.
    Accepted,
    /// A server that is idle.
    Server,
    /// A client that is logged in to a pool.
    Session,
    /// A client that is logged in to the console.
    Console,
}

impl CargoKind {
    /// The byte of an offer.
    pub fn code(self) -> u8 {
        match self {
            Self::Accepted => 1,
            Self::Server => 2,
            Self::Session => 3,
            Self::Console => 4,
        }
    }

    /// Whether an offer is a commit as well.
    pub fn starts_at_once(self) -> bool {
        self == Self::Accepted
    }

    /// The kind with this byte, if this program knows it.
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::Accepted, Self::Server, Self::Session, Self::Console]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// Offers that wait for their answer at one taker, at most.
pub const MOST_IN_FLIGHT: usize = 32;

#[cfg(test)]
mod tests;

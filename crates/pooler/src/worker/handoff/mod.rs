//! Handoff: connections that go to another worker of the group.
//!
//! Whoever wants one elsewhere calls [`Worker::hand_over`]. It is packed, taken
//! out of the event loop and offered over the stream to that worker;
//! until that is decided it has no turn. What each kind of connection needs for
//! it is in a file of its own:
//!
//! ```text
//! giver    pack ──> freeze ──┬─ Ready ────────────────> given
//!                            └─ Refused, broken, late ─> thaw
//! taker    reserve ──┬─ Commit ────────────> start
//!                    └─ Withdraw, broken ──> release
//! ```
//!
//! An accepted client is [started](CargoKind::starts_at_once) when its offer comes.
//! The state machines are [`Giving`] and [`Taking`].
//!
//! [`Giving`]: pgskein_pool::handoff::Giving
//! [`Taking`]: pgskein_pool::handoff::Taking

mod accepted;
mod balance;
mod books;
mod console;
mod decided;
mod offers;
mod pipe;
mod places;
mod server;
mod session;
mod undecided;
mod way;

use std::os::fd::OwnedFd;

use pgskein_pool::handoff::{CargoKind, MAX_BODY, Refusal};
pub(super) use pgskein_pool::moves::Place;
use pgskein_pool::slab::{ClientId, ServerId};

use self::accepted::ReservedAccepted;
use self::console::ReservedConsole;
use self::server::ReservedServer;
use self::session::ReservedSession;
pub(super) use self::undecided::Undecided;
pub(super) use self::way::Ways;
use super::Worker;
use super::client::Stage;
use super::server::ServerState;

/// A connection of this worker that is to go to another one.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Cargo {
    /// A client of which nothing was read yet.
    Accepted(ClientId),
    /// A server that is idle.
    Server(ServerId),
    /// A client that is logged in to a pool, with the server that it has for
    /// itself.
    Session(ClientId),
    /// A client that is logged in to the console.
    Console(ClientId),
}

/// What an offer is made of.
#[derive(Debug)]
pub(super) struct Packed {
    /// What the taker needs to know.
    pub body: Vec<u8>,
    /// Second descriptors of its sockets, see [`super::stream::Stream::duplicate`].
    pub descriptors: Vec<OwnedFd>,
}

/// Why a connection stays where it is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Unmovable {
    /// It is in the middle of something, or is being offered already.
    Busy,
    /// It speaks replication.
    Replication,
    /// It is encrypted, and its keys are not to leave this process.
    Tls,
    /// There is more to say of it than an offer can carry.
    TooLarge,
    /// As much as may be is in flight already.
    Full,
    /// That worker cannot be reached, or has gone.
    NoWay,
    /// This worker has no descriptor left.
    NoDescriptors,
    /// That worker has not answered in time.
    Late,
    /// An order has come meanwhile, which is carried out here.
    Outdated,
    /// That worker does not take it.
    Refused(Refusal),
}

/// What is kept ready for an offer until it is decided.
#[derive(Debug)]
enum Reserved {
    Accepted(ReservedAccepted),
    Server(ReservedServer),
    Session(ReservedSession),
    Console(ReservedConsole),
}

impl Worker {
    /// Offers a connection to another worker. Until that is decided it is out of
    /// the event loop and has no turn; then [`Worker::moved`] or
    /// [`Worker::stayed`] is called, for a server [`Worker::lent`] or
    /// [`Worker::not_lent`].
    ///
    /// # Errors
    ///
    /// Why it stays as it is; nothing is called then.
    pub(super) fn hand_over(&mut self, cargo: Cargo, to: Place) -> Result<(), Unmovable> {
        if to == self.place() {
            return Err(Unmovable::NoWay);
        }
        let way = self.way_to(to, cargo.kind())?;
        let packed = self.pack(cargo)?;
        if packed.body.len() > MAX_BODY {
            return Err(Unmovable::TooLarge);
        }
        self.freeze(cargo);
        self.offer(way, cargo, packed);
        Ok(())
    }

    /// This worker itself.
    pub(super) fn place(&self) -> Place {
        Place {
            slot: self.slot,
            generation: self.generation,
        }
    }

    fn pack(&self, cargo: Cargo) -> Result<Packed, Unmovable> {
        match cargo {
            Cargo::Accepted(id) => self.pack_accepted(id),
            Cargo::Server(id) => self.pack_server(id),
            Cargo::Session(id) => self.pack_session(id),
            Cargo::Console(id) => self.pack_console(id),
        }
    }

    fn freeze(&mut self, cargo: Cargo) {
        self.undecided.on_offered(cargo, self.orders.version());
        match cargo {
            Cargo::Accepted(id) => self.freeze_accepted(id),
            Cargo::Server(id) => self.freeze_server(id),
            Cargo::Session(id) => self.freeze_session(id),
            Cargo::Console(id) => self.freeze_console(id),
        }
    }

    /// It stays here.
    fn keep(&mut self, cargo: Cargo, why: Unmovable) {
        self.undecided.on_decided(cargo);
        if !self.has(cargo) {
            return;
        }
        match cargo {
            Cargo::Accepted(id) => self.thaw_accepted(id),
            Cargo::Server(id) => {
                self.thaw_server(id);
                self.not_lent(id, why);
            }
            Cargo::Session(id) => {
                self.thaw_session(id);
                self.stayed(id, why);
            }
            Cargo::Console(id) => {
                self.thaw_console(id);
                self.stayed(id, why);
            }
        }
    }

    /// The taker is ready: forgets it here. False if it is gone already.
    fn give(&mut self, cargo: Cargo, to: Place) -> bool {
        if !self.has(cargo) {
            self.undecided.on_decided(cargo);
            return false;
        }
        if self.is_outdated(cargo) {
            self.keep(cargo, Unmovable::Outdated);
            return false;
        }
        self.undecided.on_decided(cargo);
        self.gave = true;
        match cargo {
            Cargo::Accepted(id) => self.accepted_given(id),
            Cargo::Server(id) => {
                self.lent(id, to);
                self.server_given(id, to);
            }
            Cargo::Session(id) => {
                self.moved(id, to);
                self.session_given(id, to);
            }
            Cargo::Console(id) => {
                self.moved(id, to);
                self.console_given(id, to);
            }
        }
        true
    }

    /// The taker has it, or has died with it.
    fn forget_passed_on(&mut self, cargo: Cargo) {
        self.undecided.on_decided(cargo);
        if let Cargo::Accepted(id) = cargo {
            self.undecided.forget(id);
            self.accepted_given(id);
        }
    }

    /// Whether it was not closed meanwhile.
    fn has(&self, cargo: Cargo) -> bool {
        let stage = |id| self.clients.get(id).map(|client| &client.stage);
        match cargo {
            Cargo::Accepted(id) => matches!(stage(id), Some(Stage::Login(_))),
            Cargo::Session(id) => matches!(stage(id), Some(Stage::Session(_))),
            Cargo::Console(id) => matches!(stage(id), Some(Stage::Console(_))),
            Cargo::Server(id) => {
                let server = self.servers.get(id);
                server.is_some_and(|server| !matches!(server.state, ServerState::Closing { .. }))
            }
        }
    }

    fn reserve(
        &mut self,
        kind: Option<CargoKind>,
        from: Place,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<Reserved, Refusal> {
        let kind = kind.ok_or(Refusal::Unknown)?;
        if kind != CargoKind::Server && self.takes_no_clients() {
            return Err(Refusal::Leaving);
        }
        match kind {
            CargoKind::Accepted => self
                .reserve_accepted(body, descriptors)
                .map(Reserved::Accepted),
            CargoKind::Server => self
                .reserve_server(from, body, descriptors)
                .map(Reserved::Server),
            CargoKind::Session => self
                .reserve_session(from, body, descriptors)
                .map(Reserved::Session),
            CargoKind::Console => self
                .reserve_console(from, body, descriptors)
                .map(Reserved::Console),
        }
    }

    fn start(&mut self, reserved: Reserved, from: Place, pid: i32) {
        match reserved {
            Reserved::Accepted(reserved) => self.start_accepted(reserved),
            Reserved::Server(reserved) => self.start_server(reserved, from),
            Reserved::Session(reserved) => self.start_session(reserved, from, pid),
            Reserved::Console(reserved) => self.start_console(reserved, from, pid),
        }
    }

    fn release(&mut self, reserved: Reserved, from: Place) {
        match reserved {
            Reserved::Accepted(reserved) => self.release_accepted(reserved),
            Reserved::Server(reserved) => self.release_server(reserved, from),
            Reserved::Session(reserved) => self.release_session(reserved, from),
            Reserved::Console(reserved) => self.release_console(reserved, from),
        }
    }
}

impl Cargo {
    fn kind(self) -> CargoKind {
        match self {
            Self::Accepted(_) => CargoKind::Accepted,
            Self::Server(_) => CargoKind::Server,
            Self::Session(_) => CargoKind::Session,
            Self::Console(_) => CargoKind::Console,
        }
    }
}

impl Unmovable {
    /// The word for it, in the log and on the console.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Replication => "replication",
            Self::Tls => "tls",
            Self::TooLarge => "too large",
            Self::Full => "full",
            Self::NoWay => "no way",
            Self::NoDescriptors => "no descriptors",
            Self::Late => "late",
            Self::Outdated => "outdated",
            Self::Refused(refusal) => refusal.word(),
        }
    }
}

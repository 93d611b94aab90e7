//! The scoreboard: what each worker is doing, in memory that all of them see.
//!
//! It is a memfd mapped by the supervisor before the first fork. A versioned
//! header comes first, then the one sequence of ids for clients and servers on
//! a cache line of its own, then two cells for each slot, one for even and one
//! for odd generations. A cell has one writer: its worker, and the supervisor
//! once that one is dead. Everything is a word of 64 bits.
//!
//! ```text
//! word 0       magic and version
//! word 1       words in a cell
//! word 2       number of cells
//! word 3       what the group is doing, when its supervisor has turned last, and
//!              whether the group was ordered to end
//! word 6–9     a bit for each cell: it may have sessions of other slots
//! word 16      last id given out
//! word 24      places taken by clients, with the number of changes above
//! word 32 + 16 i   cell i = 2 (slot - 1) + generation mod 2:
//!              pid, slot, generation, started, state, running since,
//!              clients, waiting clients, servers, clean-ups, statements,
//!              their bytes, changing its places, last sweep, clients moved away (and
//!              in the upper half, those that could not), clients moved here (and in
//!              the upper half, those that are being passed on to it)
//! word 4096    last words: pid of the process that is being aborted, number
//!              of frames, frames
//! ```

mod balance;
mod counts;
mod group;
pub(crate) mod guests;
mod last_words;
mod places;
#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;
use pgskein_protocol::key::Slot;

pub(crate) use self::group::GroupState;
pub(crate) use self::last_words::LastWords;
use crate::sys::shared_memory;

/// The memory that all processes of the group share.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    words: &'static [AtomicU64],
    fd: OwnedFd,
}

/// One worker's place on the scoreboard.
///
/// Copies are the same place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    words: &'static [AtomicU64; CELL_WORDS],
}

/// What one cell says, read word by word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct CellView {
    /// Position on the scoreboard.
    pub index: usize,
    /// Process id of the worker.
    pub pid: u32,
    /// Slot that the worker serves.
    pub slot: Slot,
    /// Generation of the worker.
    pub generation: u32,
    /// When the process was started, in seconds since 1970.
    pub started_unix: u64,
    /// What the worker is doing.
    pub state: WorkerState,
    /// Clients that count towards `max_client_conn`.
    pub clients: u32,
    /// Clients that wait for a server.
    pub waiting: u32,
    /// Server connections.
    pub servers: u32,
    /// How often a server was cleaned of session state.
    pub cleaned: u64,
    /// Different statements that its clients have prepared.
    pub prepared: u64,
    /// Bytes that it needs for prepared statements.
    pub prepared_bytes: u64,
    /// Clients that have gone to siblings.
    pub moved: u32,
    /// Clients that should have gone and could not.
    pub unmoved: u32,
    /// Clients that have come from siblings.
    pub arrived: u64,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WorkerState {
    /// Nobody has used the cell yet.
    Empty,
    /// Forked, not ready yet.
    Starting,
    /// Serving and accepting.
    Ready,
    /// Waiting for its clients to leave.
    Draining,
    /// Gone.
    Dead,
}

impl Scoreboard {
    /// Makes the scoreboard of a new group.
    ///
    /// # Errors
    ///
    /// The error of `memfd_create(2)`, `ftruncate(2)`, `fcntl(2)` or
    /// `mmap(2)`.
    pub(crate) fn create() -> io::Result<Self> {
        let fd = memfd_create(NAME, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        let length = i64::try_from(WORDS * size_of::<u64>()).map_err(io::Error::other)?;
        ftruncate(&fd, length)?;
        // A page that is cut off under a mapping kills whoever touches it.
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&fd, FcntlArg::F_ADD_SEALS(seals))?;
        let words = shared_memory::map(&fd, WORDS)?;
        for (word, value) in words.iter().zip(HEADER) {
            word.store(value, Ordering::Relaxed);
        }
        Ok(Self { words, fd })
    }

    /// The scoreboard of another group, which it has sent.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it is of another version; the error of `fstat(2)` or
    /// `mmap(2)`.
    pub(crate) fn open(fd: OwnedFd) -> io::Result<Self> {
        let length = fstat(&fd)?.st_size;
        if usize::try_from(length) != Ok(WORDS * size_of::<u64>()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let words = shared_memory::map(&fd, WORDS)?;
        let header = words.iter().map(|word| word.load(Ordering::Relaxed));
        if header.take(HEADER.len()).ne(HEADER) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Self { words, fd })
    }

    /// Which version this program writes.
    pub(crate) const VERSION: u64 = HEADER[0];

    /// A second handle to the same memory, for a child.
    ///
    /// # Errors
    ///
    /// The error of `dup(2)`.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let fd = self.fd.try_clone()?;
        Ok(Self {
            words: self.words,
            fd,
        })
    }

    /// The number of its descriptor.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Every cell that some worker has used.
    pub(crate) fn cells(&self) -> impl Iterator<Item = CellView> {
        self.cell_words()
            .enumerate()
            .filter_map(|(index, words)| CellView::read(index, words))
    }

    /// Takes the next id of the group's one sequence for clients and servers.
    ///
    /// The first is 1.
    pub(crate) fn next_id(&self) -> u64 {
        self.words
            .get(LAST_ID)
            .map_or(0, |word| word.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The last id that was taken.
    pub(crate) fn last_id(&self) -> u64 {
        let last = self.words.get(LAST_ID);
        last.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Has the sequence go on after `last`, if it is not there yet.
    pub(crate) fn skip_ids(&self, last: u64) {
        if let Some(word) = self.words.get(LAST_ID) {
            word.fetch_max(last, Ordering::Relaxed);
        }
    }

    /// Marks a worker as gone; for the supervisor after it was reaped.
    pub(crate) fn bury(&self, cell: Cell) {
        self.leave_places(cell);
        cell.clear_counts();
        cell.set_state(WorkerState::Dead);
    }

    /// The cell of the worker of `slot` with this generation.
    ///
    /// Of three generations in a row the first and the third share a cell; at
    /// most two of them live.
    pub(crate) fn cell(&self, slot: Slot, generation: u32) -> Option<Cell> {
        let index = index_of(slot, generation);
        self.cell_words().nth(index).map(|words| Cell { words })
    }

    fn cell_words(&self) -> impl Iterator<Item = &'static [AtomicU64; CELL_WORDS]> {
        let cells = self.words.get(FIRST_CELL..).unwrap_or_default();
        cells.as_chunks::<CELL_WORDS>().0.iter()
    }
}

/// Which cell the worker of `slot` with this generation has.
fn index_of(slot: Slot, generation: u32) -> usize {
    (usize::from(slot.get()) - 1) * 2 + (generation % 2) as usize
}

impl AsFd for Scoreboard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Cell {
    /// Takes the cell for a worker that is about to be forked.
    pub(crate) fn claim(&self, slot: Slot, generation: u32) {
        self.set(PID, 0);
        self.set(SLOT, slot.get().into());
        self.set(GENERATION, generation.into());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.set(STARTED, now.map_or(0, |age| age.as_secs()));
        self.clear_counts();
        self.set_state(WorkerState::Starting);
    }

    /// Writes down the process id of the worker.
    pub(crate) fn set_pid(&self, pid: u32) {
        self.set(PID, pid.into());
    }

    /// Says what the worker is doing.
    pub(crate) fn set_state(&self, state: WorkerState) {
        self.set(STATE, state.number());
    }

    /// Says how many clients wait for a server.
    pub(crate) fn set_waiting(&self, waiting: u32) {
        self.set(WAITING, waiting.into());
    }

    /// Says how many server connections there are.
    pub(crate) fn set_servers(&self, servers: u32) {
        self.set(SERVERS, servers.into());
    }

    /// Clients of this worker that count towards `max_client_conn`.
    pub(crate) fn clients(&self) -> u32 {
        narrow(self.load(CLIENTS))
    }

    /// Says that a turn of the loop has begun; `since` is any clock that all
    /// processes share and is not 0.
    pub(crate) fn loop_running(&self, since: u64) {
        self.set(RUNNING_SINCE, since);
    }

    /// Says that the loop waits for events.
    pub(crate) fn loop_waiting(&self) {
        self.set(RUNNING_SINCE, 0);
    }

    /// Whether the loop is in the middle of a turn.
    pub(crate) fn is_running(&self) -> bool {
        self.load(RUNNING_SINCE) != 0
    }

    /// Says when the loop has swept, which it does a few times a second.
    pub(crate) fn set_swept(&self, at: u64) {
        self.set(SWEPT, at);
    }

    /// What [`Cell::set_swept`] was told last.
    pub(crate) fn swept(&self) -> u64 {
        self.load(SWEPT)
    }

    fn clear_counts(&self) {
        for word in COUNTS {
            self.set(word, 0);
        }
    }

    fn set(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }

    fn load(&self, word: usize) -> u64 {
        self.words
            .get(word)
            .map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl CellView {
    fn read(index: usize, words: &'static [AtomicU64; CELL_WORDS]) -> Option<Self> {
        let cell = Cell { words };
        let state = WorkerState::of_number(cell.load(STATE))
            .filter(|state| *state != WorkerState::Empty)?;
        Some(Self {
            index,
            pid: narrow(cell.load(PID)),
            slot: u8::try_from(cell.load(SLOT)).ok().and_then(Slot::new)?,
            generation: narrow(cell.load(GENERATION)),
            started_unix: cell.load(STARTED),
            state,
            clients: cell.clients(),
            waiting: narrow(cell.load(WAITING)),
            servers: narrow(cell.load(SERVERS)),
            cleaned: cell.load(CLEANED),
            prepared: cell.load(PREPARED),
            prepared_bytes: cell.load(PREPARED_BYTES),
            moved: narrow(cell.load(MOVED) & u64::from(u32::MAX)),
            unmoved: narrow(cell.load(MOVED) >> 32),
            arrived: cell.load(ARRIVED) & u64::from(u32::MAX),
        })
    }
}

impl WorkerState {
    fn number(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Starting => 1,
            Self::Ready => 2,
            Self::Draining => 3,
            Self::Dead => 4,
        }
    }

    fn of_number(number: u64) -> Option<Self> {
        [
            Self::Empty,
            Self::Starting,
            Self::Ready,
            Self::Draining,
            Self::Dead,
        ]
        .into_iter()
        .find(|state| state.number() == number)
    }
}

/// A count as its readers want it; more than fits is the most that fits.
fn narrow(word: u64) -> u32 {
    u32::try_from(word).unwrap_or(u32::MAX)
}

const NAME: &CStr = c"pgskein-scoreboard";

/// Magic with the version in its last byte, words in a cell, cells.
const HEADER: [u64; 3] = [0x7067_736b_6569_6e04, CELL_WORDS as u64, CELLS as u64];

/// Two generations of each of 127 slots.
const CELLS: usize = 2 * 127;
const GROUP: usize = 3;
const BEAT: usize = 4;
const ENDING: usize = 5;
const LAST_ID: usize = 16;
const PLACES: usize = 24;
const FIRST_CELL: usize = 32;

/// Two cache lines, because processors fetch them in pairs.
const CELL_WORDS: usize = 16;
const LAST_WORDS: usize = FIRST_CELL + CELLS * CELL_WORDS;
const WORDS: usize = LAST_WORDS + 2 + MOST_FRAMES;

/// Frames of a backtrace that are kept.
const MOST_FRAMES: usize = 64;

const PID: usize = 0;
const SLOT: usize = 1;
const GENERATION: usize = 2;
const STARTED: usize = 3;
const STATE: usize = 4;
const RUNNING_SINCE: usize = 5;
const CLIENTS: usize = 6;
const WAITING: usize = 7;
const SERVERS: usize = 8;
const CLEANED: usize = 9;
const PREPARED: usize = 10;
const PREPARED_BYTES: usize = 11;
const CHANGING: usize = 12;
const SWEPT: usize = 13;
const MOVED: usize = 14;
const ARRIVED: usize = 15;

/// What begins at 0 with each worker.
const COUNTS: [usize; 10] = [
    RUNNING_SINCE,
    CLIENTS,
    WAITING,
    SERVERS,
    CLEANED,
    PREPARED,
    PREPARED_BYTES,
    SWEPT,
    MOVED,
    ARRIVED,
];

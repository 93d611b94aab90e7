//! Verdicts: what happens to frames.

use pgskein_protocol::TransactionStatus;
use pgskein_protocol::tag::{backend, frontend};

use super::Flow;
use super::dues::Kind;

/// What happens to a frame from a client that is linked or wants to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientVerdict {
    /// It goes to the server.
    Forward,
    /// It may name a prepared statement; nothing is noted yet.
    Plan,
    /// It belongs to a COPY that is over; nobody needs it.
    Drop,
    /// The client says good-bye.
    Terminate,
    /// No such message: the connection cannot go on.
    Unknown,
}

/// What happens to a frame from a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerVerdict {
    /// It goes to the client.
    Forward,
    /// It answers something of ours, or is not meant for clients.
    Drop,
    /// Its body is needed before anything can be said: ReadyForQuery,
    /// ParameterStatus, and an error that answers something of ours.
    Whole,
    /// An answer of ours goes before it: see [`super::Flow::answer`]. Nothing was
    /// noted yet.
    Answer,
    /// An answer of ours takes its place: the tag of a DEALLOCATE.
    Deallocated,
    /// The server asks to be left; no client hears of that.
    GoAway,
}

/// Whose rows a server may send now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rows {
    /// A simple query's: what describes them and what ends them takes nothing
    /// off either.
    OfQuery,
    /// Those of something else.
    Other,
}

impl Rows {
    /// Whether a message with this tag takes nothing off what is due.
    #[inline(always)]
    pub fn hold(self, tag: u8) -> bool {
        match tag {
            backend::DATA_ROW | backend::COPY_DATA => true,
            backend::ROW_DESCRIPTION | backend::COMMAND_COMPLETE => self == Self::OfQuery,
            _ => false,
        }
    }
}

/// What a ReadyForQuery means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Whether it answers a query of ours, and must not reach the client.
    pub own: bool,
    /// Whether a query of ours has failed since the last ReadyForQuery.
    pub own_failed: bool,
    /// Whether a batch is to be sent once more; it must not reach the client.
    pub retry: bool,
    /// Whether nothing more is due.
    pub settled: bool,
    /// Whether it answers anything at all.
    pub expected: bool,
    /// The transaction status that it reports.
    pub status: TransactionStatus,
}

impl Flow {
    /// Whose rows may come now; `None` while what comes is not simply passed
    /// on.
    #[inline(always)]
    pub fn rows(&self) -> Option<Rows> {
        match self.dues.front() {
            Some(Kind::Query) => Some(Rows::OfQuery),
            due if due < Some(Kind::Own) => Some(Rows::Other),
            _ => None,
        }
    }

    /// What to do with a message of a client that is not linked.
    ///
    /// `Forward` means that it needs a server.
    #[inline]
    pub fn unlinked(tag: u8) -> ClientVerdict {
        match tag {
            // COPY data behind a COPY that failed, and a Flush of nothing.
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH => {
                ClientVerdict::Drop
            }
            frontend::TERMINATE => ClientVerdict::Terminate,
            frontend::QUERY
            | frontend::FUNCTION_CALL
            | frontend::SYNC
            | frontend::PARSE
            | frontend::BIND
            | frontend::DESCRIBE
            | frontend::EXECUTE
            | frontend::CLOSE => ClientVerdict::Forward,
            _ => ClientVerdict::Unknown,
        }
    }
}

//! Flow: what a server connection still owes, and what happens to each frame.
//!
//! Every message that a client sends pushes what must come back for it, every
//! answer takes it off again. When nothing is due after a ReadyForQuery outside
//! a transaction, the server connection may be released.
//!
//! ```text
//! client message   due           taken off by
//! Query            Query         ReadyForQuery
//! FunctionCall     Query         ReadyForQuery
//! Parse            Parse         ParseComplete
//! Bind             Bind          BindComplete
//! Describe         Describe      RowDescription, NoData
//! Execute          Execute       CommandComplete, EmptyQueryResponse, PortalSuspended
//! Close            Close         CloseComplete
//! Sync             Sync          ReadyForQuery
//! CopyDone, -Fail  CopyEnd       nothing: marks where COPY FROM STDIN ends
//! (ours)           Own           ReadyForQuery; everything before it is dropped
//! ```
//!
//! An error in the extended protocol takes off everything up to the next Sync.
//! A Sync that the server reads during COPY FROM STDIN is ignored by it.
//!
//! Source: PostgreSQL documentation, "Message Flow".

use std::collections::VecDeque;

use pgskein_protocol::TransactionStatus;
use pgskein_protocol::tag::{backend, frontend};

/// What happens to a frame from a client that is linked or wants to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientVerdict {
    /// It goes to the server.
    Forward,
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
}

/// What one server connection owes.
#[derive(Debug, Default)]
pub struct Flow {
    dues: Dues,
    /// Extended-protocol messages were sent since the last Sync.
    unsynced: bool,
    /// After an error the server ignores everything until Sync.
    skipping: bool,
    /// The server reads COPY data from the client.
    copy_in: bool,
    /// A query of ours failed.
    own_failed: bool,
    status: Status,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Due {
    Query,
    Parse,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    CopyEnd,
    Own,
}

/// What is due, in order.
///
/// The first has a place of its own, since mostly there is no other: a simple
/// query costs no more than a byte written and cleared.
///
/// Always true: `rest` is empty while there is no `first`.
#[derive(Debug, Default)]
struct Dues {
    first: Option<Due>,
    rest: VecDeque<Due>,
}

impl Dues {
    #[inline]
    fn front(&self) -> Option<Due> {
        self.first
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    fn push_back(&mut self, due: Due) {
        if self.first.is_none() {
            self.first = Some(due);
        } else {
            self.rest.push_back(due);
        }
    }

    #[inline]
    fn pop_front(&mut self) -> Option<Due> {
        let first = self.first.take();
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        first
    }

    fn iter(&self) -> impl Iterator<Item = Due> {
        self.first.into_iter().chain(self.rest.iter().copied())
    }
}

/// What the last ReadyForQuery said.
#[derive(Debug, Default)]
struct Status(Option<TransactionStatus>);

/// What a ReadyForQuery means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Whether it answers a query of ours, and must not reach the client.
    pub own: bool,
    /// Whether a query of ours has failed since the last ReadyForQuery.
    pub own_failed: bool,
    /// Whether nothing more is due.
    pub settled: bool,
    /// Whether it answers anything at all.
    pub expected: bool,
    /// The transaction status that it reports.
    pub status: TransactionStatus,
}

impl Flow {
    /// Notes a message that goes to the server for a client.
    #[inline(always)]
    pub fn on_client(&mut self, tag: u8) -> ClientVerdict {
        match tag {
            frontend::QUERY | frontend::FUNCTION_CALL => {
                // Its ReadyForQuery ends a batch as a Sync does.
                self.unsynced &= self.skipping;
                self.push(Due::Query);
            }
            frontend::SYNC => {
                self.unsynced = false;
                self.skipping = false;
                if !self.copy_in {
                    self.dues.push_back(Due::Sync);
                }
            }
            frontend::PARSE => self.push_extended(Due::Parse),
            frontend::BIND => self.push_extended(Due::Bind),
            frontend::DESCRIBE => self.push_extended(Due::Describe),
            frontend::EXECUTE => self.push_extended(Due::Execute),
            frontend::CLOSE => self.push_extended(Due::Close),
            frontend::FLUSH | frontend::COPY_DATA => {}
            frontend::COPY_DONE | frontend::COPY_FAIL => {
                self.copy_in = false;
                // Behind the end of its COPY it marks nothing.
                if !self.dues.is_empty() {
                    self.push(Due::CopyEnd);
                }
            }
            frontend::TERMINATE => return ClientVerdict::Terminate,
            _ => return ClientVerdict::Unknown,
        }
        ClientVerdict::Forward
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

    /// Notes a query of ours: everything up to its ReadyForQuery is dropped.
    pub fn on_own_query(&mut self) {
        self.dues.push_back(Due::Own);
    }

    /// Notes a message from the server.
    #[inline(always)]
    pub fn on_server(&mut self, tag: u8) -> ServerVerdict {
        if matches!(tag, backend::READY_FOR_QUERY | backend::PARAMETER_STATUS) {
            return ServerVerdict::Whole;
        }
        let due = self.dues.front();
        if due == Some(Due::Own) {
            return if tag == backend::ERROR {
                self.own_failed = true;
                ServerVerdict::Whole
            } else {
                ServerVerdict::Drop
            };
        }
        match tag {
            // What takes nothing off a simple query.
            backend::DATA_ROW | backend::COPY_DATA => {}
            backend::ROW_DESCRIPTION if due == Some(Due::Query) => {}
            // The end of one COPY among several of the same query.
            backend::COMMAND_COMPLETE
                if due == Some(Due::Query) && self.dues.rest.front() == Some(&Due::CopyEnd) =>
            {
                self.dues.rest.pop_front();
            }
            backend::COMMAND_COMPLETE if due == Some(Due::Query) => {}
            backend::GO_AWAY => return ServerVerdict::Drop,
            backend::PARSE_COMPLETE => self.take(Due::Parse),
            backend::BIND_COMPLETE => self.take(Due::Bind),
            backend::CLOSE_COMPLETE => self.take(Due::Close),
            backend::NO_DATA | backend::ROW_DESCRIPTION => self.take(Due::Describe),
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY | backend::PORTAL_SUSPENDED => {
                self.take(Due::Execute);
            }
            backend::COPY_IN => self.on_copy_in(),
            backend::ERROR => self.on_error(),
            _ => {}
        }
        ServerVerdict::Forward
    }

    /// Notes a ReadyForQuery.
    #[inline]
    pub fn on_ready(&mut self, status: TransactionStatus) -> Ready {
        self.status = Status(Some(status));
        self.copy_in = false;
        let (mut own, mut expected) = (false, false);
        while let Some(due) = self.dues.pop_front() {
            match due {
                Due::Query | Due::Sync => {
                    expected = true;
                    break;
                }
                Due::Own => {
                    (own, expected) = (true, true);
                    break;
                }
                // What no answer has taken off was skipped by the server.
                _ => {}
            }
        }
        while self.dues.front() == Some(Due::CopyEnd) {
            self.dues.pop_front();
        }
        Ready {
            own,
            expected,
            own_failed: own && std::mem::take(&mut self.own_failed),
            settled: self.dues.is_empty() && !self.unsynced && !self.skipping,
            status,
        }
    }

    /// Whether no answer is due and no message waits for its Sync.
    #[inline]
    pub fn at_rest(&self) -> bool {
        !self.unsynced && !self.skipping && self.dues.is_empty()
    }

    /// Whether an answer is due, of which a query of ours is none.
    pub fn running(&self) -> bool {
        self.dues.iter().any(|due| due != Due::Own) || self.unsynced
    }

    /// Whether what the server sends now answers a query of ours.
    pub fn answers_own(&self) -> bool {
        self.dues.front() == Some(Due::Own)
    }

    /// Whether the server waits for COPY data.
    pub fn copying_in(&self) -> bool {
        self.copy_in
    }

    /// Whether a Sync is needed before the server answers with ReadyForQuery.
    pub fn needs_sync(&self) -> bool {
        self.unsynced || self.skipping
    }

    /// What the last ReadyForQuery said; idle before the first.
    #[inline]
    pub fn status(&self) -> TransactionStatus {
        self.status.0.unwrap_or(TransactionStatus::Idle)
    }

    #[inline]
    fn push(&mut self, due: Due) {
        if !self.skipping {
            self.dues.push_back(due);
        }
    }

    #[inline]
    fn push_extended(&mut self, due: Due) {
        self.unsynced = true;
        self.push(due);
    }

    #[inline]
    fn take(&mut self, due: Due) {
        while self.dues.front() == Some(Due::CopyEnd) {
            self.dues.pop_front();
        }
        if self.dues.front() == Some(due) {
            self.dues.pop_front();
        }
    }

    /// The server has begun to read COPY data: what it reads before the end of
    /// the data is ignored if it is a Sync.
    fn on_copy_in(&mut self) {
        let mut ended = false;
        self.dues.rest.retain(|due| {
            ended |= *due == Due::CopyEnd;
            ended || *due != Due::Sync
        });
        self.copy_in = !ended;
        if self.copy_in && self.dues.front() == Some(Due::Execute) {
            self.unsynced = true;
        }
    }

    /// The server ignores what follows an error in the extended protocol, up to
    /// the next Sync.
    fn on_error(&mut self) {
        self.copy_in = false;
        while self.dues.front() == Some(Due::CopyEnd) {
            self.dues.pop_front();
        }
        if matches!(self.dues.front(), None | Some(Due::Query | Due::Sync)) {
            return;
        }
        while let Some(due) = self.dues.front() {
            if due == Due::Sync {
                return;
            }
            self.dues.pop_front();
        }
        self.skipping = true;
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;

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
//! CopyDone, -Fail  CopyEnd       CopyInResponse: sent ahead of it, it ends that COPY
//! (ours)           Own           ReadyForQuery; everything before it is dropped
//! ```
//!
//! Parse, Bind, Describe and Close that name a prepared statement are planned
//! before they are sent (see [`crate::prepared`]): some are sent with another
//! name, some behind messages of ours whose answers are dropped, and some are
//! not sent at all; then the answer is given when its turn comes.
//!
//! An error in the extended protocol takes off everything up to the next Sync.
//! A Sync that the server reads during COPY FROM STDIN is ignored by it.
//!
//! Source: PostgreSQL documentation, "Message Flow".

mod dues;
mod lost;
mod pending;
mod plans;
mod taken;
mod unnamed;
mod verdict;

use pgskein_protocol::TransactionStatus;
use pgskein_protocol::tag::{backend, frontend};

use self::dues::{Dues, Kind};
pub use self::lost::{Open, Owed};
use self::pending::Pending;
pub use self::pending::{Outcome, Refusal};
use self::unnamed::Unnamed;
pub use self::unnamed::UnnamedState;
pub use self::verdict::{ClientVerdict, Ready, Rows, ServerVerdict};

/// What one server connection owes.
#[derive(Debug, Default)]
pub struct Flow {
    dues: Dues,
    /// Statements have other names on the server.
    renames: bool,
    /// Extended-protocol messages were sent since the last Sync.
    unsynced: bool,
    /// After an error the server ignores everything until Sync.
    skipping: bool,
    /// The server reads COPY data from the client.
    copy_in: bool,
    /// It sends COPY data.
    copy_out: bool,
    /// A query of ours failed.
    own_failed: bool,
    /// Every query and every Sync goes alone.
    singly: bool,
    /// Nothing more is sent before all is answered.
    alone: bool,
    /// The client wants what it can get now.
    flush: bool,
    status: Status,
    /// Number of Syncs sent: the batch that is being sent.
    batch: u64,
    /// Syncs that are due.
    syncs: u64,
    /// Simple queries that are due.
    queries: u64,
    unnamed: Unnamed,
    /// Changes of the unnamed statement that are not answered yet.
    unnamed_due: usize,
    pending: Pending,
}

/// What the last ReadyForQuery said.
#[derive(Debug, Default)]
struct Status(Option<TransactionStatus>);

impl Flow {
    /// Notes a message that goes to the server for a client.
    #[inline(always)]
    pub fn on_client(&mut self, tag: u8) -> ClientVerdict {
        match tag {
            frontend::QUERY => {
                self.take_unnamed();
                self.on_query();
            }
            frontend::FUNCTION_CALL => self.on_query(),
            frontend::SYNC => self.on_sync(),
            frontend::PARSE | frontend::BIND | frontend::DESCRIBE | frontend::CLOSE
                if self.renames =>
            {
                return ClientVerdict::Plan;
            }
            frontend::EXECUTE => self.push_extended(Kind::Execute),
            frontend::PARSE | frontend::BIND | frontend::DESCRIBE | frontend::CLOSE => {
                self.on_unplanned(tag);
            }
            frontend::FLUSH => self.flush |= self.owes_answer(),
            frontend::COPY_DATA => {}
            frontend::COPY_DONE | frontend::COPY_FAIL => {
                // It ends the COPY that the server is in, or one to come.
                let ends = std::mem::take(&mut self.copy_in);
                if !ends && !self.dues.is_empty() {
                    self.push(Kind::CopyEnd);
                }
            }
            frontend::TERMINATE => return ClientVerdict::Terminate,
            _ => return ClientVerdict::Unknown,
        }
        ClientVerdict::Forward
    }

    /// Begins to serve another client.
    ///
    /// Its statements have other names here if `renames`. With `singly` no
    /// query and no batch is sent before the one before it is answered.
    #[inline]
    pub fn on_link(&mut self, renames: bool, singly: bool) {
        self.renames = renames;
        self.singly = singly;
        self.alone = false;
        self.unnamed = Unnamed::Foreign;
        self.unnamed_due = 0;
        self.flush = false;
    }

    /// Nothing more is sent before what was sent so far is answered.
    pub fn go_alone(&mut self) {
        self.alone = true;
    }

    /// Whether a message with this tag has to wait for what was sent so far.
    #[inline]
    pub fn holds(&self, tag: u8) -> bool {
        self.alone
            && !matches!(
                tag,
                frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL | frontend::FLUSH
            )
    }

    /// Notes a query of ours: everything up to its ReadyForQuery is dropped.
    pub fn on_own_query(&mut self) {
        self.dues.push(Kind::Own);
    }

    /// Notes a message from the server.
    #[inline(always)]
    pub fn on_server(&mut self, tag: u8) -> ServerVerdict {
        let Some(rows) = self.rows() else {
            return self.on_server_special(tag);
        };
        if matches!(tag, backend::READY_FOR_QUERY | backend::PARAMETER_STATUS) {
            return ServerVerdict::Whole;
        }
        if rows.hold(tag) {
            return ServerVerdict::Forward;
        }
        self.on_answer(tag)
    }

    /// Notes a ReadyForQuery.
    #[inline(always)]
    pub fn on_ready(&mut self, status: TransactionStatus) -> Ready {
        if !self.dues.take_only(Kind::Query) {
            return self.on_ready_of_many(status);
        }
        self.queries -= 1;
        self.status = Status(Some(status));
        self.copy_in = false;
        self.alone = false;
        Ready {
            own: false,
            own_failed: false,
            retry: false,
            settled: !self.unsynced && !self.skipping,
            expected: true,
            status,
        }
    }

    /// [`Flow::on_ready`] where something else than one query was due.
    fn on_ready_of_many(&mut self, status: TransactionStatus) -> Ready {
        self.status = Status(Some(status));
        self.copy_in = false;
        let (mut own, mut retry, mut expected) = (false, false, false);
        while let Some(kind) = self.dues.pop() {
            match kind {
                Kind::Query | Kind::Deallocate => {
                    self.queries -= 1;
                    expected = true;
                    break;
                }
                Kind::Sync => {
                    self.syncs -= 1;
                    expected = true;
                    break;
                }
                Kind::Own => {
                    (own, expected) = (true, true);
                    break;
                }
                Kind::Retry => {
                    (retry, expected) = (true, true);
                    break;
                }
                // What no answer has taken off was skipped by the server.
                _ => self.failed(kind, false),
            }
        }
        while self.dues.front() == Some(Kind::CopyEnd) {
            self.dues.pop();
        }
        self.alone &= !self.dues.is_empty();
        Ready {
            own,
            retry,
            expected,
            own_failed: own && std::mem::take(&mut self.own_failed),
            settled: !retry && self.dues.is_empty() && !self.unsynced && !self.skipping,
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
        self.dues.iter().any(|due| due != Kind::Own) || self.unsynced
    }

    /// Whether what the server sends now answers a query of ours.
    pub fn answers_own(&self) -> bool {
        self.dues.front() == Some(Kind::Own)
    }

    /// Whether the server waits for COPY data.
    pub fn copying_in(&self) -> bool {
        self.copy_in
    }

    /// Whether the server ignores everything up to the next Sync.
    pub fn skipping(&self) -> bool {
        self.skipping
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

    #[inline(always)]
    fn on_query(&mut self) {
        // Its ReadyForQuery ends a batch as a Sync does.
        self.unsynced &= self.skipping;
        self.alone |= self.singly;
        self.queries += u64::from(!self.skipping);
        self.push(Kind::Query);
    }

    #[inline]
    fn on_sync(&mut self) {
        self.unsynced = false;
        self.skipping = false;
        if !self.copy_in {
            self.dues.push(Kind::Sync);
            self.alone |= self.singly;
            self.batch += 1;
            self.syncs += 1;
            self.pending.on_sync();
        }
    }

    /// Notes a message whose names are left as they are.
    fn on_unplanned(&mut self, tag: u8) {
        self.push_extended(match tag {
            frontend::PARSE => Kind::Parse,
            frontend::BIND => Kind::Bind,
            frontend::DESCRIBE => Kind::Describe,
            _ => Kind::Close,
        });
    }

    /// Notes a message that comes where something special is due.
    fn on_server_special(&mut self, tag: u8) -> ServerVerdict {
        match (self.dues.front(), tag) {
            (Some(Kind::KnownParse | Kind::KnownClose), _) => return ServerVerdict::Answer,
            (_, backend::READY_FOR_QUERY | backend::PARAMETER_STATUS) => {
                return ServerVerdict::Whole;
            }
            (_, backend::GO_AWAY) => return ServerVerdict::GoAway,
            (Some(Kind::Own), backend::ERROR) => {
                self.own_failed = true;
                return ServerVerdict::Whole;
            }
            (Some(Kind::Own | Kind::Retry), _) => {}
            (Some(Kind::UnnamedGone), _) => {
                self.dues.pop();
                self.unnamed_due = self.unnamed_due.saturating_sub(1);
                return self.on_server(tag);
            }
            (Some(Kind::OwnParse), backend::PARSE_COMPLETE)
            | (Some(Kind::OwnClose), backend::CLOSE_COMPLETE) => {
                self.dues.pop();
                self.pending.sent_done();
            }
            (Some(Kind::NameGone), backend::PARSE_COMPLETE) => {
                self.dues.pop();
                self.pending.name_done();
            }
            (Some(Kind::HelpParse), backend::PARSE_COMPLETE)
            | (Some(Kind::HelpClose), backend::CLOSE_COMPLETE) => {
                self.dues.pop();
            }
            (Some(Kind::Deallocate), backend::EMPTY_QUERY) => {
                self.dues.replace_front(Kind::Query);
                return ServerVerdict::Deallocated;
            }
            _ => return self.on_answer(tag),
        }
        ServerVerdict::Drop
    }

    /// Notes a message that is no part of a simple query's result.
    #[inline]
    fn on_answer(&mut self, tag: u8) -> ServerVerdict {
        match tag {
            backend::GO_AWAY => return ServerVerdict::GoAway,
            backend::PARSE_COMPLETE => self.take_parse(),
            backend::BIND_COMPLETE => self.take(Kind::Bind),
            backend::CLOSE_COMPLETE => self.take(Kind::Close),
            backend::NO_DATA | backend::ROW_DESCRIPTION => self.take(Kind::Describe),
            backend::COMMAND_COMPLETE | backend::EMPTY_QUERY | backend::PORTAL_SUSPENDED => {
                self.take(Kind::Execute);
            }
            backend::COPY_IN => self.on_copy_in(),
            backend::COPY_OUT => self.copy_out = true,
            backend::COPY_DONE => self.copy_out = false,
            backend::ERROR => self.on_error(),
            _ => {}
        }
        ServerVerdict::Forward
    }

    #[inline]
    fn push(&mut self, kind: Kind) {
        if !self.skipping {
            self.dues.push(kind);
        }
    }

    #[inline]
    fn push_extended(&mut self, kind: Kind) {
        self.unsynced = true;
        self.push(kind);
    }

    #[inline]
    fn take(&mut self, kind: Kind) {
        while self.dues.front() == Some(Kind::CopyEnd) {
            self.dues.pop();
        }
        if self.dues.front() == Some(kind) {
            self.dues.pop();
        }
    }

    #[inline]
    fn take_parse(&mut self) {
        while self.dues.front() == Some(Kind::CopyEnd) {
            self.dues.pop();
        }
        match self.dues.front() {
            Some(Kind::Parse) => {}
            Some(Kind::ParseUnnamed) => {
                self.unnamed_due = self.unnamed_due.saturating_sub(1);
            }
            Some(Kind::ParseNamed) => {
                self.pending.sent_done();
                self.pending.name_done();
            }
            Some(Kind::Taken) => self.pending.name_done(),
            _ => return,
        }
        self.dues.pop();
    }

    /// The server has begun to read COPY data: what it reads before the end of
    /// the data is ignored if it is a Sync.
    fn on_copy_in(&mut self) {
        let (mut ended, mut ignored) = (false, 0);
        self.dues.retain_rest(|kind| {
            let before = !ended;
            ended |= kind == Kind::CopyEnd;
            ignored += u64::from(before && kind == Kind::Sync);
            !before || !matches!(kind, Kind::Sync | Kind::CopyEnd)
        });
        self.syncs -= ignored;
        self.alone &= ignored == 0;
        self.copy_in = !ended;
        if self.copy_in && self.dues.front() == Some(Kind::Execute) {
            self.unsynced = true;
        }
    }

    /// The server ignores what follows an error in the extended protocol, up to
    /// the next Sync.
    fn on_error(&mut self) {
        self.copy_in = false;
        self.copy_out = false;
        while self.dues.front() == Some(Kind::CopyEnd) {
            self.dues.pop();
        }
        if matches!(
            self.dues.front(),
            None | Some(Kind::Query | Kind::Deallocate | Kind::Sync)
        ) {
            return;
        }
        let mut first = true;
        while let Some(kind) = self.dues.front() {
            if kind == Kind::Sync {
                return;
            }
            self.dues.pop();
            self.failed(kind, first);
            first = false;
        }
        self.skipping = true;
        // What was to go alone is skipped, and the Sync has to come.
        self.alone = false;
    }

    /// What was taken off without an answer was not done: it was `refused`, or
    /// skipped after something else was.
    fn failed(&mut self, kind: Kind, refused: bool) {
        match kind {
            Kind::Query | Kind::Deallocate => self.queries -= 1,
            Kind::ParseNamed => {
                self.pending.parse_failed();
                self.pending.name_failed();
            }
            Kind::OwnParse => self.pending.parse_failed(),
            Kind::OwnClose => self.pending.close_failed(),
            Kind::KnownParse | Kind::KnownClose | Kind::Taken | Kind::NameGone => {
                self.pending.name_failed();
            }
            Kind::ParseUnnamed | Kind::UnnamedGone => self.unnamed_failed(refused),
            // One of them may have been for the unnamed statement.
            Kind::HelpParse | Kind::HelpClose => self.unnamed_undone(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;

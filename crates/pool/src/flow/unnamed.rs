//! Unnamed: whose unnamed statement a server has.
//!
//! A client's own messages change it as they do without a pooler. What it is
//! when a batch fails half way depends on what the server has skipped.

use super::Flow;
use super::dues::Kind;

/// Whose unnamed statement a server has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Unnamed {
    /// That of another client, or none.
    #[default]
    Foreign,
    /// The client's, by a Parse of this batch.
    Sent(u64),
    /// What the client's own messages have made of it.
    Own,
}

/// Whether the unnamed statement of a server is the client's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnnamedState {
    /// It is what PostgreSQL would have without a pooler.
    Own,
    /// The answer to an earlier batch has to be seen first.
    Pending,
    /// It is another client's, or none.
    Foreign,
}

impl Flow {
    /// Notes a Parse of the unnamed statement.
    #[inline]
    pub fn on_unnamed_parse(&mut self) {
        self.change_unnamed();
        self.push_extended(Kind::ParseUnnamed);
    }

    /// Notes a Close of the unnamed statement.
    pub fn on_unnamed_close(&mut self) {
        self.change_unnamed();
        self.push_extended(Kind::UnnamedGone);
        self.push_extended(Kind::Close);
    }

    /// Notes that the server gets the client's unnamed statement once more.
    pub fn on_unnamed_again(&mut self) {
        self.unnamed = Unnamed::Sent(self.batch);
        self.push_extended(Kind::HelpParse);
    }

    /// Notes that the server's unnamed statement is closed, since the client
    /// has none.
    pub fn on_unnamed_gone(&mut self) {
        self.unnamed = Unnamed::Sent(self.batch);
        self.push_extended(Kind::HelpClose);
    }

    /// Whether all changes of the unnamed statement are answered.
    #[inline]
    pub fn unnamed_settled(&self) -> bool {
        self.unnamed_due == 0
    }

    /// Whether it depends on what is not answered yet that a query takes the
    /// unnamed statement away.
    #[inline]
    pub fn query_may_be_skipped(&self) -> bool {
        self.renames && !self.skipping && (self.unsynced || self.unnamed_due > 0)
    }

    /// Notes that a query takes the unnamed statement away.
    #[inline(always)]
    pub(super) fn take_unnamed(&mut self) {
        if self.query_may_be_skipped() {
            self.change_unnamed();
            self.push(Kind::UnnamedGone);
        } else if !self.skipping {
            self.unnamed = Unnamed::Own;
        }
    }

    /// Whose unnamed statement the server has.
    #[inline]
    pub fn unnamed(&self) -> UnnamedState {
        match self.unnamed {
            Unnamed::Own => UnnamedState::Own,
            Unnamed::Sent(batch) if batch == self.batch || batch < self.answered() => {
                UnnamedState::Own
            }
            Unnamed::Sent(_) => UnnamedState::Pending,
            Unnamed::Foreign => UnnamedState::Foreign,
        }
    }

    /// Notes a change of the unnamed statement that is carried out unless
    /// something before it fails.
    #[inline]
    pub(super) fn change_unnamed(&mut self) {
        if !self.skipping {
            self.unnamed = Unnamed::Sent(self.batch);
            self.unnamed_due += 1;
        }
    }

    /// Notes that the first change of the unnamed statement that is due was
    /// refused, or skipped.
    pub(super) fn unnamed_failed(&mut self, refused: bool) {
        self.pending.unnamed_failed(self.unnamed_due, refused);
        self.unnamed_due = self.unnamed_due.saturating_sub(1);
        self.unnamed_undone();
    }

    /// Notes that the server's unnamed statement is not what was sent in the
    /// batch that is being answered.
    pub(super) fn unnamed_undone(&mut self) {
        if self.unnamed == Unnamed::Sent(self.answered()) {
            self.unnamed = Unnamed::Foreign;
        }
    }
}

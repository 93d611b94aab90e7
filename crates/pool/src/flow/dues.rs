//! Dues: the queue of what is to come back from a server.

use std::collections::VecDeque;

use crate::prepared::StatementId;

/// One thing that is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Due {
    /// What it is.
    pub kind: Kind,
    /// The statement that Bind or Describe names.
    pub statement: Option<StatementId>,
}

/// What is due.
///
/// Those from [`Kind::Own`] on are not simply passed on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Kind {
    Query,
    Parse,
    /// Of a statement with a name; its place among the pending ones goes with
    /// it.
    ParseNamed,
    /// Of the unnamed statement.
    ParseUnnamed,
    Bind,
    Describe,
    Execute,
    Close,
    Sync,
    CopyEnd,
    /// A query of ours.
    Own,
    /// A Parse of ours, of a statement that the server is to know.
    OwnParse,
    /// A Parse of ours that nothing is remembered of.
    HelpParse,
    /// A Parse of ours with which a name of the client goes.
    NameGone,
    /// A Close of ours of a statement that makes room for another.
    OwnClose,
    /// A Close of ours that nothing is remembered of.
    HelpClose,
    /// A batch that is sent once more.
    Retry,
    /// A Parse that must fail, since the client has that name already.
    Taken,
    /// A Parse that was not sent: the server knows the statement.
    KnownParse,
    /// A Close that was not sent: the server keeps the statement.
    KnownClose,
    /// An empty query in place of a DEALLOCATE of a name.
    Deallocate,
    /// No answer: the unnamed statement goes with what is due behind it.
    UnnamedGone,
}

/// What is due, in order.
///
/// The first has a place of its own, since mostly there is no other: a simple
/// query costs no more than a word written and cleared.
///
/// Always true: `rest` is empty while there is no `first`.
#[derive(Debug, Default)]
pub(super) struct Dues {
    first: Option<Due>,
    rest: VecDeque<Due>,
}

impl Dues {
    #[inline]
    pub(super) fn front(&self) -> Option<Kind> {
        self.first.map(|due| due.kind)
    }

    /// The statement that what is due first names.
    pub(super) fn front_statement(&self) -> Option<StatementId> {
        self.first?.statement
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    #[inline]
    pub(super) fn push(&mut self, kind: Kind) {
        self.push_due(Due {
            kind,
            statement: None,
        });
    }

    #[inline]
    pub(super) fn push_due(&mut self, due: Due) {
        if self.first.is_none() {
            self.first = Some(due);
        } else {
            self.rest.push_back(due);
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<Kind> {
        let first = self.first.take();
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        first.map(|due| due.kind)
    }

    /// Takes `kind` off if it is all that is due.
    #[inline]
    pub(super) fn take_only(&mut self, kind: Kind) -> bool {
        let only = self.front() == Some(kind) && self.rest.is_empty();
        if only {
            self.first = None;
        }
        only
    }

    /// Puts `kind` in the place of what is due first.
    pub(super) fn replace_front(&mut self, kind: Kind) {
        if let Some(first) = &mut self.first {
            first.kind = kind;
        }
    }

    /// Keeps of what is due behind the first only what `keep` says.
    pub(super) fn retain_rest(&mut self, mut keep: impl FnMut(Kind) -> bool) {
        self.rest.retain(|due| keep(due.kind));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Kind> {
        let dues = self.first.iter().chain(self.rest.iter());
        dues.map(|due| due.kind)
    }
}

//! Pending: what a failed batch leaves undone.
//!
//! Names are given and taken when a Parse or Close is sent, since what follows
//! in the same batch relies on it. If the server then fails or skips it, the
//! change is undone; outcomes tell of whom.

use std::collections::VecDeque;

use crate::prepared::{Name, StatementId};

/// Changes that wait for their answer, in the order they were sent.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Changes of the client's names.
    names: VecDeque<Change>,
    /// How many of `names` were sent in batches before the current one.
    earlier: usize,
    /// Statements that were prepared on the server, or closed there.
    sent: VecDeque<Name>,
    /// How many of `sent` were sent in batches before the current one.
    sent_earlier: usize,
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Change {
    name: Box<[u8]>,
    kind: ChangeKind,
}

#[derive(Clone, Copy, Debug)]
enum ChangeKind {
    Defined,
    Removed(StatementId),
    /// Nothing changes: the Parse is to fail.
    Refused(Refusal),
}

/// Why a Parse is made to fail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The client has a statement of that name.
    Taken,
    /// There is no memory for one more.
    OutOfMemory,
}

/// What a message about prepared statements has come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The client does not have this name after all.
    Undefine(Box<[u8]>),
    /// The client still has this name.
    Restore(Box<[u8]>, StatementId),
    /// The client's use of this statement has ended.
    Released(StatementId),
    /// Whether the server has this statement is not known.
    Doubt(Name),
    /// The server still has this statement.
    Kept(Name),
    /// The client has deallocated all its statements but those with these
    /// names, which it has prepared since.
    Deallocated(Vec<Box<[u8]>>),
    /// A change of the client's unnamed statement was skipped: the last but so
    /// many, less one.
    UnnamedSkipped(usize),
    /// A Parse of the client's unnamed statement was refused: the last change
    /// but so many, less one.
    UnnamedRefused(usize),
}

impl Pending {
    /// The names of a client that a Parse gives.
    pub(super) fn define(&mut self, name: &[u8]) {
        self.change(name, ChangeKind::Defined);
    }

    /// A Close takes a name of the client, and its use of a statement.
    pub(super) fn remove(&mut self, name: &[u8], statement: StatementId) {
        self.change(name, ChangeKind::Removed(statement));
    }

    /// A Parse with this name is made to fail.
    pub(super) fn refuse(&mut self, name: &[u8], refusal: Refusal) {
        self.change(name, ChangeKind::Refused(refusal));
    }

    /// A statement is prepared or closed on the server.
    pub(super) fn sent(&mut self, name: Name) {
        self.sent.push_back(name);
    }

    /// What was sent so far belongs to earlier batches.
    #[inline]
    pub(super) fn on_sync(&mut self) {
        self.earlier = self.names.len();
        self.sent_earlier = self.sent.len();
    }

    /// Whether what becomes of a name depends on an earlier batch.
    pub(super) fn depends(&self, name: &[u8]) -> bool {
        self.earlier > 0
            && (self.earlier > LOOKED_AT
                || self
                    .names
                    .iter()
                    .take(self.earlier)
                    .any(|change| *change.name == *name))
    }

    /// Whether a Parse or Close of this statement in an earlier batch is not
    /// answered yet.
    pub(super) fn sends(&self, name: Name) -> bool {
        self.sent_earlier > LOOKED_AT
            || self.sent.iter().take(self.sent_earlier).any(|n| *n == name)
    }

    /// The name in the Parse that fails next, and why it does.
    pub(super) fn refused(&self) -> Option<(&[u8], Refusal)> {
        match self.names.front()? {
            Change {
                name,
                kind: ChangeKind::Refused(refusal),
            } => Some((name, *refusal)),
            _ => None,
        }
    }

    /// All statements were deallocated before the first of these changes.
    pub(super) fn deallocated(&mut self) {
        let since = self
            .names
            .iter()
            .filter(|change| matches!(change.kind, ChangeKind::Defined))
            .map(|change| change.name.clone());
        self.outcomes.push(Outcome::Deallocated(since.collect()));
    }

    /// The first change of a name was done.
    pub(super) fn name_done(&mut self) {
        if let Some(Change {
            kind: ChangeKind::Removed(statement),
            ..
        }) = self.pop()
        {
            self.outcomes.push(Outcome::Released(statement));
        }
    }

    /// The first change of a name came to nothing.
    pub(super) fn name_failed(&mut self) {
        match self.pop() {
            Some(Change {
                name,
                kind: ChangeKind::Defined,
            }) => self.outcomes.push(Outcome::Undefine(name)),
            Some(Change {
                name,
                kind: ChangeKind::Removed(statement),
            }) => self.outcomes.push(Outcome::Restore(name, statement)),
            _ => {}
        }
    }

    /// The first message to the server was answered.
    #[inline]
    pub(super) fn sent_done(&mut self) {
        self.pop_sent();
    }

    /// The first Parse to the server failed or was skipped.
    pub(super) fn parse_failed(&mut self) {
        let name = self.pop_sent();
        self.outcomes.extend(name.map(Outcome::Doubt));
    }

    /// The first Close to the server was skipped.
    pub(super) fn close_failed(&mut self) {
        let name = self.pop_sent();
        self.outcomes.extend(name.map(Outcome::Kept));
    }

    /// A change of the unnamed statement was refused or skipped, behind which
    /// `back - 1` are not answered yet.
    pub(super) fn unnamed_failed(&mut self, back: usize, refused: bool) {
        self.outcomes.push(if refused {
            Outcome::UnnamedRefused(back)
        } else {
            Outcome::UnnamedSkipped(back)
        });
    }

    /// The client's name of a statement that a Close in flight takes from it.
    pub(super) fn removed(&self, is: impl Fn(StatementId) -> bool) -> Option<&[u8]> {
        let change = self.names.iter().find(
            |change| matches!(change.kind, ChangeKind::Removed(statement) if is(statement)),
        )?;
        Some(&change.name)
    }

    /// Whether there is something for [`Pending::take_outcomes`].
    #[inline]
    pub(super) fn has_outcomes(&self) -> bool {
        !self.outcomes.is_empty()
    }

    /// Outcomes in the order in which they are to be carried out: the last
    /// change is undone first.
    pub(super) fn take_outcomes(&mut self) -> impl Iterator<Item = Outcome> + use<> {
        std::mem::take(&mut self.outcomes).into_iter().rev()
    }

    /// The client has left: its names are nobody's, and its uses of statements
    /// end.
    pub(super) fn forget_client(&mut self) {
        for change in &mut self.names {
            if let ChangeKind::Removed(statement) = change.kind {
                self.outcomes.push(Outcome::Released(statement));
            }
            change.kind = ChangeKind::Refused(Refusal::Taken);
        }
    }

    fn change(&mut self, name: &[u8], kind: ChangeKind) {
        self.names.push_back(Change {
            name: name.into(),
            kind,
        });
    }

    fn pop_sent(&mut self) -> Option<Name> {
        self.sent_earlier = self.sent_earlier.saturating_sub(1);
        self.sent.pop_front()
    }

    fn pop(&mut self) -> Option<Change> {
        self.earlier = self.earlier.saturating_sub(1);
        self.names.pop_front()
    }
}

/// With more changes in flight than this, all names wait for their answers.
const LOOKED_AT: usize = 64;

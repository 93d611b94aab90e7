//! Plans: what is noted for messages that name prepared statements.

use pgskein_protocol::tag::{backend, frontend};

use super::dues::{Due, Kind};
use super::{Flow, Outcome, Refusal, UnnamedState};
use crate::prepared::{Name, StatementId};

impl Flow {
    /// The batch that is being sent.
    #[inline]
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The first batch that is not answered yet, or the current one.
    #[inline]
    pub fn answered(&self) -> u64 {
        self.batch - self.syncs
    }

    /// Whether statements have other names on the server.
    #[inline]
    pub fn renames(&self) -> bool {
        self.renames
    }

    /// Whether what becomes of a client's name depends on an earlier batch.
    #[inline]
    pub fn depends(&self, name: &[u8]) -> bool {
        self.pending.depends(name)
    }

    /// Notes a message in which nothing is to be planned: one about a portal of
    /// no name or of the unnamed statement, which is the client's own; false,
    /// and nothing noted, if it is another.
    #[inline]
    pub fn on_plain(&mut self, tag: u8, body: &[u8]) -> bool {
        match (tag, body) {
            (frontend::BIND, [0, 0, ..]) if self.unnamed() == UnnamedState::Own => {
                self.on_bind(None);
            }
            (frontend::DESCRIBE, [b'P', ..]) => self.push_extended(Kind::Describe),
            (frontend::CLOSE, [b'P', ..]) => self.push_extended(Kind::Close),
            _ => return false,
        }
        true
    }

    /// Whether it depends on an earlier batch if the server has a statement.
    #[inline]
    pub fn sends(&self, name: Name) -> bool {
        self.pending.sends(name)
    }

    /// Notes a message whose names stay as they are.
    pub fn on_untouched(&mut self, tag: u8) {
        self.on_unplanned(tag);
    }

    /// Notes a Parse of a statement that the server gets to know, by the name
    /// of the client.
    pub fn on_parse(&mut self, client_name: &[u8], name: Name) {
        self.push_extended(Kind::ParseNamed);
        self.pending.define(client_name);
        self.pending.sent(name);
    }

    /// Notes a Parse that is not sent.
    pub fn on_known_parse(&mut self, client_name: &[u8]) {
        self.push_extended(Kind::KnownParse);
        self.pending.define(client_name);
    }

    /// Notes a Parse that is made to fail.
    pub fn on_refused_parse(&mut self, client_name: &[u8], refusal: Refusal) {
        self.push_extended(Kind::Taken);
        self.pending.refuse(client_name, refusal);
    }

    /// Notes a Bind of a statement that the server knows by now.
    #[inline]
    pub fn on_bind(&mut self, statement: Option<StatementId>) {
        self.push_statement(Kind::Bind, statement);
    }

    /// Notes a Describe of a statement that the server knows by now.
    pub fn on_describe(&mut self, statement: Option<StatementId>) {
        self.push_statement(Kind::Describe, statement);
    }

    /// Notes a Close that is not sent; `statement` is the use of the name that
    /// goes with it.
    pub fn on_known_close(&mut self, client_name: &[u8], statement: StatementId) {
        self.push_extended(Kind::KnownClose);
        self.pending.remove(client_name, statement);
    }

    /// Notes a Parse of ours of a statement that the server is to know.
    pub fn on_own_parse(&mut self, name: Name) {
        self.push_extended(Kind::OwnParse);
        self.pending.sent(name);
    }

    /// Notes a Close of ours of a statement that makes room.
    pub fn on_own_close(&mut self, name: Name) {
        self.push_extended(Kind::OwnClose);
        self.pending.sent(name);
    }

    /// Notes a Parse of ours that nothing is remembered of.
    pub fn on_help_parse(&mut self) {
        self.push_extended(Kind::HelpParse);
    }

    /// Notes a Close of ours that nothing is remembered of.
    pub fn on_help_close(&mut self) {
        self.push_extended(Kind::HelpClose);
    }

    /// Notes a Parse of ours with which a name of the client goes; `statement`
    /// is the use of the name that goes with it.
    pub fn on_name_gone(&mut self, client_name: &[u8], statement: StatementId) {
        self.push_extended(Kind::NameGone);
        self.pending.remove(client_name, statement);
    }

    /// Notes an empty query that stands for a DEALLOCATE.
    pub fn on_deallocate(&mut self) {
        self.queries += u64::from(!self.skipping);
        self.push(Kind::Deallocate);
    }

    /// Whether a ReadyForQuery is due.
    pub fn ready_due(&self) -> bool {
        self.syncs + self.queries > 0 || self.dues.front() == Some(Kind::Retry)
    }

    /// Whether an answer of ours is what is due next.
    #[inline]
    pub fn owes_answer(&self) -> bool {
        matches!(self.dues.front(), Some(Kind::KnownParse | Kind::KnownClose))
    }

    /// Whether the client has asked for an answer of ours that is due; says so
    /// once.
    #[inline]
    pub fn take_flush(&mut self) -> bool {
        std::mem::take(&mut self.flush) && self.owes_answer()
    }

    /// Takes off the answer of ours that is due next: its tag; it has no body.
    pub fn answer(&mut self) -> Option<u8> {
        let tag = match self.dues.front()? {
            Kind::KnownParse => backend::PARSE_COMPLETE,
            Kind::KnownClose => backend::CLOSE_COMPLETE,
            _ => return None,
        };
        self.dues.pop();
        self.pending.name_done();
        Some(tag)
    }

    /// The name in the Parse that is made to fail and is answered next, and
    /// why it is.
    pub fn refused(&self) -> Option<(&[u8], Refusal)> {
        (self.dues.front() == Some(Kind::Taken))
            .then(|| self.pending.refused())
            .flatten()
    }

    /// The client's name of a statement that a Close in flight takes from it.
    pub fn removed(&self, is: impl Fn(StatementId) -> bool) -> Option<&[u8]> {
        self.pending.removed(is)
    }

    /// The statement in the Bind or Describe that is answered next.
    pub fn answered_statement(&self) -> Option<StatementId> {
        self.dues.front_statement()
    }

    /// Makes ready to send a batch of Bind, Describe, Execute and Sync once
    /// more, whose Bind has just failed; false when that is not all that is
    /// due.
    pub fn retry(&mut self) -> bool {
        let batch = [Kind::Bind, Kind::Describe, Kind::Execute, Kind::Sync];
        if self.unsynced || !self.dues.iter().eq(batch) {
            return false;
        }
        for _ in 1..batch.len() {
            self.dues.pop();
        }
        self.syncs -= 1;
        self.dues.replace_front(Kind::Retry);
        self.alone = true;
        true
    }

    /// Notes that the server has said that all statements are deallocated.
    pub fn on_deallocated(&mut self) {
        self.pending.deallocated();
    }

    /// Whether an answer of ours is due next, or some names have come to
    /// something.
    #[inline]
    pub fn unfinished(&self) -> bool {
        self.owes_answer() || self.pending.has_outcomes()
    }

    /// What names have come to, in the order in which it is to be carried out.
    pub fn take_outcomes(&mut self) -> impl Iterator<Item = Outcome> + use<> {
        self.pending.take_outcomes()
    }

    /// The client has left; what it changed is nobody's.
    pub fn forget_client(&mut self) {
        self.pending.forget_client();
    }

    #[inline]
    fn push_statement(&mut self, kind: Kind, statement: Option<StatementId>) {
        self.unsynced = true;
        if !self.skipping {
            self.dues.push_due(Due { kind, statement });
        }
    }
}

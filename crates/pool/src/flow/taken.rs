//! Taken: a server at rest that another worker has used before.

use pgskein_protocol::TransactionStatus;

use super::unnamed::Unnamed;
use super::{Flow, Status, UnnamedState};

impl Flow {
    /// A server that nothing is due from, whose last ReadyForQuery said
    /// `status`.
    ///
    /// What is prepared there was answered before its first batch.
    pub fn taken(status: TransactionStatus) -> Self {
        Self {
            status: Status(Some(status)),
            batch: 1,
            ..Self::default()
        }
    }

    /// Whether its unnamed statement is what the client has made of it.
    pub fn has_own_unnamed(&self) -> bool {
        self.unnamed() == UnnamedState::Own
    }

    /// Goes on serving a client for which [`Flow::on_link`] was told `renames`
    /// and `singly`; `unnamed` says what [`Flow::has_own_unnamed`] said.
    pub fn go_on_with(&mut self, renames: bool, singly: bool, unnamed: bool) {
        self.on_link(renames, singly);
        if unnamed {
            self.unnamed = Unnamed::Own;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepared::{Found, Known, Name, Statements};

    #[test]
    fn is_at_rest_and_knows_its_transaction() {
        let mut flow = Flow::taken(TransactionStatus::InTransaction);
        assert!(flow.at_rest() && !flow.running());
        assert_eq!(flow.status(), TransactionStatus::InTransaction);
        flow.go_on_with(true, false, true);
        assert!(flow.renames() && flow.has_own_unnamed());
        flow.go_on_with(true, false, false);
        assert!(!flow.has_own_unnamed());
    }

    #[test]
    fn counts_what_was_prepared_elsewhere_as_answered() {
        let (mut known, mut memory) = (Known::default(), Statements::new([0; 16]));
        let name = Name::of([0; 16].into(), b"x");
        known.adopt(name, false, &mut memory);
        let mut flow = Flow::taken(TransactionStatus::Idle);
        for _ in 0..3 {
            let found = known.find(name, flow.batch(), flow.answered());
            assert_eq!(found, Found::Ready);
            flow.on_client(b'S');
        }
    }
}

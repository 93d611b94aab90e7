//! Lost: what a client is still owed when its server is gone.

use pgskein_protocol::TransactionStatus;

use super::Flow;
use super::dues::Kind;

/// What a client whose server is gone has sent there and got no answer to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Owed {
    /// Queries and whole batches; each is answered with a ReadyForQuery.
    pub rounds: u64,
    /// A batch of which the Sync is still to come.
    pub open: Option<Open>,
    /// Whether it was in a transaction block.
    pub in_transaction: bool,
}

/// How far a batch has come whose Sync is still to come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Open {
    /// It has not failed yet.
    Unanswered,
    /// It has failed, and its client knows.
    Failed,
}

impl Flow {
    /// Whether COPY data are under way in either direction, or to be ended.
    pub fn copying(&self) -> bool {
        self.copy_in || self.copy_out || self.dues.iter().any(|due| due == Kind::CopyEnd)
    }

    /// The server is gone: all that is due has failed. Outcomes tell what that
    /// means for the client's names.
    pub fn lose(&mut self) -> Owed {
        let mut owed = Owed {
            rounds: 0,
            open: match (self.skipping, self.unsynced) {
                (true, _) => Some(Open::Failed),
                (false, true) => Some(Open::Unanswered),
                (false, false) => None,
            },
            in_transaction: self.status() != TransactionStatus::Idle,
        };
        let mut refused = true;
        while let Some(kind) = self.dues.pop() {
            let round = matches!(
                kind,
                Kind::Query | Kind::Deallocate | Kind::Sync | Kind::Retry
            );
            if kind == Kind::Sync {
                self.syncs -= 1;
            } else {
                self.failed(kind, refused);
            }
            refused = round;
            owed.rounds += u64::from(round);
        }
        self.unsynced = false;
        self.skipping = false;
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Outcome;

    /// A flow behind a ReadyForQuery with this status, to which these were sent.
    fn sent(status: TransactionStatus, tags: &[u8]) -> Flow {
        let mut flow = Flow::default();
        flow.on_client(b'Q');
        flow.on_ready(status);
        for tag in tags {
            flow.on_client(*tag);
        }
        flow
    }

    fn owed(rounds: u64, open: Option<Open>, in_transaction: bool) -> Owed {
        Owed {
            rounds,
            open,
            in_transaction,
        }
    }

    #[test]
    fn owes_a_round_for_each_query_and_each_whole_batch() {
        use TransactionStatus::{Failed, Idle, InTransaction};
        for (status, tags, expected) in [
            (Idle, &b""[..], owed(0, None, false)),
            (InTransaction, b"", owed(0, None, true)),
            (Failed, b"Q", owed(1, None, true)),
            (Idle, b"QF", owed(2, None, false)),
            (InTransaction, b"PBDESPBES", owed(2, None, true)),
            (Idle, b"PBE", owed(0, Some(Open::Unanswered), false)),
            (InTransaction, b"SPB", owed(1, Some(Open::Unanswered), true)),
        ] {
            let mut flow = sent(status, tags);
            assert_eq!(flow.lose(), expected, "{tags:?}");
            assert!(flow.at_rest());
        }
    }

    #[test]
    fn owes_no_error_to_a_batch_that_has_failed() {
        let mut flow = sent(TransactionStatus::InTransaction, b"PBE");
        flow.on_server(b'E');
        assert_eq!(flow.lose(), owed(0, Some(Open::Failed), true));
    }

    #[test]
    fn undoes_the_names_of_what_was_lost() {
        let mut flow = Flow::default();
        flow.on_link(true, false);
        let name = crate::prepared::Name::of([1; 16].into(), b"select 1");
        flow.on_parse(b"s", name);
        flow.on_client(b'S');
        flow.lose();
        let outcomes: Vec<Outcome> = flow.take_outcomes().collect();
        let expected = [Outcome::Undefine((*b"s").into()), Outcome::Doubt(name)];
        assert_eq!(outcomes, expected);
    }

    #[test]
    fn knows_copies_in_both_directions() {
        for (tag, end) in [(b'G', b'E'), (b'H', b'c')] {
            let mut flow = sent(TransactionStatus::Idle, b"Q");
            flow.on_server(tag);
            assert!(flow.copying());
            flow.on_server(end);
            assert!(!flow.copying());
        }
    }
}

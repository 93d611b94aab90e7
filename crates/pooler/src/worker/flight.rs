//! Flight: what is put together for a server in one turn of its client.
//!
//! Frames that go as they are go straight from where they were read. Once one
//! of them is replaced, all of the turn is put together here and still written
//! at once.
//!
//! A batch that may have to be sent again is kept: PostgreSQL refuses a Bind
//! when the result of its statement has changed its columns, and that is no
//! business of a client that asks for their description with every execution.

use pgskein_pool::prepared::StatementId;
use pgskein_protocol::tag::frontend;
use pgskein_protocol::{HEADER_LEN, Header};

/// What is put together in this turn.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// What goes to the server.
    pub bytes: Vec<u8>,
    shape: Shape,
}

/// What is there of a batch that can be sent again.
///
/// Such a batch begins at rest, outside a transaction, and is nothing but
/// Bind, Describe of the portal, Execute and Sync.
#[derive(Clone, Copy, Debug, Default)]
enum Shape {
    /// Nothing, and it may begin here.
    #[default]
    Nothing,
    /// The Bind of a statement, from this place on.
    Begun(StatementId, usize),
    /// Something else.
    Other,
}

/// A batch that can be sent again.
#[derive(Debug, Default)]
pub(super) struct Replay {
    bytes: Vec<u8>,
    from: usize,
    statement: Option<StatementId>,
}

impl Flight {
    /// Begins a turn; whether the server is `fresh`, at rest and outside a
    /// transaction.
    pub(super) fn begin(&mut self, fresh: bool) {
        self.bytes.clear();
        self.bytes.shrink_to(REPLAY_MAX);
        self.shape = if fresh { Shape::Nothing } else { Shape::Other };
    }

    /// Notes a message that was planned and begins at `from`; Bind and Describe
    /// may name a statement.
    pub(super) fn planned(&mut self, tag: u8, from: usize, statement: Option<StatementId>) {
        self.shape = match (self.shape, tag, statement) {
            (Shape::Nothing, frontend::BIND, Some(statement)) => Shape::Begun(statement, from),
            _ => Shape::Other,
        };
    }

    /// Keeps the batch that was just sent, if it can be sent again; its memory
    /// changes places with that of the last one.
    pub(super) fn keep(&mut self, replay: &mut Replay) {
        if let Shape::Begun(statement, from) = self.shape
            && self.bytes.capacity() <= REPLAY_MAX
            && self.bytes.get(from..).is_some_and(is_a_batch)
        {
            std::mem::swap(&mut self.bytes, &mut replay.bytes);
            replay.from = from;
            replay.statement = Some(statement);
        }
    }
}

impl Replay {
    /// The batch from its Bind on, and the statement that is bound.
    pub(super) fn batch(&self) -> Option<(StatementId, &[u8])> {
        Some((self.statement?, self.bytes.get(self.from..)?))
    }

    /// Something else was sent: there is nothing to send again.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.statement = None;
    }
}

/// Whether `bytes` are Bind, Describe of a portal, Execute and Sync, and nothing
/// more.
fn is_a_batch(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    for tag in [
        frontend::BIND,
        frontend::DESCRIBE,
        frontend::EXECUTE,
        frontend::SYNC,
    ] {
        match Header::peek(rest) {
            Ok(Some(header)) if header.tag == tag => {
                if tag == frontend::DESCRIBE && rest.get(HEADER_LEN) != Some(&b'P') {
                    return false;
                }
                rest = rest.get(header.total()..).unwrap_or_default();
            }
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Most memory for a flight that is kept, in bytes.
const REPLAY_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_batch_from_anything_longer() {
        let batch = b"B\0\0\0\x04D\0\0\0\x06P\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
        assert!(is_a_batch(batch));
        assert!(!is_a_batch(&batch[..batch.len() - 5]));
        assert!(!is_a_batch(&[&batch[..], b"S\0\0\0\x04"].concat()));
        let statement = b"B\0\0\0\x04D\0\0\0\x06S\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
        assert!(!is_a_batch(statement));
    }
}

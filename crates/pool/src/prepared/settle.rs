//! Settling: carrying out what messages about prepared statements have come to.

use super::{Known, Prepared, Statements};
use crate::flow::Outcome;

impl Outcome {
    /// Carries this out for a server and for the client that has sent the
    /// message; of one that has left, only what it used is released.
    pub fn carry_out(
        self,
        client: Option<&mut Prepared>,
        known: &mut Known,
        statements: &mut Statements,
    ) {
        match (self, client) {
            (Self::Doubt(name), _) => known.doubt(name),
            (Self::Kept(name), _) => known.restore(name, statements),
            (Self::Deallocated(since), client) => {
                known.doubt_all();
                if let Some(client) = client {
                    client.clear_but(&since, statements);
                }
            }
            (Self::Undefine(name), Some(client)) => {
                if let Some(statement) = client.remove(&name, statements) {
                    statements.release(statement);
                }
            }
            (Self::Restore(name, statement), Some(client)) => {
                client.restore(&name, statement, statements);
            }
            (Self::Released(statement) | Self::Restore(_, statement), _) => {
                statements.release(statement);
            }
            (Self::UnnamedSkipped(back), Some(client)) => client.unnamed.skipped(back),
            (Self::UnnamedRefused(back), Some(client)) => client.unnamed.refused(back),
            (Self::Undefine(_) | Self::UnnamedSkipped(_) | Self::UnnamedRefused(_), None) => {}
        }
    }
}

//! A query whose answer is not read yet.

use super::{Client, SqlState};

/// An answer that is due.
#[derive(Debug)]
#[must_use = "an answer that nobody reads is found by the next query"]
pub struct PendingQuery<'a> {
    client: &'a Client,
}

impl<'a> PendingQuery<'a> {
    pub(super) fn new(client: &'a Client) -> Self {
        Self { client }
    }

    /// Reads the answer up to ReadyForQuery. A row is its columns joined by `|`.
    ///
    /// # Errors
    ///
    /// The SQLSTATE of the first error. [`SqlState::CLOSED`] when the
    /// connection ended without one.
    pub fn wait(self) -> Result<Vec<String>, SqlState> {
        let mut rows = Vec::new();
        let mut error = None;
        loop {
            let Some(message) = self.client.read_message() else {
                return Err(error.unwrap_or(SqlState::CLOSED));
            };
            match message.tag {
                b'D' => {
                    let columns = message.columns().into_iter();
                    rows.push(
                        columns
                            .map(Option::unwrap_or_default)
                            .collect::<Vec<_>>()
                            .join("|"),
                    );
                }
                b'E' => {
                    error.get_or_insert(SqlState::of(&message.error()));
                }
                b'Z' => return error.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }
}

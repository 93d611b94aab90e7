//! Unnamed: whose unnamed statement a server has.

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

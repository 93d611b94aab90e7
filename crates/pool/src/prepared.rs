//! Prepared statements: what clients have prepared, on whichever server.
//!
//! A client names its statements as it likes; on the servers each text with
//! its parameter types has one name, the same on all of them. A client's Bind
//! is sent with that name, after a Parse of ours where its server does not
//! know the statement yet.
//!
//! | part | what it knows |
//! |---|---|
//! | [`Statements`] | the texts in use by a worker, once each, and what they cost |
//! | [`Prepared`] | what one client has prepared: its names |
//! | [`Unnamed`] | the statement without a name of one client |
//! | [`Known`] | what one server has prepared, least recently used first out |
//! | [`plan`] | what is sent for each message of a client |
//!
//! Source: PostgreSQL documentation, "Extended Query".

mod known;
mod names;
pub mod plan;
mod settle;
mod statements;
mod unnamed;

pub use known::{Found, Known};
pub use names::Prepared;
pub use statements::{Name, OutOfMemory, StatementId, StatementKey, Statements};
pub use unnamed::Unnamed;

//! The differential test: what PostgreSQL says must come through the pooler.
//!
//! Sequences of messages that a client may send are made from seeds. Each is
//! sent to PostgreSQL directly and through the pooler, to tables of the same
//! content, and the answers must be the same, message by message and byte by
//! byte. Several clients do so at the same time over few server connections,
//! so that each interferes with the others.
//!
//! A difference is reported with its seed and the smallest sequence found that
//! still shows it.

mod compare;
mod dues;
mod generator;
mod lane;
mod message;
mod random;
mod run;
mod sequence;
mod shrink;
mod texts;

pub use lane::Differential;

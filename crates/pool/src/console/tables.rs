//! The declarations of all tables, in the columns and the order of PgBouncer.
//!
//! What is ours comes after what is PgBouncer's.
//!
//! Source: PgBouncer documentation, "usage", "Admin console".

pub(super) mod databases;
pub(super) mod drain;
pub(super) mod latency;
pub(super) mod leases;
pub(super) mod lists;
pub(super) mod peers;
pub(super) mod pools;
pub(super) mod sockets;
pub(super) mod state;
pub(super) mod stats;

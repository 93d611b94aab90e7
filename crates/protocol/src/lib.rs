//! Turns bytes into PostgreSQL messages and back.
//!
//! Parsers borrow from the bytes they are given, and "not yet" is not an
//! error. Writers append to a buffer of the caller. There is no I/O, clock or
//! randomness here: sockets, time and random bytes belong to the callers.
//!
//! | module | what is in it |
//! |---|---|
//! | [`frame`], [`tag`] | where a message ends, and what its first byte means |
//! | [`proxy`] | what a proxy puts before all packets |
//! | [`startup`], [`negotiate`], [`bid`], [`options`], [`replication`] | the packets before the first message |
//! | [`backend`], [`frontend`] | views of messages from servers and from clients |
//! | [`mod@write`] | every message that pgskein itself sends |
//! | [`md5`], [`secret`], [`scram`] | passwords and proofs |
//! | [`key`] | cancel keys and what is encoded in them |
//! | [`ldap`] | what a directory is asked, and what it answers |
#![forbid(unsafe_code)]

pub mod backend;
pub mod bid;
pub mod certificate;
mod der;
pub mod end_point;
pub mod frame;
pub mod frontend;
pub mod key;
pub mod ldap;
pub mod md5;
pub mod negotiate;
pub mod options;
pub mod proxy;
pub mod public_key;
mod read;
pub mod replication;
pub mod scram;
pub mod secret;
pub mod startup;
pub mod tag;
pub mod validity;
pub mod write;

pub use backend::{Authentication, ErrorFields, TransactionStatus};
pub use bid::{Bid, BidError};
pub use certificate::{NameError, common_name};
pub use end_point::tls_server_end_point;
pub use frame::{Frame, FrameError, HEADER_LEN, Header};
pub use key::{CancelKey, KeyPlan, Slot};
pub use negotiate::{Negotiation, NegotiationError};
pub use options::{OptionsError, parse_options};
pub use proxy::{ProxyError, ProxyHeader};
pub use public_key::PublicKey;
pub use replication::{Replication, ReplicationError};
pub use scram::{ScramClient, ScramCredential, ScramDone, ScramError, ScramServer};
pub use secret::{Fingerprint, ScramSecret, Secret};
pub use startup::{CancelRequest, MAX_STARTUP, Startup, StartupError, StartupMessage, Version};
pub use validity::Validity;
pub use write::{CancelError, Column, Report};

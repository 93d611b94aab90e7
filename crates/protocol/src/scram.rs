//! SCRAM-SHA-256, the side of the server and the side of the client.
//!
//! ```text
//! client                                   server
//!   first: n,,n=,r=NONCE            ──>      first
//!   last                            <──      r=NONCE…,s=SALT,i=ITERATIONS
//!   c=biws,r=NONCE…,p=PROOF         ──>      last
//!   verify                          <──      v=SIGNATURE
//! ```
//!
//! The user name in the messages is empty and is ignored, as in PostgreSQL:
//! the startup packet has it. An exchange over TLS may be bound to its
//! connection ([`Channel`]); then the mechanism has another name.
//!
//! Deriving the keys of a password takes milliseconds on purpose; everything
//! else here takes microseconds. [`ScramKeys::derive`] can be called in a
//! thread of its own and its result be kept.
//!
//! Source: RFC 5802, RFC 7677; PostgreSQL documentation, "SASL
//! Authentication".

mod channel;
mod client;
mod crypto;
mod error;
mod keys;
mod server;
mod text;

pub use channel::Channel;
pub use client::{Challenge, ScramClient, ScramCredential};
pub use error::ScramError;
pub use keys::ScramKeys;
pub use server::{ScramDone, ScramServer};

pub(crate) use crypto::hmac;
pub(crate) use text::{encode, parse_count};

/// The name of the mechanism.
pub const MECHANISM: &str = "SCRAM-SHA-256";

/// The name of the mechanism with channel binding.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// The most iterations that a server may ask of us: about half a second.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The longest nonce that is accepted, in bytes.
pub const MAX_NONCE: usize = 1024;

/// Random bytes in a nonce of ours.
pub const NONCE_LEN: usize = 18;

//! Decides who waits, who is linked and what is forwarded.
#![forbid(unsafe_code)]

pub mod client_places;
pub mod console;
pub mod control;
pub mod desk;
pub mod directory;
pub mod drain;
pub mod drain_order;
pub mod flow;
pub mod handoff;
pub mod keys;
pub mod ledger;
pub mod legacy;
pub mod line;
pub mod lost;
pub mod moves;
mod octets;
pub mod old_hosts;
pub mod parameters;
pub mod peer;
pub mod peers;
pub mod pools;
pub mod prepared;
pub mod role;
pub mod runtime;
pub mod secret_query;
pub mod slab;
pub mod statistics;
pub mod text;
pub mod tickets;
pub mod tour;
pub mod unknown_keys;
pub mod usual_secrets;
pub mod welcomes;

//! The only place with `unsafe`: system calls that have no safe wrapper.
//!
//! Each file holds one of them behind a function that cannot be misused.
#![expect(unsafe_code, reason = "what this module is for")]

pub(crate) mod descriptors;
pub(crate) mod shared_memory;

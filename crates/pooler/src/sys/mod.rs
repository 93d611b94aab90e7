//! The only place with `unsafe`: system calls that have no safe wrapper.
//!
//! Each file holds some of them behind functions that cannot be misused.
#![expect(unsafe_code, reason = "what this module is for")]

pub(crate) mod capabilities;
pub(crate) mod descriptors;
pub(crate) mod epoll;
pub(crate) mod exec;
pub(crate) mod last_words;
pub(crate) mod pam;
pub(crate) mod process;
pub(crate) mod resolver;
pub(crate) mod shared_memory;
pub(crate) mod socket;
pub(crate) mod tcp;
pub(crate) mod title;

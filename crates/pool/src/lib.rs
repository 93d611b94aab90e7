//! Decides who waits, who is linked and what is forwarded.
#![forbid(unsafe_code)]

//! Declares every setting of pgskein once.
#![forbid(unsafe_code)]

//! Turns bytes into PostgreSQL messages and back.
#![forbid(unsafe_code)]

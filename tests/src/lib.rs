//! Harness for scenarios.

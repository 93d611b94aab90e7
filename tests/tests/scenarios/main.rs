//! Scenarios: the real program in front of a real PostgreSQL.
//!
//! They are one program, so that they share one template of a server and run
//! at the same time; each file holds one idea.

use pgskein_tests as harness;

mod pgbench;

//! Scenarios: the real program in front of a real PostgreSQL.
//!
//! They are one program, so that they share one template of a server and run
//! at the same time; each file holds one idea.

use pgskein_tests as harness;

mod authentication;
mod cancel;
mod cancel_races;
mod client_leaves;
mod client_limits;
mod console;
mod console_rights;
mod console_tables;
mod copy;
mod descriptors;
mod differential;
mod drain;
mod drain_carriers;
mod drain_listeners;
mod drain_timeouts;
mod drivers;
mod full_postgresql;
mod garbage;
mod hangs;
mod leases;
mod life_of_servers;
mod limits;
mod modes;
mod negotiation;
mod notices;
mod orders;
mod orders_pause;
mod orders_random;
mod orders_settings;
mod orders_suspend;
mod parameters;
mod parameters_refused;
mod pgbench;
mod postgresql_18;
mod prepared;
mod prepared_pgbench;
mod prepared_talk;
mod program;
mod protocol;
mod psql;
mod reload;
mod replication;
mod replication_ends;
mod replication_limits;
mod replication_programs;
mod replication_streams;
mod rust_postgres;
mod server_versions;
mod session_state;
mod session_state_choices;
mod session_state_probe;
mod signals;
mod slow_reader;
mod sockets;
mod startup_parameters;
mod statistics_log;
mod supervisor_death;
mod timeouts;
mod unlucky;
mod unlucky_copy;
mod welcome;
mod worker_death;

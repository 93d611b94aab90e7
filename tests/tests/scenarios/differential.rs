//! Whatever a client may say is answered as PostgreSQL answers it.
//!
//! What is sent is made from seeds. `PGSKEIN_DIFFERENTIAL_SEED` runs one of
//! them again and again, with `PGSKEIN_DIFFERENTIAL_COUNT` so many from it on.

use crate::harness::{Differential, Pooler, Postgres};

#[test]
fn random_sequences_are_answered_alike_in_session_mode() {
    answered_alike("workers = 1\npool_mode = session\ndefault_pool_size = 3");
}

#[test]
fn random_sequences_are_answered_alike_in_transaction_mode() {
    answered_alike("workers = 1\npool_mode = transaction\ndefault_pool_size = 2");
}

#[test]
fn random_sequences_are_answered_alike_with_few_statements_on_a_server() {
    answered_alike(
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 2\nmax_prepared_statements = 3",
    );
}

#[test]
fn random_sequences_are_answered_alike_by_two_workers() {
    answered_alike("workers = 2\npool_mode = transaction\ndefault_pool_size = 3");
}

fn answered_alike(settings: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, settings);
    Differential::new(&postgres, &pooler).run();
}

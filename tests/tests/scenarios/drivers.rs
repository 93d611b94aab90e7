//! Drivers for Python and Node, an old version of each and the current one, do
//! all they can through few servers, with others around.
//!
//! Each program in `tests/clients` has several sessions at once, checks every
//! answer by itself, and prints a number at its end.

use crate::harness::{Crowd, Drivers, Pooler, Postgres, Script};

#[test]
fn psycopg_works_without_prepared_statements() {
    works(Script::python, "psycopg_unprepared.py", TRANSACTION, "42");
}

#[test]
fn psycopg_prepares_by_count_and_forgets_again() {
    works(Script::python, "psycopg_prepared.py", TRANSACTION, "6");
}

#[test]
fn psycopg_works_in_pipeline_mode() {
    works(Script::python, "psycopg_pipeline.py", TRANSACTION, "6");
}

#[test]
fn psycopg_copies_scrolls_and_cancels() {
    works(Script::python, "psycopg_session.py", TRANSACTION, "6");
}

#[test]
fn libpq_pipelines_have_their_errors_where_they_belong() {
    works(Script::python, "libpq_pipeline.py", TRANSACTION, "6");
}

#[test]
fn libpq_pipelines_work_in_statement_mode() {
    works(Script::python, "libpq_pipeline.py", STATEMENT, "6");
}

#[test]
fn asyncpg_keeps_its_cache_of_statements() {
    works(Script::python, "asyncpg_session.py", TRANSACTION, "6");
}

#[test]
fn pg8000_prepares_and_closes() {
    works(Script::python, "pg8000_session.py", TRANSACTION, "6");
}

#[test]
fn node_postgres_has_named_queries_cursors_and_a_pool() {
    works(Script::node, "node_postgres.js", TRANSACTION, "6");
}

/// Runs a program with both versions of its drivers.
fn works(script: fn(Drivers, &str) -> Script, name: &str, settings: &str, expected: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, settings);
    let members = if settings == STATEMENT { 0 } else { 4 };
    for drivers in [Drivers::Old, Drivers::New] {
        let script = script(drivers, name);
        let run = Crowd::during(&pooler, members, || script.run(pooler.port(), &[]));
        assert_eq!(run.ok(), expected, "{drivers:?}");
    }
}

/// Fewer servers than sessions, and fewer statements on each than there are.
const TRANSACTION: &str = "workers = 2\npool_mode = transaction\ndefault_pool_size = 4\n\
                           max_prepared_statements = 20";
const STATEMENT: &str = "workers = 2\npool_mode = statement\ndefault_pool_size = 4\n\
                         max_prepared_statements = 20";

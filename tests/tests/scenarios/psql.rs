//! psql says through the pooler what it says without, with others around.

use std::thread;

use crate::harness::{Crowd, Pooler, Postgres, Psql, Release};

#[test]
fn copy_in_and_out_of_files_and_programs() {
    as_without_pooler("psql_copy.sql", Release::System);
}

#[test]
fn copy_with_the_current_psql() {
    as_without_pooler("psql_copy.sql", Release::Eighteen);
}

#[test]
fn bind_and_names_and_pipelines() {
    as_without_pooler("psql_bind.sql", Release::Eighteen);
}

/// Runs a script four times at once, and compares with PostgreSQL's own answers.
fn as_without_pooler(script: &str, release: Release) {
    let postgres = Postgres::start();
    postgres.query("create table copied (number int, text text)");
    postgres.query("create table bound (number int, value int)");
    let direct = Psql::to_port(postgres.port())
        .user("postgres")
        .release(release);
    let pooler = Pooler::start(&postgres, SETTINGS);
    let pooled = pooler.psql().user("postgres").release(release);
    let run = |psql: &Psql, number: &str| {
        let run = psql.script(script, &[("number", number)]);
        assert_eq!(run.code, Some(0), "{run:?}");
        (run.stdout, run.stderr)
    };
    Crowd::during(&pooler, 3, || {
        thread::scope(|scope| {
            for number in ["1", "2", "3", "4"] {
                let (direct, pooled) = (&direct, &pooled);
                scope.spawn(move || {
                    let (expected, expected_errors) = run(direct, number);
                    assert!(!expected.is_empty() && !expected_errors.is_empty());
                    for _ in 0..3 {
                        let (found, errors) = run(pooled, number);
                        assert_eq!(found, expected);
                        assert_eq!(errors, expected_errors);
                    }
                });
            }
        });
    });
}

const SETTINGS: &str = "workers = 2\npool_mode = transaction\ndefault_pool_size = 3\n\
                        max_prepared_statements = 5";

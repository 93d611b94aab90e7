//! psycopg 3, Debian's and the current one.

use crate::harness::{Crowd, Drivers, Pooler, Postgres, Script};

#[test]
fn unprepared_statements_work_in_both_protocols() {
    both("psycopg_unprepared.py", "session", "42");
}

/// Runs a program in both versions of psycopg with others around.
fn both(program: &str, mode: &str, expected: &str) {
    let postgres = Postgres::start();
    let settings = format!("workers = 2\npool_mode = {mode}\ndefault_pool_size = 10");
    let pooler = Pooler::start(&postgres, &settings);
    for drivers in [Drivers::Old, Drivers::New] {
        let script = Script::python(drivers, program);
        let run = Crowd::during(&pooler, 4, || script.run(pooler.port(), &[]));
        assert_eq!(run.ok(), expected, "{drivers:?}");
    }
}

//! Memory of a worker whose clients prepare without end.

use crate::harness::{Pooler, Postgres};
use crate::prepared_talk::{close, parse, sync, talk};

#[test]
fn statements_that_are_closed_leave_no_memory_behind() {
    let postgres = Postgres::start();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1\n\
                    max_prepared_statements = 20\nprepared_statement_memory = 1MB";
    let pooler = Pooler::start(&postgres, settings);
    let worker = pooler.worker(1);
    let client = pooler.connect();
    let prepare = |batch: u32| {
        let mut messages: Vec<_> = (0..BATCH)
            .flat_map(|number| {
                let sql = format!("select {batch} + {number}");
                [parse("s", &sql), close("s")]
            })
            .collect();
        messages.push(sync());
        let answers = talk(&client, &messages);
        assert_eq!(answers.matches("1 3").count(), BATCH, "{answers}");
    };
    // Whatever grows to the size that it has for good does so now.
    (0..BATCHES / 10).for_each(prepare);
    let before = worker.resident();
    (BATCHES / 10..BATCHES).for_each(prepare);
    let grown = worker.resident().saturating_sub(before);
    println!(
        "{} statements: {grown} bytes more",
        BATCH * BATCHES as usize
    );
    assert!(grown < MOST_GROWN, "{grown} bytes more");
    let kept = client.value("select count(*) from pg_prepared_statements");
    assert_eq!(kept, "20");
}

/// Statements between two Syncs.
const BATCH: usize = 1000;
/// How many such batches.
const BATCHES: u32 = 200;
/// Bytes by which the process may grow: a hundredth of what one byte for every
/// byte of all the statements and their bookkeeping would come to.
const MOST_GROWN: u64 = 4 << 20;

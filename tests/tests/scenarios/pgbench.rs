//! pgbench works through the pooler without a failed transaction.

use crate::harness::{Pooler, Postgres};

#[test]
fn simple_queries_in_transaction_mode_through_2_workers() {
    bench("workers = 2\npool_mode = transaction", "-S -M simple");
}

#[test]
fn simple_queries_in_transaction_mode_through_4_workers() {
    bench("workers = 4\npool_mode = transaction", "-S -M simple");
}

#[test]
fn extended_queries_in_transaction_mode_through_2_workers() {
    bench("workers = 2\npool_mode = transaction", "-S -M extended");
}

#[test]
fn extended_queries_in_transaction_mode_through_4_workers() {
    bench("workers = 4\npool_mode = transaction", "-S -M extended");
}

#[test]
fn prepared_statements_in_session_mode_through_2_workers() {
    bench("workers = 2\npool_mode = session", "-S -M prepared");
}

#[test]
fn prepared_statements_in_session_mode_through_4_workers() {
    bench("workers = 4\npool_mode = session", "-S -M prepared");
}

#[test]
fn tpc_b_in_transaction_mode_through_2_workers() {
    tpc_b("workers = 2\npool_mode = transaction", "simple");
}

#[test]
fn tpc_b_in_transaction_mode_through_4_workers() {
    tpc_b("workers = 4\npool_mode = transaction", "extended");
}

#[test]
fn tpc_b_prepared_in_session_mode_through_4_workers() {
    tpc_b("workers = 4\npool_mode = session", "prepared");
}

#[test]
fn a_connection_for_each_transaction_through_4_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 4\npool_mode = transaction");
    assert_eq!(pooler.pgbench("-S -C -c 8 -j 2 -t 100"), 800);
}

/// More clients than server connections, so that connections change hands.
fn bench(settings: &str, arguments: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{settings}\ndefault_pool_size = 16"));
    let clients = if settings.contains("session") { 12 } else { 32 };
    let done = pooler.pgbench(&format!("{arguments} -c {clients} -j 2 -t 300"));
    assert_eq!(done, clients * 300);
}

/// The money in the bank adds up at the end.
fn tpc_b(settings: &str, protocol: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{settings}\ndefault_pool_size = 8"));
    let done = pooler.pgbench(&format!("-M {protocol} -c 8 -j 2 -t 100"));
    assert_eq!(done, 800);
    let sums = postgres.query(
        "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), \
         (select sum(bbalance) from pgbench_branches) = (select sum(delta) from pgbench_history), \
         (select count(*) from pgbench_history)",
    );
    assert_eq!(sums, ["t|t|800"]);
}

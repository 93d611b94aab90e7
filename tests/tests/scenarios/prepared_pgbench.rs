//! pgbench with more prepared statements than a server keeps.

use std::fmt::Write;

use crate::harness::{Crowd, Pooler, Postgres};

#[test]
fn more_statements_than_a_server_keeps_in_transaction_mode() {
    each_answer_is_right("transaction", "prepared");
}

#[test]
fn more_statements_than_a_server_keeps_in_statement_mode() {
    each_answer_is_right("statement", "prepared");
}

#[test]
fn unnamed_statements_beside_prepared_ones() {
    each_answer_is_right("transaction", "extended");
}

#[test]
fn tpc_b_prepared_in_transaction_mode() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &settings("transaction"));
    // A thread for each client: pgbench waits for a Parse with the whole thread,
    // in which others may hold the servers that it waits for.
    let done = Crowd::during(&pooler, 3, || {
        pooler.pgbench("-M prepared -c 8 -j 8 -t 60 -b tpcb-like -b simple-update")
    });
    assert_eq!(done, 480);
    let sums = postgres.query(
        "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), \
         (select count(*) from pgbench_history)",
    );
    assert_eq!(sums, ["t|480"]);
}

#[test]
fn pipelines_of_prepared_statements() {
    let postgres = Postgres::start();
    postgres.query("create table piped (statement int, value int)");
    let pooler = Pooler::start(&postgres, &settings("transaction"));
    let mut script = "\\set x random(1, 1000)\n\\startpipeline\n".to_owned();
    for n in 0..STATEMENTS {
        writeln!(script, "insert into piped select {n}, :x + {n};").unwrap();
    }
    script += "\\endpipeline\n";
    let file = pooler.write_file("pipeline.sql", &script);
    let done = Crowd::during(&pooler, 3, || {
        pooler.pgbench(&format!(
            "-M prepared -c 8 -j 2 -t 40 -f {}",
            file.display()
        ))
    });
    assert_eq!(done, 320);
    // Every statement ran once in each transaction, with the same value.
    let counts = postgres.query(
        "select count(*), count(distinct sum), bool_and(count = 320) from \
         (select count(*), sum(value - statement) from piped group by statement) counts",
    );
    assert_eq!(counts, [format!("{STATEMENTS}|1|t")]);
}

/// Three scripts in which a wrong answer is followed by an error.
fn each_answer_is_right(mode: &str, protocol: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &settings(mode));
    let mut arguments = format!("-M {protocol} -c 8 -j 2 -t 40");
    for number in 0..3 {
        let mut script = "\\set x random(1, 1000)\n".to_owned();
        for n in 0..STATEMENTS {
            let add = n + 100 * number;
            writeln!(script, "select :x + {add} as sum \\gset").unwrap();
            writeln!(script, "\\if :sum <> :x + {add}\nselect 1/0;\n\\endif").unwrap();
        }
        let file = pooler.write_file(&format!("script{number}.sql"), &script);
        write!(arguments, " -f {}", file.display()).unwrap();
    }
    // A member of the crowd uses transactions.
    let members = if mode == "transaction" { 3 } else { 0 };
    let done = Crowd::during(&pooler, members, || pooler.pgbench(&arguments));
    assert_eq!(done, 320);
}

/// Fewer servers than clients, and fewer statements on each than there are.
fn settings(mode: &str) -> String {
    format!("workers = 2\npool_mode = {mode}\ndefault_pool_size = 3\nmax_prepared_statements = 10")
}

/// In each of the scripts.
const STATEMENTS: u32 = 12;

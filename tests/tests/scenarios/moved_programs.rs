//! pgbench, psql and psycopg over many restarts: no error, no connection anew.

use std::thread;

use crate::harness::{Drivers, PATIENCE, Pooler, Postgres, Script, restart, wait_for};

#[test]
fn pgbench_in_transaction_mode_notices_nothing() {
    pgbench("transaction");
}

#[test]
fn pgbench_in_session_mode_notices_nothing() {
    pgbench("session");
}

#[test]
fn psql_with_a_cursor_in_a_transaction_notices_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = session");
    let console = format!(
        "psql -h {} -p {} -U postgres -d pgskein -XAtq",
        pooler.socket_folder().display(),
        pooler.port()
    );
    let order = format!("until {console} -c RESTART 2>/dev/null; do sleep 0.05; done");
    let old = format!("{console} -c 'SHOW WORKERS' | grep -q draining");
    let settled = format!("while {old}; do sleep 0.05; done");
    let psql = pooler.psql().user("postgres");
    let run = psql.script(
        "psql_moved.sql",
        &[("restart", &order), ("settled", &settled)],
    );
    let said: Vec<&str> = run.stdout.lines().collect();
    let expected = [
        "1",
        "2",
        "3",
        "4",
        "5",
        "4",
        "42",
        "8",
        "Asia/Tokyo",
        "moved",
        "t",
    ];
    assert_eq!(said, expected, "{run:?}");
    assert_eq!(pooler.generations(), ["1.3", "2.3"]);
    assert_eq!(logins(&pooler), 1);
}

#[test]
fn psycopg_with_prepared_statements_notices_nothing() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nmax_prepared_statements = 20";
    let pooler = Pooler::start(&postgres, settings);
    let seconds = "4";
    let (said, restarts) = during_restarts(&pooler, || {
        Script::python(Drivers::New, "psycopg_moved.py").run(pooler.port(), &[seconds])
    });
    assert_eq!(said.ok(), "6");
    assert!(restarts > 0);
    assert_eq!(logins(&pooler), 6);
}

/// All protocols of pgbench, each while the group is restarted again and again.
fn pgbench(mode: &str) {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("workers = 2\npool_mode = {mode}"));
    for protocol in ["simple", "extended", "prepared"] {
        let before = logins(&pooler);
        let sessions = sessions(&postgres);
        let servers = servers(&pooler);
        let arguments = format!("-M {protocol} -c {CLIENTS} -j 2 -T 3");
        let (transactions, restarts) = during_restarts(&pooler, || pooler.pgbench(&arguments));
        assert!(transactions > 0 && restarts > 0);
        println!("{mode} mode, {protocol}: {restarts} restarts, {transactions} transactions");
        // One for each client, and one to ask for the size of the tables.
        let connects = logins(&pooler) - before;
        assert!(connects <= CLIENTS + 1, "{connects} logins, {protocol}");
        if mode == "session" {
            let opened = self::sessions(&postgres) - sessions;
            // None for a session that has moved, however often.
            let connected = self::servers(&pooler) - servers;
            assert!(connected <= 2 * CLIENTS, "{connected} servers, {protocol}");
            // Whoever asks PostgreSQL for it is counted as well.
            assert!(opened <= 2 * CLIENTS as i64 + 3, "{opened}, {protocol}");
        }
    }
}

/// Restarts the group again and again until this has ended; how often.
fn during_restarts<T: Send>(pooler: &Pooler, run: impl FnOnce() -> T + Send) -> (T, usize) {
    thread::scope(|scope| {
        let running = scope.spawn(run);
        let mut restarts = 0;
        while !running.is_finished() {
            // It is refused while anybody of the generation before is left.
            restart(pooler);
            restarts += 1;
        }
        let outcome = running.join().unwrap();
        wait_for("the old workers to end", PATIENCE, || {
            pooler.generations().len() == 2
        });
        (outcome, restarts)
    })
}

/// How often somebody has logged in to a pool.
fn logins(pooler: &Pooler) -> usize {
    let log = pooler.log();
    let lines = log.lines().filter(|line| line.ends_with(": login"));
    lines.filter(|line| line.contains(" postgres/")).count()
}

/// How many connections to PostgreSQL it has opened.
fn servers(pooler: &Pooler) -> usize {
    pooler.log().matches(": connected, protocol").count()
}

/// How many connections PostgreSQL has had to the database of the clients.
fn sessions(postgres: &Postgres) -> i64 {
    postgres.query("select pg_stat_force_next_flush()");
    let text = "select sessions from pg_stat_database where datname = 'postgres'";
    postgres.number(text)
}

const CLIENTS: usize = 4;

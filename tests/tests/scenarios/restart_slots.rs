//! RESTART with another number of workers, and under clients that come and go.

use std::thread;

use crate::harness::{Login, PATIENCE, Pooler, Postgres, Stop, wait_for};

const TRANSACTION: &str = "pool_mode = transaction";

#[test]
fn number_of_workers_changes_without_a_lost_connection() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("workers = 2\n{TRANSACTION}"));
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for worker in 0..3 {
            let (pooler, stop) = (&pooler, &stop);
            scope.spawn(move || {
                while !stop.is_set() {
                    let client = if worker == 0 {
                        pooler.connect_unix(&Login::new()).unwrap()
                    } else {
                        pooler.connect()
                    };
                    assert_eq!(client.query("select 1"), Ok(vec!["1".to_owned()]));
                    client.close();
                }
            });
        }
        for (count, expected) in [
            (4, vec!["1.2", "2.2", "3.2", "4.2"]),
            (1, vec!["1.3"]),
            (3, vec!["1.4", "2.4", "3.4"]),
        ] {
            pooler.write_settings(&format!("workers = {count}\n{TRANSACTION}"));
            restart(&pooler);
            wait_for("the generation before to leave", PATIENCE, || {
                pooler.generations().len() == expected.len()
            });
            assert_eq!(slots(&pooler).len(), expected.len());
        }
        stop.set();
    });
}

#[test]
fn pgbench_with_sessions_of_its_own_notices_nothing() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("workers = 2\n{TRANSACTION}"));
    thread::scope(|scope| {
        let bench = scope.spawn(|| pooler.pgbench("-C -S -c 4 -j 2 -T 8"));
        let mut restarts = 0;
        while !bench.is_finished() {
            let console = pooler.connect_as(&Login::new().database("pgskein"));
            if console.query("RESTART").is_ok() {
                restarts += 1;
            }
        }
        assert!(bench.join().unwrap() > 0);
        assert!(restarts > 1, "{restarts} restarts");
    });
}

fn restart(pooler: &Pooler) {
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    console.query("RESTART").unwrap();
}

/// Slots that have a worker that does not leave.
fn slots(pooler: &Pooler) -> Vec<String> {
    let rows = pooler.console("SHOW WORKERS");
    let ready = rows.iter().filter(|row| row.contains("|ready|"));
    ready
        .map(|row| row.split('|').next().unwrap().to_owned())
        .collect()
}

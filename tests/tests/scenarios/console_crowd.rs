//! Ten thousand clients, and what a console tells of them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, wait_for};

#[test]
fn ten_thousand_clients_are_shown_by_each_worker() {
    let count = clients_that_fit();
    let postgres = Postgres::start();
    let settings = format!(
        "workers = {WORKERS}\npool_mode = transaction\nmax_client_conn = {}\n\
         log_connections = 0\nlog_disconnections = 0\nconsole_timeout = 60",
        count + 100
    );
    let pooler = Pooler::start(&postgres, &settings);
    let clients = connect(&pooler, count);
    for worker in 1..=WORKERS {
        let login = Login::new().database("pgbouncer");
        let console = pooler.connect_to_worker_as(worker, &login);
        // The logins that found the way to the worker may still be counted.
        let mut rows = Vec::new();
        let mut took = None;
        wait_for("the clients to be shown", PATIENCE, || {
            let asked = Instant::now();
            rows = console.query("SHOW CLIENTS").unwrap();
            took = Some(asked.elapsed());
            rows.len() == count + 1
        });
        assert_eq!(console.notices(), [""; 0]);
        let columns = |row: &String| -> Vec<String> { row.split('|').map(str::to_owned).collect() };
        let table: Vec<Vec<String>> = rows.iter().map(columns).collect();
        let ids: BTreeSet<&str> = table.iter().map(|row| row[20].as_str()).collect();
        assert_eq!(ids.len(), table.len(), "everybody once");
        let workers: BTreeSet<&str> = table.iter().map(|row| row[21].as_str()).collect();
        assert_eq!(workers.len(), usize::from(WORKERS));
        let pools = console.query("SHOW POOLS").unwrap();
        let ours: Vec<_> = pools
            .iter()
            .filter(|row| row.starts_with("postgres|"))
            .collect();
        assert_eq!(ours.len(), 1, "{pools:?}");
        assert!(
            ours[0].starts_with(&format!("postgres|postgres|{count}|0|")),
            "{ours:?}"
        );
        println!("worker {worker}: {count} clients shown in {took:?}");
        console.close();
    }
    // Nobody was held up for good, and they are still what they were.
    for client in clients.iter().step_by(1000) {
        assert_eq!(client.value("select 7"), "7");
    }
}

/// Logs in so many clients, through whichever worker the kernel picks.
fn connect(pooler: &Pooler, count: usize) -> Vec<Client> {
    let threads = 4;
    thread::scope(|scope| {
        let parts = (0..threads).map(|part| {
            let share = count / threads + usize::from(part < count % threads);
            scope.spawn(move || (0..share).map(|_| pooler.connect()).collect::<Vec<_>>())
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect()
    })
}

/// Ten thousand. Where this process may not have that many descriptors it is
/// as many as fit, which it says on the standard error of the whole run.
fn clients_that_fit() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let room = usize::try_from(hard)
        .unwrap_or(usize::MAX)
        .saturating_sub(OTHERS);
    assert!(
        room >= FEWEST,
        "the hard limit of {hard} descriptors leaves no room for {FEWEST} clients: \
         raise it (ulimit -H -n) to {} or more",
        MOST + OTHERS
    );
    if room < MOST {
        // Past the capture of a test that passes.
        let told = writeln!(
            io::stderr(),
            "console_crowd: {room} clients instead of {MOST}: the hard limit is {hard} descriptors"
        );
        told.unwrap();
    }
    room.min(MOST)
}

const WORKERS: u8 = 4;
/// Clients where the limit of descriptors allows it.
const MOST: usize = 10_000;
/// Clients below which this shows nothing.
const FEWEST: usize = 4000;
/// Descriptors for the other scenarios, which run in this process as well.
const OTHERS: usize = 2000;

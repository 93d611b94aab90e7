//! The log has one line of statistics for the whole group in every period.

use crate::harness::{PATIENCE, Pooler, Postgres, wait_for};

#[test]
fn supervisor_logs_one_line_for_all_workers_in_every_period() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 3\npool_mode = transaction\nstats_period = 1",
    );
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    wait_for("lines with what all workers do", PATIENCE, || {
        for client in &clients {
            client.value("select 1");
        }
        let lines = lines(&pooler);
        let busy = lines.iter().filter(|line| !line.contains(" 0 xacts/s"));
        busy.count() > 1
    });
    for line in lines(&pooler) {
        assert!(line.contains("] supervisor INFO stats: "), "{line}");
        let (_, numbers) = line.split_once("stats: ").unwrap();
        let shape: String = numbers.chars().filter(|c| !c.is_ascii_digit()).collect();
        assert_eq!(
            shape,
            " xacts/s,  queries/s,  client parses/s,  server parses/s,  binds/s, \
             in  B/s, out  B/s, xact  us, query  us, wait  us"
        );
    }
}

#[test]
fn nothing_is_logged_without_log_stats_until_a_reload_asks_for_it() {
    let postgres = Postgres::start();
    let settings = "workers = 2\nstats_period = 1\nlog_stats = ";
    let pooler = Pooler::start(&postgres, &format!("{settings}0"));
    // Two periods of the supervisor's own clock: it logs what it does of them.
    let client = pooler.connect_to_worker(1);
    client.value("select pg_sleep(2.5)");
    assert_eq!(lines(&pooler), Vec::<String>::new());
    pooler.reload(&format!("{settings}1"));
    pooler.wait_log(" INFO stats: ");
}

#[test]
fn period_is_the_one_of_the_last_reload() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1\nstats_period = 3600");
    pooler.connect_to_worker(1).value("select 1");
    assert_eq!(lines(&pooler), Vec::<String>::new());
    pooler.reload("workers = 1\nstats_period = 1");
    pooler.wait_log(" INFO stats: ");
}

fn lines(pooler: &Pooler) -> Vec<String> {
    let log = pooler.log();
    let lines = log.lines().filter(|line| line.contains(" stats: "));
    lines.map(str::to_owned).collect()
}

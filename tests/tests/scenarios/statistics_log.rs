//! The log has one line of statistics for the whole group in every period.

use std::time::Instant;

use crate::harness::{Client, PATIENCE, Pooler, Postgres, wait_for};

#[test]
fn supervisor_logs_one_line_for_all_workers_in_every_period() {
    let postgres = Postgres::start();
    let started = Instant::now();
    let pooler = Pooler::start(
        &postgres,
        "workers = 3\npool_mode = transaction\nstats_period = 1",
    );
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let console = pooler.console_of(2);
    let mut ended = 0;
    for _ in 0..3 {
        ended += end_two_periods(&console, &clients);
    }
    wait_for("a line for every period", PATIENCE, || {
        lines(&pooler).len() >= ended
    });
    // No more than one for all workers.
    let lines = lines(&pooler);
    let most = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!(lines.len() <= most, "{most} periods at most: {lines:#?}");
    let busy = lines.iter().filter(|line| !line.contains(" 0 xacts/s"));
    assert!(busy.count() >= 3, "{lines:#?}");
    for line in lines {
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
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    end_two_periods(&pooler.console_of(1), &clients);
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

/// Works until a period with that has ended, and waits until another one
/// without has: at least two have ended then.
fn end_two_periods(console: &Client, clients: &[Client]) -> usize {
    let transactions = || -> u64 {
        let rows = console.table("SHOW STATS_AVERAGES");
        let ours = rows.iter().find(|row| row["database"] == "postgres");
        ours.map_or(0, |row| row["xact_count"].parse().unwrap())
    };
    assert_eq!(transactions(), 0);
    wait_for("a period with work to end", PATIENCE, || {
        for client in clients {
            client.value("select 1");
        }
        transactions() > 0
    });
    wait_for("a period without work to end", PATIENCE, || {
        transactions() == 0
    });
    2
}

fn lines(pooler: &Pooler) -> Vec<String> {
    let log = pooler.log();
    let lines = log.lines().filter(|line| line.contains(" stats: "));
    lines.map(str::to_owned).collect()
}

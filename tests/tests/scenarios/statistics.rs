//! SHOW STATS, TOTALS and LATENCY count exactly, for all workers together.

use std::collections::BTreeMap;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, message, wait_for};

/// A period that does not end before the scenario does.
const SETTINGS: &str = "workers = 3\npool_mode = transaction\nstats_period = 3600";

#[test]
fn transactions_and_queries_are_counted_exactly_whichever_worker_is_asked() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let consoles = [1, 2, 3].map(|worker| pooler.console_of(worker));
    let before = stats(&consoles[0]);
    for client in &clients {
        for _ in 0..5 {
            client.query("begin").unwrap();
            client.query("select 1; select 2").unwrap();
            client.query("select 1/0").unwrap_err();
            client.query("rollback").unwrap();
        }
        client.execute("select $1", &["x"]).unwrap();
    }
    for console in &consoles {
        let counted = since(&before, &stats(console));
        assert_eq!(counted["total_xact_count"], 4 * 6);
        assert_eq!(counted["total_query_count"], 4 * 21);
        assert_eq!(counted["total_server_assignment_count"], 4 * 6);
        assert!(counted["total_xact_time"] >= counted["total_query_time"]);
        assert!(counted["total_query_time"] > 0);
    }
}

#[test]
fn session_and_statement_mode_count_alike() {
    let postgres = Postgres::start();
    for (mode, assignments) in [("session", 1), ("statement", 6)] {
        let settings = format!("workers = 2\npool_mode = {mode}\nstats_period = 3600");
        let pooler = Pooler::start(&postgres, &settings);
        let client = pooler.connect_to_worker(2);
        let console = pooler.console_of(1);
        let before = stats(&console);
        for _ in 0..5 {
            client.value("select 1");
        }
        let refused = client.query("begin").is_err();
        assert_eq!(refused, mode == "statement");
        client.close();
        // A transaction that its client leaves open counts once it has left.
        wait_for("the last transaction", PATIENCE, || {
            since(&before, &stats(&console))["total_xact_count"] == 6
        });
        let counted = since(&before, &stats(&console));
        assert_eq!(counted["total_query_count"], 6, "{mode}");
        assert_eq!(
            counted["total_server_assignment_count"], assignments,
            "{mode}"
        );
    }
}

#[test]
fn every_transaction_of_pgbench_is_counted() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let console = pooler.console_of(1);
    for (mode, queries) in [("simple", 7), ("extended", 7), ("prepared", 7)] {
        // What it asks before it begins is the same each time.
        let [short, long] = [10, 60].map(|transactions| {
            let before = stats(&console);
            pooler.pgbench(&format!("-c 6 -j 2 -M {mode} -t {transactions}"));
            since(&before, &stats(&console))
        });
        let more = |name: &str| long[name] - short[name];
        assert_eq!(more("total_xact_count"), 6 * 50, "{mode}");
        assert_eq!(more("total_query_count"), 6 * 50 * queries, "{mode}");
        let binds = if mode == "prepared" {
            6 * 50 * queries
        } else {
            0
        };
        assert_eq!(more("total_bind_count"), binds, "{mode}");
    }
}

#[test]
fn every_query_of_a_pipeline_is_counted_with_its_transaction() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(2);
    let console = pooler.console_of(1);
    let before = stats(&console);
    let texts = ["select 1", "begin", "select 2", "commit", "select 3"];
    let queries = texts.map(|sql| message(b'Q', format!("{sql}\0").as_bytes()));
    // In one piece: what comes later might find the server given back.
    client.send(&queries.concat());
    for _ in 0..5 {
        client.read_until(b'Z');
    }
    let counted = since(&before, &stats(&console));
    assert_eq!(counted["total_query_count"], 5);
    assert_eq!(counted["total_xact_count"], 3);
    assert_eq!(counted["total_server_assignment_count"], 1);
}

#[test]
fn bytes_are_those_that_the_client_has_sent_and_got() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let console = pooler.console_of(1);
    // The second one is given answers that are not the server's.
    let clients = [2, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        let before = stats(&console);
        let messages: [(u8, &[u8]); 8] = [
            (b'Q', b"select repeat('x', 300000)\0"),
            (b'P', b"s\0select $1::text\0\0\0"),
            (b'B', b"\0s\0\0\0\0\x01\0\0\0\x01y\0\0"),
            (b'E', b"\0\0\0\0\0"),
            (b'C', b"Ss\0"),
            (b'S', b""),
            (b'Q', b"select 1/0\0"),
            (b'Q', b"\0"),
        ];
        let mut sent = 0;
        for (tag, body) in messages {
            client.send_message(tag, body);
            sent += 5 + body.len();
        }
        let (mut received, mut ready) = (0, 0);
        while ready < 4 {
            let message = client.read_message().expect("an answer");
            received += 5 + message.body.len();
            ready += u32::from(message.tag == b'Z');
        }
        let counted = since(&before, &stats(&console));
        assert_eq!(counted["total_received"], sent as u64);
        assert_eq!(counted["total_sent"], received as u64);
    }
}

#[test]
fn prepared_statements_are_counted_for_clients_and_for_servers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 1"));
    let console = pooler.console_of(1);
    let clients = [2, 2].map(|worker| pooler.connect_to_worker(worker));
    let before = stats(&console);
    for client in &clients {
        client.send_message(b'P', b"s\0select 1\0\0\0");
        for _ in 0..3 {
            client.send_message(b'B', b"\0s\0\0\0\0\0\0\0");
            client.send_message(b'E', b"\0\0\0\0\0");
        }
        client.send_message(b'S', b"");
        client.read_until(b'Z');
        client.execute("select 1", &[]).unwrap();
    }
    let counted = since(&before, &stats(&console));
    assert_eq!(counted["total_client_parse_count"], 2);
    assert_eq!(counted["total_server_parse_count"], 1);
    assert_eq!(counted["total_bind_count"], 6);
    assert_eq!(counted["total_query_count"], 4);
}

#[test]
fn latency_of_a_pool_is_that_of_all_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        for _ in 0..5 {
            client.value("select 1");
        }
    }
    for worker in 1..=3 {
        let latency = pooler.console_of(worker).table("SHOW LATENCY");
        for kind in ["query", "transaction", "wait"] {
            let counts = latency.iter().filter(|row| row["kind"] == kind);
            let counts: Vec<&str> = counts.map(|row| row["count"].as_str()).collect();
            assert_eq!(counts, ["15"], "{kind} as worker {worker} shows it");
        }
    }
}

#[test]
fn waits_and_sleeps_take_the_time_that_they_take() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 1"));
    let console = pooler.console_of(1);
    let [holder, waiter] = [2, 2].map(|worker| pooler.connect_to_worker(worker));
    let before = stats(&console);
    holder.query("begin").unwrap();
    let waits = waiter.start_query("select 1");
    pooler.wait_waiting_clients(1);
    holder.query("select pg_sleep(0.2)").unwrap();
    holder.query("commit").unwrap();
    waits.wait().unwrap();

    let counted = since(&before, &stats(&console));
    assert!(counted["total_wait_time"] >= 200_000, "{counted:?}");
    assert!(counted["total_query_time"] >= 200_000, "{counted:?}");
    assert!(counted["total_xact_time"] >= counted["total_query_time"]);

    let latency = console.table("SHOW LATENCY");
    let kinds: Vec<&str> = latency.iter().map(|row| row["kind"].as_str()).collect();
    assert_eq!(kinds, ["query", "transaction", "wait"]);
    for row in &latency {
        assert_eq!(
            (row["database"].as_str(), row["user"].as_str()),
            ("postgres", "postgres")
        );
        let number = |column: &str| row[column].parse::<u64>().unwrap();
        let quantiles = ["p50", "p90", "p99", "p999", "max"].map(number);
        assert!(quantiles.is_sorted(), "{row:?}");
        assert!(number("p999") >= 200_000, "{row:?}");
        let count = match row["kind"].as_str() {
            "query" => 4,
            _ => 2,
        };
        assert_eq!(number("count"), count, "{row:?}");
    }
}

#[test]
fn what_a_client_leaves_unfinished_counts_once() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let console = pooler.console_of(1);
    let [running, idle] = [2, 3].map(|worker| pooler.connect_to_worker(worker));
    let before = stats(&console);
    idle.query("begin").unwrap();
    let _never_answered = running.start_long_query();
    running.reset();
    idle.reset();
    wait_for("both to be counted", PATIENCE, || {
        since(&before, &stats(&console))["total_xact_count"] == 2
    });
    let counted = since(&before, &stats(&console));
    assert_eq!(counted["total_query_count"], 2);
}

#[test]
fn commands_of_consoles_are_counted_in_both_protocols() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let console = pooler.console_of(2);
    let count = || {
        let rows = console.table("SHOW STATS_TOTALS");
        let row = rows.iter().find(|row| row["database"] == "pgbouncer");
        row.expect("a row of the console")["query_count"].clone()
    };
    let before: u64 = count().parse().unwrap();
    console.query("SHOW VERSION").unwrap();
    console.execute("SHOW VERSION", &[]).unwrap();
    // The question is one as well.
    assert_eq!(count(), (before + 3).to_string());
}

#[test]
fn columns_are_those_of_pgbouncer() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 1");
    let console = pooler.console_of(1);
    let names = |command: &str| -> Vec<String> {
        let (names, _) = console.named_rows(command);
        names
    };
    let counters = [
        "server_assignment_count",
        "xact_count",
        "query_count",
        "received",
        "sent",
        "xact_time",
        "query_time",
        "wait_time",
        "client_parse_count",
        "server_parse_count",
        "bind_count",
        "client_login_count",
    ];
    let with = |prefix: &str| counters.map(|name| format!("{prefix}{name}")).to_vec();
    let averages = with("avg_").join(" ").replace("avg_received", "avg_recv");
    let expected = format!("database {} {averages}", with("total_").join(" "));
    assert_eq!(names("SHOW STATS").join(" "), expected);
    let totals = format!("database {}", counters.join(" "));
    let totals = totals.replace(" received sent ", " bytes_received bytes_sent ");
    assert_eq!(names("SHOW STATS_TOTALS").join(" "), totals);
    let averages = totals
        .replace("client_parse", "avg_client_parse")
        .replace("server_parse", "avg_server_parse")
        .replace("bind", "avg_bind")
        .replace("client_login", "avg_client_login");
    assert_eq!(names("SHOW STATS_AVERAGES").join(" "), averages);
    assert_eq!(names("SHOW TOTALS"), ["name", "value"]);
    assert_eq!(
        names("SHOW LATENCY").join(" "),
        "database user kind count p50 p90 p99 p999 max"
    );
    let rows = console.query("SHOW TOTALS").unwrap();
    assert_eq!(rows.len(), 24);
    assert!(rows[3].starts_with("total_client_bytes|"), "{rows:?}");
    assert!(
        rows[20].starts_with("avg_ps_client_parse_count|"),
        "{rows:?}"
    );
}

#[test]
fn totals_are_the_sum_of_all_databases_the_console_included() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = ["postgres", "template1"]
        .map(|name| pooler.connect_to_worker_as(2, &Login::new().database(name)));
    for client in &clients {
        client.query("select 1").unwrap();
    }
    let console = pooler.console_of(3);
    let rows = console.table("SHOW STATS_TOTALS");
    let databases: Vec<&str> = rows.iter().map(|row| row["database"].as_str()).collect();
    assert_eq!(databases, ["pgbouncer", "postgres", "template1"]);
    // Consoles are lent no server, so asking changes nothing of that.
    let sum: u64 = rows
        .iter()
        .map(|row| row["server_assignment_count"].parse::<u64>().unwrap())
        .sum();
    let totals = console.query("SHOW TOTALS").unwrap();
    assert_eq!(totals[0], format!("total_server_assignment_count|{sum}"));
    assert!(sum >= 2);
}

/// The numbers of database `postgres`.
fn stats(console: &Client) -> BTreeMap<String, u64> {
    let rows = console.table("SHOW STATS");
    let row = rows.iter().find(|row| row["database"] == "postgres");
    let numbers = row.into_iter().flatten();
    numbers
        .filter_map(|(name, value)| Some((name.clone(), value.parse().ok()?)))
        .collect()
}

/// What has been counted between two looks.
fn since(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let totals = after.iter().filter(|(name, _)| name.starts_with("total_"));
    totals
        .map(|(name, value)| (name.clone(), value - before.get(name).unwrap_or(&0)))
        .collect()
}

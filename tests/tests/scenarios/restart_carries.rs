//! What RESTART carries over: limits, orders, settings, sums, and cancels.

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, SqlState, wait_for};
use crate::two_generations::{assert_clients_count, assert_servers_count};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn servers_of_both_generations_count_towards_the_limits() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 3"));
    assert_servers_count(&postgres, &pooler, || restart(&pooler));
}

#[test]
fn limit_of_clients_counts_those_of_both_generations() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nmax_db_client_connections = 2");
    let pooler = Pooler::start(&postgres, &settings);
    assert_clients_count(&pooler, || restart(&pooler));
}

#[test]
fn cancels_reach_sessions_of_both_generations_through_either() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let slots = [1, 1, 2, 2];
    let old = slots.map(|worker| pooler.connect_to_worker(worker));
    let old_queries = old.each_ref().map(|client| client.start_long_query());
    restart(&pooler);
    let new = slots.map(|worker| pooler.connect_to_worker(worker));
    let new_queries = new.each_ref().map(|client| client.start_long_query());
    let clients = old.iter().chain(&new);
    let queries = old_queries.into_iter().chain(new_queries);
    // Once each: those of a slot through its own, and through the other one.
    for ((client, query), through) in clients.zip(queries).zip([1, 2].into_iter().cycle()) {
        client.cancel_through_worker(through);
        assert_eq!(query.wait(), Err(SqlState("57014")));
    }
}

#[test]
fn what_is_paused_disabled_and_set_stays_so() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker_as(1, &Login::new().database("template1"));
    assert_eq!(client.value("select 1"), "1");
    pooler.console("PAUSE template1");
    pooler.console("DISABLE shop");
    pooler.console("SET query_timeout = 77");
    restart(&pooler);

    let new = pooler.connect_to_worker_as(2, &Login::new().database("template1"));
    let answers = [&client, &new].map(|client| client.start_query("select 2"));
    pooler.wait_waiting_clients(2);
    let disabled = Login::new().database("shop");
    assert_eq!(pooler.try_connect(&disabled).unwrap_err().sqlstate, "57P03");
    let config = pooler.console("SHOW CONFIG");
    assert!(
        config
            .iter()
            .any(|row| row.starts_with("query_timeout|77|"))
    );
    pooler.console("RESUME template1");
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["2".to_owned()]));
    }
}

#[test]
fn console_that_waits_for_a_pause_is_answered_after_the_restart() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker(1);
    client.query("begin").unwrap();
    let pausing = pooler.console_of(1);
    let pause = pausing.start_query("PAUSE");
    wait_for("the pause", PATIENCE, || {
        pooler.log_contains("PAUSE command issued")
    });
    restart(&pooler);
    client.query("commit").unwrap();
    assert_eq!(pause.wait(), Ok(vec![]));
    pooler.console("RESUME");
}

#[test]
fn sums_and_prepared_statements_survive() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let old = pooler.connect_to_worker(1);
    for _ in 0..7 {
        assert_eq!(old.execute("select $1", &["x"]), Ok(vec!["x".to_owned()]));
    }
    old.send_message(b'P', b"named\0select 'named', $1::text\0\0\0");
    old.send_message(b'S', b"");
    assert_eq!(old.pending().wait(), Ok(vec![]));
    let before = queries(&pooler);
    restart(&pooler);
    old.send_message(b'B', b"\0named\0\0\0\0\x01\0\0\0\x01z\0\0");
    old.send_message(b'E', b"\0\0\0\0\0");
    old.send_message(b'S', b"");
    assert_eq!(old.pending().wait(), Ok(vec!["named|z".to_owned()]));
    let new = pooler.connect_to_worker(1);
    for client in [&old, &new] {
        assert_eq!(
            client.execute("select $1", &["y"]),
            Ok(vec!["y".to_owned()])
        );
    }
    wait_for("the old worker to leave", PATIENCE, || {
        pooler.console("SHOW WORKERS").len() == 2
    });
    assert_eq!(queries(&pooler), before + 3);
}

#[test]
fn files_are_read_anew() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let old = pooler.connect_to_worker(1);
    pooler.write_settings(&format!(
        "{SETTINGS}\nquery_timeout = 66\nlisten_backlog = 99"
    ));
    let console = pooler.console_of(1);
    console.query("RESTART").unwrap();
    let notices = console.notices();
    assert!(
        notices.iter().any(|text| text.contains("listen_backlog")),
        "{notices:?}"
    );
    // Workers that leave go over as well.
    for worker in [console, pooler.console_of(2)] {
        wait_for("the new configuration", PATIENCE, || {
            let config = worker.query("SHOW CONFIG").unwrap();
            config
                .iter()
                .any(|row| row.starts_with("query_timeout|66|"))
        });
    }
    old.close();
}

#[test]
fn limits_and_periods_of_the_new_files_hold_at_once() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\ndefault_pool_size = 3\nstats_period = 3600");
    let pooler = Pooler::start(&postgres, &settings);
    let clients = [1, 1, 2].map(|worker| pooler.connect_to_worker(worker));
    for sql in ["begin", "commit"] {
        for client in &clients {
            client.query(sql).unwrap();
        }
    }
    let address = postgres.address();
    let shop = "dbname=postgres user=alice pool_size=2 min_pool_size=2";
    let databases = format!("* = {address}\nshop = {address} {shop}");
    let settings = format!("{SETTINGS}\ndefault_pool_size = 1\nstats_period = 1");
    pooler.write_ini(&databases, &settings);
    restart(&pooler);
    let of_alice = "select pid from pg_stat_activity where usename = 'alice'";
    wait_for("the minimum of the forced user", PATIENCE, || {
        postgres.query(of_alice).len() == 2
    });
    // Of those before at most one is left.
    wait_for("the rest to close", PATIENCE, || {
        postgres.connections() <= 2 + 1
    });
    pooler.wait_log(" INFO stats: ");
    for client in clients {
        client.close();
    }
}

#[test]
fn end_of_an_order_to_go_away_is_seen_after_the_restart() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let asked = pooler.connect_to_worker(1);
    pooler.console("GOAWAY ALL");
    asked.wait_parameter("disconnect_requested", "on");
    // This one was not, and is not asked later either.
    let later = pooler.connect_to_worker(2);
    restart(&pooler);
    wait_for("the old workers to leave", PATIENCE, || {
        pooler.console("SHOW WORKERS").len() == 2
    });
    assert!(!pooler.log_contains("all who were asked to go have left"));
    asked.close();
    pooler.wait_log("all who were asked to go have left");
    assert_eq!(later.value("select 'there'"), "there");
    let told = later.parameter("disconnect_requested");
    assert_eq!(told.as_deref(), Some("off"));
}

/// Queries that were counted of the database of the clients here.
fn queries(pooler: &Pooler) -> u64 {
    let rows = pooler
        .connect_as(&Login::new().database("pgskein"))
        .table("SHOW STATS_TOTALS");
    let row = rows.iter().find(|row| row["database"] == "postgres");
    row.map_or(0, |row| row["query_count"].parse().unwrap())
}

fn console(pooler: &Pooler) -> Client {
    pooler.connect_as(&Login::new().database("pgskein"))
}

fn restart(pooler: &Pooler) {
    console(pooler).query("RESTART").unwrap();
}

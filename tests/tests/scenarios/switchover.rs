//! The primary is replaced by its standby: clients wait, and go on there.

use std::thread;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, wait_for};
use crate::hosts::hosts;

const SETTINGS: &str = "workers = 2\npool_mode = transaction\ndefault_pool_size = 4";

fn group(value: &str) -> (Postgres, Postgres, Pooler) {
    let primary = Postgres::start_for_replication();
    let standby = primary.start_standby();
    let hosts = hosts(&[primary.port(), standby.port()]);
    let databases = format!("* = {hosts} target_session_attrs={value}");
    (primary, standby, Pooler::start_for(&databases, SETTINGS))
}

fn client(pooler: &Pooler, worker: u8, user: &str) -> Client {
    let client = pooler.connect_to_worker_as(worker, &Login::new().user(user));
    client.query("select 1").unwrap();
    client
}

#[test]
fn transactions_under_way_are_all_that_a_fast_stop_costs() {
    let (primary, standby, pooler) = group("read-write");
    let inside = client(&pooler, 1, "postgres");
    inside.query("begin").unwrap();
    let idle = [client(&pooler, 1, "alice"), client(&pooler, 2, "bob")];
    let more = [
        client(&pooler, 1, "postgres"),
        client(&pooler, 2, "postgres"),
    ];
    primary.shut_down(Signal::SIGINT);
    primary.wait_down();
    let waiting = idle
        .each_ref()
        .map(|client| client.start_query("select pg_is_in_recovery()"));
    pooler.wait_log(": leaving, clients wait for it");
    pooler.wait_waiting_clients(2);
    standby.promote();
    for query in waiting {
        assert_eq!(query.wait(), Ok(vec!["f".to_owned()]));
    }
    for client in &more {
        client.query("create temp table t as select 1").unwrap();
    }
    // Its transaction was lost, and its session was not.
    assert_eq!(inside.query("select 1"), Err(SqlState("57P01")));
    inside.query("rollback").unwrap();
    assert_eq!(inside.value("select pg_is_in_recovery()"), "f");
}

#[test]
fn load_goes_on_at_the_new_primary_without_an_error() {
    let (primary, standby, pooler) = group("read-write");
    thread::scope(|scope| {
        // It ends with an error if any transaction has one.
        let load = scope.spawn(|| pooler.pgbench("-n -N -c 8 -R 200 -T 6"));
        wait_for("the load", PATIENCE, || primary.connections() >= 2);
        // Transactions go on to their end, and no other begins there.
        primary.shut_down(Signal::SIGTERM);
        pooler.console("RECONNECT");
        primary.wait_down();
        standby.promote();
        let done = load.join().unwrap();
        let history = standby.number("select count(*) from pgbench_history");
        assert_eq!(
            history,
            i64::try_from(done).unwrap(),
            "what was done is there"
        );
    });
}

#[test]
fn server_that_is_no_standby_any_more_is_left() {
    let (primary, standby, pooler) = group("standby");
    let clients = [client(&pooler, 1, "postgres"), client(&pooler, 2, "alice")];
    clients[0].query("begin").unwrap();
    standby.promote();
    // Who is in a transaction ends it there.
    assert_eq!(clients[0].value("select 'same'"), "same");
    clients[0].query("commit").unwrap();
    pooler.wait_log("server is not in hot standby mode any more");
    let new = Login::new().user("carol");
    let said = pooler.try_connect(&new).map(drop).unwrap_err().message;
    for postgres in [&primary, &standby] {
        let why = format!(
            "127.0.0.1:{}: server is not in hot standby mode",
            postgres.port()
        );
        assert!(said.contains(&why), "{said}");
    }
}

#[test]
fn clients_to_come_are_told_that_a_standby_was_promoted() {
    let (_primary, standby, _) = group("any");
    let pooler = Pooler::start(&standby, "workers = 1\npool_mode = transaction");
    let client = pooler.connect();
    assert_eq!(client.parameter("in_hot_standby").as_deref(), Some("on"));
    standby.promote();
    client.query("select 1").unwrap();
    client.wait_parameter("in_hot_standby", "off");
    let later = pooler.connect();
    assert_eq!(later.parameter("in_hot_standby").as_deref(), Some("off"));
}

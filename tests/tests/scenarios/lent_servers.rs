//! A server connection that another worker needs goes there alive.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stop, wait_for};
use crate::prepared_talk::{parse, run, sync, talk};

const ONE_ON_THREE: &str = "workers = 3\npool_mode = transaction\ndefault_pool_size = 1\n\
                            lease_linger = 2";

#[test]
fn one_connection_serves_three_workers_and_goes_round_alive() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_ON_THREE);
    let clients = [1, 2, 3, 1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    server_of(&clients[0]);
    let before = opened(&pooler);
    // One after the other, and then all at once.
    for client in clients.iter().cycle().take(18) {
        server_of(client);
    }
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(move || {
                for _ in 0..100 {
                    server_of(&client);
                }
            });
        }
    });
    // A worker that a busy host leaves without a turn for long is not lent any.
    let more = opened(&pooler) - before;
    assert!(more <= 10, "{more} were opened anew");
    assert!(postgres.connections() <= 1);
}

#[test]
fn a_lent_connection_brings_its_statements_and_nothing_that_its_client_has_changed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_ON_THREE);
    let clients = [1, 2, 3].map(|worker| pooler.connect_to_worker(worker));
    let state = "select current_setting('work_mem'), to_regclass('pg_temp.mine') is null, \
                 (select count(*) from pg_listening_channels())";
    let names = "select string_agg(name, ' ') from pg_prepared_statements \
                 where statement = 'select 42'";
    for client in &clients {
        assert_eq!(talk(client, &[parse("mine", "select 42"), sync()]), "1 Z");
    }
    let mut name = None;
    for client in clients.iter().cycle().take(9) {
        assert_eq!(client.value(state), "4MB|t|0");
        client.query("set work_mem = '1234kB'").unwrap();
        client.query("listen channel").unwrap();
        client.query("create temp table mine (i int)").unwrap();
        assert_eq!(talk(client, &run("mine")), "2 D:42 C Z");
        // It is prepared once, whoever runs it.
        let now = client.value(names);
        assert_eq!(*name.get_or_insert(now.clone()), now);
    }
    assert!(postgres.connections() <= 1);
}

#[test]
fn a_pool_of_one_serves_on_and_is_not_exceeded_when_workers_die_that_lend() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, ONE_ON_THREE);
    let steady = pooler.connect_to_worker(1);
    let direct = postgres.connect();
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        // They keep the server going round; who has lost its worker comes again.
        for worker in [2, 3] {
            let (stop, pooler) = (&stop, &pooler);
            scope.spawn(move || {
                while !stop.is_set() {
                    let login = pooler.try_connect_to_worker(worker, &Login::new());
                    let Ok(client) = login else { continue };
                    while !stop.is_set() && client.query("select 1").is_ok() {}
                }
            });
        }
        for victim in [2, 3, 2, 3, 2, 3] {
            ask_for(&steady, &direct, Duration::from_millis(300));
            let dead = pooler.worker(victim);
            dead.kill();
            pooler.wait_replaced(victim, dead);
        }
        ask_for(&steady, &direct, Duration::from_millis(300));
    });
    wait_for("one connection to be left", PATIENCE, || {
        postgres.connections() == 1
    });
    assert_eq!(steady.value("select 'served'"), "served");
}

/// Asks again and again for so long. Beside the server there is at most one that
/// has lost its worker, and that one only for a moment.
fn ask_for(client: &Client, direct: &Client, time: Duration) {
    let open = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                and pid <> pg_backend_pid()";
    let begun = Instant::now();
    let mut over_since = None;
    while begun.elapsed() < time {
        client.query("select 1").unwrap();
        let count: u32 = direct.value(open).parse().unwrap();
        assert!(count <= 2, "{count} connections");
        if count <= 1 {
            over_since = None;
            continue;
        }
        let since: Instant = *over_since.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < PATIENCE, "{count} connections");
    }
}

/// The server that a client gets.
fn server_of(client: &Client) -> String {
    client.value("select pg_backend_pid()")
}

/// How many servers the pooler has opened so far.
fn opened(pooler: &Pooler) -> usize {
    pooler.log().matches(": connected, protocol").count()
}

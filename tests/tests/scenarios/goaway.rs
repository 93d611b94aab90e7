//! GOAWAY on the console: some clients are asked to go, the others serve on.

use std::time::{Duration, Instant};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, SqlState, wait_for, within};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn each_scope_tells_those_whom_it_is_about_and_nobody_else() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    for (scope, expected) in [
        ("ALL", [0, 1, 2, 3].as_slice()),
        ("DATABASE shop", &[0, 2]),
        ("USER bob", &[1, 2]),
        ("CLIENT", &[1]),
    ] {
        let clients = four(&pooler);
        let scope = match scope {
            "CLIENT" => format!("CLIENT {}", number(&console, "bank", "bob")),
            scope => scope.to_owned(),
        };
        // All have obeyed when it returns, and whoever was at rest is told.
        assert_eq!(console.query(&format!("GOAWAY {scope}")), Ok(vec![]));
        for (at, client) in clients.into_iter().enumerate() {
            let told = expected.contains(&at);
            if told {
                client.wait_goaway();
            }
            assert_eq!(client.value("select 'works on'"), "works on");
            let goaways = client.transcript().matches('g').count();
            assert_eq!(goaways, usize::from(told), "{scope}: client {at}");
            client.close();
        }
        // Whoever comes later is served, and not asked.
        let later = shop(&pooler, 1);
        assert_eq!(later.value("select 'served'"), "served");
        assert_eq!(later.transcript(), "TDCZ", "{scope}");
        later.close();
    }
    assert_eq!(pooler.exit_status(), None);
}

#[test]
fn plain_clients_are_told_by_the_parameter_and_no_others_where_none_is_to_be_told() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let plain = pooler.connect_to_worker_as(1, &Login::new().database("shop"));
    assert_eq!(console.query("GOAWAY DATABASE shop"), Ok(vec![]));
    plain.wait_parameter("disconnect_requested", "on");
    assert_eq!(plain.transcript(), "S");

    pooler.reload(&format!("{SETTINGS}\ndrain_notify = none"));
    let silent = bank(&pooler, 1);
    assert_eq!(console.query("GOAWAY DATABASE bank"), Ok(vec![]));
    assert_eq!(silent.value("select 1"), "1");
    assert_eq!(silent.transcript(), "TDCZ");
    let shown = row(&console, "database bank").unwrap();
    assert_eq!((&*shown["told"], &*shown["remaining"]), ("0", "1"));
}

#[test]
fn what_it_is_about_has_to_be_there() {
    let postgres = Postgres::start();
    let databases = format!("postgres = {}", postgres.address());
    let pooler = Pooler::start_for(&databases, "workers = 2");
    let console = pooler.console_of(1);
    for (command, message) in [
        ("GOAWAY CLIENT 999999999", "client not found"),
        ("GOAWAY DATABASE nowhere", "no such database: nowhere"),
        (
            "GOAWAY DATABASE pgbouncer",
            "cannot drain admin db: pgbouncer",
        ),
        ("GOAWAY WORKER 3", "no such worker: 3"),
        (
            "GOAWAY ALL RATE few",
            "invalid rate 'few', expected clients a second",
        ),
        (
            "SHUTDOWN WAIT_FOR_CLIENTS TIMEOUT soon",
            "invalid timeout 'soon', expected seconds",
        ),
    ] {
        assert_eq!(console.query(command), Err(SqlState("08P01")), "{command}");
        assert_eq!(console.last_error().unwrap().message, message);
    }
    for scope in ["database nowhere", "worker 3", "all"] {
        assert_eq!(row(&console, scope), None, "{scope}");
    }
    let stats = pooler.connect_as(&Login::new().user("carol").database("pgskein"));
    assert_eq!(stats.query("GOAWAY ALL"), Err(SqlState("08P01")));
    assert_eq!(stats.last_error().unwrap().message, "admin access needed");
    assert!(stats.query("SHOW DRAIN").is_ok());
}

#[test]
fn login_under_way_is_not_told() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let mut wire = pooler.wire_to_worker(1);
    wire.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    assert_eq!(wire.read_byte(), Some(b'N'));
    assert_eq!(console.query("GOAWAY ALL"), Ok(vec![]));
    let client = Client::log_in(wire, &Login::new()).unwrap();
    assert_eq!(client.value("select 1"), "1");
    assert_eq!(
        client.parameter("disconnect_requested").as_deref(),
        Some("off")
    );
}

#[test]
fn busy_client_is_told_at_rest_and_once_whatever_is_ordered() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let client = shop(&pooler, 2);
    // After a Parse without Sync it is not at rest.
    client.send_message(b'P', b"\0select 1\0\0\0");
    client.send_message(b'H', b"");
    client.read_until(b'1');
    for command in ["GOAWAY DATABASE shop", "GOAWAY USER alice", "GOAWAY ALL"] {
        assert_eq!(console.query(command), Ok(vec![]));
    }
    client.send_message(b'S', b"");
    client.wait_goaway();
    assert_eq!(console.query("GOAWAY WORKER 2"), Ok(vec![]));
    assert_eq!(client.value("select 1"), "1");
    assert_eq!(client.transcript(), "1ZgTDCZ");
}

#[test]
fn worker_whose_clients_go_hands_its_slot_to_a_successor() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let (stays, goes, moves) = (shop(&pooler, 1), shop(&pooler, 2), shop(&pooler, 2));
    let query = goes.start_long_query();
    let before = pooler.worker(2);
    assert_eq!(console.query("GOAWAY WORKER 2 RATE 50"), Ok(vec![]));
    pooler.wait_log("worker 2 of generation 1: leaving, clients=");
    assert_eq!(pooler.generations(), ["1.1", "2.1", "2.2"]);
    let new = shop(&pooler, 2);
    assert_eq!(new.value("select 'served'"), "served");

    // The one before is still there when others are to leave once more: these
    // are asked, and so is who was moved to them.
    wait_moved(&console, "1");
    assert_eq!(console.query("GOAWAY WORKER 2"), Ok(vec![]));
    new.wait_goaway();
    moves.wait_goaway();
    pooler.wait_log("worker 2 keeps its slot");
    goes.cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));
    wait_for("the worker to end", PATIENCE, || {
        !before.is_alive() && pooler.generations() == ["1.1", "2.2"]
    });
    for client in [&stays, &goes] {
        client.take_transcript();
        assert_eq!(client.value("select 'not asked'"), "not asked");
        assert_eq!(client.transcript(), "TDCZ");
    }

    // What is restarted then is the group as it is.
    assert_eq!(console.query("RESTART"), Ok(vec![]));
    let found = pooler.generations();
    assert!(found.contains(&"1.2".to_owned()) && found.contains(&"2.3".to_owned()));
}

#[test]
fn timeout_closes_who_is_left_between_transactions_and_stop_nobody() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let (idle, open, other) = (shop(&pooler, 1), shop(&pooler, 2), bank(&pooler, 1));
    open.query("begin").unwrap();
    assert_eq!(
        console.query("GOAWAY DATABASE shop TIMEOUT 0.3"),
        Ok(vec![])
    );
    let last = idle.wait_closed().pop().expect("a reason").error();
    assert_eq!((&*last.severity, &*last.sqlstate), ("FATAL", "57P01"));
    assert_eq!(
        last.message,
        "terminating connection due to administrator command"
    );
    assert_eq!(open.value("select 'goes on'"), "goes on");
    open.query("commit").unwrap();
    let last = open.wait_closed().pop().expect("a reason").error();
    assert_eq!(last.sqlstate, "57P01");
    assert_eq!(other.value("select 'not asked'"), "not asked");

    assert_eq!(
        console.query("GOAWAY DATABASE bank TIMEOUT 600"),
        Ok(vec![])
    );
    other.wait_goaway();
    assert_eq!(row(&console, "database bank").unwrap()["remaining"], "1");
    assert_eq!(console.query("GOAWAY STOP"), Ok(vec![]));
    assert_eq!(row(&console, "database bank"), None);
    pooler.wait_log("no longer asking clients to go: database bank: told=1");
    assert_eq!(other.value("select 'stays'"), "stays");
}

#[test]
fn shorter_timeout_of_a_second_order_holds() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(1);
    let client = shop(&pooler, 1);
    assert_eq!(console.query("GOAWAY ALL TIMEOUT 600"), Ok(vec![]));
    client.wait_goaway();
    assert_eq!(console.query("GOAWAY USER alice TIMEOUT 0.2"), Ok(vec![]));
    client.wait_closed();
    assert_eq!(client.transcript(), "gE", "told once");
    let all = row(&console, "all").unwrap();
    assert_eq!((&*all["told"], &*all["remaining"]), ("1", "0"));
}

#[test]
fn rate_spreads_the_asking_idle_clients_come_first_and_stop_ends_it() {
    let (_postgres, pooler) = start("workers = 1\npool_mode = transaction");
    let console = pooler.console_of(1);
    let clients: Vec<Client> = (0..20).map(|_| shop(&pooler, 1)).collect();
    let (busy, idle) = clients.split_at(10);
    for client in busy {
        client.query("begin").unwrap();
    }
    assert_eq!(console.query("GOAWAY DATABASE shop RATE 1"), Ok(vec![]));
    wait_told(&console, 2);
    assert_eq!(console.query("GOAWAY STOP"), Ok(vec![]));
    let told = |clients: &[Client]| {
        let told = clients.iter().filter(|client| {
            client.value("select 1");
            client.transcript().contains('g')
        });
        told.count()
    };
    // The busy ones would have had their turn after ten seconds.
    assert_eq!(told(busy), 0);
    let before = told(idle);
    assert!((2..10).contains(&before), "{before} were told");
    let more = within(Duration::from_secs(1), || told(idle) > before);
    assert!(!more, "told after STOP");
}

#[test]
fn rate_is_kept_by_each_worker() {
    let (_postgres, pooler) = start("workers = 1\npool_mode = transaction\ngoaway_rate = 10");
    let console = pooler.console_of(1);
    let clients: Vec<Client> = (0..8).map(|_| shop(&pooler, 1)).collect();
    let begun = Instant::now();
    assert_eq!(console.query("GOAWAY DATABASE shop"), Ok(vec![]));
    assert_eq!(row(&console, "database shop").unwrap()["rate"], "10");
    for client in &clients {
        client.wait_goaway();
    }
    // Seven times at least half of the interval.
    assert!(begun.elapsed() >= Duration::from_millis(350));
    // What is said with the order counts more than the setting.
    let others: Vec<Client> = (0..8).map(|_| bank(&pooler, 1)).collect();
    assert_eq!(console.query("GOAWAY DATABASE bank RATE 0"), Ok(vec![]));
    assert_eq!(row(&console, "database bank").unwrap()["told"], "8");
    drop(others);
}

#[test]
fn progress_is_shown_and_logged_for_all_workers_together() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(2);
    let [first, second, open, stays] = [1, 2, 1, 2].map(|worker| shop(&pooler, worker));
    open.query("begin").unwrap();
    stays.query("begin").unwrap();
    assert_eq!(console.query("GOAWAY DATABASE shop"), Ok(vec![]));
    let shown = row(&console, "database shop").unwrap();
    assert_eq!(shown["kind"], "goaway");
    assert!(shown["since"].ends_with(" UTC"), "{shown:?}");
    assert_eq!(shown["deadline"], "");
    wait_counts(&console, "4|0|0|0|0|4");
    first.close();
    wait_counts(&console, "4|1|0|0|0|3");
    let timed = "GOAWAY DATABASE shop TIMEOUT 0.2";
    assert_eq!(console.query(timed), Ok(vec![]));
    second.wait_closed();
    wait_counts(&console, "4|1|0|1|0|2");
    open.reset();
    wait_counts(&console, "4|2|0|1|0|1");
    stays.query("commit").unwrap();
    stays.wait_closed();
    wait_counts(&console, "4|2|0|2|0|0");
    pooler.wait_log(
        "supervisor INFO all who were asked to go have left: database shop: \
         told=4 left=2 moved=0 closed_idle=2 closed_in_transaction=0 remaining=0",
    );
}

#[test]
fn order_outlives_a_worker_that_dies() {
    let (_postgres, pooler) = start(SETTINGS);
    let console = pooler.console_of(2);
    let (lost, stays) = (shop(&pooler, 1), shop(&pooler, 2));
    assert_eq!(
        console.query("GOAWAY DATABASE shop TIMEOUT 600"),
        Ok(vec![])
    );
    wait_counts(&console, "2|0|0|0|0|2");
    let worker = pooler.worker(1);
    worker.kill();
    lost.wait_closed();
    pooler.wait_replaced(1, worker);
    // The new one has the order, and nobody whom that is about.
    let later = shop(&pooler, 1);
    assert_eq!(later.value("select 1"), "1");
    assert_eq!(later.transcript(), "TDCZ");
    let of_new = pooler.console_of(1);
    let shown = row(&of_new, "database shop").unwrap();
    assert_eq!((&*shown["told"], &*shown["remaining"]), ("2", "1"));
    stays.close();
    pooler.wait_log("all who were asked to go have left: database shop");
}

/// A pooler with the databases `shop` and `bank` and users alice and bob.
fn start(settings: &str) -> (Postgres, Pooler) {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!(
        "shop = {address} dbname=postgres\nbank = {address} dbname=postgres\n* = {address}"
    );
    let pooler = Pooler::start_for(&databases, settings);
    (postgres, pooler)
}

/// Clients of both workers, databases and users.
fn four(pooler: &Pooler) -> [Client; 4] {
    [
        (1, "shop", "alice"),
        (1, "bank", "bob"),
        (2, "shop", "bob"),
        (2, "bank", "alice"),
    ]
    .map(|(worker, database, user)| {
        let login = Login::new().database(database).user(user).goaway();
        pooler.connect_to_worker_as(worker, &login)
    })
}

fn shop(pooler: &Pooler, worker: u8) -> Client {
    let login = Login::new().database("shop").user("alice").goaway();
    pooler.connect_to_worker_as(worker, &login)
}

fn bank(pooler: &Pooler, worker: u8) -> Client {
    let login = Login::new().database("bank").user("bob").goaway();
    pooler.connect_to_worker_as(worker, &login)
}

/// The number of the client of this database and user.
fn number(console: &Client, database: &str, user: &str) -> String {
    let mut rows = console.table("SHOW CLIENTS").into_iter();
    let row = rows.find(|row| row["database"] == database && row["user"] == user);
    row.unwrap()["id"].clone()
}

/// The row of the first order of this scope.
fn row(console: &Client, scope: &str) -> Option<std::collections::BTreeMap<String, String>> {
    let rows = console.table("SHOW DRAIN").into_iter();
    rows.into_iter().find(|row| row["scope"] == scope)
}

/// Waits until the worker that leaves has moved so many.
fn wait_moved(console: &Client, count: &str) {
    wait_for("clients to move", PATIENCE, || {
        let rows = console.table("SHOW WORKERS").into_iter();
        let mut leaving = rows.filter(|row| row["state"] == "draining");
        leaving.any(|row| row["moved"] == count)
    });
}

/// Waits until so many were told of the shop.
fn wait_told(console: &Client, count: u32) {
    wait_for("some to be told", PATIENCE, || {
        let row = row(console, "database shop").unwrap();
        row["told"].parse::<u32>().unwrap() >= count
    });
}

/// Waits until the first order about the shop has come this far.
fn wait_counts(console: &Client, counts: &str) {
    let names = [
        "told",
        "left",
        "moved",
        "closed_idle",
        "closed_in_transaction",
        "remaining",
    ];
    let mut seen = String::new();
    let reached = within(PATIENCE, || {
        let row = row(console, "database shop").unwrap();
        seen = names.map(|name| row[name].clone()).join("|");
        seen == counts
    });
    assert!(reached, "{seen} instead of {counts}");
}

//! A limit holds for the whole group of workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::harness::{Login, PATIENCE, Pooler, Postgres, SqlState, Stop, wait_for};

#[test]
fn pool_size_holds_over_four_workers() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\ndefault_pool_size = 3",
    );
    let logins: Vec<Login> = (0..32).map(|_| Login::new()).collect();
    let most = most_connections(&postgres, &pooler, &logins);
    assert!(most <= 3, "{most} connections");
    assert_all_are_lent(&postgres, ALL, &pooler, &logins, 3);
}

#[test]
fn pool_of_one_serves_four_workers_and_nobody_starves() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let logins: Vec<Login> = (0..16).map(|_| Login::new()).collect();
    assert_eq!(most_connections(&postgres, &pooler, &logins), 1);
}

#[test]
fn max_db_connections_holds_over_all_users() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\ndefault_pool_size = 3\nmax_db_connections = 4",
    );
    let users = ["alice", "bob", "carol"].into_iter().cycle();
    let logins: Vec<Login> = users.map(|user| Login::new().user(user)).take(24).collect();
    let most = most_connections(&postgres, &pooler, &logins);
    assert!(most <= 4, "{most} connections");
    assert_all_are_lent(&postgres, ALL, &pooler, &logins, 4);
}

#[test]
fn max_user_connections_holds_over_all_databases() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases: String = ["a", "b", "c"]
        .map(|name| format!("{name} = {address} dbname=postgres\n"))
        .concat();
    let pooler = Pooler::start_for(
        &format!("{databases}postgres = {address}"),
        "workers = 2\npool_mode = transaction\ndefault_pool_size = 3\nmax_user_connections = 4",
    );
    let names = ["a", "b", "c"].into_iter().cycle();
    let login = |name| Login::new().user("alice").database(name);
    let logins: Vec<Login> = names.map(login).take(24).collect();
    let most = most_connections(&postgres, &pooler, &logins);
    assert!(most <= 4, "{most} connections");
    assert_all_are_lent(&postgres, ALL, &pooler, &logins, 4);
}

#[test]
fn limits_of_a_database_and_of_a_user_beat_the_general_ones() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!(
        "small = {address} dbname=postgres pool_size=1\nplain = {address} dbname=postgres\n\
         postgres = {address}\n[users]\nbob = pool_size=2\ncarol = pool_size=2"
    );
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 5";
    let pooler = Pooler::start_for(&databases, settings);
    for (user, database, limit) in [
        ("alice", "small", 1),
        ("carol", "small", 2),
        ("bob", "plain", 2),
    ] {
        let login = Login::new().user(user).database(database);
        let logins: Vec<Login> = (0..10).map(|_| login.clone()).collect();
        let sql = format!(
            "select count(*) from pg_stat_activity where usename = '{user}' and backend_type = 'client backend'"
        );
        let most = most_of(&postgres, &sql, &pooler, &logins);
        assert!(most <= limit, "{most} connections of {user} to {database}");
        assert_all_are_lent(&postgres, &sql, &pooler, &logins, limit);
    }
}

#[test]
fn session_mode_client_waits_until_another_leaves() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = session\ndefault_pool_size = 2",
    );
    let [first, second, third] = [1, 2, 1].map(|worker| pooler.connect_to_worker(worker));
    first.value("select 1");
    second.value("select 1");
    let query = third.start_query("select 'served'");
    pooler.wait_waiting_clients(1);
    assert_eq!(postgres.connections(), 2);
    second.close();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
    first.close();
}

#[test]
fn waiting_clients_are_served_in_their_order() {
    let postgres = Postgres::start();
    postgres.query("create table served (number int, at serial)");
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let holder = pooler.connect();
    let clients: Vec<_> = (0..10).map(|_| pooler.connect()).collect();
    holder.query("begin").unwrap();
    let mut queries = Vec::new();
    for (number, client) in (0..).zip(&clients) {
        queries.push(client.start_query(&format!("insert into served values ({number})")));
        pooler.wait_waiting_clients(number + 1);
    }
    holder.query("commit").unwrap();
    for query in queries {
        query.wait().unwrap();
    }
    let order = postgres.query("select string_agg(number::text, ' ' order by at) from served");
    assert_eq!(order, ["0 1 2 3 4 5 6 7 8 9"]);
}

#[test]
fn as_many_connections_are_opened_at_once_as_clients_wait_for() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 1\npool_mode = transaction\ndefault_pool_size = 20",
    );
    let clients: Vec<_> = (0..15).map(|_| pooler.connect()).collect();
    for client in &clients {
        client.query("begin").unwrap();
    }
    assert_eq!(postgres.connections(), 15);
}

#[test]
fn max_client_conn_holds_for_the_group() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\nmax_client_conn = 10",
    );
    let mut clients: Vec<_> = (0..10).map(|_| pooler.connect()).collect();
    for _ in 0..8 {
        let error = pooler.try_connect(&Login::new()).unwrap_err();
        assert_eq!(error.severity, "FATAL");
        assert_eq!(error.sqlstate, "53300");
        assert_eq!(
            error.message,
            "no more connections allowed (max_client_conn)"
        );
    }

    // Consoles and cancels are not counted.
    assert_eq!(pooler.console("SHOW WORKERS").len(), 4);
    let query = clients[3].start_long_query();
    clients[3].cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));

    clients.remove(0).close();
    wait_for("the place of the one that left", PATIENCE, || {
        pooler.try_connect(&Login::new()).is_ok()
    });
}

#[test]
fn hundreds_of_clients_share_a_few_connections() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 4\npool_mode = transaction\ndefault_pool_size = 5\nmax_client_conn = 1000",
    );
    let clients: Vec<_> = (0..500).map(|_| pooler.connect()).collect();
    for client in &clients {
        assert_eq!(client.value("select 'served'"), "served");
    }
    assert!(postgres.connections() <= 5);
}

/// The most connections of the pooler while all these clients work.
fn most_connections(postgres: &Postgres, pooler: &Pooler, logins: &[Login]) -> i64 {
    most_of(postgres, ALL, pooler, logins)
}

/// Asserts that so many of these clients, and not one more, are served at the
/// same time, by as many connections as `sql` counts.
fn assert_all_are_lent(
    postgres: &Postgres,
    sql: &str,
    pooler: &Pooler,
    logins: &[Login],
    limit: i64,
) {
    let size = usize::try_from(limit).unwrap();
    let clients: Vec<_> = logins[..=size]
        .iter()
        .map(|l| pooler.connect_as(l))
        .collect();
    let (late, served) = clients.split_last().unwrap();
    for client in served {
        client.query("begin").unwrap();
    }
    let begin = late.start_query("begin");
    pooler.wait_waiting_clients(1);
    assert_eq!(postgres.number(sql), limit);
    served[0].query("commit").unwrap();
    assert_eq!(begin.wait(), Ok(vec![]));
    for client in clients {
        client.close();
    }
}

/// The most that `sql` counts while all these clients work. Each is served
/// twenty times.
fn most_of(postgres: &Postgres, sql: &str, pooler: &Pooler, logins: &[Login]) -> i64 {
    let stop = Stop::default();
    let served = AtomicU32::new(0);
    let most = thread::scope(|scope| {
        let _guard = stop.guard();
        let sampler = scope.spawn(|| {
            let direct = postgres.connect();
            let mut most = 0;
            while !stop.is_set() {
                most = most.max(direct.value(sql).parse().unwrap());
            }
            most
        });
        let clients: Vec<_> = logins
            .iter()
            .map(|login| {
                let served = &served;
                scope.spawn(move || {
                    let client = pooler.connect_as(login);
                    for _ in 0..20 {
                        client.query("select pg_sleep(0.003)").unwrap();
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        stop.set();
        sampler.join().unwrap()
    });
    assert_eq!(served.load(Ordering::Relaxed) as usize, logins.len() * 20);
    most
}

/// Connections of the pooler.
const ALL: &str = "select count(*) from pg_stat_activity \
                   where backend_type = 'client backend' and application_name <> 'direct'";

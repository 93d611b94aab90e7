//! Limits of clients hold for the group, to the last place.

use std::sync::Barrier;
use std::thread;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, wait_for};

#[test]
fn last_places_of_max_client_conn_go_to_exactly_as_many_as_there_are() {
    let postgres = Postgres::start();
    let settings = "workers = 4\npool_mode = transaction\nmax_client_conn = 6";
    let pooler = Pooler::start(&postgres, settings);
    let text = "no more connections allowed (max_client_conn)";
    race(&pooler, &Login::new(), 6, text);
}

#[test]
fn last_places_are_given_once_while_clients_are_passed_on() {
    let postgres = Postgres::start();
    let settings = "workers = 4\npool_mode = transaction\nmax_client_conn = 6\nbalance = 1";
    let pooler = Pooler::start(&postgres, settings);
    let text = "no more connections allowed (max_client_conn)";
    race(&pooler, &Login::new(), 6, text);
}

#[test]
fn clients_of_a_database_are_limited_whichever_workers_they_race_for() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases =
        format!("shop = {address} dbname=postgres max_db_client_connections=5\n* = {address}");
    let pooler = Pooler::start_for(&databases, "workers = 4\npool_mode = transaction");
    let text = "client connections exceeded (max_db_client_connections)";
    race(&pooler, &Login::new().database("shop"), 5, text);
    // Others are not concerned.
    let others: Vec<_> = (0..8).map(|_| pooler.connect()).collect();
    assert_eq!(others.len(), 8);
}

#[test]
fn clients_of_a_user_are_limited_whichever_workers_they_race_for() {
    let postgres = Postgres::start();
    let settings = "workers = 4\npool_mode = transaction\nmax_user_client_connections = 5\n\
                    [users]\nbob = max_user_client_connections=7";
    let pooler = Pooler::start(&postgres, settings);
    let text = "client connections exceeded (max_user_client_connections)";
    race(&pooler, &Login::new().user("alice"), 5, text);
    race(&pooler, &Login::new().user("bob"), 7, text);
}

#[test]
fn forced_user_does_not_count_for_the_user_who_logs_in() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!("shop = {address} dbname=postgres user=carol\n* = {address}");
    let settings = "workers = 2\npool_mode = transaction\nmax_user_client_connections = 2";
    let pooler = Pooler::start_for(&databases, settings);
    let shop = |user: &str| Login::new().database("shop").user(user);
    let _alice = [0, 1].map(|_| pooler.connect_as(&shop("alice")));
    let _bob = [0, 1].map(|_| pooler.connect_as(&shop("bob")));
    let error = pooler.try_connect(&shop("alice")).unwrap_err();
    assert_eq!(error.sqlstate, "53300");
}

#[test]
fn place_of_a_client_returns_when_it_leaves_and_when_its_worker_dies() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\nmax_db_client_connections = 3";
    let pooler = Pooler::start(&postgres, settings);
    let login = Login::new().user("alice").database("template1");
    let mut clients = [1, 1, 2].map(|worker| Some(pooler.connect_to_worker_as(worker, &login)));
    assert!(pooler.try_connect(&login).is_err());

    // The console and cancel requests need no place.
    let query = clients[2].as_ref().unwrap().start_long_query();
    assert_eq!(pooler.console("SHOW WORKERS").len(), 2);
    clients[2].as_ref().unwrap().cancel();
    assert_eq!(query.wait(), Err(SqlState("57014")));

    clients[2].take().unwrap().close();
    let mut next = None;
    wait_for("the place of the one that left", PATIENCE, || {
        next = pooler.try_connect_to_worker(2, &login).ok();
        next.is_some()
    });
    pooler.worker(1).signal(Signal::SIGKILL);
    let mut more: Vec<Client> = Vec::new();
    wait_for("the places of those that were killed", PATIENCE, || {
        more.extend(pooler.try_connect(&login).ok());
        more.len() == 2
    });
    assert!(pooler.try_connect(&login).is_err());
}

#[test]
fn clients_from_before_a_limit_count_as_well() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction";
    let pooler = Pooler::start(&postgres, settings);
    let login = Login::new().user("alice").database("template1");
    let mut clients: Vec<Client> = (0..4).map(|_| pooler.connect_as(&login)).collect();
    pooler.reload(&format!("{settings}\nmax_user_client_connections = 3"));
    wait_for("both workers to count", PATIENCE, || {
        pooler.log().matches("configuration 2 in effect").count() == 2
    });
    let error = pooler.try_connect(&login).unwrap_err();
    assert_eq!(error.sqlstate, "53300");
    // Two have to leave before one can come.
    clients.pop().unwrap().close();
    assert!(pooler.try_connect(&login).is_err());
    clients.pop().unwrap().close();
    wait_for("a place", PATIENCE, || pooler.try_connect(&login).is_ok());
}

/// Has many clients log in at once, three times: so many get in, and the
/// others are told why not.
fn race(pooler: &Pooler, login: &Login, places: usize, text: &str) {
    for round in 0..3 {
        let start = Barrier::new(RACERS);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        pooler.try_connect(login)
                    })
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect()
        });
        let (inside, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        for refusal in refused {
            let error = refusal.unwrap_err();
            assert_eq!((&*error.severity, &*error.sqlstate), ("FATAL", "53300"));
            assert_eq!(error.message, text);
        }
        assert_eq!(inside.len(), places, "in round {round}");
        for client in inside {
            client.unwrap().close();
        }
        wait_for("all places to be free", PATIENCE, || {
            let clients: Vec<_> = (0..places).map(|_| pooler.try_connect(login)).collect();
            let all = clients.iter().all(Result::is_ok);
            for client in clients.into_iter().flatten() {
                client.close();
            }
            all
        });
    }
}

const RACERS: usize = 24;

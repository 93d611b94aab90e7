//! Cancels of sessions that go to another worker: before, during and after.

use std::thread;

use crate::harness::{
    Client, Login, PATIENCE, Pooler, Postgres, SqlState, Stop, restart, wait_for,
};

const CANCELLED: SqlState = SqlState("57014");

#[test]
fn a_cancel_finds_a_session_that_has_moved_through_every_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
    let client = pooler.connect_to_worker(1);
    let number = number_of(&pooler, &client);
    for (worker, through) in [(2, 1), (3, 2), (3, 3), (1, 3), (2, 2)] {
        move_to(&pooler, &number, worker);
        let query = client.start_long_query();
        wait_for("the query to run", PATIENCE, || {
            postgres.busy_connections() == 1
        });
        client.cancel_through_worker(through);
        assert_eq!(query.wait(), Err(CANCELLED), "{worker} through {through}");
        assert_eq!(client.value("select 'served'"), "served");
    }
}

#[test]
fn a_cancel_finds_a_session_with_its_server() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2\npool_mode = session");
    let client = pooler.connect_to_worker(1);
    let number = number_of(&pooler, &client);
    for worker in [2, 1] {
        move_to(&pooler, &number, worker);
        for through in [1, 2] {
            let query = client.start_long_query();
            client.cancel_through_worker(through);
            assert_eq!(query.wait(), Err(CANCELLED), "{worker} through {through}");
        }
    }
}

#[test]
fn cancels_while_sessions_come_and_go_all_hit_and_hit_nobody_else() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 3\npool_mode = transaction");
    let clients: Vec<Client> = (0..6)
        .map(|n| pooler.connect_to_worker(1 + n % 3))
        .collect();
    let numbers: Vec<String> = clients.iter().map(|c| number_of(&pooler, c)).collect();
    let bystander = pooler.connect_to_worker(1);
    let other = number_of(&pooler, &bystander);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        let (pooler, stop, numbers) = (&pooler, &stop, &numbers);
        scope.spawn(move || {
            // Round and round, one after the other; who is busy stays.
            let console = console(pooler);
            for (turn, number) in numbers.iter().chain([&other]).cycle().enumerate() {
                if stop.is_set() {
                    break;
                }
                let _moved_or_busy =
                    console.query(&format!("MOVE CLIENT {number} TO {}", 1 + turn % 3));
            }
        });
        let cancelled = clients.into_iter().enumerate().map(|(n, client)| {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let through = 1 + u8::try_from((n + round) % 3).unwrap();
                    let query = client.start_long_query();
                    client.cancel_through_worker(through);
                    assert_eq!(query.wait(), Err(CANCELLED), "round {round}");
                }
            })
        });
        let cancelled: Vec<_> = cancelled.collect();
        while cancelled.iter().any(|client| !client.is_finished()) {
            assert_eq!(bystander.value("select 'spared'"), "spared");
        }
        stop.set();
    });
}

#[test]
fn cancels_over_restarts_all_hit() {
    let postgres = Postgres::start();
    for mode in ["transaction", "session"] {
        let settings = format!("workers = 2\npool_mode = {mode}");
        let pooler = Pooler::start(&postgres, &settings);
        let clients: Vec<Client> = (0..6).map(|_| pooler.connect()).collect();
        let stop = Stop::default();
        thread::scope(|scope| {
            let _guard = stop.guard();
            for (n, client) in clients.into_iter().enumerate() {
                let stop = &stop;
                scope.spawn(move || {
                    let mut round = n;
                    while !stop.is_set() {
                        round += 1;
                        let query = client.start_long_query();
                        client.cancel_through_worker(if round % 2 == 0 { 1 } else { 2 });
                        assert_eq!(query.wait(), Err(CANCELLED), "{mode}, round {round}");
                        assert_eq!(client.value("select 'served'"), "served");
                    }
                });
            }
            for _ in 0..3 {
                restart(&pooler);
                wait_for("the new generation alone", PATIENCE, || {
                    pooler.generations().len() == 2
                });
            }
            stop.set();
        });
    }
}

/// The number of a client in the group's one sequence.
fn number_of(pooler: &Pooler, client: &Client) -> String {
    let name = format!("client of {}", client.process_id());
    client
        .query(&format!("set application_name = '{name}'"))
        .unwrap();
    let rows = console(pooler).table("SHOW CLIENTS");
    let row = rows.into_iter().find(|row| row["application_name"] == name);
    row.expect("a row of the client")["id"].clone()
}

fn move_to(pooler: &Pooler, number: &str, worker: u8) {
    let command = format!("MOVE CLIENT {number} TO {worker}");
    assert_eq!(console(pooler).query(&command), Ok(vec![]), "{command}");
}

fn console(pooler: &Pooler) -> Client {
    let login = Login::new().database("pgskein").password("secret");
    pooler.connect_unix(&login).expect("a console")
}

/// Cancels of each client.
const ROUNDS: usize = 30;

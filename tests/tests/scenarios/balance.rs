//! Workers have the same number of clients, however the kernel spreads them.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stop, Stopped, wait_for};

const SETTINGS: &str = "workers = 4\npool_mode = transaction\nbalance = 1\nmax_client_conn = 500";

#[test]
fn clients_are_spread_evenly_and_those_of_a_dead_worker_go_to_its_successor() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let mut clients: Vec<Client> = (0..50).map(|_| pooler.connect()).collect();
    assert_even(&clients);

    let dead = pooler.worker(3);
    dead.kill();
    pooler.wait_replaced(3, dead);
    clients.retain(|client| client.slot() != 3);
    for client in &clients {
        assert_eq!(client.value("select 'untouched'"), "untouched");
    }
    while clients.len() < 50 {
        clients.push(pooler.connect());
    }
    assert_even(&clients);
    // Wherever a client is now, its key finds it.
    let moved = &clients[49];
    let query = moved.start_long_query();
    moved.cancel();
    assert!(query.wait().is_err());
}

#[test]
fn clients_of_the_unix_socket_are_spread_evenly_and_are_served_beside_a_stopped_worker() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let connect = || pooler.connect_unix(&Login::new()).unwrap();
    let mut clients: Vec<Client> = (0..50).map(|_| connect()).collect();
    assert_even(&clients);

    // It has none left, so that all would be for it.
    let (stopped, kept): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|client| client.slot() == 2);
    clients = kept;
    stopped.into_iter().for_each(Client::close);
    wait_for("the clients to have left", PATIENCE, || {
        clients_of(&pooler, 2) <= 1
    });
    let stopped = Stopped::new(pooler.worker(2));
    thread::scope(|scope| {
        let (tell, served) = mpsc::channel();
        let mut logins = Vec::new();
        // What it was offered before anybody noticed waits for it.
        wait_for("a client that others serve", PATIENCE, || {
            let tell = tell.clone();
            logins.push(scope.spawn(move || {
                let client = connect();
                tell.send(client.slot()).unwrap();
                client
            }));
            let slot = served.recv_timeout(Duration::from_millis(100));
            slot.is_ok_and(|slot| slot != 2)
        });
        drop(stopped);
        clients.extend(logins.into_iter().map(|login| login.join().unwrap()));
    });
    // Nothing that it was offered meanwhile has it as a second owner.
    for client in &clients {
        assert_eq!(client.value("select 'served'"), "served");
    }
    wait_for("worker 2 to be passed clients on again", PATIENCE, || {
        let client = connect();
        let passed_on = client.slot() == 2;
        if passed_on {
            clients.push(client);
        }
        passed_on
    });
    while clients.len() < 80 {
        clients.push(connect());
    }
    assert_even(&clients);
}

#[test]
fn worker_that_dies_while_clients_are_passed_on_takes_its_own_and_nothing_else() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nmax_client_conn = {PLACES}");
    let pooler = Pooler::start(&postgres, &settings);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for _ in 0..6 {
            scope.spawn(|| {
                while !stop.is_set() {
                    come_and_go(&pooler);
                }
            });
        }
        for slot in [1, 2, 3, 4] {
            let bystanders: Vec<Client> = (0..8).filter_map(|_| connect(&pooler)).collect();
            let dead = pooler.worker(slot);
            dead.kill();
            pooler.wait_replaced(slot, dead);
            for client in bystanders.iter().filter(|client| client.slot() != slot) {
                assert_eq!(client.value("select 'untouched'"), "untouched");
            }
        }
        stop.set();
    });
    // No place is lost, and none is there twice.
    wait_for("all places to be free", PATIENCE, || {
        let clients: Vec<_> = (0..=PLACES).filter_map(|_| connect(&pooler)).collect();
        assert!(clients.len() <= PLACES);
        clients.len() == PLACES
    });
}

/// Logs in some clients that leave again at once, some in the middle of their
/// login.
fn come_and_go(pooler: &Pooler) {
    let workers = pooler.workers();
    let clients: Vec<Client> = (0..4).filter_map(|_| connect(pooler)).collect();
    for client in clients {
        if !client.is_still_served()
            && let Some(worker) = workers.get(&client.slot())
        {
            // The sockets of a process are closed before it is gone.
            wait_for(
                "a worker that has lost a client to be dead",
                PATIENCE,
                || !worker.is_alive(),
            );
        }
    }
    drop(pooler.try_wire());
}

/// Logs a client in, unless its worker dies just then or there is no place.
fn connect(pooler: &Pooler) -> Option<Client> {
    pooler.try_connect(&Login::new()).ok()
}

/// That the busiest of four workers has at most a tenth more than the mean.
fn assert_even(clients: &[Client]) {
    let mut counts = [0_usize; 4];
    for client in clients {
        counts[usize::from(client.slot()) - 1] += 1;
    }
    let busiest = counts.iter().max().unwrap();
    assert!(busiest * 4 * 10 <= clients.len() * 11, "{counts:?}");
}

/// Clients of the worker of a slot, as it says itself.
fn clients_of(pooler: &Pooler, slot: u8) -> u32 {
    let console = pooler.connect_as(&Login::new().database("pgskein"));
    let workers = console.table("SHOW WORKERS");
    let row = workers.iter().find(|row| row["slot"] == slot.to_string());
    row.unwrap()["clients"].parse().unwrap()
}

const PLACES: usize = 60;

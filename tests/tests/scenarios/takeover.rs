//! A new group beside workers whose supervisor has died takes over.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::thread;

use crate::harness::{
    Daemon, Descriptor, Login, PATIENCE, Pgskein, Pooler, Postgres, Process, Signal, SqlState,
    Stop, wait_for,
};
use crate::two_generations::{assert_clients_count, assert_servers_count};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn orphans_are_drained_once_the_workers_of_a_new_group_accept() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin").unwrap();
    let orphans = orphan(&pooler);
    let daemon = Daemon::start(&pooler);
    for client in &clients {
        client.wait_parameter("disconnect_requested", "on");
        assert_eq!(client.value("select 'works on'"), "works on");
    }
    wait_left_port(&orphans, &pooler);
    assert_eq!(pooler.connect().value("select 'new'"), "new");
    assert_eq!(pooler.generations(), ["1.1", "1.2", "2.1", "2.2"]);

    clients[0].query("commit").unwrap();
    for client in clients {
        client.close();
    }
    wait_for("the orphans to end", PATIENCE, || {
        orphans.iter().all(|orphan| !orphan.is_alive())
    });
    wait_for("their sockets to be removed", PATIENCE, || {
        peer_sockets(&pooler) == ["worker.1.2.sock", "worker.2.2.sock"]
    });
    assert_eq!(pooler.generations(), ["1.2", "2.2"]);
    daemon.stop();
    assert_eq!(pooler.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_is_paused_stays_so_in_a_new_group() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect_to_worker_as(1, &Login::new().database("template1"));
    assert_eq!(client.value("select 1"), "1");
    pooler.console("PAUSE template1");
    pooler.console("DISABLE shop");
    let daemon = take_over(&pooler);
    let answer = client.start_query("select 2");
    pooler.wait_waiting_clients(1);
    let servers = "select count(*) from pg_stat_activity where datname = 'template1'";
    assert_eq!(postgres.number(servers), 0);
    let disabled = Login::new().database("shop");
    assert_eq!(pooler.try_connect(&disabled).unwrap_err().sqlstate, "57P03");
    pooler.console("RESUME template1");
    assert_eq!(answer.wait(), Ok(vec!["2".to_owned()]));
    daemon.stop();
}

#[test]
fn nobody_is_refused_while_a_new_group_takes_over() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let stop = Stop::default();
    let daemon = thread::scope(|scope| {
        let _guard = stop.guard();
        for over_unix in [false, false, true] {
            let (pooler, stop) = (&pooler, &stop);
            scope.spawn(move || {
                while !stop.is_set() {
                    let client = if over_unix {
                        pooler.connect_unix(&Login::new()).unwrap()
                    } else {
                        pooler.connect()
                    };
                    assert_eq!(client.query("select 1"), Ok(vec!["1".to_owned()]));
                    client.close();
                }
            });
        }
        let orphans = orphan(&pooler);
        let daemon = Daemon::start(&pooler);
        wait_left_port(&orphans, &pooler);
        wait_for("the orphans to end", PATIENCE, || {
            orphans.iter().all(|orphan| !orphan.is_alive())
        });
        stop.set();
        daemon
    });
    daemon.stop();
}

#[test]
fn servers_of_orphans_count_towards_the_limits() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\ndefault_pool_size = 3");
    let pooler = Pooler::start(&postgres, &settings);
    let mut daemon = None;
    assert_servers_count(&postgres, &pooler, || daemon = Some(take_over(&pooler)));
    daemon.unwrap().stop();
}

#[test]
fn idle_servers_of_orphans_are_given_up_for_the_new_group() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\ndefault_pool_size = 1");
    let pooler = Pooler::start(&postgres, &settings);
    let old = pooler.connect_to_worker(1);
    let daemon = take_over(&pooler);
    let new = pooler.connect();
    for _ in 0..3 {
        assert_eq!(new.value("select 'new'"), "new");
        assert_eq!(old.value("select 'old'"), "old");
        assert!(postgres.connections() <= 1);
    }
    daemon.stop();
}

#[test]
fn cancel_reaches_a_client_of_an_orphan_through_the_new_group() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    let queries = clients.each_ref().map(|client| client.start_long_query());
    let daemon = take_over(&pooler);
    for (client, query) in clients.iter().zip(queries) {
        client.cancel();
        assert_eq!(query.wait(), Err(SqlState("57014")));
    }
    daemon.stop();
}

#[test]
fn limit_of_clients_counts_those_of_orphans() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nmax_db_client_connections = 2");
    let pooler = Pooler::start(&postgres, &settings);
    let mut daemon = None;
    assert_clients_count(&pooler, || daemon = Some(take_over(&pooler)));
    daemon.unwrap().stop();
}

#[test]
fn third_group_takes_over_from_two_generations_of_orphans() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 4"));
    let first = pooler.connect_to_worker(1);
    first.query("begin").unwrap();
    let orphans = orphan(&pooler);
    let second_group = Daemon::start(&pooler);
    wait_left_port(&orphans, &pooler);
    let second = pooler.connect();
    second.query("begin").unwrap();
    let more = second_group.workers();
    second_group.orphan();

    let third_group = Daemon::start(&pooler);
    second.wait_parameter("disconnect_requested", "on");
    wait_left_port(&more, &pooler);
    let third = pooler.connect();
    for client in [&first, &second, &third] {
        assert_eq!(client.value("select 'served'"), "served");
    }
    assert!(postgres.connections() <= 4);
    drop((first, second));
    wait_for("all orphans to end", PATIENCE, || {
        orphans.iter().chain(&more).all(|orphan| !orphan.is_alive())
    });
    third_group.stop();
}

#[test]
fn living_group_is_respected_with_a_clear_error() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    let ini = pooler.ini();
    let run = || Pgskein::run(&[ini.to_str().unwrap()]).refused();
    let pid = pooler.supervisor().0;
    let said = run();
    assert!(
        said.contains(&format!("running already: process {pid} in")),
        "{said}"
    );

    pooler.write_settings(&format!("{SETTINGS}\npidfile ="));
    let said = run();
    assert!(said.contains("another pgskein uses the folder"), "{said}");

    let elsewhere = pooler.socket_folder().join("run");
    let elsewhere = elsewhere.display();
    pooler.write_settings(&format!("{SETTINGS}\npidfile =\nruntime_dir = {elsewhere}"));
    let said = run();
    assert!(
        said.contains(&format!("address 127.0.0.1:{} is in use", pooler.port())),
        "{said}"
    );

    assert_eq!(client.value("select 'untouched'"), "untouched");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
}

#[test]
fn unix_socket_of_somebody_else_is_not_taken_over() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let client = pooler.connect();
    orphan(&pooler);
    let path = pooler.socket_folder();
    let path = path.join(format!(".s.PGSQL.{}", pooler.port()));
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    let said = Pgskein::run(&[pooler.ini().to_str().unwrap()]).refused();
    let expected = format!("unix socket {} is in use", path.display());
    assert!(said.contains(&expected), "{said}");
    assert!(path.exists());
    assert_eq!(client.value("select 'untouched'"), "untouched");
}

#[test]
fn what_a_group_has_left_that_was_killed_is_no_obstacle() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    pooler.signal_group(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    wait_for("all to be dead", PATIENCE, || pooler.processes().is_empty());
    // A socket for clients, one for each process, and the pidfile.
    assert_eq!(pooler.leftovers().len(), 5, "{:?}", pooler.leftovers());
    let daemon = Daemon::start(&pooler);
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    assert_eq!(pooler.generations(), ["1.1", "2.1"]);
    daemon.stop();
    assert_eq!(pooler.leftovers(), Vec::<std::path::PathBuf>::new());
}

/// Kills the supervisor; gives its workers.
fn orphan(pooler: &Pooler) -> Vec<Process> {
    let workers = pooler.workers().into_values().collect();
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    workers
}

/// Has a new group take over, until it alone accepts.
fn take_over(pooler: &Pooler) -> Daemon {
    let orphans = orphan(pooler);
    let daemon = Daemon::start(pooler);
    wait_left_port(&orphans, pooler);
    daemon
}

/// Waits until none of them listens on the port any more.
fn wait_left_port(orphans: &[Process], pooler: &Pooler) {
    let listener = Descriptor::TcpListener(pooler.port());
    wait_for("the orphans to leave the port", PATIENCE, || {
        let listens = |orphan: &Process| orphan.descriptors().contains(&listener);
        !orphans.iter().any(listens)
    });
}

fn peer_sockets(pooler: &Pooler) -> Vec<String> {
    let entries = fs::read_dir(pooler.runtime_folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("worker.")).collect();
    found.sort();
    found
}

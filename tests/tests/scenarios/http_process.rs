//! The process that answers HTTP: what it has, how it dies, and who replaces it.

use std::fs;
use std::os::fd::OwnedFd;

use crate::harness::{
    Daemon, Descriptor, Http, PATIENCE, Pooler, Postgres, Process, Signal, Stopped, restart,
    wait_for,
};
use crate::http::{http_processes, process_of};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\n";

fn start(postgres: &Postgres) -> (Pooler, Http) {
    let http = Http::unused();
    let pooler = Pooler::start(postgres, &format!("{SETTINGS}{}", http.setting()));
    http.wait("/ready", 200, "ready, workers=2");
    (pooler, http)
}

#[test]
fn has_nothing_but_its_own_and_nobody_else_has_its_connections() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let port = http.address().port();
    let process = process_of(&pooler);
    let expected = [
        Descriptor::TcpListener(port),
        Descriptor::Unix,
        Descriptor::Other("[eventpoll]".to_owned()),
        Descriptor::Other("memfd:pgskein-scoreboard".to_owned()),
    ];
    // The connection of whoever has just asked may still be closed.
    wait_for("nothing but its own", PATIENCE, || {
        let mut found = process.descriptors();
        found.retain(|one| !matches!(one, Descriptor::File(_)));
        found == expected
    });
    assert_eq!(process.uid(), pooler.worker(1).uid());
    for worker in pooler.workers().values() {
        let found = worker.descriptors();
        assert!(!found.contains(&Descriptor::TcpListener(port)), "{found:?}");
    }
    assert!(pooler.log_contains(&format!("answering HTTP on {}", http.address())));
    assert!(pooler.log_contains(&format!("http: ready, pid={}", process.0)));
    // What a terminal or a service manager sends to all is not for it.
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        process.signal(signal);
    }
    assert!(http.get("/ready").says(200, "ready, workers=2"));
    assert_eq!(process_of(&pooler), process);
}

#[test]
fn replaced_when_it_dies_and_nobody_is_refused_meanwhile() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let client = pooler.connect();
    for _ in 0..3 {
        let process = process_of(&pooler);
        process.kill();
        // Who comes now waits in the queue.
        wait_for("its end", PATIENCE, || !process.is_alive());
        assert!(http.get("/ready").says(200, "ready, workers=2"));
        pooler.wait_log(&format!("http: killed by SIGKILL, pid={}", process.0));
    }
    assert_eq!(client.value("select 'untouched'"), "untouched");
}

#[test]
fn replaced_when_it_hangs() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let settings = format!("{SETTINGS}{}\nworker_hang_timeout = 3", http.setting());
    let pooler = Pooler::start(&postgres, &settings);
    http.wait("/ready", 200, "ready, workers=2");
    let hung = process_of(&pooler);
    let _stopped = Stopped::new(hung);
    // Who asks meanwhile is answered by the next one.
    assert_eq!(http.get("/ready").status, 200);
    assert!(pooler.log_contains(&format!("http: hangs, killing it, pid={}", hung.0)));
    assert_ne!(process_of(&pooler), hung);
}

#[test]
fn opens_the_log_again_with_everybody_else() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let before = process_of(&pooler);
    let old = pooler.log_file().with_extension("old");
    fs::rename(pooler.log_file(), &old).unwrap();
    pooler.signal(Signal::SIGHUP);
    pooler.wait_log("http: ready");
    wait_for("the last one to leave", PATIENCE, || !before.is_alive());
    let process = process_of(&pooler);
    assert!(http.get("/ready").says(200, "ready, workers=2"));
    let name = |file: &Descriptor| *file == Descriptor::File("pgskein.log".to_owned());
    assert!(process.descriptors().iter().any(name));
}

#[test]
fn goes_on_without_the_supervisor_as_long_as_a_worker_lives() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let workers = pooler.workers();
    let process = process_of(&pooler);
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    http.wait("/live", 200, "no supervisor, workers=2");
    assert!(http.get("/ready").says(200, "ready, workers=2"));
    workers[&1].kill();
    http.wait("/ready", 200, "ready, workers=1");
    workers[&2].kill();
    wait_for("its end", PATIENCE, || !process.is_alive());
    assert!(http.try_get("/live").is_err());
    // The address is free again for the next group.
    let daemon = Daemon::start(&pooler);
    http.wait("/ready", 200, "ready, workers=2");
    daemon.stop();
}

#[test]
fn gives_way_to_that_of_a_new_group_beside_the_orphans() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    let client = pooler.connect_to_worker(1);
    client.query("begin").unwrap();
    let process = process_of(&pooler);
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    let daemon = Daemon::start(&pooler);
    wait_for("the last one to leave", PATIENCE, || !process.is_alive());
    // Workers that were there before take no clients, and count.
    http.wait("/live", 200, "live, workers=3");
    assert!(http.get("/ready").says(200, "ready, workers=2"));
    client.query("commit").unwrap();
    client.close();
    http.wait("/live", 200, "live, workers=2");
    daemon.stop();
    assert!(http.try_get("/live").is_err());
}

#[test]
fn restarts_keep_the_sockets_and_bring_a_new_process() {
    let postgres = Postgres::start();
    let (pooler, http) = start(&postgres);
    for _ in 0..2 {
        let before = process_of(&pooler);
        restart(&pooler);
        wait_for("the last one to leave", PATIENCE, || !before.is_alive());
        assert!(http.get("/ready").status == 200);
    }
    let process = process_of(&pooler);
    process.kill();
    wait_for("another one", PATIENCE, || {
        http_processes(&pooler).iter().any(|one| *one != process)
    });
    http.wait("/ready", 200, "ready, workers=2");
}

#[test]
fn address_in_use_or_that_of_clients_ends_the_start() {
    let postgres = Postgres::start();
    let (_pooler, http) = start(&postgres);
    let databases = format!("* = {}", postgres.address());
    let settings = format!("{SETTINGS}{}", http.setting());
    let said = Pooler::try_start(&databases, &settings).expect_err("it is in use");
    let said = said.refused();
    assert!(
        said.contains(&format!("address {} is in use", http.address())),
        "{said}"
    );
}

#[test]
fn socket_of_the_service_manager_is_used_for_http_and_not_for_clients() {
    let postgres = Postgres::start();
    let http = Http::unused();
    let settings = format!("{SETTINGS}{}", http.setting());
    let pooler = Pooler::start_activated(&postgres, &settings, |port| {
        let addresses = [([127, 0, 0, 1], port).into(), http.address()];
        let bind = |address| {
            OwnedFd::from(std::net::TcpListener::bind::<std::net::SocketAddr>(address).unwrap())
        };
        addresses.map(bind).into()
    });
    http.wait("/ready", 200, "ready, workers=2");
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    let listener = Descriptor::TcpListener(http.address().port());
    let has = |process: Process| process.descriptors().contains(&listener);
    assert!(!has(pooler.worker(1)) && !has(pooler.worker(2)));
    assert!(has(process_of(&pooler)));
}

//! RESTART: the same process, new workers, and nobody who is lost.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, ServiceManager, Signal, wait_for};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn restart_replaces_every_worker_and_keeps_the_supervisor() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let supervisor = pooler.supervisor();
    let before = pooler.workers();
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &clients {
        client.query("begin").unwrap();
    }

    let psql = pooler.local_psql().user("pgskein").database("pgskein");
    psql.run("RESTART").ok();

    assert!(supervisor.is_alive());
    let own = std::fs::read_to_string(pooler.pidfile()).unwrap();
    assert_eq!(own.trim(), supervisor.0.to_string());
    // Clients go over in the middle of their transactions.
    wait_for("the old workers to end", PATIENCE, || {
        before.values().all(|worker| !worker.is_alive()) && pooler.generations() == ["1.2", "2.2"]
    });
    for client in &clients {
        assert_eq!(client.status(), 'T');
        assert_eq!(client.value("select 'still usable'"), "still usable");
        client.query("commit").unwrap();
    }
    let new = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in clients.iter().chain(&new) {
        assert_eq!(client.value("select 'served'"), "served");
    }
}

#[test]
fn restart_is_a_reload_for_the_service_manager() {
    let postgres = Postgres::start();
    let manager = ServiceManager::listen();
    let pooler = Pooler::start_in(&postgres, SETTINGS, &manager.environment());
    manager.wait("READY=1");
    for _ in 0..2 {
        pooler
            .connect_as(&Login::new().database("pgskein"))
            .query("RESTART")
            .unwrap();
        manager.wait("RELOADING=1");
        manager.wait("READY=1");
        wait_for("the generation before to leave", PATIENCE, || {
            pooler.generations().len() == 2
        });
    }
    pooler.signal(Signal::SIGTERM);
    manager.wait("STOPPING=1");
}

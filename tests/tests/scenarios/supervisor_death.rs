//! Workers whose supervisor has died serve the clients that they have.

use crate::harness::{
    Daemon, Login, PATIENCE, Pooler, Postgres, Process, Signal, SqlState, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn workers_go_on_without_their_supervisor_and_end_after_their_last_client() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\norphan_timeout = 0"));
    let clients = [1, 2, 1, 2].map(|worker| pooler.connect_to_worker(worker));
    let workers: Vec<Process> = pooler.workers().into_values().collect();
    for client in &clients {
        client.value("select 'before'");
    }
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);

    for client in &clients {
        assert_eq!(client.value("select 'after'"), "after");
        client.query("begin").unwrap();
        client.query("commit").unwrap();
    }
    for client in clients {
        client.close();
    }
    wait_for("the orphans to end", PATIENCE, || {
        workers.iter().all(|worker| !worker.is_alive())
    });
}

#[test]
fn cancels_still_find_their_query_without_the_supervisor() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    let queries = clients.each_ref().map(|client| client.start_long_query());
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    // Either worker may take it from the socket that they share.
    for (client, query) in clients.iter().zip(queries) {
        let mut wire = pooler.unix_wire();
        wire.send(&client.cancel_packet());
        assert_eq!(query.wait(), Err(SqlState("57014")));
        assert_eq!(wire.read_to_end(), []);
    }
}

#[test]
fn orphans_go_on_accepting() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    // Each has a server: nobody gets another one without a supervisor.
    for worker in [1, 2] {
        let client = pooler.connect_to_worker(worker);
        assert_eq!(client.value("select 'before'"), "before");
    }
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    for worker in [1, 2] {
        let client = pooler.connect_to_worker(worker);
        assert_eq!(client.value("select 'served'"), "served");
        assert_eq!(
            client.parameter("disconnect_requested").as_deref(),
            Some("off")
        );
    }
    assert!(pooler.connect_unix(&Login::new()).is_ok());
}

#[test]
fn orphans_drain_after_orphan_timeout_and_free_the_port() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\norphan_timeout = 2"));
    let client = pooler.connect_to_worker(1);
    assert_eq!(client.value("select 'before'"), "before");
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    client.wait_parameter("disconnect_requested", "on");
    assert_eq!(client.value("select 'works on'"), "works on");
    wait_for("the port to be free", PATIENCE, || {
        pooler.try_wire().is_err()
    });
    wait_for("the idle one to end", PATIENCE, || {
        pooler.processes().len() == 1
    });
    client.close();
    wait_for("the orphans to end", PATIENCE, || {
        pooler.processes().is_empty()
    });
}

#[test]
fn new_group_can_start_once_the_orphans_have_ended() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\norphan_timeout = 0"));
    let client = pooler.connect();
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    client.close();
    wait_for("the orphans to end", PATIENCE, || {
        pooler.processes().is_empty()
    });
    let daemon = Daemon::start(&pooler);
    assert_eq!(pooler.connect().value("select 'served'"), "served");
    daemon.stop();
}

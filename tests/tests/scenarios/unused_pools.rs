//! Pools that nobody uses are removed.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, SqlState, wait_for};

#[test]
fn pools_of_whatever_clients_name_do_not_pile_up() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!("postgres = {address} user=alice\n* = {address} user=bob");
    let settings = "workers = 2\npool_mode = transaction\nauth_type = any\n\
                    autodb_idle_timeout = 1\nserver_idle_timeout = 1";
    let pooler = Pooler::start_for(&databases, settings);
    let named = Login::new().database("template1");
    let [first, second] = [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &named));
    for number in 0..100 {
        let login = Login::new().database(&format!("no_such_{number}"));
        let error = pooler.try_connect(&login).unwrap_err();
        assert_eq!(error.sqlstate, "3D000", "{error:?}");
    }
    // Configured ones stay, and so do those with a client that needs no server.
    wait_pools(&pooler, &["postgres", "template1"]);
    assert_eq!(postgres.connections(), 0);
    assert_eq!(first.value("select 'still here'"), "still here");
    first.close();
    second.close();
    wait_pools(&pooler, &["postgres"]);
    // One that was removed is made again.
    let again = pooler.connect_as(&named);
    assert_eq!(again.value("select current_user"), "bob");
    wait_pools(&pooler, &["postgres", "template1"]);
}

#[test]
fn pool_idle_timeout_removes_configured_pools_as_well() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\npool_idle_timeout = 1\n\
                    server_idle_timeout = 1\nquery_wait_timeout = 5";
    let pooler = Pooler::start(&postgres, settings);
    for round in 0..3 {
        let login = Login::new().user("alice");
        let clients = [1, 2].map(|worker| pooler.connect_to_worker_as(worker, &login));
        for client in clients {
            assert_eq!(
                client.value("select current_user"),
                "alice",
                "round {round}"
            );
            // Its place under another pool is not taken by what it leaves.
            assert_eq!(client.query("select 1/0"), Err(SqlState("22012")));
            client.close();
        }
        wait_pools(&pooler, &[]);
        assert_eq!(postgres.connections(), 0);
    }
}

/// Waits until the pools, but for the console's, are those of these databases.
fn wait_pools(pooler: &Pooler, databases: &[&str]) {
    let mut found = Vec::new();
    let gone = || {
        let rows = pooler.console("SHOW POOLS");
        let names = rows.iter().filter_map(|row| row.split('|').next());
        found = names
            .filter(|name| !["pgbouncer", "pgskein"].contains(name))
            .map(str::to_owned)
            .collect();
        found == databases
    };
    wait_for(&format!("the pools {databases:?}"), PATIENCE, gone);
}

//! More sessions than a worker of a host with a number has process ids for.

use std::collections::BTreeMap;

use crate::harness::{Client, PATIENCE, Pooler, Postgres, SqlState, restart, wait_for};

const SETTINGS: &str = "workers = 1\npool_mode = transaction\npeer_id = 7\n\
    max_client_conn = 400\ndefault_pool_size = 5";

#[test]
fn keys_that_begin_alike_are_told_apart_also_after_a_restart() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    // There are 256 of them.
    let clients: Vec<Client> = (0..280).map(|_| pooler.connect()).collect();
    let mut alike = BTreeMap::<u32, Vec<&Client>>::new();
    for client in &clients {
        alike.entry(client.process_id()).or_default().push(client);
    }
    let [one, other, ..] = alike.values().find(|alike| alike.len() > 1).unwrap()[..] else {
        panic!("two are alike");
    };
    cancel_both(one, other);
    restart(&pooler);
    wait_for("the old worker to end", PATIENCE, || {
        pooler.generations() == ["1.2"]
    });
    for client in &clients {
        assert_eq!(client.value("select 'served'"), "served");
        let asked = client.parameter("disconnect_requested");
        assert_eq!(asked.as_deref(), Some("off"));
    }
    cancel_both(one, other);
}

/// Each cancel hits its own query.
fn cancel_both(one: &Client, other: &Client) {
    assert_ne!(one.secret(), other.secret());
    let (first, second) = (one.start_long_query(), other.start_long_query());
    one.cancel();
    assert_eq!(first.wait(), Err(SqlState("57014")));
    let third = one.start_long_query();
    other.cancel();
    assert_eq!(second.wait(), Err(SqlState("57014")));
    one.cancel();
    assert_eq!(third.wait(), Err(SqlState("57014")));
}

//! What holds while two generations of workers live, however the second came.

use crate::harness::{Login, PATIENCE, Pooler, Postgres, wait_for};

/// Asserts that a pool of three is one of three for the workers before and after
/// `succeed`, which has others accept in the place of those that were there.
pub(crate) fn assert_servers_count(postgres: &Postgres, pooler: &Pooler, succeed: impl FnOnce()) {
    let old = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    for client in &old {
        client.query("begin").unwrap();
    }
    succeed();
    let third = pooler.connect();
    third.query("begin").unwrap();
    let fourth = pooler.connect();
    let query = fourth.start_query("select 'served'");
    pooler.wait_waiting_clients(1);
    assert_eq!(postgres.connections(), 3);

    let [first, second] = old;
    first.query("commit").unwrap();
    assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
    assert!(postgres.connections() <= 3);
    // A worker that leaves gets a server again as well.
    third.query("commit").unwrap();
    assert_eq!(first.value("select 'served too'"), "served too");
    second.query("commit").unwrap();
}

/// Asserts that two clients of a database are as many for the workers before and
/// after `succeed`, where two are allowed.
pub(crate) fn assert_clients_count(pooler: &Pooler, succeed: impl FnOnce()) {
    // Whoever looks for the way to a worker would count as well.
    let old = pooler.connect();
    succeed();
    let _new = pooler.connect();
    let refused = pooler.try_connect(&Login::new()).unwrap_err();
    assert_eq!(refused.sqlstate, "53300");
    old.close();
    wait_for("a place", PATIENCE, || {
        pooler.try_connect(&Login::new()).is_ok()
    });
}

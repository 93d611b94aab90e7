//! A cancel never hits a query that it was not meant for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Login, Pooler, Postgres, SqlState, Stop, Ticker};

/// One server connection goes back and forth between a client that is being
/// cancelled and others that are not. A request that is still on its way when
/// the connection changes hands would hit one of those.
#[test]
fn hundred_racing_cancels_never_hit_another_clients_query() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(
        &postgres,
        "workers = 2\npool_mode = transaction\ndefault_pool_size = 1",
    );
    let stop = Stop::default();
    let innocent_queries = AtomicU32::new(0);
    // Learned while the only server is free.
    for worker in [1, 2] {
        pooler.learn(worker, 4);
    }

    thread::scope(|scope| {
        let _guard = stop.guard();
        for worker in [1, 2] {
            let (pooler, stop, count) = (&pooler, &stop, &innocent_queries);
            scope.spawn(move || {
                let innocent = pooler.connect_to_worker_as(worker, &Login::new());
                while !stop.is_set() {
                    let outcome = innocent.query("select pg_sleep(0.002)");
                    assert!(outcome.is_ok(), "hit by a stranger's cancel: {outcome:?}");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let target = pooler.connect_to_worker(1);
        for round in 0..100_u8 {
            let query = target.start_query("select pg_sleep(0.001)");
            // It waits a while and then runs: the request comes before, in
            // and after both.
            let mut beat = Ticker::every(Duration::from_micros(u64::from(round % 50) * 400));
            beat.tick();
            beat.tick();
            target.cancel_through_worker(1 + round % 2);
            let outcome = query.wait();
            assert!(
                matches!(outcome, Ok(_) | Err(SqlState("57014"))),
                "{outcome:?}"
            );
        }
    });
    let disturbed = innocent_queries.load(Ordering::Relaxed);
    assert!(
        disturbed > 10,
        "hardly anybody was there to be hit: {disturbed}"
    );
}

//! Replication clients count towards every limit, beside ordinary clients of
//! the same pool.

use std::thread;

use crate::harness::{Login, PATIENCE, Pooler, Postgres, Stop, wait_for};
use crate::replication::{logical, wait_walsenders, walsenders};

/// Every server that the pooler has open.
fn servers(postgres: &Postgres) -> i64 {
    postgres.connections() + walsenders(postgres)
}

#[test]
fn idle_server_gives_way_where_the_pool_is_full() {
    let postgres = Postgres::start_for_replication();
    for workers in [1, 2] {
        let settings =
            format!("workers = {workers}\npool_mode = transaction\ndefault_pool_size = 1");
        let pooler = Pooler::start(&postgres, &settings);
        for holder in 1..=workers {
            // Its server stays idle in its worker.
            let ordinary = pooler.connect_to_worker(holder);
            ordinary.query("select 1").unwrap();
            let client = pooler.connect_to_worker_as(1, &logical());
            assert_eq!(client.value("select 'mine'"), "mine");
            assert_eq!(servers(&postgres), 1);

            // Now the other waits, until the stream ends.
            let query = ordinary.start_query("select 'served'");
            pooler.wait_waiting_clients(1);
            client.close();
            assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
        }
        pooler.wait_log("closed: evicted");
    }
}

#[test]
fn idle_server_stays_where_there_is_room() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 3";
    let pooler = Pooler::start(&postgres, settings);
    let pid = pooler.connect().value("select pg_backend_pid()");
    let _streams = [(); 2].map(|()| pooler.connect_as(&logical()));
    assert_eq!(pooler.connect().value("select pg_backend_pid()"), pid);
    assert_eq!(servers(&postgres), 3);
    assert!(!pooler.log_contains("evicted"));
}

#[test]
fn pool_of_two_is_shared_by_streams_and_queries() {
    let postgres = Postgres::start_for_replication();
    for workers in [1, 2] {
        let settings =
            format!("workers = {workers}\npool_mode = transaction\ndefault_pool_size = 2");
        let pooler = Pooler::start(&postgres, &settings);
        let ordinary = pooler.connect_to_worker(workers);
        let first = pooler.connect_to_worker_as(1, &logical());
        ordinary.query("begin").unwrap();

        // Two servers are taken: the third, a stream, waits at its login.
        thread::scope(|scope| {
            let third = scope.spawn(|| pooler.connect_to_worker_as(workers, &logical()));
            pooler.wait_waiting_clients(1);
            assert_eq!(servers(&postgres), 2);
            ordinary.query("commit").unwrap();
            let third = third.join().unwrap();
            assert_eq!(third.value("select 'mine'"), "mine");
            assert_eq!(servers(&postgres), 2);

            // And the next query waits for one of the streams to end.
            let query = ordinary.start_query("select 'served'");
            pooler.wait_waiting_clients(1);
            first.close();
            assert_eq!(query.wait(), Ok(vec!["served".to_owned()]));
            third.close();
        });
        wait_walsenders(&postgres, 0);
    }
}

#[test]
fn busy_pool_makes_way_for_a_stream_in_its_turn() {
    let postgres = Postgres::start_for_replication();
    for size in [1, 2] {
        let settings = format!("workers = 2\npool_mode = transaction\ndefault_pool_size = {size}");
        let pooler = Pooler::start(&postgres, &settings);
        let stop = Stop::default();
        thread::scope(|scope| {
            let _guard = stop.guard();
            for worker in [1, 1, 1, 1, 2, 2, 2, 2] {
                let (stop, pooler) = (&stop, &pooler);
                scope.spawn(move || {
                    let client = pooler.connect_to_worker(worker);
                    while !stop.is_set() {
                        client.query("select pg_sleep(0.005)").unwrap();
                    }
                });
            }
            for worker in [1, 2, 1, 2] {
                let client = pooler.connect_to_worker_as(worker, &logical());
                assert_eq!(client.value("select 'mine'"), "mine");
                assert!(servers(&postgres) <= size, "limit of {size}");
                client.close();
            }
        });
    }
}

#[test]
fn login_waits_for_a_server_no_longer_than_it_may() {
    let postgres = Postgres::start_for_replication();
    for (setting, sqlstate, text) in [
        ("query_wait_timeout = 1", "53300", "query_wait_timeout"),
        ("client_login_timeout = 1", "57014", "client_login_timeout"),
    ] {
        let settings = format!("workers = 1\ndefault_pool_size = 1\n{setting}");
        let pooler = Pooler::start(&postgres, &settings);
        let holder = pooler.connect_as(&logical());
        let error = pooler.try_connect(&logical()).unwrap_err();
        assert_eq!((&*error.sqlstate, &*error.message), (sqlstate, text));
        // Whoever gave up is not waited for.
        holder.close();
        assert_eq!(pooler.connect().value("select 'served'"), "served");
    }
}

#[test]
fn client_that_leaves_while_it_waits_takes_nothing() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";
    let pooler = Pooler::start(&postgres, settings);
    let ordinary = pooler.connect();
    ordinary.query("begin").unwrap();
    let pid = ordinary.value("select pg_backend_pid()");
    let mut wire = pooler.wire();
    wire.send(&logical().packet());
    pooler.wait_waiting_clients(1);
    drop(wire);
    pooler.wait_waiting_clients(0);
    ordinary.query("commit").unwrap();
    assert_eq!(ordinary.value("select pg_backend_pid()"), pid);
    assert_eq!(walsenders(&postgres), 0);
}

#[test]
fn idle_servers_of_other_users_give_way_to_the_limit_of_a_database() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 1\npool_mode = transaction\nmax_db_connections = 2";
    let pooler = Pooler::start(&postgres, settings);
    for user in ["alice", "bob"] {
        let client = pooler.connect_as(&Login::new().user(user));
        client.query("select 1").unwrap();
    }
    let first = pooler.connect_as(&logical());
    let second = pooler.connect_as(&logical());
    assert_eq!(first.value("select 1"), second.value("select 1"));
    assert_eq!((walsenders(&postgres), servers(&postgres)), (2, 2));
}

#[test]
fn streams_of_one_worker_do_not_keep_servers_from_another() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 3\npool_mode = transaction\ndefault_pool_size = 4";
    let pooler = Pooler::start(&postgres, settings);
    let _streams = [(); 3].map(|()| pooler.connect_to_worker_as(1, &logical()));
    for worker in [2, 3, 1, 2] {
        let client = pooler.connect_to_worker(worker);
        assert_eq!(client.value("select 'served'"), "served");
    }
    assert_eq!(servers(&postgres), 4);
}

#[test]
fn max_client_conn_counts_streams() {
    let postgres = Postgres::start_for_replication();
    let pooler = Pooler::start(&postgres, "workers = 1\nmax_client_conn = 1");
    let holder = pooler.connect_as(&logical());
    for login in [Login::new(), logical()] {
        let error = pooler.try_connect(&login).unwrap_err();
        let text = "no more connections allowed (max_client_conn)";
        assert_eq!((&*error.sqlstate, &*error.message), ("53300", text));
    }
    holder.close();
    wait_for("the place of the one that left", PATIENCE, || {
        pooler.try_connect(&logical()).is_ok()
    });
}

#[test]
fn streams_come_and_go_by_the_dozen() {
    let postgres = Postgres::start_for_replication();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 3";
    let pooler = Pooler::start(&postgres, settings);
    let stop = Stop::default();
    let most = thread::scope(|scope| {
        let _guard = stop.guard();
        let sampler = scope.spawn(|| {
            let direct = postgres.connect();
            let sql = "select count(*) from pg_stat_activity where backend_type in \
                       ('client backend', 'walsender') and application_name <> 'direct'";
            let mut most = 0;
            while !stop.is_set() {
                most = most.max(direct.value(sql).parse::<i64>().unwrap());
            }
            most
        });
        let clients: Vec<_> = (0..12)
            .map(|number| {
                let pooler = &pooler;
                scope.spawn(move || {
                    for round in 0..8 {
                        let streams = (number + round) % 3 == 0;
                        let login = if streams { logical() } else { Login::new() };
                        let client = pooler.connect_as(&login);
                        assert_eq!(client.value("select 'served'"), "served");
                        if round % 2 == 0 {
                            client.close();
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        stop.set();
        sampler.join().unwrap()
    });
    assert!(most <= 3, "{most} servers");
    wait_walsenders(&postgres, 0);
}

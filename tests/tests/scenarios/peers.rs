//! Cancelling a query, whichever host the request reaches.

use crate::harness::{Client, Login, Peers, Postgres, SqlState, cancel_at};

/// One of two workers.
fn worker(n: usize) -> u8 {
    if n.is_multiple_of(2) { 1 } else { 2 }
}

const CANCELLED: SqlState = SqlState("57014");

#[test]
fn cancel_request_reaches_the_host_that_owns_the_client() {
    let postgres = Postgres::start();
    let peers = Peers::start(&postgres, 3, "workers = 2\npool_mode = transaction");

    // A long query runs on worker 1 of host 1.
    let client = peers.group(1).connect_to_worker(1);
    let query = client.start_long_query();
    assert_eq!(client.process_id().to_be_bytes()[..3], [1, 1, 0]);

    // The balancer hands the cancel request to worker 2 of host 3.
    cancel_at(peers.group(3), 2, &client.cancel_packet());

    // The query ends as cancelled, and the client is still usable.
    assert_eq!(query.wait(), Err(CANCELLED));
    assert_eq!(client.query("select 1"), Ok(vec!["1".to_owned()]));
}

#[test]
fn ninety_cancels_through_the_wrong_host_all_hit_and_none_hits_another() {
    let postgres = Postgres::start();
    let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 8";
    let peers = Peers::start(&postgres, 3, settings);
    let logins = [Login::new(), Login::new().minor_version(2)];
    let at = |n: usize| peers.group(1 + n % 3);
    let clients: Vec<Client> = (0..18)
        .map(|n| at(n).connect_to_worker_as(worker(n / 3), &logins[n / 6 % 2]))
        .collect();
    // One of each host is not meant.
    let bystanders: Vec<Client> = (0..3).map(|n| at(n).connect_to_worker(1)).collect();
    let undisturbed: Vec<_> = bystanders
        .iter()
        .map(|client| client.start_query("select 'undisturbed' from pg_sleep(4)"))
        .collect();

    for round in 0..5 {
        let queries: Vec<_> = clients.iter().map(Client::start_long_query).collect();
        let requests: Vec<_> = clients
            .iter()
            .enumerate()
            .map(|(n, client)| {
                let mut wire = at(n + 1 + round % 2).wire_to_worker(worker(round));
                wire.send(&client.cancel_packet());
                wire
            })
            .collect();
        for query in queries {
            assert_eq!(query.wait(), Err(CANCELLED), "round {round}");
        }
        for mut request in requests {
            assert_eq!(request.read_to_end(), []);
        }
    }
    for query in undisturbed {
        assert_eq!(query.wait(), Ok(vec!["undisturbed".to_owned()]));
    }
}

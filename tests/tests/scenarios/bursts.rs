//! Bursts: nobody waits for long while another worker has what nobody uses.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Client, Pooler, Postgres, Ticker};

#[test]
fn burst_at_any_worker_gets_what_the_others_have() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients: Vec<(u8, Client)> = (0..40)
        .map(|number| number % 3 + 1)
        .map(|worker| (worker, pooler.connect_to_worker(worker)))
        .collect();
    let mut longest = Duration::ZERO;
    for round in 0..30 {
        let busy = round % 3 + 1;
        let asked = Instant::now();
        let of_worker = clients.iter().filter(|(worker, _)| *worker == busy);
        let queries: Vec<_> = of_worker
            .map(|(_, client)| client.start_query("select pg_sleep(0.005)"))
            .collect();
        for query in queries {
            query.wait().unwrap();
        }
        longest = longest.max(asked.elapsed());
        assert!(postgres.connections() <= 3, "in round {round}");
    }
    println!("30 bursts of 13 clients at one worker of three: {longest:?} at most");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[test]
fn clients_with_bursts_at_every_worker_are_all_served_soon() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let waits: Vec<Duration> = thread::scope(|scope| {
        let clients: Vec<_> = (0..40_u8)
            .map(|number| {
                let client = pooler.connect_to_worker(number % 3 + 1);
                scope.spawn(move || bursts(&client, number))
            })
            .collect();
        let joined = clients.into_iter().map(|client| client.join().unwrap());
        joined.collect()
    });
    let longest = waits.into_iter().max().unwrap();
    println!("40 clients with bursts, three connections: {longest:?} at most");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

/// Bursts of queries with pauses between them, others for each number; gives
/// the longest wait.
fn bursts(client: &Client, number: u8) -> Duration {
    let mut beat = Ticker::every(Duration::from_millis(40 + u64::from(number) * 7));
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        beat.tick();
        for _ in 0..=(round + number) % 5 {
            let asked = Instant::now();
            client.query("select pg_sleep(0.002)").unwrap();
            longest = longest.max(asked.elapsed());
        }
    }
    longest
}

/// Whoever waits for 10 s fails.
const SETTINGS: &str = "workers = 3\npool_mode = transaction\ndefault_pool_size = 3\n\
                        query_wait_timeout = 10";

//! Orders at random, from several consoles at once, under load.
//!
//! What is ordered is made from a seed, which `PGSKEIN_SEED` gives.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{Client, Login, PATIENCE, Pooler, Postgres, Stop, Ticker, wait_for};

/// However slow the host is, nobody is named who has not answered.
const SETTINGS: &str =
    "workers = 3\npool_mode = transaction\ndefault_pool_size = 6\nconsole_timeout = 0";

#[test]
fn orders_at_random_tell_nobody_a_wrong_thing() {
    let postgres = Postgres::start();
    let address = postgres.address();
    let databases = format!("shop = {address} dbname=postgres\n* = {address}");
    let pooler = Pooler::start_for(&databases, SETTINGS);
    let seed = seed();
    eprintln!("PGSKEIN_SEED={seed}");
    let workers = pooler.workers();
    for worker in 1..=3 {
        pooler.learn(worker, 8);
    }
    let consoles = [1, 2, 3].map(|worker| pooler.console_of(worker));
    let operator = pooler.console_of(1);
    let stop = Stop::default();
    let done = Stop::default();
    thread::scope(|scope| {
        let _guards = (stop.guard(), done.guard());
        let (pooler, stop, done) = (&pooler, &stop, &done);
        let before = logins(pooler);
        let pgbench = scope.spawn(move || {
            let _guard = stop.guard();
            pooler.pgbench("-S -c 6 -T 4")
        });
        wait_for("pgbench to be connected", PATIENCE, || {
            logins(pooler) >= before + 6
        });
        for number in 0..4 {
            scope.spawn(move || customer(pooler, number, done));
        }
        let consoles = consoles.into_iter().zip(1..);
        let consoles = consoles.map(|(console, number)| {
            scope.spawn(move || {
                let mut random = Random(seed.wrapping_mul(3).wrapping_add(number) | 1);
                let mut orders = 0;
                while !stop.is_set() {
                    order(pooler, &console, &mut random);
                    orders += 1;
                }
                orders
            })
        });
        let consoles: Vec<_> = consoles.collect();
        // Somebody takes back what keeps the others waiting.
        let mut beat = Ticker::every(Duration::from_millis(100));
        while !consoles.iter().all(|console| console.is_finished()) {
            beat.tick();
            for resume in ["RESUME", "RESUME shop", "RESUME postgres"] {
                check(&operator, resume);
            }
        }
        let orders: Vec<u64> = consoles.into_iter().map(|c| c.join().unwrap()).collect();
        assert!(pgbench.join().unwrap() > 0);
        eprintln!("orders: {orders:?}");
        assert!(orders.iter().all(|count| *count > 10), "{orders:?}");
        // Whatever the last orders were, everybody is served again.
        for last in ["RESUME", "RESUME shop", "RESUME postgres", "ENABLE shop"] {
            check(&operator, last);
        }
        done.set();
    });
    for worker in 1..=3 {
        for database in ["postgres", "shop"] {
            let client = pooler.connect_to_worker_as(worker, &Login::new().database(database));
            assert_eq!(client.value("select 1"), "1");
        }
    }
    assert_eq!(pooler.workers(), workers, "no worker has died");
}

/// Somebody whose database is killed and disabled now and then, and who is
/// told so and nothing else.
fn customer(pooler: &Pooler, number: u64, stop: &Stop) {
    while !stop.is_set() {
        let client = match pooler.try_connect(&Login::new().database("shop")) {
            Ok(client) => client,
            Err(error) => {
                let text = error.message.as_str();
                assert!(LOGIN_ERRORS.contains(&text), "a login failed: {error:?}");
                continue;
            }
        };
        for round in 0..50 {
            let expected = format!("{number}.{round}");
            match client.query(&format!("select '{expected}'")) {
                Ok(rows) => assert_eq!(rows, [expected]),
                Err(state) => {
                    let error = client.last_error();
                    let text = error.unwrap_or_else(|| panic!("{state:?} without a word"));
                    assert!(SESSION_ERRORS.contains(&text.message.as_str()), "{text:?}");
                    break;
                }
            }
        }
    }
}

/// Gives an order.
fn order(pooler: &Pooler, console: &Client, random: &mut Random) {
    let text = match random.below(ORDERS.len() as u64 + 3) {
        0 => format!("SET default_pool_size = {}", 1 + random.below(8)),
        1 => format!("SET server_lifetime = {}", 10 + random.below(100)),
        2 => format!("KILL_CLIENT {}", newest_customer(pooler).unwrap_or(999_999)),
        n => ORDERS[usize::try_from(n - 3).unwrap()].to_owned(),
    };
    check(console, &text);
}

/// Gives an order, which is carried out or refused for a reason that there is.
fn check(console: &Client, text: &str) {
    if let Err(state) = console.query(text) {
        let error = console.last_error();
        let message = error.unwrap_or_else(|| panic!("{text}: {state:?}")).message;
        let known = REFUSALS.contains(&message.as_str());
        assert!(known, "{text}: {state:?} {message}");
    }
    assert_eq!(console.notices(), [""; 0], "{text}");
}

/// Clients that have logged in so far.
fn logins(pooler: &Pooler) -> usize {
    pooler.log().matches(": login\n").count()
}

/// The number of a client of `shop`.
fn newest_customer(pooler: &Pooler) -> Option<u64> {
    let log = pooler.log();
    let mut lines = log.lines().rev();
    let line = lines.find(|line| line.contains(" shop/") && line.ends_with(": login"))?;
    let mut words = line.split(' ');
    words.find_map(|word| word.strip_prefix('c')?.parse().ok())
}

fn seed() -> u64 {
    match std::env::var("PGSKEIN_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos())
        }
    }
}

/// A generator that is the same in every run of a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

const ORDERS: &[&str] = &[
    "PAUSE",
    "PAUSE shop",
    "PAUSE postgres",
    "RESUME",
    "RESUME",
    "RESUME shop",
    "RESUME postgres",
    "RECONNECT",
    "RECONNECT shop",
    "WAIT_CLOSE",
    "DISABLE shop",
    "ENABLE shop",
    "KILL shop",
    "SUSPEND",
    "RELOAD",
    "SHOW WORKERS",
    "SHOW CONFIG",
];
const REFUSALS: &[&str] = &[
    "already suspended/paused",
    "pooler is not paused/suspended",
    "database shop is not paused",
    "database postgres is not paused",
    "cannot suspend with paused databases",
    "client not found",
];
const LOGIN_ERRORS: &[&str] = &[
    "database \"shop\" is disabled",
    "database removed",
    "admin forced disconnect",
];
const SESSION_ERRORS: &[&str] = &["database removed", "admin forced disconnect"];

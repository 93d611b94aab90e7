//! Clients that do not go: how often the error that closes them looks like the
//! answer to a query.
//!
//! A client looks whether it was told before it sends. What remains is the
//! moment between the pooler's look and ours, which a client cannot see. On
//! the loopback device it is too short to be met; a network makes it longer, and
//! how often it is met then is printed:
//! `cargo test -p pgskein-tests --test scenarios drain_race -- --nocapture`.

use std::fmt;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, Delay, Login, PATIENCE, Pooler, Postgres, Signal, SqlState, Stop, Ticker, Wire,
    wait_for,
};

#[test]
fn no_query_of_200_clients_that_stay_is_answered_by_their_close() {
    let postgres = Postgres::start();
    for think in THINK {
        let seen = drain(&postgres, think, None);
        println!("loopback, think time {think:?}: {seen}");
        assert_eq!(seen.crossed, 0, "think time {think:?}: {seen}");
    }
}

#[test]
fn slow_network_is_said_how_often_the_close_crosses_a_query() {
    let postgres = Postgres::start();
    for think in THINK {
        let seen = drain(&postgres, think, Some(Duration::from_millis(20)));
        println!("20 ms each way, think time {think:?}: {seen}");
        // Whose think time is longer than what counts as quiet is closed at once.
        let all = seen.closed + seen.crossed + seen.held_up;
        assert!(think < QUIET || all == CLIENTS, "{seen}");
    }
}

/// What has become of the clients of a drain.
struct Seen {
    /// They found out before they sent anything more.
    closed: u32,
    /// They had sent a query, and the close was the answer.
    crossed: u32,
    /// The same, but they had been quiet for so long themselves: the machine
    /// did not let them go on.
    held_up: u32,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            closed,
            crossed,
            held_up,
        } = self;
        write!(
            f,
            "{closed} of {CLIENTS} clients were closed between queries, {crossed} with a query \
             on its way, {held_up} that were quiet though they did not mean to"
        )
    }
}

fn drain(postgres: &Postgres, think: Duration, delay: Option<Duration>) -> Seen {
    let settings = "workers = 2\npool_mode = transaction\ndrain_timeout = 0.2\nmax_client_conn = 300\n\
                    log_connections = 0\nlog_disconnections = 0";
    let pooler = Pooler::start(postgres, settings);
    let network = delay.map(|delay| Delay::before(pooler.port(), delay));
    let port = network.as_ref().map_or(pooler.port(), Delay::port);
    let seen = [const { AtomicU32::new(0) }; 3];
    let begun = AtomicU32::new(0);
    let stop = Stop::default();
    thread::scope(|scope| {
        let _guard = stop.guard();
        for at in 0..CLIENTS {
            let (seen, begun, stop) = (&seen, &begun, &stop);
            scope.spawn(move || {
                let client = client(port);
                // Not all in step.
                let mut begin = Ticker::every(think * at / CLIENTS);
                begin.tick();
                begin.tick();
                let outcome = stay(&client, think, begun, stop);
                if let Some(which) = outcome {
                    seen[which].fetch_add(1, Ordering::Relaxed);
                }
                client.close();
            });
        }
        wait_for("every client to begin", PATIENCE, || {
            begun.load(Ordering::Relaxed) == CLIENTS
        });
        pooler.signal(Signal::SIGTERM);
        if think > QUIET {
            wait_for("every client to be closed", PATIENCE, || {
                let closed = seen.iter().map(|count| count.load(Ordering::Relaxed));
                closed.sum::<u32>() == CLIENTS
            });
        } else {
            // Many moments at which somebody could be taken for quiet.
            let mut rest = Ticker::every(Duration::from_secs(1));
            rest.tick();
            rest.tick();
        }
    });
    assert_eq!(pooler.wait_exit(PATIENCE).code(), Some(0));
    let [closed, crossed, held_up] = seen.map(AtomicU32::into_inner);
    Seen {
        closed,
        crossed,
        held_up,
    }
}

/// Asks again and again, and pays no attention to being asked to go; says which
/// of the three has become of it, if it was closed.
fn stay(client: &Client, think: Duration, begun: &AtomicU32, stop: &Stop) -> Option<usize> {
    let mut beat = Ticker::every(think);
    let mut last = Instant::now();
    let mut first = true;
    while !stop.is_set() {
        beat.tick();
        let looked = Instant::now();
        if !client.is_still_served() {
            return Some(0);
        }
        let before = Instant::now();
        let query = client.start_query("select 1");
        // From the look to the query nobody may have held us up.
        let at_once = looked.elapsed() < AT_ONCE;
        let quiet = last.elapsed();
        last = before;
        match query.wait() {
            Ok(_) => {}
            Err(SqlState("57P01")) if at_once && (quiet < QUIET || think > QUIET) => {
                return Some(1);
            }
            Err(SqlState("57P01")) => return Some(2),
            Err(other) => panic!("closed with {other:?}"),
        }
        if std::mem::take(&mut first) {
            begun.fetch_add(1, Ordering::Relaxed);
        }
    }
    None
}

fn client(port: u16) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
    Client::log_in(Wire::tcp(stream), &Login::new()).expect("a login")
}

const CLIENTS: u32 = 200;

const THINK: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(500),
];

/// A client that takes longer to look and to send was held up by the machine.
const AT_ONCE: Duration = Duration::from_millis(1);

/// A little under the least time after which a client counts as quiet.
const QUIET: Duration = Duration::from_millis(95);

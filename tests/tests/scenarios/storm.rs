//! Clients by the thousand connect while the group is replaced.

use std::env;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Login, Pooler, Postgres, Stop, Wire, restart, within};

const SETTINGS: &str = "workers = 3\npool_mode = transaction\nmax_client_conn = 5000\n\
     log_connections = 0\nlog_disconnections = 0";

#[test]
fn no_connect_of_a_storm_fails_while_the_group_is_restarted() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    // A login needs no server from then on.
    assert_eq!(pooler.connect().value("select 1"), "1");
    let restarts = number("PGSKEIN_STORM_RESTARTS").unwrap_or(20);
    let stop = Stop::default();
    let start = Instant::now();
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let _guard = stop.guard();
        let storms = Storm::all(&pooler);
        let storms: Vec<_> = storms
            .map(|storm| {
                let stop = &stop;
                scope.spawn(move || storm.blow(stop))
            })
            .into();
        for _ in 0..restarts {
            restart(&pooler);
        }
        stop.set();
        storms
            .into_iter()
            .map(|storm| storm.join().unwrap())
            .collect()
    });
    let all: usize = tallies.iter().map(|tally| tally.served).sum();
    let rate = all as f64 / start.elapsed().as_secs_f64();
    println!("{restarts} restarts, {all} logins, {rate:.0} a second");
    for tally in &tallies {
        println!("{tally}");
    }
    for tally in tallies {
        assert!(tally.failures.is_empty(), "{tally}: {:?}", tally.failures);
        assert!(tally.served > 0, "{tally}");
    }
}

/// Clients that come over one way.
#[derive(Debug)]
struct Storm<'a> {
    pooler: &'a Pooler,
    over_unix: bool,
    /// Time from the connect to the first byte.
    hesitation: Duration,
}

/// What became of them.
#[derive(Debug)]
struct Tally {
    what: String,
    served: usize,
    slowest: Duration,
    failures: Vec<String>,
}

impl<'a> Storm<'a> {
    fn all(pooler: &'a Pooler) -> [Self; 4] {
        let ways = [(false, 0), (false, 5), (true, 0), (true, 5)];
        ways.map(|(over_unix, milliseconds)| Self {
            pooler,
            over_unix,
            hesitation: Duration::from_millis(milliseconds),
        })
    }

    fn blow(&self, stop: &Stop) -> Tally {
        let way = if self.over_unix { "unix socket" } else { "TCP" };
        let mut tally = Tally {
            what: format!("{way}, first byte after {:?}", self.hesitation),
            served: 0,
            slowest: Duration::ZERO,
            failures: Vec::new(),
        };
        let packet = Login::new().packet();
        while !stop.is_set() {
            let gust: Vec<_> = (0..GUST)
                .map(|_| (Instant::now(), self.connect()))
                .collect();
            within(self.hesitation, || self.hesitation.is_zero());
            let mut sent = Vec::new();
            for (start, wire) in gust {
                match wire {
                    Ok(mut wire) => {
                        let outcome = wire.try_send(&packet);
                        sent.push((start, wire, outcome));
                    }
                    Err(error) => tally.failures.push(format!("connect: {error}")),
                }
            }
            for (start, mut wire, outcome) in sent {
                match log_in(&mut wire) {
                    Ok(()) => tally.take(start.elapsed()),
                    Err(failure) => tally.failures.push(format!("{failure}, {outcome:?}")),
                }
                wire.reset();
            }
        }
        tally
    }

    fn connect(&self) -> std::io::Result<Wire> {
        let port = self.pooler.port();
        if self.over_unix {
            let path = self.pooler.socket_folder();
            UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).map(Wire::unix)
        } else {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpStream::connect(address).map(Wire::tcp)
        }
    }
}

impl Tally {
    fn take(&mut self, took: Duration) {
        self.served += 1;
        self.slowest = self.slowest.max(took);
        if took > longest() {
            self.failures.push(format!("took {took:?}"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            served,
            slowest,
            failures,
        } = self;
        let failed = failures.len();
        write!(
            f,
            "{what}: {served} served, the slowest in {slowest:.0?}, {failed} failed"
        )
    }
}

/// Reads up to the first ReadyForQuery, or tells what came instead.
fn log_in(wire: &mut Wire) -> Result<(), String> {
    loop {
        match wire.read_message() {
            Some(message) if message.tag == b'Z' => return Ok(()),
            Some(message) if message.tag == b'E' => return Err(message.error().message),
            Some(_) => {}
            None => return Err("closed".to_owned()),
        }
    }
}

/// The longest that a login may take: 3 s, but not where other scenarios run at
/// the same time.
fn longest() -> Duration {
    let alone = number("PGSKEIN_STORM_RESTARTS").is_some();
    Duration::from_secs(if alone { 3 } else { 15 })
}

fn number(variable: &str) -> Option<usize> {
    let given = env::var(variable).ok();
    given.map(|given| given.parse().expect("a number"))
}

/// Clients that connect before the first of them sends a byte.
const GUST: usize = 32;

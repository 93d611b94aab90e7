//! Several groups behind a real HAProxy: balanced by `/ready`, restarted one after
//! the other, and nobody loses anything.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::harness::{
    Account, Balancer, Client, Folder, Hosts, Login, PATIENCE, Pgbench, Postgres, Signal, Stop,
    wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\nmax_client_conn = 200\n\
    default_pool_size = 10\ngoaway_rate = 20\ndrain_timeout = 60\ndrain_kill_timeout = 65\n";

#[test]
fn configuration_for_haproxy_is_one_that_it_takes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/haproxy.cfg");
    let run = Balancer::check(&file);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(!(run.stdout + &run.stderr).contains("WARNING"));
    // It can say no.
    let folder = Folder::make("haproxy", &Account::unprivileged());
    let text = fs::read_to_string(&file).unwrap();
    let wrong = folder.join("wrong.cfg");
    fs::write(&wrong, text.replace("mode tcp", "mode pgsql")).unwrap();
    assert_ne!(Balancer::check(&wrong).code, Some(0));
}

#[test]
fn balancer_sends_nobody_to_a_host_that_drains_and_lets_sessions_be() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}drain_delay = 3600\n");
    let hosts = Hosts::start(&postgres, 2, &settings);
    let mut before = Vec::new();
    let clients = |host: usize| {
        let console = hosts.groups[host].pooler.connect_unix(&console()).unwrap();
        let rows = console.table("SHOW CLIENTS");
        rows.iter()
            .filter(|row| row["database"] == "postgres")
            .count()
    };
    // They are dealt by how many are there.
    wait_for("two clients on each", PATIENCE, || {
        before.push(connect(&hosts));
        clients(0) >= 2 && clients(1) >= 2
    });
    let (drains, stays) = (clients(0), clients(1));
    hosts.groups[0].pooler.signal(Signal::SIGTERM);
    hosts.balancer.wait_up(1, false);
    let after: Vec<Client> = (0..4).map(|_| connect(&hosts)).collect();
    assert_eq!([clients(0), clients(1)], [drains, stays + 4]);
    for client in before.iter().chain(&after) {
        assert_eq!(client.value("select 'served'"), "served");
    }
}

#[test]
fn every_host_is_restarted_and_no_session_or_transaction_fails() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}drain_delay = 3\n");
    let mut hosts = Hosts::start(&postgres, 3, &settings);
    let port = hosts.balancer.port();
    let stop = Stop::default();
    let (turns, logins) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let _guard = stop.guard();
        let sessions = [0, 1, 2, 3, 4, 5].map(|number| {
            let (stop, turns, logins) = (&stop, &turns, &logins);
            scope.spawn(move || {
                // Half of them understand GoAway, the others see the parameter.
                let login = match number % 2 {
                    0 => Login::new(),
                    _ => Login::new().parameter("_pq_.goaway", "1"),
                };
                long_session(port, &login, stop, turns, logins)
            })
        });
        let bench = scope.spawn(|| {
            let mut transactions = 0;
            while !stop.is_set() {
                let bench = Pgbench::to_port(port).arguments("-C -S -c 4 -j 2 -t 40");
                transactions += bench.run();
            }
            transactions
        });
        // Each is somewhere when the turn of its host comes.
        wait_for("all sessions", PATIENCE, || {
            logins.load(Ordering::Relaxed) >= 6
        });
        for (number, host) in (1..).zip(&mut hosts.groups) {
            host.pooler.signal(Signal::SIGTERM);
            assert_eq!(host.pooler.wait_exit(PATIENCE * 3).code(), Some(0));
            let log = host.pooler.log();
            // Nobody had to be closed.
            assert!(
                log.contains(" closed_idle=0 closed_in_transaction=0 remaining=0"),
                "{log}"
            );
            host.start_again();
            hosts.balancer.wait_up(number, true);
        }
        let so_far = turns.load(Ordering::Relaxed);
        wait_for("sessions to go on", PATIENCE, || {
            turns.load(Ordering::Relaxed) > so_far + 60
        });
        stop.set();
        assert!(bench.join().unwrap() > 0);
        let asked = sessions.map(|session| session.join().unwrap());
        assert!(asked.iter().all(|times| *times > 0), "{asked:?}");
    });
    hosts.stop();
}

/// A client that stays, and when it is asked to go comes again; how often it was.
fn long_session(
    port: u16,
    login: &Login,
    stop: &Stop,
    turns: &AtomicU64,
    logins: &AtomicU64,
) -> u64 {
    let mut asked = 0;
    while !stop.is_set() {
        let client = Hosts::log_in(port, login).unwrap_or_else(|error| panic!("login: {error:?}"));
        logins.fetch_add(1, Ordering::Relaxed);
        while !stop.is_set() && !is_asked_to_go(&client) {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            client.query("begin").unwrap();
            let answer = client.value(&format!("select {turn}"));
            assert_eq!(answer, turn.to_string());
            client.query("commit").unwrap();
        }
        asked += u64::from(is_asked_to_go(&client));
        client.close();
    }
    asked
}

fn is_asked_to_go(client: &Client) -> bool {
    client.parameter("disconnect_requested").as_deref() == Some("on")
        || client.transcript().contains('g')
}

fn connect(hosts: &Hosts) -> Client {
    hosts
        .connect(&Login::new())
        .unwrap_or_else(|error| panic!("login: {error:?}"))
}

fn console() -> Login {
    Login::new().database("pgskein")
}

//! PostgreSQL is stopped in order and started again at the same address: clients
//! wait meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{
    Client, Daemon, GO_AWAY, Login, Manner, PATIENCE, PendingQuery, Pooler, Postgres, Signal,
    SqlState, StandIn, wait_for, within,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

#[test]
fn idle_and_waiting_clients_see_no_error_of_a_fast_stop() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 1"));
    let idle = [1, 2].map(|worker| client(&pooler, worker));
    let queued = [1, 2].map(|worker| client(&pooler, worker));
    let running = client(&pooler, 1);
    let query = running.start_long_query();
    let answers = queued
        .each_ref()
        .map(|client| client.start_query("select 'served'"));
    pooler.wait_waiting_clients(2);
    stop_fast(&postgres);
    assert!(query.wait().is_err(), "it was sent");
    wait_leaving(&pooler);
    // Whoever needs a server now waits as well, also to log in.
    let later = idle
        .each_ref()
        .map(|client| client.start_query("select 'late'"));
    let new = Login::new().user("alice");
    let more = thread::scope(|scope| {
        let login = scope.spawn(|| {
            pooler
                .try_connect(&new)
                .map(|client| client.value("select 3"))
        });
        pooler.wait_waiting_clients(4);
        postgres.start_again();
        login.join().unwrap()
    });
    assert_eq!(more, Ok("3".to_owned()));
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    }
    for answer in later {
        assert_eq!(answer.wait(), Ok(vec!["late".to_owned()]));
    }
    pooler.wait_log(": back after ");
    assert_eq!(count(&pooler, ": leaving, clients wait for it"), 1);
    assert_eq!(count(&pooler, ": back after "), 1);
}

#[test]
fn smart_stop_costs_clients_time_once_their_servers_are_closed() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 1, 2, 2].map(|worker| client(&pooler, worker));
    clients[0].query("begin").unwrap();
    postgres.shut_down(Signal::SIGTERM);
    // Sessions are let be.
    assert_eq!(
        clients[0].value("select 'in a transaction'"),
        "in a transaction"
    );
    pooler.console("RECONNECT");
    let answers = [1, 2, 3].map(|n: usize| clients[n].start_query("select 'served'"));
    wait_leaving(&pooler);
    pooler.wait_waiting_clients(3);
    clients[0].query("commit").unwrap();
    postgres.wait_down();
    let last = clients[0].start_query("select 'served'");
    pooler.wait_waiting_clients(4);
    postgres.start_again();
    for answer in answers.into_iter().chain([last]) {
        assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    }
}

#[test]
fn load_goes_on_over_a_smart_stop() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, &format!("{SETTINGS}\ndefault_pool_size = 4"));
    thread::scope(|scope| {
        // It ends with an error if any transaction has one.
        let load = scope.spawn(|| pooler.pgbench("-S -c 8 -R 200 -T 5"));
        wait_for("the load", PATIENCE, || postgres.connections() >= 2);
        postgres.shut_down(Signal::SIGTERM);
        pooler.console("RECONNECT");
        postgres.wait_down();
        wait_leaving(&pooler);
        postgres.start_again();
        assert!(load.join().unwrap() > 0);
    });
}

#[test]
fn pause_and_resume_may_come_while_the_host_leaves() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| client(&pooler, worker));
    let answers = wait_over_a_stop(&postgres, &pooler, &clients);
    pooler.console("PAUSE");
    postgres.start_again();
    let come = || pooler.log_contains(": back after ");
    assert!(!within(Duration::from_secs(1), come), "nobody may try");
    pooler.console("RESUME");
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    }
}

#[test]
fn death_of_a_worker_holds_up_nobody() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| client(&pooler, worker));
    let answers = wait_over_a_stop(&postgres, &pooler, &clients);
    pooler.wait_waiting_clients(2);
    let worker = pooler.worker(1);
    worker.kill();
    pooler.wait_replaced(1, worker);
    let [lost, answer] = answers;
    assert_eq!(lost.wait(), Err(SqlState::CLOSED));
    postgres.start_again();
    assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    assert_eq!(client(&pooler, 1).value("select 'new'"), "new");
}

#[test]
fn clients_go_on_waiting_under_the_next_supervisor() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| client(&pooler, worker));
    let answers = wait_over_a_stop(&postgres, &pooler, &clients);
    pooler.wait_waiting_clients(2);
    pooler.signal(Signal::SIGKILL);
    pooler.wait_exit(PATIENCE);
    let daemon = Daemon::start(&pooler);
    postgres.start_again();
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    }
    assert_eq!(pooler.connect().value("select 'new'"), "new");
    daemon.stop();
}

#[test]
fn clients_go_on_waiting_over_a_restart() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, SETTINGS);
    let clients = [1, 2].map(|worker| client(&pooler, worker));
    let answers = wait_over_a_stop(&postgres, &pooler, &clients);
    pooler.wait_waiting_clients(2);
    pooler.console("RESTART");
    postgres.start_again();
    for answer in answers {
        assert_eq!(answer.wait(), Ok(vec!["served".to_owned()]));
    }
    pooler.wait_log(": back after ");
}

#[test]
fn host_that_is_back_and_refuses_a_login_is_not_waited_for() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nquery_wait_timeout = 2");
    let pooler = Pooler::start(&postgres, &settings);
    let alice = Login::new().user("alice");
    let client = pooler.connect_as(&alice);
    client.query("select 1").unwrap();
    postgres.query("alter role alice nologin");
    stop_fast(&postgres);
    let _waits = client.start_query("select 1");
    wait_leaving(&pooler);
    postgres.start_again();
    // Nobody can log in, but everybody is answered: at once, or after a wait.
    pooler.wait_log(": back after ");
    let mut told = String::new();
    wait_for("a refusal", PATIENCE, || {
        let refused = pooler.try_connect(&alice).map(|other| {
            let outcome = other.query("select 1");
            (outcome.is_err()).then(|| other.last_error().unwrap())
        });
        told = match refused {
            Err(error) | Ok(Some(error)) => error.message,
            Ok(None) => String::new(),
        };
        told.contains("is not permitted to log in")
    });
}

#[test]
fn client_that_has_waited_too_long_is_told_what_the_host_says() {
    let postgres = Postgres::start();
    let settings = format!("{SETTINGS}\nquery_wait_timeout = 2");
    let pooler = Pooler::start(&postgres, &settings);
    let clients = [1, 2].map(|worker| client(&pooler, worker));
    stop_fast(&postgres);
    for client in &clients {
        assert_eq!(client.query("select 1"), Err(SqlState("08006")));
        let error = client.last_error().unwrap();
        assert!(error.message.starts_with("connect failed:"), "{error:?}");
        assert!(error.message.ends_with("(query_wait_timeout)"), "{error:?}");
    }
}

/// A stand-in refuses in ways that PostgreSQL would at the right moment only.
#[test]
fn host_that_has_asked_and_then_refuses_is_waited_for() {
    let fatal = |state| Manner::fatal(state, "not now");
    let manners = [
        Manner::Close,
        fatal("57P03"),
        fatal("57P01"),
        fatal("57P02"),
    ];
    for refusal in manners {
        let refuses = Arc::new(AtomicBool::new(false));
        let (theirs, manner) = (Arc::clone(&refuses), refusal.clone());
        let server = StandIn::start(move |_| {
            if theirs.load(Ordering::Relaxed) {
                manner.clone()
            } else {
                Manner::serve_saying(Vec::new())
            }
        });
        let databases = format!("* = {}", server.address());
        let pooler = Pooler::start_for(&databases, SETTINGS);
        let clients = [1, 2].map(|worker| client(&pooler, worker));
        refuses.store(true, Ordering::Relaxed);
        server.say(&GO_AWAY);
        pooler.wait_log("asks to be left");
        let answers = clients
            .each_ref()
            .map(|client| client.start_query("select"));
        wait_leaving(&pooler);
        pooler.wait_waiting_clients(2);
        // One at a time for both workers, and not all the time.
        server.forget();
        assert!(!within(Duration::from_secs(1), || {
            server.versions().len() > 30
        }));
        refuses.store(false, Ordering::Relaxed);
        for answer in answers {
            assert_eq!(answer.wait(), Ok(vec![]), "{refusal:?}");
        }
        pooler.wait_log(": back after ");
    }
}

fn client(pooler: &Pooler, worker: u8) -> Client {
    let client = pooler.connect_to_worker_as(worker, &Login::new());
    client.query("select 1").unwrap();
    client
}

/// Stops PostgreSQL, and has each of the clients wait for it with a query.
fn wait_over_a_stop<'a>(
    postgres: &Postgres,
    pooler: &Pooler,
    clients: &'a [Client; 2],
) -> [PendingQuery<'a>; 2] {
    stop_fast(postgres);
    let answers = clients
        .each_ref()
        .map(|client| client.start_query("select 'served'"));
    wait_leaving(pooler);
    answers
}

fn stop_fast(postgres: &Postgres) {
    postgres.shut_down(Signal::SIGINT);
    postgres.wait_down();
}

fn wait_leaving(pooler: &Pooler) {
    pooler.wait_log(": leaving, clients wait for it");
}

fn count(pooler: &Pooler, text: &str) -> usize {
    pooler.log().matches(text).count()
}

//! Databases with several hosts of which some fail.

use std::time::{Duration, Instant};

use crate::harness::{GO_AWAY, Login, Manner, PATIENCE, Pooler, Postgres, StandIn, wait_for};
use crate::hosts::hosts;

#[test]
fn host_that_refuses_is_tried_last_by_the_whole_group() {
    for refusal in [
        Manner::fatal("57P03", "starting up"),
        Manner::fatal("57P01", "going"),
    ] {
        let down = StandIn::start(move |_| refusal.clone());
        let postgres = Postgres::start();
        let databases = format!("* = {}", hosts(&[down.port(), postgres.port()]));
        let settings = "workers = 2\npool_mode = transaction\ndefault_pool_size = 8";
        let pooler = Pooler::start_for(&databases, settings);
        let began = Instant::now();
        let clients = [1, 2, 1, 2, 1, 2].map(|worker| {
            let client = pooler.connect_to_worker(worker);
            client.query("begin").unwrap();
            client
        });
        assert_eq!(postgres.connections(), 6);
        // It may be tried again after 5 s.
        let most = 1 + began.elapsed().as_secs() / FOR_A_WHILE.as_secs();
        let tried = down.packets().len() as u64;
        assert!(
            (1..=most).contains(&tried),
            "{tried} connects to what is down"
        );
        drop(clients);
    }
}

#[test]
fn server_that_asks_to_be_left_is_replaced_at_another_host() {
    let servers = [(); 2].map(|()| StandIn::start(|_| Manner::serve_saying(Vec::new())));
    let hosts = hosts(&[servers[0].port(), servers[1].port()]);
    let databases = format!("* = {hosts} load_balance_hosts=disable");
    let pooler = Pooler::start_for(&databases, "workers = 1\npool_mode = transaction");
    let client = pooler.connect();
    client.query("select").unwrap();
    let sessions = || [0, 1].map(|n: usize| servers[n].sessions());
    assert_eq!(sessions(), [1, 0]);
    servers[0].say(&GO_AWAY);
    wait_for("the server to be left", PATIENCE, || {
        servers[0].sessions() == 0
    });
    client.query("select").unwrap();
    assert_eq!(sessions(), [0, 1]);
}

#[test]
fn name_that_cannot_be_found_is_passed_over() {
    let postgres = Postgres::start();
    let port = postgres.port();
    let databases = format!(
        "* = host=no-such-host.invalid,127.0.0.1 port={port}\n\
         nowhere = host=a.invalid,b.invalid port={port}"
    );
    let pooler = Pooler::start_for(&databases, "workers = 2");
    for worker in [1, 2] {
        assert_eq!(pooler.connect_to_worker(worker).value("select 1"), "1");
    }
    let error = pooler.try_connect(&Login::new().database("nowhere"));
    let message = error.map(drop).unwrap_err().message;
    for name in ["a.invalid", "b.invalid"] {
        let why = format!("server DNS lookup failed: {name}: ");
        assert!(message.contains(&why), "{message}");
    }
}

#[test]
fn clients_are_told_why_no_host_can_be_used() {
    let down = [(); 2].map(|()| StandIn::start(|_| Manner::fatal("57P03", "starting up")));
    let ports = hosts(&[down[0].port(), down[1].port()]);
    let settings = "workers = 1\nserver_login_retry = 60";
    let pooler = Pooler::start_for(&format!("* = {ports}"), settings);
    for _ in 0..2 {
        let error = pooler.try_connect(&Login::new()).map(drop).unwrap_err();
        assert_eq!(error.sqlstate, "08006");
        let message = error.message;
        assert!(message.contains("no suitable host: "), "{message}");
        for down in &down {
            let why = format!("127.0.0.1:{}: starting up", down.port());
            assert!(message.contains(&why), "{message}");
        }
    }
    // The second was told what the first has found out.
    assert_eq!(down.each_ref().map(|down| down.packets().len()), [1, 1]);
}

#[test]
fn wrong_values_are_refused_where_they_stand() {
    for (wrong, said) in [
        (
            "target_session_attrs=writable",
            "target_session_attrs: bad value \"writable\", expected one of any, read-write",
        ),
        (
            "load_balance_hosts=random",
            "load_balance_hosts: bad value \"random\", expected one of round-robin, disable",
        ),
        ("host=a,b,c port=1,2", "port: 2 ports for 3 hosts"),
    ] {
        let run = Pooler::try_start(&format!("shop = {wrong}"), "").unwrap_err();
        assert!(run.stderr.contains(said), "{run:?}");
        assert!(run.stderr.contains(".ini:2: shop: "), "{run:?}");
    }
}

/// How long a host that has failed once is tried last.
const FOR_A_WHILE: Duration = Duration::from_secs(5);

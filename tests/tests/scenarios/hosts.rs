//! Databases with several hosts: which server is chosen.

use std::net::TcpListener;

use crate::harness::{
    Client, Login, Manner, PATIENCE, Pooler, Postgres, StandIn, message, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction";

/// `host` and `port` of a line of `[databases]`.
pub(crate) fn hosts(ports: &[u16]) -> String {
    let hosts = vec!["127.0.0.1"; ports.len()].join(",");
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    format!("host={hosts} port={}", ports.join(","))
}

fn login(database: &str) -> Login {
    Login::new().database(database)
}

/// Whether the server is a standby that the client gets.
fn on_standby(client: &Client) -> bool {
    client.value("select pg_is_in_recovery()") == "t"
}

/// What the first client of a pool of this database is refused with.
fn refused(pooler: &Pooler, database: &str) -> String {
    let outcome = pooler.try_connect(&login(database).user("alice"));
    outcome.map(drop).expect_err("nobody fits").message
}

#[test]
fn each_value_finds_its_server_whatever_the_order() {
    let primary = Postgres::start_for_replication();
    let standby = primary.start_standby();
    let (p, s) = (primary.port(), standby.port());
    let mut lines = Vec::new();
    let orders = [
        ("ps", [p, s], "disable"),
        ("sp", [s, p], "disable"),
        ("turns", [s, p], "round-robin"),
    ];
    for (order, ports, balance) in orders {
        for value in VALUES {
            let hosts = hosts(&ports);
            lines.push(format!(
                "{value}_{order} = {hosts} dbname=postgres \
                 target_session_attrs={value} load_balance_hosts={balance}"
            ));
        }
    }
    // By this the harness finds the workers.
    lines.push(format!("postgres = {}", primary.address()));
    let pooler = Pooler::start_for(&lines.join("\n"), SETTINGS);
    let expect = |value, expected| {
        for name in orders.map(|(order, ..)| format!("{value}_{order}")) {
            for worker in [1, 2] {
                // Each has two servers.
                let clients = [(); 2].map(|()| pooler.connect_to_worker_as(worker, &login(&name)));
                for client in &clients {
                    client.query("begin").unwrap();
                    assert_eq!(on_standby(client), expected, "{name}");
                }
            }
        }
    };
    expect("read-write", false);
    expect("primary", false);
    expect("read-only", true);
    expect("standby", true);
    expect("prefer-standby", true);

    // What is not to write by default is read-only, and no standby.
    primary.query("alter system set default_transaction_read_only = on");
    primary.query("select pg_reload_conf()");
    wait_for("the setting", PATIENCE, || {
        primary.query("show default_transaction_read_only") == ["on"]
    });
    pooler.console("RECONNECT");
    expect("primary", false);
    let said = refused(&pooler, "read-write_turns");
    let reason = |port| format!("127.0.0.1:{port}: session is read-only");
    assert!(said.starts_with("no suitable host: "), "{said}");
    assert!(
        said.contains(&reason(p)) && said.contains(&reason(s)),
        "{said}"
    );
    primary.query("alter system reset default_transaction_read_only");
    primary.query("select pg_reload_conf()");

    // Without a standby another is better than none, if that was said.
    standby.crash();
    pooler.console("RECONNECT");
    expect("prefer-standby", false);
    let said = refused(&pooler, "standby_ps");
    assert!(
        said.contains(&format!("127.0.0.1:{p}: server is not in hot standby mode")),
        "{said}"
    );
    assert!(
        said.contains(&format!("connect failed: 127.0.0.1:{s}: ")),
        "{said}"
    );
}

#[test]
fn new_value_holds_for_the_servers_that_there_are() {
    let primary = Postgres::start_for_replication();
    let standby = primary.start_standby();
    let hosts = hosts(&[primary.port(), standby.port()]);
    let line = |value: &str| format!("* = {hosts} target_session_attrs={value}");
    let pooler = Pooler::start_for(&line("primary"), SETTINGS);
    let clients = [1, 2].map(|worker| pooler.connect_to_worker(worker));
    clients[0].query("begin").unwrap();
    assert!(!clients.iter().any(on_standby));
    pooler.write_ini(&line("standby"), SETTINGS);
    pooler.reload_files();
    wait_for("the reload", PATIENCE, || on_standby(&clients[1]));
    // A transaction ends where it began.
    assert!(!on_standby(&clients[0]));
    clients[0].query("commit").unwrap();
    assert!(on_standby(&clients[0]));
}

#[test]
fn servers_are_spread_over_the_hosts_or_stay_at_one() {
    let servers = [Postgres::start(), Postgres::start()];
    let hosts = hosts(&[servers[0].port(), servers[1].port()]);
    // By this the harness finds the workers.
    let other = StandIn::start(|_| Manner::serve_saying(Vec::new()));
    let databases = format!(
        "spread = {hosts} dbname=postgres\n\
         stay = {hosts} dbname=postgres load_balance_hosts=disable\n\
         single = {} dbname=postgres\n\
         postgres = {}",
        servers[0].address(),
        other.address()
    );
    let pooler = Pooler::start_for(&databases, SETTINGS);
    let connections = || [0, 1].map(|n: usize| servers[n].connections());
    let busy = |name| {
        [1, 1, 2, 2].map(|worker| {
            let client = pooler.connect_to_worker_as(worker, &login(name));
            client.query("begin").unwrap();
            client
        })
    };
    let clients = busy("spread");
    assert_eq!(connections(), [2, 2]);
    // A cancel goes where its query runs.
    for client in &clients {
        let query = client.start_long_query();
        client.cancel_through_worker(2);
        assert!(query.wait().is_err());
    }
    drop(clients);
    let clients = busy("stay");
    assert_eq!(connections(), [2 + 4, 2]);
    // It fails, and another is stayed at, also when it is back.
    servers[0].crash();
    drop(clients);
    let lost = format!("|127.0.0.1|{}|", servers[0].port());
    wait_for("the servers to be lost", PATIENCE, || {
        let servers = pooler.console("SHOW SERVERS");
        !servers.iter().any(|row| row.contains(&lost))
    });
    let clients = busy("stay");
    assert_eq!(servers[1].connections(), 2 + 4);
    servers[0].start_again();
    drop(clients);
    pooler.console("RECONNECT");
    let _clients = busy("stay");
    assert_eq!(servers[0].connections(), 0);

    let column = |table, name: &str, columns: [usize; 2]| {
        let row = pooler
            .console(table)
            .into_iter()
            .find(|row| row.contains(name));
        let row = row.expect("the database has a row");
        let values: Vec<&str> = row.split('|').collect();
        columns.map(|at| values[at].to_owned())
    };
    let shown = |name| column("SHOW DATABASES", name, [10, 17]);
    assert_eq!(shown("spread"), ["round-robin", "any"]);
    assert_eq!(shown("stay"), ["disable", "any"]);
    assert_eq!(shown("single"), ["", "any"]);
    assert_eq!(column("SHOW POOLS", "stay", [16, 17]), ["disable", "any"]);
}

/// No package has a server that does not report what it is.
#[test]
fn server_before_version_14_is_asked_what_it_is() {
    let serve = || StandIn::start(|_| Manner::serve_saying(message(b'S', b"is_superuser\0on\0")));
    let (primary, standby) = (serve(), serve());
    standby.be_standby(true);
    let mut lines = Vec::new();
    for value in VALUES {
        let ports = hosts(&[standby.port(), primary.port()]);
        lines.push(format!("{value} = {ports} target_session_attrs={value}"));
    }
    let pooler = Pooler::start_for(&lines.join("\n"), "workers = 1\npool_mode = transaction");
    let mut held = Vec::new();
    for (value, [primaries, standbys]) in [
        ("read-write", [1, 0]),
        ("primary", [2, 0]),
        ("read-only", [2, 1]),
        ("standby", [2, 2]),
        ("prefer-standby", [2, 3]),
    ] {
        let client = pooler.connect_as(&login(value));
        client.query("begin").unwrap();
        held.push(client);
        assert_eq!(primary.sessions(), primaries, "{value}");
        wait_for("the standby to be left", PATIENCE, || {
            standby.sessions() == standbys
        });
    }
}

#[test]
fn host_that_never_answers_leaves_time_for_the_next() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (silent, address.port()))
        .unwrap();
    let postgres = Postgres::start();
    // Worker 1 begins with the second host.
    let hosts = hosts(&[postgres.port(), silent.1]);
    let pooler = Pooler::start_for(
        &format!("* = {hosts}"),
        "workers = 1\npool_mode = transaction\nserver_connect_timeout = 4\nserver_login_retry = 1",
    );
    // The other one may be slow as well.
    let mut client = None;
    wait_for("a server", PATIENCE, || {
        client = pooler.try_connect(&Login::new()).ok();
        client.is_some()
    });
    let client = client.expect("there is one");
    assert_eq!(client.value("select 'served'"), "served");
    let left = format!(
        ":{}: left for 127.0.0.1:{}: connect timeout",
        silent.1,
        postgres.port()
    );
    assert!(pooler.log_contains(&left));
}

const VALUES: [&str; 5] = [
    "read-write",
    "primary",
    "read-only",
    "standby",
    "prefer-standby",
];

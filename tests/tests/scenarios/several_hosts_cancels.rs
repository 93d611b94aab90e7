//! Cancels of clients behind a balancer: each lands on any host, and finds its query.
//!
//! A cancel is sent once, while its query runs at PostgreSQL, so each has to hit.

use crate::harness::{
    Client, Drivers, Hosts, Login, PATIENCE, PendingQuery, Pooler, Postgres, Psql, RunningPsql,
    Script, Signal, SqlState, Wire, wait_for,
};

const SETTINGS: &str = "workers = 2\npool_mode = transaction\nmax_client_conn = 200\n\
    default_pool_size = 40\n";

/// Cancels at a time.
const BURST: usize = 30;

#[test]
fn three_hundred_cancels_in_bursts_all_hit_and_hit_nobody_else() {
    let postgres = Postgres::start();
    let hosts = Hosts::start(&postgres, 3, SETTINGS);
    hosts.introduce(SETTINGS);
    let port = hosts.balancer.port();
    // They are not cancelled before the end, and would tell.
    let bystanders = [(); 3].map(|()| connect(&hosts, &Login::new()));
    let asleep = bystanders.each_ref().map(|one| one.start_query(BYSTANDER));
    wait_running(&postgres, BYSTANDER, asleep.len());
    // 150 of the harness, of both protocol versions, 120 of psycopg, 30 of psql.
    let clients: Vec<Client> = (0..BURST)
        .map(|number| connect(&hosts, &login(number)))
        .collect();
    for number in 0..5 {
        burst(&hosts, &postgres, &clients, number);
    }
    drop(clients);
    let script = Script::python(Drivers::Old, "psycopg_cancels.py");
    let server = postgres.port().to_string();
    let run = script.run(port, &[&server, "4", &BURST.to_string()]);
    assert_eq!(run.ok(), "120");
    burst_of_psql(&postgres, port);
    assert_eq!(running(&postgres, BYSTANDER), asleep.len());
    assert!(sent_to_others(&hosts) > 0, "none went from host to host");
    for (client, query) in bystanders.iter().zip(asleep) {
        assert_eq!(send_cancel(&hosts, client).read_to_end(), []);
        assert_eq!(query.wait(), Err(CANCELLED));
    }
}

#[test]
fn host_that_is_killed_and_comes_back_costs_its_own_sessions_alone() {
    let postgres = Postgres::start();
    let mut hosts = Hosts::start(&postgres, 3, SETTINGS);
    hosts.introduce(SETTINGS);
    let mut clients = Vec::new();
    wait_for("ten clients on a host, and others", PATIENCE, || {
        clients.push(connect(&hosts, &login(clients.len())));
        let hosts: Vec<u8> = clients.iter().map(host_of).collect();
        let count = |number| hosts.iter().filter(|host| **host == number).count();
        count(2) >= 10 && count(1) >= 5 && count(3) >= 5
    });
    burst(&hosts, &postgres, &clients, 0);
    let (lost, left): (Vec<Client>, Vec<Client>) =
        clients.into_iter().partition(|client| host_of(client) == 2);

    // It dies while queries run whose cancels it would have passed on.
    let doomed: Vec<PendingQuery<'_>> = lost.iter().map(|one| one.start_query(BYSTANDER)).collect();
    wait_running(&postgres, BYSTANDER, doomed.len());
    burst_after(&hosts, &postgres, &left, 1, || hosts.groups[1].kill());
    drop(doomed);
    lost.iter().for_each(|client| drop(client.wait_closed()));
    burst(&hosts, &postgres, &left, 2);

    hosts.groups[1].start_again();
    // The first cancels for it, each by way of another host.
    for other in [0, 2] {
        let client = hosts.groups[1].pooler.connect();
        assert_eq!(host_of(&client), 2);
        let query = client.start_query(&text(3 + other));
        wait_running(&postgres, &text(3 + other), 1);
        let mut wire = hosts.groups[other].pooler.wire();
        wire.send(&client.cancel_packet());
        assert_eq!(query.wait(), Err(CANCELLED));
        assert_eq!(wire.read_to_end(), []);
    }
    hosts.balancer.wait_up(2, true);
    // The balancer prefers the host that has nobody, sooner or later.
    let mut all = left;
    wait_for("ten clients on the host that is back", PATIENCE, || {
        all.push(connect(&hosts, &login(all.len())));
        all.iter().filter(|client| host_of(client) == 2).count() == 10
    });
    burst(&hosts, &postgres, &all, 6);
    drop(all);
    hosts.stop();
}

/// A burst of cancels, each for a query that runs.
fn burst(hosts: &Hosts, postgres: &Postgres, clients: &[Client], number: usize) {
    burst_after(hosts, postgres, clients, number, || {});
}

/// The same, after something that happens while the queries run.
fn burst_after(
    hosts: &Hosts,
    postgres: &Postgres,
    clients: &[Client],
    number: usize,
    happens: impl FnOnce(),
) {
    let query = text(number);
    let queries: Vec<PendingQuery<'_>> =
        clients.iter().map(|one| one.start_query(&query)).collect();
    wait_running(postgres, &query, clients.len());
    happens();
    let requests: Vec<Wire> = clients.iter().map(|one| send_cancel(hosts, one)).collect();
    for query in queries {
        assert_eq!(query.wait(), Err(CANCELLED), "burst {number}");
    }
    for mut request in requests {
        assert_eq!(request.read_to_end(), []);
    }
    for client in clients {
        assert_eq!(client.value("select 'not cancelled'"), "not cancelled");
    }
}

/// Ctrl-C in as many psql.
fn burst_of_psql(postgres: &Postgres, port: u16) {
    let psql = Psql::to_port(port).user("postgres").database("postgres");
    let query = text(1000);
    let running: Vec<RunningPsql> = (0..BURST).map(|_| psql.start(&query)).collect();
    wait_running(postgres, &query, BURST);
    for psql in &running {
        psql.process().signal(Signal::SIGINT);
    }
    for psql in running {
        let said = psql.wait();
        assert!(said.contains("57014"), "{said}");
    }
}

fn connect(hosts: &Hosts, login: &Login) -> Client {
    let client = hosts.connect(login);
    client.unwrap_or_else(|error| panic!("login: {error:?}"))
}

/// Half of the clients have long keys.
fn login(number: usize) -> Login {
    match number % 2 {
        0 => Login::new(),
        _ => Login::new().minor_version(2),
    }
}

fn send_cancel(hosts: &Hosts, client: &Client) -> Wire {
    let mut wire = Hosts::wire(hosts.balancer.port());
    wire.send(&client.cancel_packet());
    wire
}

/// The number of the host that a client is at home on.
fn host_of(client: &Client) -> u8 {
    client.process_id().to_be_bytes()[1]
}

/// So many of these run at PostgreSQL.
fn running(postgres: &Postgres, query: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where state = 'active' and query = '{query}'"
    );
    usize::try_from(postgres.number(&sql)).unwrap()
}

fn wait_running(postgres: &Postgres, query: &str, count: usize) {
    wait_for("all queries to run", PATIENCE, || {
        running(postgres, query) == count
    });
}

/// Requests that hosts have sent to each other.
fn sent_to_others(hosts: &Hosts) -> u64 {
    let sent = |pooler: &Pooler| {
        let console = pooler.connect_unix(&Login::new().database("pgskein"));
        let rows = console.unwrap().table("SHOW PEERS");
        let numbers = rows.iter().map(|row| row["sent"].parse::<u64>().unwrap());
        numbers.sum::<u64>()
    };
    hosts.groups.iter().map(|host| sent(&host.pooler)).sum()
}

/// A query of one burst, which no other one has.
fn text(burst: usize) -> String {
    format!("select pg_sleep(60) -- {burst}")
}

const BYSTANDER: &str = "select pg_sleep(600)";
const CANCELLED: SqlState = SqlState("57014");

//! The console beside that of PgBouncer: the same columns of the same types in
//! the same order.

use crate::harness::{Client, Login, PgBouncer, Pooler, Postgres};

#[test]
fn every_table_has_the_columns_of_pgbouncer_1_24() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let console = pooler.connect_as(&Login::new().database("pgbouncer"));
    let mut tables = 0;
    for line in RECORDED.lines() {
        let (table, theirs) = line.split_once(": ").unwrap();
        let ours = columns(&console, table).unwrap_or_else(|| panic!("no SHOW {table}"));
        let ours: Vec<String> = ours
            .iter()
            .map(|(name, oid)| format!("{name} {oid}"))
            .collect();
        // What is ours alone comes after what is theirs.
        let ours = ours.join(", ");
        assert!(ours.starts_with(theirs), "{table}\n{ours}\n{theirs}");
        tables += 1;
    }
    assert_eq!(tables, 17);
}

#[test]
fn every_column_of_the_pgbouncer_that_is_installed_is_there() {
    let postgres = Postgres::start();
    let pooler = Pooler::start(&postgres, "workers = 2");
    let console = pooler.connect_as(&Login::new().database("pgbouncer"));
    let pgbouncer = PgBouncer::start_installed(&postgres, "admin_users = postgres");
    let beside = pgbouncer.connect_as(&Login::new().database("pgbouncer"));
    let recorded = RECORDED
        .lines()
        .map(|line| line.split_once(": ").unwrap().0);
    for table in recorded.chain(COUNTED) {
        let Some(theirs) = columns(&beside, table) else {
            // An older one does not know it.
            continue;
        };
        let ours = columns(&console, table).unwrap();
        let mut rest = ours.iter();
        for column in theirs
            .iter()
            .filter(|(name, _)| !RENAMED.contains(&name.as_str()))
        {
            // In the same order, with those that came later in between.
            assert!(
                rest.any(|ours| ours == column),
                "{table}: {column:?}\n{ours:?}\n{theirs:?}"
            );
        }
    }
}

/// Names and types of the columns of a table; `None` if there is none.
fn columns(console: &Client, table: &str) -> Option<Vec<(String, u32)>> {
    let query = console.start_query(&format!("SHOW {table}"));
    let first = loop {
        match console.read_message()? {
            message if message.tag == b'N' => {}
            message => break message,
        }
    };
    if first.tag == b'E' {
        drop(query.wait());
        return None;
    }
    query.wait().unwrap();
    let mut columns = Vec::new();
    let mut rest = &first.body[2..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let name = String::from_utf8_lossy(&rest[..end]).into_owned();
        let fields = &rest[end + 1..];
        columns.push((name, u32::from_be_bytes(fields[6..10].try_into().unwrap())));
        rest = &fields[18..];
    }
    Some(columns)
}

/// Tables that got columns in between with PgBouncer 1.25.
const COUNTED: [&str; 4] = ["STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS"];

/// Columns of earlier versions that later ones call otherwise.
const RENAMED: [&str; 1] = ["reserve_pool"];

/// What the console of PgBouncer 1.24.1 says: names of columns and oids of types.
const RECORDED: &str = "\
CLIENTS: type 25, user 25, database 25, replication 25, state 25, addr 25, port 23, local_addr \
25, local_port 23, connect_time 25, request_time 25, wait 23, wait_us 23, close_needed 23, ptr \
25, link 25, remote_pid 23, tls 25, application_name 25, prepared_statements 23, id 23
SERVERS: type 25, user 25, database 25, replication 25, state 25, addr 25, port 23, local_addr \
25, local_port 23, connect_time 25, request_time 25, wait 23, wait_us 23, close_needed 23, ptr \
25, link 25, remote_pid 23, tls 25, application_name 25, prepared_statements 23, id 23
SOCKETS: type 25, user 25, database 25, replication 25, state 25, addr 25, port 23, local_addr \
25, local_port 23, connect_time 25, request_time 25, wait 23, wait_us 23, close_needed 23, ptr \
25, link 25, remote_pid 23, tls 25, application_name 25, prepared_statements 23, id 23, \
recv_pos 23, pkt_pos 23, pkt_remain 23, send_pos 23, send_remain 23, pkt_avail 23, send_avail \
23
ACTIVE_SOCKETS: type 25, user 25, database 25, replication 25, state 25, addr 25, port 23, \
local_addr 25, local_port 23, connect_time 25, request_time 25, wait 23, wait_us 23, \
close_needed 23, ptr 25, link 25, remote_pid 23, tls 25, application_name 25, \
prepared_statements 23, id 23, recv_pos 23, pkt_pos 23, pkt_remain 23, send_pos 23, send_remain \
23, pkt_avail 23, send_avail 23
POOLS: database 25, user 25, cl_active 23, cl_waiting 23, cl_active_cancel_req 23, \
cl_waiting_cancel_req 23, sv_active 23, sv_active_cancel 23, sv_being_canceled 23, sv_idle 23, \
sv_used 23, sv_tested 23, sv_login 23, maxwait 23, maxwait_us 23, pool_mode 25, \
load_balance_hosts 25
PEER_POOLS: peer_id 23, cl_active_cancel_req 23, cl_waiting_cancel_req 23, sv_active_cancel 23, \
sv_login 23
PEERS: peer_id 23, host 25, port 23, pool_size 23
DATABASES: name 25, host 25, port 23, database 25, force_user 25, pool_size 23, min_pool_size \
23, reserve_pool_size 23, server_lifetime 23, pool_mode 25, load_balance_hosts 25, \
max_connections 23, current_connections 23, max_client_connections 23, \
current_client_connections 23, paused 23, disabled 23
USERS: name 25, pool_size 25, reserve_pool_size 25, pool_mode 25, max_user_connections 23, \
current_connections 23, max_user_client_connections 23, current_client_connections 23
LISTS: list 25, items 23
CONFIG: key 25, value 25, default 25, changeable 25
STATE: key 25, value 25
MEM: name 25, size 23, used 23, free 23, memtotal 23
DNS_HOSTS: hostname 25, ttl 20, addrs 25
DNS_ZONES: zonename 25, serial 20, count 23
FDS: fd 23, task 25, user 25, database 25, addr 25, port 23, cancel 20, link 23, \
client_encoding 25, std_strings 25, datestyle 25, timezone 25, password 25, scram_client_key \
17, scram_server_key 17
VERSION: version 25";

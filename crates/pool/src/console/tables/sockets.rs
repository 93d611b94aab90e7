//! SHOW CLIENTS and SHOW SERVERS: a row for each connection.

use crate::console::table::Kind::{Int4, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

pub(in crate::console) static CLIENTS: Table = Table {
    topic: Topic::Clients,
    from: From::Workers,
    columns: CONNECTION,
};

pub(in crate::console) static SERVERS: Table = Table {
    topic: Topic::Servers,
    from: From::Workers,
    columns: CONNECTION,
};

/// The number of a connection is one of the group's one sequence.
const CONNECTION: &[Column] = &[
    Column::first("type", Text),
    Column::first("user", Text),
    Column::first("database", Text),
    Column::first("replication", Text),
    Column::first("state", Text),
    Column::first("addr", Text),
    Column::first("port", Int4),
    Column::first("local_addr", Text),
    Column::first("local_port", Int4),
    Column::first("connect_time", Text),
    Column::first("request_time", Text),
    Column::first("wait", Int4),
    Column::first("wait_us", Int4),
    Column::first("close_needed", Int4),
    Column::first("ptr", Text),
    Column::first("link", Text),
    Column::first("remote_pid", Int4),
    Column::first("tls", Text),
    Column::first("application_name", Text),
    Column::first("prepared_statements", Int4),
    Column::key("id", Int4),
    Column::first("worker", Int4),
];

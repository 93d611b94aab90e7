//! SHOW CLIENTS, SERVERS, SOCKETS and FDS: a row for each connection.

use crate::console::table::Kind::{Bytea, Int4, Int8, Text};
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

pub(in crate::console) static SOCKETS: Table = Table {
    topic: Topic::Sockets,
    from: From::Workers,
    columns: SOCKET,
};

pub(in crate::console) static ACTIVE_SOCKETS: Table = Table {
    topic: Topic::ActiveSockets,
    from: From::Workers,
    columns: SOCKET,
};

/// A number of a descriptor means something in its own worker only.
pub(in crate::console) static FDS: Table = Table {
    topic: Topic::Fds,
    from: From::Workers,
    columns: &[
        Column::key("place", Int4).hidden(),
        Column::key("fd", Int4),
        Column::first("task", Text),
        Column::first("user", Text),
        Column::first("database", Text),
        Column::first("addr", Text),
        Column::first("port", Int4),
        Column::first("cancel", Int8),
        Column::first("link", Int4),
        Column::first("client_encoding", Text),
        Column::first("std_strings", Text),
        Column::first("datestyle", Text),
        Column::first("timezone", Text),
        Column::first("password", Text),
        Column::first("scram_client_key", Bytea),
        Column::first("scram_server_key", Bytea),
        Column::first("worker", Int4),
    ],
};

macro_rules! connection {
    ($($more:expr,)*) => {
        &[
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
            // A number of the group's one sequence.
            Column::key("id", Int4),
            $($more,)*
            Column::first("worker", Int4),
        ]
    };
}

const CONNECTION: &[Column] = connection!();

const SOCKET: &[Column] = connection!(
    Column::first("recv_pos", Int4),
    Column::first("pkt_pos", Int4),
    Column::first("pkt_remain", Int4),
    Column::first("send_pos", Int4),
    Column::first("send_remain", Int4),
    Column::first("pkt_avail", Int4),
    Column::first("send_avail", Int4),
);

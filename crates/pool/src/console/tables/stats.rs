//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: what is counted of each
//! database, and of all. The supervisor knows; workers are asked so that one
//! that hangs is named.

use crate::console::table::Kind::{Int4, Numeric, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

pub(in crate::console) static STATS: Table = Table {
    topic: Topic::Stats,
    from: From::Both,
    columns: &[
        Column::key("database", Text),
        Column::first("total_server_assignment_count", Numeric),
        Column::first("total_xact_count", Numeric),
        Column::first("total_query_count", Numeric),
        Column::first("total_received", Numeric),
        Column::first("total_sent", Numeric),
        Column::first("total_xact_time", Numeric),
        Column::first("total_query_time", Numeric),
        Column::first("total_wait_time", Numeric),
        Column::first("total_client_parse_count", Numeric),
        Column::first("total_server_parse_count", Numeric),
        Column::first("total_bind_count", Numeric),
        Column::first("total_client_login_count", Numeric),
        Column::first("avg_server_assignment_count", Numeric),
        Column::first("avg_xact_count", Numeric),
        Column::first("avg_query_count", Numeric),
        Column::first("avg_recv", Numeric),
        Column::first("avg_sent", Numeric),
        Column::first("avg_xact_time", Numeric),
        Column::first("avg_query_time", Numeric),
        Column::first("avg_wait_time", Numeric),
        Column::first("avg_client_parse_count", Numeric),
        Column::first("avg_server_parse_count", Numeric),
        Column::first("avg_bind_count", Numeric),
        Column::first("avg_client_login_count", Numeric),
    ],
};

pub(in crate::console) static STATS_TOTALS: Table = Table {
    topic: Topic::StatsTotals,
    from: From::Both,
    columns: &[
        Column::key("database", Text),
        Column::first("server_assignment_count", Numeric),
        Column::first("xact_count", Numeric),
        Column::first("query_count", Numeric),
        Column::first("bytes_received", Numeric),
        Column::first("bytes_sent", Numeric),
        Column::first("xact_time", Numeric),
        Column::first("query_time", Numeric),
        Column::first("wait_time", Numeric),
        Column::first("client_parse_count", Numeric),
        Column::first("server_parse_count", Numeric),
        Column::first("bind_count", Numeric),
        Column::first("client_login_count", Numeric),
    ],
};

pub(in crate::console) static STATS_AVERAGES: Table = Table {
    topic: Topic::StatsAverages,
    from: From::Both,
    columns: &[
        Column::key("database", Text),
        Column::first("server_assignment_count", Numeric),
        Column::first("xact_count", Numeric),
        Column::first("query_count", Numeric),
        Column::first("bytes_received", Numeric),
        Column::first("bytes_sent", Numeric),
        Column::first("xact_time", Numeric),
        Column::first("query_time", Numeric),
        Column::first("wait_time", Numeric),
        Column::first("avg_client_parse_count", Numeric),
        Column::first("avg_server_parse_count", Numeric),
        Column::first("avg_bind_count", Numeric),
        Column::first("avg_client_login_count", Numeric),
    ],
};

pub(in crate::console) static TOTALS: Table = Table {
    topic: Topic::Totals,
    from: From::Both,
    columns: &[
        Column::key("position", Int4).hidden(),
        Column::first("name", Text),
        Column::first("value", Numeric),
    ],
};

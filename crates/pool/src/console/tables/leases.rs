//! SHOW LEASES: the supervisor's book of who may hold which servers.

use crate::console::table::Kind::{Int4, Int8, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

/// A worker that has died is in it as long as its leases are.
pub(in crate::console) static LEASES: Table = Table {
    topic: Topic::Leases,
    from: From::Supervisor,
    columns: &[
        Column::key("database", Text),
        Column::key("user", Text),
        Column::key("worker", Int4),
        Column::first("pool_size", Int4),
        Column::first("reserve_pool_size", Int4),
        Column::sum("opening", Int4),
        Column::sum("held", Int4),
        Column::sum("dedicated", Int4),
        Column::sum("closing", Int4),
        Column::sum("orphaned", Int4),
        Column::sum("waiting", Int4),
        Column::max("oldest_wait_us", Int8),
        Column::sum("recalls", Int4),
        Column::sum("moving", Int4),
    ],
};

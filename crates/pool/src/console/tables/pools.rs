//! SHOW POOLS: one row for a pool, whatever the number of workers.

use crate::console::table::Kind::{Int4, Int8, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;
use crate::console::value::Value;

pub(in crate::console) static POOLS: Table = Table {
    topic: Topic::Pools,
    from: From::Workers,
    columns: &[
        // In microseconds; its two halves are shown.
        Column::max("longest_wait", Int8).hidden(),
        Column::key("database", Text),
        Column::key("user", Text),
        Column::sum("cl_active", Int4),
        Column::sum("cl_waiting", Int4),
        Column::sum("cl_active_cancel_req", Int4),
        Column::sum("cl_waiting_cancel_req", Int4),
        Column::sum("sv_active", Int4),
        Column::sum("sv_active_cancel", Int4),
        Column::sum("sv_being_canceled", Int4),
        Column::sum("sv_idle", Int4),
        Column::sum("sv_used", Int4),
        Column::sum("sv_tested", Int4),
        Column::sum("sv_login", Int4),
        Column::derived("maxwait", Int4, |row| {
            Value::Number(row.number("longest_wait") / 1_000_000)
        }),
        Column::derived("maxwait_us", Int4, |row| {
            Value::Number(row.number("longest_wait") % 1_000_000)
        }),
        Column::first("pool_mode", Text),
        Column::first("load_balance_hosts", Text),
        Column::first("target_session_attrs", Text),
    ],
};

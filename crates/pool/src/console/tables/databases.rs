//! SHOW DATABASES and USERS: what is configured, and how much
//! of it is in use by the whole group.

use crate::console::table::Kind::{Int4, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

pub(in crate::console) static DATABASES: Table = Table {
    topic: Topic::Databases,
    from: From::Workers,
    columns: &[
        Column::key("name", Text),
        Column::first("host", Text),
        Column::first("port", Int4),
        Column::first("database", Text),
        Column::first("force_user", Text),
        Column::first("pool_size", Int4),
        Column::first("min_pool_size", Int4),
        Column::first("reserve_pool_size", Int4),
        Column::first("server_lifetime", Int4),
        Column::first("pool_mode", Text),
        Column::first("load_balance_hosts", Text),
        Column::first("max_connections", Int4),
        Column::sum("current_connections", Int4),
        Column::first("max_client_connections", Int4),
        Column::sum("current_client_connections", Int4),
        Column::first("paused", Int4),
        Column::first("disabled", Int4),
        Column::first("target_session_attrs", Text),
    ],
};

pub(in crate::console) static USERS: Table = Table {
    topic: Topic::Users,
    from: From::Workers,
    columns: &[
        Column::key("name", Text),
        Column::first("pool_size", Text),
        Column::first("reserve_pool_size", Text),
        Column::first("pool_mode", Text),
        Column::first("max_user_connections", Int4),
        Column::sum("current_connections", Int4),
        Column::first("max_user_client_connections", Int4),
        Column::sum("current_client_connections", Int4),
    ],
};

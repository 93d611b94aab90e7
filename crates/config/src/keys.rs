//! The keys of an entry of `[databases]`, `[users]` and `[peers]`.

/// A key that may stand in an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is for.
    pub(crate) text: &'static str,
}

const fn key(name: &'static str, text: &'static str) -> Key {
    Key { name, text }
}

/// Keys of `[databases]`.
pub(crate) const DATABASE: &[Key] = &[
    key(
        "dbname",
        "Name of the database on the server; by default that of the entry.",
    ),
    key(
        "host",
        "Name, address, or folder of a unix socket; or several with commas between them. By default `unix_socket_dir`.",
    ),
    key(
        "port",
        "Port of the server, or one for each host with commas between them; by default 5432.",
    ),
    key(
        "user",
        "User of every connection to the server, whoever the client is.",
    ),
    key(
        "password",
        "Password of that user; by default the one in `auth_file`.",
    ),
    key(
        "pool_size",
        "Server connections of each pool; by default `default_pool_size`.",
    ),
    key(
        "pool_mode",
        "When a server goes back to its pool; by default the setting of that name.",
    ),
    key(
        "session_state",
        "What becomes of session state that a client leaves behind; by default the setting of that name.",
    ),
    key(
        "max_db_connections",
        "Server connections of all pools together; by default the setting of that name.",
    ),
    key(
        "server_lifetime",
        "Age at which server connections are closed; 0 means the setting of that name.",
    ),
    key(
        "query_wait_timeout",
        "Longest time that a client waits for a server; by default the setting of that name.",
    ),
    key(
        "connect_query",
        "Query that is run once on every new server connection.",
    ),
    key("client_encoding", "Startup parameter for the server."),
    key("datestyle", "Startup parameter for the server."),
    key("timezone", "Startup parameter for the server."),
    key("application_name", "Startup parameter for the server."),
    key(
        "min_pool_size",
        "Server connections that each pool keeps open; by default the setting of that name.",
    ),
    key(
        "reserve_pool_size",
        "Further server connections of each pool; by default the setting of that name.",
    ),
    key("reserve_pool", "Another name of `reserve_pool_size`."),
    key(
        "max_db_client_connections",
        "Client connections; by default the setting of that name.",
    ),
    key("auth_user", "As the setting of that name."),
    key("auth_query", "As the setting of that name."),
    key("auth_dbname", "As the setting of that name."),
    key(
        "load_balance_hosts",
        "Which of several hosts a new server connection is tried at first: the next one each time (`round-robin`, the default), or the same until it fails (`disable`).",
    ),
    key(
        "target_session_attrs",
        "Which servers are used: `any` (the default), `read-write`, `read-only`, `primary`, `standby` or `prefer-standby`, as in libpq.",
    ),
    key(
        "sslnegotiation",
        "How TLS with servers begins: they are asked for it (`postgres`, the default), or at once (`direct`, from PostgreSQL 17 on, with `server_tls_sslmode = require` or more).",
    ),
];

/// Keys of `[users]`.
pub(crate) const USER: &[Key] = &[
    key(
        "pool_size",
        "Server connections of each pool of this user; by default the database's.",
    ),
    key(
        "pool_mode",
        "When a server goes back to its pool; by default the database's.",
    ),
    key(
        "max_user_connections",
        "Server connections of all pools of this user together; by default the setting of that name.",
    ),
    key("query_timeout", "As the setting of that name."),
    key("query_wait_timeout", "As the setting of that name."),
    key("idle_transaction_timeout", "As the setting of that name."),
    key("transaction_timeout", "As the setting of that name."),
    key("client_idle_timeout", "As the setting of that name."),
    key(
        "reserve_pool_size",
        "Further server connections of each pool of this user; by default the database's.",
    ),
    key(
        "max_user_client_connections",
        "Client connections of this user; by default the setting of that name.",
    ),
];

/// Keys of `[peers]`.
pub(crate) const PEER: &[Key] = &[
    key(
        "host",
        "Name, address, or folder of the unix socket of the other host. `%d` in it becomes the id less 1.",
    ),
    key("port", "Its port; by default 6432."),
    key(
        "pool_size",
        "Cancel requests that the whole group may have on their way to it at once; by default `default_pool_size`.",
    ),
    key(
        "kind",
        "`pgskein` or `pgbouncer`; PgBouncer, which it might be by default, drops requests with keys of more than 4 bytes.",
    ),
];

//! What a session has of its own, for the scenarios of session state.

use crate::harness::{Client, Pooler};

/// One server, so that the next client gets the same.
pub(crate) const ONE_SERVER: &str = "workers = 1\npool_mode = transaction\ndefault_pool_size = 1";

/// All state of the server that a client gets, in one line.
pub(crate) fn state(client: &Client) -> String {
    client.value(
        "select current_setting('work_mem'), current_setting('search_path'), \
         current_setting('my.own', true), current_setting('local.own', true), \
         current_setting('default_transaction_isolation'), current_user, session_user, \
         (select count(*) from pg_catalog.pg_listening_channels()), \
         (select count(*) from pg_catalog.pg_prepared_statements where from_sql), \
         (select count(*) from pg_catalog.pg_cursors), \
         (select count(*) from pg_catalog.pg_class where relnamespace = pg_my_temp_schema()), \
         (select count(*) from pg_catalog.pg_proc where pronamespace = pg_my_temp_schema())",
    )
}

/// How often a server was cleaned, in all workers.
pub(crate) fn cleaned(pooler: &Pooler) -> usize {
    let rows = pooler.console("SHOW WORKERS");
    rows.iter()
        .map(|row| row.split('|').nth(8).unwrap().parse::<usize>().unwrap())
        .sum()
}

/// A message of the protocol.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

//! A query that ends exactly when its scenario says so.

use crate::client::Client;
use crate::postgres::Postgres;
use crate::wait::{PATIENCE, wait_for};

/// Queries wait at it, inside PostgreSQL, until it is opened.
#[derive(Debug)]
pub struct Gate {
    holder: Client,
}

impl Gate {
    /// Closes the gate of this server.
    pub fn close(postgres: &Postgres) -> Self {
        let holder = postgres.connect();
        holder
            .query(&format!("select pg_advisory_lock({KEY})"))
            .expect("a lock can be taken");
        Self { holder }
    }

    /// The query that waits at it, and then answers with one row, `through`.
    pub fn query() -> String {
        format!("select 'through' from pg_advisory_xact_lock_shared({KEY})")
    }

    /// Waits until `count` queries wait at it.
    pub fn wait_queue(&self, count: u32) {
        let sql = "select count(*) from pg_locks where locktype = 'advisory' and not granted";
        wait_for(&format!("{count} queries at the gate"), PATIENCE, || {
            self.holder.value(sql) == count.to_string()
        });
    }

    /// Lets all through.
    pub fn open(self) {
        self.holder.close();
    }
}

const KEY: u32 = 4711;

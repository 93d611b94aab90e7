//! What consoles of a pooler tell.

use super::Pooler;
use crate::client::{Client, Login, SqlState};
use crate::wait::{PATIENCE, wait_for};

impl Pooler {
    /// A console of worker `n`.
    pub fn console_of(&self, n: u8) -> Client {
        self.connect_to_worker_as(n, &Login::new().database("pgskein"))
    }

    /// Runs a console command. A row is its columns joined by `|`.
    pub fn console(&self, command: &str) -> Vec<String> {
        self.try_console(command)
            .unwrap_or_else(|e| panic!("{command}: {e:?}"))
    }

    /// Runs a console command, or tells why not.
    ///
    /// # Errors
    ///
    /// The SQLSTATE of its error.
    pub fn try_console(&self, command: &str) -> Result<Vec<String>, SqlState> {
        self.connect_as(&Login::new().database("pgskein"))
            .query(command)
    }

    /// Slot and generation of every living worker that the console shows, sorted.
    pub fn generations(&self) -> Vec<String> {
        let console = self.connect_as(&Login::new().database("pgskein"));
        let rows = console.table("SHOW WORKERS").into_iter();
        let mut found: Vec<String> = rows
            .filter(|row| row["state"] != "dead")
            .map(|row| format!("{}.{}", row["slot"], row["generation"]))
            .collect();
        found.sort();
        found
    }

    /// Waits until this many clients wait for a server, in all workers.
    pub fn wait_waiting_clients(&self, count: u32) {
        let console = self.connect_as(&Login::new().database("pgskein"));
        wait_for(&format!("{count} clients to wait"), PATIENCE, || {
            let rows = console.query("SHOW WORKERS").expect("the console answers");
            let numbers = rows
                .iter()
                .filter_map(|row| row.split('|').nth(6)?.parse::<u32>().ok());
            numbers.sum::<u32>() == count
        });
    }
}

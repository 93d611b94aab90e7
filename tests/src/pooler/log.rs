//! What the log of a pooler says.

use std::fs;

use super::Pooler;
use crate::wait::{PATIENCE, wait_for};

impl Pooler {
    /// What the log says so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Tells whether the log has this text.
    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until the log has this text.
    pub fn wait_log(&self, text: &str) {
        wait_for(&format!("{text:?} in the log"), PATIENCE, || {
            self.log_contains(text)
        });
    }

    /// Waits until a line of the log has all these texts, which `|` divides.
    pub fn wait_logged(&self, texts: &str) {
        wait_for(&format!("{texts:?} in the log"), PATIENCE, || {
            let log = self.log();
            let mut lines = log.lines();
            lines.any(|line| texts.split('|').all(|text| line.contains(text)))
        });
    }

    /// Whether every worker of the last start has been ready, and accepts for
    /// itself alone.
    pub(super) fn all_accept(&self, workers: usize) -> bool {
        let log = self.log();
        let start = log.rfind(" starting: version=").unwrap_or(0);
        let since = &log[start..];
        let lines = |text: &str| since.lines().filter(|line| line.contains(text)).count();
        let ready = (1..=workers).all(|n| lines(&format!(" worker {n}: ready")) > 0);
        ready && lines(" INFO accepting for worker ") == lines(" no longer accepting for worker ")
    }
}

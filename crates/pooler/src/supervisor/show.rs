//! Show: what only the supervisor knows of the console's tables.

use mio::Token;
use pgskein_pool::console::{Row, Topic, encode_rows};
use pgskein_pool::control::ToWorker;

use super::Supervisor;

impl Supervisor {
    /// Answers a worker whose console asks for a table.
    pub(crate) fn show(&mut self, token: Token, request: u64, topic: Topic) {
        if matches!(
            topic,
            Topic::Stats | Topic::StatsTotals | Topic::StatsAverages | Topic::Totals
        ) {
            return self.ask_for_statistics(token, request, topic);
        }
        let rows = encode_rows(topic.table(), &self.rows_of(topic));
        self.tell(token, &ToWorker::Shown { request, rows });
    }

    fn rows_of(&self, topic: Topic) -> Vec<Row> {
        match topic {
            Topic::Clients
            | Topic::Servers
            | Topic::Pools
            | Topic::Lists
            | Topic::Stats
            | Topic::StatsTotals
            | Topic::StatsAverages
            | Topic::Totals
            | Topic::Latency => Vec::new(),
        }
    }
}

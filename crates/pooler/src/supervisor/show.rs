//! Show: what only the supervisor knows of the console's tables.

use mio::Token;
use pgskein_pool::console::{Row, Topic, Value, encode_rows};
use pgskein_pool::control::ToWorker;
use pgskein_pool::ledger::PoolShare;

use super::Supervisor;
use crate::worker::{drain_row, state_rows};

impl Supervisor {
    /// Answers a worker whose console asks for a table.
    pub(crate) fn show(&mut self, token: Token, request: u64, topic: Topic) {
        if topic.is_counted() {
            return self.ask_for_statistics(token, request, topic);
        }
        let rows = encode_rows(topic.table(), &self.rows_of(topic));
        self.tell(token, &ToWorker::Shown { request, rows });
    }

    fn rows_of(&self, topic: Topic) -> Vec<Row> {
        match topic {
            Topic::State => {
                let ready = self.all_ready() && !self.is_draining();
                state_rows(self.orders.state().activity, ready, self.config_version)
            }
            Topic::Drain => {
                let shown = self.drains.shown();
                let rows =
                    shown.map(|(order, since, counts)| drain_row(order, since, &counts, self.now));
                rows.collect()
            }
            Topic::Leases => self.ledger.overview().iter().map(lease_row).collect(),
            // The workers know all there is to know.
            _ => Vec::new(),
        }
    }
}

/// The row of what one worker has of one pool.
fn lease_row(share: &PoolShare) -> Row {
    vec![
        Value::text(share.pool.database.as_str()),
        Value::text(&*share.pool.shown()),
        share
            .worker
            .map_or(Value::Null, |slot| Value::number(slot.get())),
        Value::number(share.limits.pool_size),
        Value::number(share.limits.reserve_pool_size),
        Value::number(share.opening),
        Value::number(share.held),
        Value::number(share.dedicated),
        Value::number(share.closing),
        Value::number(share.orphaned),
        Value::number(share.wanted),
        Value::number(share.oldest_wait.as_micros()),
        Value::number(share.recalled),
        Value::number(share.moving),
    ]
}

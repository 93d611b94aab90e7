//! SHOW LATENCY: three rows for each pool.

use pgskein_pool::console::{Row, Value};
use pgskein_pool::statistics::LatencyKind;

use crate::worker::Worker;

impl Worker {
    /// The rows of all pools.
    pub(super) fn latency_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (_, pool) in self.pools.iter() {
            for kind in LatencyKind::ALL {
                let latency = pool.statistics.latency(kind);
                rows.push(vec![
                    Value::Counts(latency.counts),
                    Value::text(pool.key.database.as_str()),
                    Value::text(&*pool.key.shown()),
                    Value::from(kind.name()),
                    // They are worked out of the counts of all workers.
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::number(latency.max),
                ]);
            }
        }
        rows
    }
}

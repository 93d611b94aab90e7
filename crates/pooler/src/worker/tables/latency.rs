//! SHOW LATENCY: three rows for each pool that was used lately.

use pgskein_pool::console::{Row, Value};
use pgskein_pool::statistics::LatencyKind;

use crate::worker::Worker;

impl Worker {
    /// The rows of all pools.
    pub(super) fn latency_rows(&self) -> Vec<Row> {
        let pools = self.pools.iter().flat_map(|(_, pool)| {
            LatencyKind::ALL.into_iter().filter_map(move |kind| {
                let latency = pool.statistics.latency(kind);
                if latency.counts.is_empty() {
                    return None;
                }
                Some(vec![
                    Value::Counts(latency.counts),
                    Value::text(pool.key.database.as_str()),
                    Value::text(pool.key.user.as_str()),
                    Value::from(kind.name()),
                    // They are worked out of the counts of all workers.
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::Null,
                    Value::number(latency.max),
                ])
            })
        });
        pools.collect()
    }
}

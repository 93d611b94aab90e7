//! SHOW DRAIN: who is asked to go, and how far that has come.

use std::time::{Duration, Instant};

use pgskein_pool::console::{Row, Value};
use pgskein_pool::drain::Counts;
use pgskein_pool::drain_order::DrainOrder;

use crate::logging::time_text;
use crate::worker::Worker;

impl Worker {
    /// A row for each order in force, and for those that have ended lately.
    pub(super) fn drain_rows(&self) -> Vec<Row> {
        let progress = self.drains.progress();
        let rows =
            progress.map(|(order, since, counts)| drain_row(order, since, &counts, self.now));
        rows.collect()
    }
}

/// The row of an order of which the delay is over at `since`.
pub(crate) fn drain_row(order: &DrainOrder, since: Instant, counts: &Counts, now: Instant) -> Row {
    let left = |timeout: Duration| match timeout {
        Duration::ZERO => Value::Null,
        // What has begun counts.
        timeout => {
            let left = (since + timeout).saturating_duration_since(now);
            Value::number(left.as_millis().div_ceil(1000))
        }
    };
    let id = order.id.iter().map(|byte| format!("{byte:02x}"));
    let refused = &counts.refused;
    vec![
        Value::number(order.given),
        Value::text(id.collect::<String>()),
        Value::from(order.kind.word()),
        Value::text(order.scope.to_string()),
        Value::text(time_text(order.given / 1000)),
        Value::number(order.rate),
        Value::number(counts.told),
        Value::number(counts.left),
        Value::number(counts.moved),
        Value::number(counts.closed_idle),
        Value::number(counts.closed_in_transaction),
        Value::number(counts.remaining),
        left(order.timeout),
        left(order.kill_timeout),
        Value::number(refused.tls),
        Value::number(refused.replication),
        Value::number(refused.too_large),
        Value::number(refused.full),
        Value::number(refused.unknown),
        Value::number(refused.other),
    ]
}

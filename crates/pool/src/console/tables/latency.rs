//! SHOW LATENCY: how long queries, transactions and waits took lately, for each
//! pool.

use crate::console::table::Kind::{Int8, Text};
use crate::console::table::{Column, Fields, From, Table};
use crate::console::topic::Topic;
use crate::console::value::Value;
use crate::statistics::quantile;

pub(in crate::console) static LATENCY: Table = Table {
    topic: Topic::Latency,
    from: From::Workers,
    columns: &[
        Column::sum("counts", Int8).hidden(),
        Column::key("database", Text),
        Column::key("user", Text),
        Column::key("kind", Text),
        Column::derived("count", Int8, |row| {
            Value::number(counts(row).iter().sum::<u64>())
        }),
        Column::derived("p50", Int8, |row| at(row, 500)),
        Column::derived("p90", Int8, |row| at(row, 900)),
        Column::derived("p99", Int8, |row| at(row, 990)),
        Column::derived("p999", Int8, |row| at(row, 999)),
        Column::max("max", Int8),
    ],
};

fn counts(row: Fields<'_>) -> &[u64] {
    match row.value("counts") {
        Value::Counts(counts) => counts,
        _ => &[],
    }
}

fn at(row: Fields<'_>, per_mille: u32) -> Value {
    let max = u64::try_from(row.number("max")).unwrap_or(0);
    Value::number(quantile(counts(row), per_mille, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::merge::Merged;
    use crate::console::value::Row;
    use crate::statistics::Histogram;

    fn row(micros: &[u64]) -> Row {
        let mut histogram = Histogram::default();
        micros.iter().for_each(|micros| histogram.record(*micros));
        let mut counts = Vec::new();
        histogram.add_to(&mut counts);
        let mut row = vec![
            Value::Counts(counts),
            Value::from("shop"),
            Value::from("bob"),
            Value::from("query"),
        ];
        row.resize(9, Value::Null);
        row.push(Value::number(histogram.max()));
        row
    }

    #[test]
    fn takes_quantiles_of_what_all_workers_have_counted() {
        let mut merged = Merged::new(&LATENCY);
        merged.add(row(&[1; 90]));
        merged.add(row(&[
            100, 100, 100, 100, 100, 100, 100, 100, 100_000, 3_000_000,
        ]));
        let numbers: Vec<i64> = merged.pop_first().unwrap()[3..]
            .iter()
            .map(Value::as_number)
            .collect();
        assert_eq!(numbers[..3], [100, 1, 1]);
        assert!((100_000..102_000).contains(&numbers[3]), "{numbers:?}");
        assert_eq!(numbers[4..], [3_000_000, 3_000_000]);
    }
}

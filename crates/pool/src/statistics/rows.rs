//! Rows of the console's tables about what was counted.

use super::averages::Averages;
use super::book::Group;
use super::counters::Counters;
use crate::console::{Row, Topic, Value};

impl Group {
    /// The rows of a table about what was counted; none of any other table.
    pub fn rows(&self, topic: Topic) -> Vec<Row> {
        let databases = self.totals.iter().map(|(database, counters)| {
            let Averages(averages) = self.averages(database);
            let columns = match topic {
                Topic::Stats => [counters.to_array(), averages.to_array()].concat(),
                Topic::StatsTotals => counters.to_array().to_vec(),
                _ => averages.to_array().to_vec(),
            };
            let columns = columns.into_iter().map(Value::number);
            [Value::text(database)].into_iter().chain(columns).collect()
        });
        match topic {
            Topic::Stats | Topic::StatsTotals | Topic::StatsAverages => databases.collect(),
            Topic::Totals => self.totals_rows(),
            _ => Vec::new(),
        }
    }

    /// A row for each number of all databases together.
    fn totals_rows(&self) -> Vec<Row> {
        let Averages(averages) = self.averages_of_all();
        let totals = self.totals.sum().to_array();
        let names = NAMES.iter().map(|name| format!("total_{name}"));
        let names = names.chain(NAMES.iter().map(|name| format!("avg_{name}")));
        let values = totals.into_iter().chain(averages.to_array());
        let rows = (0_i64..).zip(names).zip(values);
        rows.map(|((position, name), value)| {
            vec![
                Value::Number(position),
                Value::text(name),
                Value::number(value),
            ]
        })
        .collect()
    }
}

/// The names of the counters in SHOW TOTALS.
const NAMES: [&str; Counters::LEN] = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::totals::Totals;
    use super::*;

    fn group() -> Group {
        let mut totals = Totals::default();
        let queries = |queries| Counters {
            queries,
            ..Counters::default()
        };
        totals.add("a", &queries(40));
        totals.add("b", &queries(2));
        Group {
            counted: totals.clone(),
            totals,
            period: Duration::from_secs(2),
        }
    }

    #[test]
    fn fills_every_column_that_is_declared() {
        for topic in [
            Topic::Stats,
            Topic::StatsTotals,
            Topic::StatsAverages,
            Topic::Totals,
        ] {
            for row in group().rows(topic) {
                assert_eq!(row.len(), topic.table().columns.len(), "{topic:?}");
            }
        }
        assert!(group().rows(Topic::Pools).is_empty());
    }

    #[test]
    fn puts_numbers_into_the_columns_of_their_names() {
        let rows = group().rows(Topic::Stats);
        let table = Topic::Stats.table();
        for (name, expected) in [("total_query_count", 40), ("avg_query_count", 20)] {
            let position = table.position(name).unwrap();
            assert_eq!(rows[0][position], Value::Number(expected), "{name}");
        }
        let totals = group().rows(Topic::Totals);
        let value = |name: &str| {
            let row = totals.iter().find(|row| row[1] == Value::from(name));
            row.unwrap()[2].as_number()
        };
        assert_eq!(totals.len(), 24);
        assert_eq!(
            (value("total_query_count"), value("avg_query_count")),
            (42, 21)
        );
    }
}

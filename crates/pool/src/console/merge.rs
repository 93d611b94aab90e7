//! Merging: rows of several processes become rows of one pooler.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::table::{Fields, Merge, Table};
use super::value::{Row, Value};

/// Rows put together by their key, and sorted by it.
#[derive(Debug)]
pub struct Merged {
    table: &'static Table,
    rows: BTreeMap<Vec<Value>, Row>,
}

impl Merged {
    /// No row yet.
    pub fn new(table: &'static Table) -> Self {
        Self {
            table,
            rows: BTreeMap::new(),
        }
    }

    /// Adds a row of one process. Of those with the same key, what came first
    /// counts where only one can.
    pub fn add(&mut self, mut row: Row) {
        row.resize(self.table.columns.len(), Value::Null);
        let fields = self.table.columns.iter().zip(&row);
        let keys = fields.filter(|(column, _)| matches!(column.merge, Merge::Key));
        match self
            .rows
            .entry(keys.map(|(_, value)| value.clone()).collect())
        {
            Entry::Vacant(entry) => drop(entry.insert(row)),
            Entry::Occupied(mut entry) => {
                let columns = self.table.columns.iter().zip(entry.get_mut());
                for ((column, old), new) in columns.zip(row) {
                    combine(column.merge, old, new);
                }
            }
        }
    }

    /// Takes the first row, as a console gets to see it.
    pub fn pop_first(&mut self) -> Option<Row> {
        let (_, mut row) = self.rows.pop_first()?;
        for (position, column) in self.table.columns.iter().enumerate() {
            if let Merge::Derived(value) = column.merge {
                let fields = Fields {
                    table: self.table,
                    row: &row,
                };
                let value = value(fields);
                if let Some(place) = row.get_mut(position) {
                    *place = value;
                }
            }
        }
        let shown = self.table.columns.iter().zip(row);
        let shown = shown.filter(|(column, _)| column.shown);
        Some(shown.map(|(_, value)| value).collect())
    }
}

fn combine(merge: Merge, old: &mut Value, new: Value) {
    if new == Value::Null {
        return;
    }
    if *old == Value::Null {
        *old = new;
        return;
    }
    match merge {
        Merge::Key | Merge::First | Merge::Derived(_) => {}
        Merge::Max => {
            if new > *old {
                *old = new;
            }
        }
        Merge::Sum => add(old, new),
    }
}

/// Adds what can be added; otherwise the old value stays.
fn add(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) => *old = old.saturating_add(new),
        (Value::Names(old), Value::Names(new)) => old.extend(new),
        (Value::Counts(old), Value::Counts(new)) => {
            if old.len() < new.len() {
                old.resize(new.len(), 0);
            }
            for (old, new) in old.iter_mut().zip(new) {
                *old = old.saturating_add(new);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{Column, From, Kind};
    use super::super::topic::Topic;
    use super::*;

    static TABLE: Table = Table {
        topic: Topic::Pools,
        from: From::Workers,
        columns: &[
            Column::sum("nanos", Kind::Int8).hidden(),
            Column::key("name", Kind::Text),
            Column::first("mode", Kind::Text),
            Column::sum("count", Kind::Int4),
            Column::max("longest", Kind::Int4),
            Column::derived("micros", Kind::Int8, |row| {
                Value::Number(row.number("nanos") / 1000)
            }),
        ],
    };

    fn row(nanos: i64, name: &str, mode: &str, count: i64, longest: i64) -> Row {
        vec![
            Value::Number(nanos),
            Value::from(name),
            Value::from(mode),
            Value::Number(count),
            Value::Number(longest),
            Value::Null,
        ]
    }

    fn merged(rows: Vec<Row>) -> Vec<Row> {
        let mut merged = Merged::new(&TABLE);
        rows.into_iter().for_each(|row| merged.add(row));
        std::iter::from_fn(|| merged.pop_first()).collect()
    }

    #[test]
    fn makes_one_row_of_those_with_the_same_key_and_sorts_by_it() {
        let rows = merged(vec![
            row(500, "b", "session", 1, 7),
            row(10, "a", "session", 2, 0),
            row(500, "b", "transaction", 3, 5),
        ]);
        let shown = |name: &str, count, longest, micros| {
            vec![
                Value::from(name),
                Value::from("session"),
                Value::Number(count),
                Value::Number(longest),
                Value::Number(micros),
            ]
        };
        assert_eq!(rows, [shown("a", 2, 0, 0), shown("b", 4, 7, 1)]);
    }

    #[test]
    fn takes_what_somebody_knows_for_what_nobody_said() {
        let mut unknown = row(0, "a", "", 0, 0);
        unknown[2..5].fill(Value::Null);
        let known = row(0, "a", "session", 3, 4);
        for rows in [[unknown.clone(), known.clone()], [known, unknown]] {
            let rows = merged(rows.into());
            assert_eq!(rows[0][1..4], row(0, "a", "session", 3, 4)[2..5]);
        }
    }

    #[test]
    fn adds_counts_one_by_one_and_names_once() {
        let mut counts = Value::Counts(vec![1, 2]);
        add(&mut counts, Value::Counts(vec![10, 20, 30]));
        assert_eq!(counts, Value::Counts(vec![11, 22, 30]));
        let mut names = Value::Names(["a", "b"].map(Into::into).into());
        add(&mut names, Value::Names(["b", "c"].map(Into::into).into()));
        assert_eq!(names, Value::Names(["a", "b", "c"].map(Into::into).into()));
    }
}

//! SHOW LISTS: how many there are of what.

use crate::console::table::Kind::{Int4, Text};
use crate::console::table::{Column, Fields, From, Table};
use crate::console::topic::Topic;
use crate::console::value::Value;

pub(in crate::console) static LISTS: Table = Table {
    topic: Topic::Lists,
    from: From::Workers,
    columns: &[
        Column::key("position", Int4).hidden(),
        // Of what several workers know, each counts once.
        Column::sum("names", Text).hidden(),
        Column::sum("count", Int4).hidden(),
        Column::first("list", Text),
        Column::derived("items", Int4, items),
    ],
};

fn items(row: Fields<'_>) -> Value {
    match row.value("names") {
        Value::Names(names) => Value::number(names.len()),
        _ => Value::Number(row.number("count")),
    }
}

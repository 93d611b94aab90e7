//! Showing: rows are merged and written, a few a turn.

use std::collections::VecDeque;

use pgskein_pool::console::{Kind, Merged, Row, Table, Value};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{Column, write};

use super::{State, answers};
use crate::worker::Worker;
use crate::worker::notices::notice;
use crate::worker::reason::Reason;
use crate::worker::tables::ROWS_PER_TURN;

/// A table on its way to a console.
#[derive(Debug)]
pub(in crate::worker) struct Showing {
    columns: Vec<(&'static str, Kind)>,
    notices: Vec<String>,
    /// What is not merged yet.
    rows: VecDeque<std::vec::IntoIter<Row>>,
    merged: Merged,
    /// The heading was written.
    begun: bool,
}

impl Showing {
    /// A table of these rows, in the order in which they count.
    pub(super) fn new(
        table: &'static Table,
        merged: Merged,
        rows: Vec<std::vec::IntoIter<Row>>,
        notices: Vec<String>,
    ) -> Self {
        let columns = table.shown();
        Self {
            columns: columns.map(|column| (column.name, column.kind)).collect(),
            notices,
            rows: rows.into(),
            merged,
            begun: false,
        }
    }

    /// Appends what comes next; false when that was everything.
    fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if self.merges_more() {
            return true;
        }
        if !std::mem::replace(&mut self.begun, true) {
            for text in &self.notices {
                notice(out, text);
            }
            heading(&self.columns, out);
        }
        for _ in 0..ROWS_PER_TURN {
            match self.merged.pop_first() {
                Some(row) => data_row(&row, out),
                None => {
                    answers::done(out, "SHOW");
                    return false;
                }
            }
        }
        true
    }

    /// Merges the next rows; false when there are none.
    fn merges_more(&mut self) -> bool {
        let mut left = ROWS_PER_TURN;
        while let Some(rows) = self.rows.front_mut() {
            for row in rows.by_ref() {
                self.merged.add(row);
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
            self.rows.pop_front();
        }
        false
    }
}

impl Worker {
    /// Gives a console that is shown a table its turn, unless it has not taken
    /// yet what it was sent.
    ///
    /// # Errors
    ///
    /// [`Reason::SocketFailed`].
    pub(super) fn show_turn(&mut self, id: ClientId) -> Result<(), Reason> {
        let Some(client) = self.clients.get(id) else {
            return Ok(());
        };
        if !client.outbox.is_empty() {
            return Ok(());
        }
        let Some(console) = self.console_mut(id) else {
            return Ok(());
        };
        let State::Showing(showing) = &mut console.state else {
            return Ok(());
        };
        let mut out = Vec::new();
        if !showing.write(&mut out) {
            console.state = State::Listening;
        }
        self.send_to_console(id, &out)?;
        self.wake_client(id);
        Ok(())
    }
}

/// Appends RowDescription.
fn heading(columns: &[(&'static str, Kind)], out: &mut Vec<u8>) {
    let columns = columns.iter().map(|&(name, kind)| Column {
        name,
        type_oid: kind.oid(),
    });
    write::row_description(out, &columns.collect::<Vec<_>>());
}

/// Appends DataRow, with every value as its text.
fn data_row(row: &[Value], out: &mut Vec<u8>) {
    let texts = row.iter().map(text).collect::<Vec<_>>();
    let values = texts.iter().map(|text| text.as_deref().map(str::as_bytes));
    write::data_row(out, &values.collect::<Vec<_>>());
}

/// The text of a value; none for null.
fn text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::Text(text) => Some(text.as_ref().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Null | Value::Counts(_) | Value::Names(_) => None,
    }
}

//! Showing: rows are merged and written, a few a turn.

use std::collections::VecDeque;
use std::vec::IntoIter;

use pgskein_pool::console::{Merged, Row, Table};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::write;

use super::values::{Columns, data_row, heading};
use super::{Reply, State, answers};
use crate::worker::Worker;
use crate::worker::notices::notice;
use crate::worker::reason::Reason;
use crate::worker::tables::ROWS_PER_TURN;

/// A table on its way to a console.
#[derive(Debug)]
pub(in crate::worker) struct Showing {
    columns: Columns,
    notices: Vec<String>,
    rows: Pile,
    /// Rows that are still wanted, unless all are.
    left: Option<usize>,
    /// Notices and heading were written.
    begun: bool,
    tag: &'static str,
}

/// The rows of a table.
#[derive(Debug)]
enum Pile {
    /// In their order.
    Sorted(VecDeque<Row>),
    /// Put together of these, in the order in which they count.
    Merged {
        unmerged: VecDeque<IntoIter<Row>>,
        merged: Merged,
    },
}

/// How far a table was written.
enum Written {
    /// There is more.
    Partly,
    /// As many rows as were wanted.
    Enough,
    /// All of it.
    Whole,
}

impl Showing {
    /// A table of these rows.
    pub(super) fn of(columns: Columns, rows: Vec<Row>, tag: &'static str) -> Self {
        Self {
            columns,
            notices: Vec::new(),
            rows: Pile::Sorted(rows.into()),
            left: None,
            begun: false,
            tag,
        }
    }

    /// A table put together of these rows, in the order in which they count.
    pub(super) fn merged(
        table: &'static Table,
        rows: Vec<IntoIter<Row>>,
        notices: Vec<String>,
    ) -> Self {
        let columns = table.shown().map(|column| (column.name, column.kind));
        let rows = Pile::Merged {
            unmerged: rows.into(),
            merged: Merged::new(table),
        };
        Self {
            notices,
            rows,
            ..Self::of(columns.collect(), Vec::new(), "SHOW")
        }
    }

    /// Wants so many rows next; 0 for all.
    pub(super) fn want(&mut self, limit: u32) {
        self.left = (limit > 0).then_some(limit as usize);
    }

    /// Appends what comes next.
    fn write(&mut self, reply: &Reply, out: &mut Vec<u8>) -> Written {
        if self.rows.merges_more() {
            return Written::Partly;
        }
        if !std::mem::replace(&mut self.begun, true) {
            for text in &self.notices {
                notice(out, text);
            }
            if matches!(reply, Reply::Simple) {
                heading(&self.columns, reply.formats(), out);
            }
        }
        for _ in 0..ROWS_PER_TURN {
            if self.left == Some(0) {
                return Written::Enough;
            }
            let Some(row) = self.rows.pop_first() else {
                return Written::Whole;
            };
            data_row(&row, &self.columns, reply.formats(), out);
            self.left = self.left.map(|left| left - 1);
        }
        Written::Partly
    }
}

impl Pile {
    /// Merges the next rows; false when there are none.
    fn merges_more(&mut self) -> bool {
        let Self::Merged { unmerged, merged } = self else {
            return false;
        };
        let mut left = ROWS_PER_TURN;
        while let Some(rows) = unmerged.front_mut() {
            for row in rows.by_ref() {
                merged.add(row);
                left -= 1;
                if left == 0 {
                    return true;
                }
            }
            unmerged.pop_front();
        }
        false
    }

    fn pop_first(&mut self) -> Option<Row> {
        match self {
            Self::Sorted(rows) => rows.pop_front(),
            Self::Merged { merged, .. } => merged.pop_first(),
        }
    }
}

impl Worker {
    /// Has a console be shown a table.
    pub(super) fn show(&mut self, id: ClientId, mut showing: Showing) {
        if let Some(console) = self.console_mut(id) {
            showing.want(console.reply.limit());
            console.state = State::Showing(Box::new(showing));
        }
        self.wake_client(id);
    }

    /// Gives a console that is shown a table its turn, unless it has not taken
    /// yet what it was sent.
    ///
    /// # Errors
    ///
    /// [`Reason::SocketFailed`].
    pub(super) fn show_turn(&mut self, id: ClientId) -> Result<(), Reason> {
        if !self
            .clients
            .get(id)
            .is_some_and(|client| client.outbox.is_empty())
        {
            return Ok(());
        }
        let Some(console) = self.console_mut(id) else {
            return Ok(());
        };
        let mut showing = match std::mem::replace(&mut console.state, State::Listening) {
            State::Showing(showing) => showing,
            other => {
                console.state = other;
                return Ok(());
            }
        };
        let mut out = Vec::new();
        match showing.write(&console.reply, &mut out) {
            Written::Partly => console.state = State::Showing(showing),
            Written::Enough => {
                write::portal_suspended(&mut out);
                console.suspend(showing);
            }
            Written::Whole => {
                answers::done(&mut out, showing.tag);
                console.reply.close(&mut out);
            }
        }
        self.send_to_console(id, &out)?;
        self.wake_client(id);
        Ok(())
    }
}

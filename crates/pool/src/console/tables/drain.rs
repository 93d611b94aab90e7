//! SHOW DRAIN: the orders by which clients are asked to go.

use crate::console::table::Kind::{Int4, Int8, Text};
use crate::console::table::{Column, From, Table};
use crate::console::topic::Topic;

/// The supervisor tells what workers have done that are gone. Both deadlines
/// are seconds from now, or nothing if there is none. Refused are those who were
/// to move to a successor and could not, each by its reason.
pub(in crate::console) static DRAIN: Table = Table {
    topic: Topic::Drain,
    from: From::Both,
    columns: &[
        Column::key("given", Int8).hidden(),
        Column::key("id", Text).hidden(),
        Column::first("kind", Text),
        Column::first("scope", Text),
        Column::first("since", Text),
        Column::first("rate", Int4),
        Column::sum("told", Int4),
        Column::sum("left", Int4),
        Column::sum("moved", Int4),
        Column::sum("closed_idle", Int4),
        Column::sum("closed_in_transaction", Int4),
        Column::sum("remaining", Int4),
        Column::max("deadline", Int8),
        Column::max("kill_deadline", Int8),
        Column::sum("refused_tls", Int4),
        Column::sum("refused_replication", Int4),
        Column::sum("refused_too_large", Int4),
        Column::sum("refused_full", Int4),
        Column::sum("refused_unknown", Int4),
        Column::sum("refused_other", Int4),
    ],
};

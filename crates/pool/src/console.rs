//! The console's tables: what they have for columns, and how the rows of several
//! processes become those of one pooler.
//!
//! Whoever is asked by a console has every process say its [`Row`]s of the
//! [`Topic`], as a stream of bytes ([`encode_heading`], [`encode_row`],
//! [`RowReader`]), puts them together by the declaration of the [`Table`]
//! ([`Merged`]), and shows what comes out, sorted by the key.
//!
//! A new table is a topic and a declaration in `tables`; averages and the like
//! are computed after merging ([`Merge::Derived`]), from columns that may be
//! hidden.

mod merge;
mod rows;
mod table;
mod tables;
mod topic;
mod value;

pub use self::merge::Merged;
pub use self::rows::{RowReader, RowsError, encode_heading, encode_row, encode_rows};
pub use self::table::{Column, Fields, From, Kind, Merge, Table};
pub use self::topic::Topic;
pub use self::value::{Row, Value};

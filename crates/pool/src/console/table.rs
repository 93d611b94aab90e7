//! Tables: what is declared of each.

use super::topic::Topic;
use super::value::Value;

/// One table of the console.
#[derive(Debug)]
pub struct Table {
    /// What it shows.
    pub topic: Topic,
    /// Who knows it.
    pub from: From,
    /// Its columns, in the order of a row. Rows are sorted by those that are
    /// [`Merge::Key`].
    pub columns: &'static [Column],
}

/// Who knows the rows of a table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// Every worker its own.
    Workers,
    /// The supervisor.
    Supervisor,
    /// The supervisor, and every worker its own; the supervisor's count first.
    Both,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the heading.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What becomes of the values of rows with the same key.
    pub merge: Merge,
    /// Whether a console gets to see it.
    pub shown: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `text`.
    Text,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `numeric`.
    Numeric,
    /// `bytea`, given as its text.
    Bytea,
}

/// What becomes of the values of several rows with the same key.
#[derive(Clone, Copy, Debug)]
pub enum Merge {
    /// It is (a part of) the key: rows in which these agree become one.
    Key,
    /// The first counts: the supervisor's, then the own worker's.
    First,
    /// They are added; counts one by one, names to one set.
    Sum,
    /// The largest counts.
    Max,
    /// It is worked out at the end, of the other columns.
    Derived(fn(Fields<'_>) -> Value),
}

/// The values of one merged row, by the names of their columns.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    pub(super) table: &'static Table,
    pub(super) row: &'a [Value],
}

impl Table {
    /// The columns that a console gets to see.
    pub fn shown(&self) -> impl Iterator<Item = &'static Column> {
        self.columns.iter().filter(|column| column.shown)
    }

    /// The position of a column in a row.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

impl Column {
    /// A column that tells rows apart.
    pub const fn key(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Merge::Key)
    }

    /// A column of which the first value counts.
    pub const fn first(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Merge::First)
    }

    /// A column that is added up.
    pub const fn sum(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Merge::Sum)
    }

    /// A column of which the largest value counts.
    pub const fn max(name: &'static str, kind: Kind) -> Self {
        Self::new(name, kind, Merge::Max)
    }

    /// A column that is worked out of the others.
    pub const fn derived(name: &'static str, kind: Kind, value: fn(Fields<'_>) -> Value) -> Self {
        Self::new(name, kind, Merge::Derived(value))
    }

    /// The same column, known to the processes only.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.shown = false;
        self
    }

    const fn new(name: &'static str, kind: Kind, merge: Merge) -> Self {
        Self {
            name,
            kind,
            merge,
            shown: true,
        }
    }
}

impl Kind {
    /// The oid of the type in `pg_type`.
    pub fn oid(self) -> u32 {
        match self {
            Self::Bytea => 17,
            Self::Int8 => 20,
            Self::Int4 => 23,
            Self::Text => 25,
            Self::Numeric => 1700,
        }
    }
}

impl<'a> Fields<'a> {
    /// The value of a column; nothing if there is no such column.
    pub fn value(&self, name: &str) -> &'a Value {
        const NOTHING: &Value = &Value::Null;
        let position = self.table.position(name);
        let value = position.and_then(|position| self.row.get(position));
        value.unwrap_or(NOTHING)
    }

    /// The number in a column, 0 if there is none.
    pub fn number(&self, name: &str) -> i64 {
        self.value(name).as_number()
    }
}

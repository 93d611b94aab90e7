//! Rows as a stream of bytes, from one process to another.
//!
//! Version 1: one byte version; 32-bit number of columns and their names; then
//! for each row the 32-bit length of what follows, and the values. A value is
//! one byte for its kind and its bytes. Because the names come along, processes
//! of two versions of the program understand what both of them know.

use std::fmt;

use super::table::Table;
use super::value::{Row, Value};
use crate::octets::{Octets, Truncated, put_bytes};

/// Appends what comes before the first row.
pub fn encode_heading(table: &Table, out: &mut Vec<u8>) {
    out.push(VERSION);
    let count = u32::try_from(table.columns.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    for column in table.columns {
        put_bytes(out, column.name.as_bytes());
    }
}

/// Appends one row.
pub fn encode_row(row: &[Value], out: &mut Vec<u8>) {
    let mut body = Vec::new();
    for value in row {
        value.encode(&mut body);
    }
    put_bytes(out, &body);
}

/// The whole stream of some rows.
pub fn encode_rows<'a>(table: &Table, rows: impl IntoIterator<Item = &'a Row>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_heading(table, &mut out);
    for row in rows {
        encode_row(row, &mut out);
    }
    out
}

/// Reads rows of a table from a stream that comes in pieces.
#[derive(Debug)]
pub struct RowReader {
    table: &'static Table,
    bytes: Vec<u8>,
    /// Where the values of a row belong, once the heading was read.
    places: Option<Vec<Option<usize>>>,
}

/// Why bytes are no stream of rows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RowsError {
    /// The stream is of a version that is not known here.
    Version(u8),
    /// A row is not what the heading has announced.
    Row,
    /// The stream has ended in the middle of a row.
    Cut,
}

impl RowReader {
    /// At the beginning of a stream of rows of this table.
    pub fn new(table: &'static Table) -> Self {
        Self {
            table,
            bytes: Vec::new(),
            places: None,
        }
    }

    /// Takes the next piece; appends the rows that are whole with it to `rows`.
    ///
    /// # Errors
    ///
    /// [`RowsError`]; the stream cannot be read any further.
    pub fn read(&mut self, piece: &[u8], rows: &mut impl Extend<Row>) -> Result<(), RowsError> {
        self.bytes.extend_from_slice(piece);
        let bytes = std::mem::take(&mut self.bytes);
        let mut octets = Octets(&bytes);
        if self.places.is_none() {
            match heading(&bytes, self.table)? {
                Some((places, rest)) => {
                    self.places = Some(places);
                    octets = rest;
                }
                None => {
                    self.bytes = bytes;
                    return Ok(());
                }
            }
        }
        loop {
            let before = octets.0;
            let Ok(body) = octets.bytes() else {
                self.bytes = before.to_vec();
                return Ok(());
            };
            let row = self.row(body).map_err(|Truncated| RowsError::Row)?;
            rows.extend([row]);
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    ///
    /// [`RowsError::Cut`] when that was too early.
    pub fn end(&self) -> Result<(), RowsError> {
        if self.places.is_some() && self.bytes.is_empty() {
            Ok(())
        } else {
            Err(RowsError::Cut)
        }
    }

    fn row(&self, body: &[u8]) -> Result<Row, Truncated> {
        let mut octets = Octets(body);
        let mut row = vec![Value::Null; self.table.columns.len()];
        for place in self.places.iter().flatten() {
            let value = Value::decode(&mut octets)?;
            if let Some(place) = place.and_then(|place| row.get_mut(place)) {
                *place = value;
            }
        }
        octets.end()?;
        Ok(row)
    }
}

/// Where the columns of a stream belong, and the rows behind the heading.
type Heading<'a> = (Vec<Option<usize>>, Octets<'a>);

fn heading<'a>(bytes: &'a [u8], table: &Table) -> Result<Option<Heading<'a>>, RowsError> {
    let mut octets = Octets(bytes);
    match octets.u8() {
        Ok(VERSION) => {}
        Ok(version) => return Err(RowsError::Version(version)),
        Err(Truncated) => return Ok(None),
    }
    let mut names = || {
        let count = octets.u32()?;
        let names = (0..count).map(|_| octets.text());
        names.collect::<Result<Vec<_>, Truncated>>()
    };
    let Ok(names) = names() else {
        return Ok(None);
    };
    let places = names.iter().map(|name| table.position(name)).collect();
    Ok(Some((places, octets)))
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "rows of unknown version {version}"),
            Self::Row => f.write_str("rows that are not as announced"),
            Self::Cut => f.write_str("rows that end in the middle of one"),
        }
    }
}

impl std::error::Error for RowsError {}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::super::table::{Column, From, Kind};
    use super::super::topic::Topic;
    use super::*;

    static TABLE: Table = Table {
        topic: Topic::Lists,
        from: From::Workers,
        columns: &[
            Column::key("a", Kind::Text),
            Column::sum("b", Kind::Int8),
            Column::sum("c", Kind::Int8).hidden(),
            Column::sum("d", Kind::Int8).hidden(),
        ],
    };

    /// A stream of version 1, as it was first written.
    const RECORDED: &[u8] = b"\x01\0\0\0\x04\0\0\0\x01a\0\0\0\x01b\0\0\0\x01c\0\0\0\x01d\
        \0\0\0\x38\x01\0\0\0\x02hi\x02\xff\xff\xff\xff\xff\xff\xff\xfe\
        \x05\0\0\0\x02\0\0\0\0\0\0\0\0\0\x07\0\x02\0\0\0\0\0\0\0\x01\x04\0\0\0\x02\0\0\0\x01x\0\0\0\x01y\
        \0\0\0\x04\0\0\0\0";

    fn rows() -> Vec<Row> {
        let names = ["x", "y"].map(Into::into).into();
        vec![
            vec![
                Value::from("hi"),
                Value::Number(-2),
                Value::Counts(vec![7, 0, 1]),
                Value::Names(names),
            ],
            vec![Value::Null; 4],
        ]
    }

    fn read(bytes: &[u8]) -> Result<Vec<Row>, RowsError> {
        let mut reader = RowReader::new(&TABLE);
        let mut rows = Vec::new();
        reader.read(bytes, &mut rows)?;
        reader.end().map(|()| rows)
    }

    #[test]
    fn writes_and_accepts_the_recorded_stream_of_version_1() {
        assert_eq!(encode_rows(&TABLE, &rows()), RECORDED);
        assert_eq!(read(RECORDED), Ok(rows()));
    }

    #[test]
    fn reads_a_stream_in_pieces_of_any_length() {
        for length in 1..RECORDED.len() {
            let mut reader = RowReader::new(&TABLE);
            let mut read = Vec::new();
            for piece in RECORDED.chunks(length) {
                reader.read(piece, &mut read).unwrap();
            }
            assert_eq!(reader.end(), Ok(()));
            assert_eq!(read, rows(), "pieces of {length} bytes");
        }
    }

    #[test]
    fn rejects_a_stream_that_ends_too_early() {
        for end in 0..RECORDED.len() {
            let whole = read(&RECORDED[..end]);
            let behind_a_row = [25, 85].contains(&end);
            assert_eq!(whole.is_ok(), behind_a_row, "{end} bytes: {whole:?}");
        }
    }

    #[test]
    fn rejects_other_versions_and_rows_of_another_form() {
        assert_eq!(read(b"\x02"), Err(RowsError::Version(2)));
        assert_eq!(
            read(b"\x01\0\0\0\x01\0\0\0\x01a\0\0\0\x01\x09"),
            Err(RowsError::Row)
        );
        assert_eq!(
            read(b"\x01\0\0\0\x01\0\0\0\x01a\0\0\0\x02\0\0"),
            Err(RowsError::Row)
        );
    }

    #[test]
    fn takes_columns_by_name_and_leaves_out_unknown_ones() {
        let bytes = b"\x01\0\0\0\x02\0\0\0\x03new\0\0\0\x01b\
            \0\0\0\x0a\0\x02\0\0\0\0\0\0\0\x05";
        let mut row = vec![Value::Null; 4];
        row[1] = Value::Number(5);
        assert_eq!(read(bytes), Ok(vec![row]));
    }
}

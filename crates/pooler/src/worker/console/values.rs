//! Values of a result, in the format that the client asks for.
//!
//! Source: PostgreSQL documentation, "Formats and Format Codes"; the binary form
//! of numeric is that of `numeric_send`.

use std::borrow::Cow;

use pgskein_pool::console::{Kind, Row, Value};
use pgskein_protocol::{Column, write};

/// The columns of a result, by name and type.
pub(super) type Columns = Vec<(&'static str, Kind)>;

/// In which format the columns of a result are sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Formats(Vec<bool>);

impl Formats {
    /// Everything as text.
    pub(super) const TEXT: &'static Self = &Self(Vec::new());

    /// The formats of `columns` columns as Bind asks for them; `None` when there
    /// are no such formats, or not as many.
    ///
    /// Source: PostgreSQL documentation, "Message Formats", Bind.
    pub(super) fn of(codes: &[[u8; 2]], columns: usize) -> Option<Self> {
        let codes: Option<Vec<bool>> = codes
            .iter()
            .map(|code| match u16::from_be_bytes(*code) {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })
            .collect();
        match codes?.as_slice() {
            [] => Some(Self::default()),
            [one] => Some(Self(vec![*one; columns])),
            all => (all.len() == columns).then(|| Self(all.to_vec())),
        }
    }

    fn is_binary(&self, column: usize) -> bool {
        self.0.get(column).copied().unwrap_or(false)
    }
}

/// Appends RowDescription.
pub(super) fn heading(columns: &Columns, formats: &Formats, out: &mut Vec<u8>) {
    let columns = columns.iter().enumerate();
    let columns = columns.map(|(at, &(name, kind))| Column {
        name,
        type_oid: kind.oid(),
        binary: formats.is_binary(at),
    });
    write::row_description(out, &columns.collect::<Vec<_>>());
}

/// Appends DataRow.
pub(super) fn data_row(row: &Row, columns: &Columns, formats: &Formats, out: &mut Vec<u8>) {
    let values = row.iter().zip(columns).enumerate();
    let values = values.map(|(at, (value, (_, kind)))| {
        if formats.is_binary(at) {
            binary(value, *kind)
        } else {
            text(value)
        }
    });
    let values: Vec<_> = values.collect();
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
    write::data_row(out, &values);
}

/// The text of a value; none for null.
fn text(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Text(text) => Some(text.as_bytes().into()),
        Value::Number(number) => Some(number.to_string().into_bytes().into()),
        Value::Null | Value::Counts(_) | Value::Names(_) => None,
    }
}

/// The binary form of a value; none for null.
fn binary(value: &Value, kind: Kind) -> Option<Cow<'_, [u8]>> {
    let number = match value {
        Value::Number(number) => *number,
        other => return text(other),
    };
    let bytes = match kind {
        Kind::Int4 => {
            let most = if number < 0 { i32::MIN } else { i32::MAX };
            i32::try_from(number).unwrap_or(most).to_be_bytes().to_vec()
        }
        Kind::Int8 => number.to_be_bytes().to_vec(),
        Kind::Numeric => numeric(number),
        Kind::Text | Kind::Bytea => return text(value),
    };
    Some(bytes.into())
}

/// A whole number as numeric: number of digits, weight of the first, sign, and
/// scale, then the digits to the base of 10,000.
fn numeric(number: i64) -> Vec<u8> {
    let mut digits = Vec::new();
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        digits.push(u16::try_from(rest % 10_000).unwrap_or(0));
        rest /= 10_000;
    }
    let count = u16::try_from(digits.len()).unwrap_or(0);
    let sign = if number < 0 { 0x4000 } else { 0 };
    let mut bytes = Vec::new();
    for word in [count, count.saturating_sub(1), sign, 0] {
        bytes.extend_from_slice(&u16::to_be_bytes(word));
    }
    for digit in digits.into_iter().rev() {
        bytes.extend_from_slice(&digit.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_no_format_one_for_all_or_one_for_each() {
        let (text, binary) = ([0, 0], [0, 1]);
        assert_eq!(Formats::of(&[], 3), Some(Formats::default()));
        assert_eq!(Formats::of(&[binary], 2), Some(Formats(vec![true, true])));
        let each = Formats::of(&[text, binary], 2);
        assert_eq!(each, Some(Formats(vec![false, true])));
        assert_eq!(Formats::of(&[text, binary], 3), None);
        assert_eq!(Formats::of(&[[0, 2]], 1), None);
    }

    #[test]
    fn writes_numbers_in_the_binary_form_of_their_type() {
        let number = Value::Number(-2);
        assert_eq!(
            binary(&number, Kind::Int4).unwrap(),
            &[255, 255, 255, 254][..]
        );
        assert_eq!(binary(&number, Kind::Int8).unwrap().len(), 8);
        let large = Value::Number(i64::MAX);
        assert_eq!(
            binary(&large, Kind::Int4).unwrap(),
            &i32::MAX.to_be_bytes()[..]
        );
        assert_eq!(binary(&Value::Null, Kind::Int4), None);
    }

    #[test]
    fn writes_numeric_to_the_base_of_ten_thousand() {
        assert_eq!(numeric(0), [0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(numeric(7), [0, 1, 0, 0, 0, 0, 0, 0, 0, 7]);
        // 1,2345,0000
        assert_eq!(
            numeric(-123_450_000),
            [0, 3, 0, 2, 0x40, 0, 0, 0, 0, 1, 0x09, 0x29, 0, 0]
        );
    }
}

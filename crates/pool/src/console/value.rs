//! Values of a row, and what they are as bytes.

use std::collections::BTreeSet;

use crate::octets::{Octets, Truncated, put_bytes};

/// One value of a row.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Value {
    /// Nothing; in a merge, whatever somebody else says.
    #[default]
    Null,
    /// A text.
    Text(Box<str>),
    /// A number of any type.
    Number(i64),
    /// Numbers that are added one by one, such as those of a histogram; zeros
    /// at the end are not kept on the way. They are never shown.
    Counts(Vec<u64>),
    /// Names of which each counts once. They are never shown.
    Names(BTreeSet<Box<str>>),
}

/// The values of one row, in the order of the table's columns, hidden ones
/// included; those that are derived are [`Value::Null`] until then.
pub type Row = Vec<Value>;

impl Value {
    /// A number; what does not fit is the most that fits.
    pub fn number(number: impl TryInto<i64>) -> Self {
        Self::Number(number.try_into().unwrap_or(i64::MAX))
    }

    /// A text.
    pub fn text(text: impl Into<Box<str>>) -> Self {
        Self::Text(text.into())
    }

    /// The number that this is, 0 if it is none.
    pub fn as_number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            _ => 0,
        }
    }

    /// The text that this is, empty if it is none.
    pub fn as_text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// Appends the value.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(NULL),
            Self::Text(text) => {
                out.push(TEXT);
                put_bytes(out, text.as_bytes());
            }
            Self::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Self::Counts(counts) => {
                // Most of those of a histogram are 0.
                let there = (0_u16..).zip(counts).filter(|(_, count)| **count > 0);
                out.push(COUNTS);
                put_count(out, there.clone().count());
                for (place, count) in there {
                    out.extend_from_slice(&place.to_be_bytes());
                    out.extend_from_slice(&count.to_be_bytes());
                }
            }
            Self::Names(names) => {
                out.push(NAMES);
                put_count(out, names.len());
                for name in names {
                    put_bytes(out, name.as_bytes());
                }
            }
        }
    }

    /// Takes a value from the start of `octets`.
    pub(super) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(match octets.u8()? {
            NULL => Self::Null,
            TEXT => Self::Text(octets.text()?.into()),
            NUMBER => Self::Number(octets.array().map(i64::from_be_bytes)?),
            COUNTS => {
                let mut counts = Vec::new();
                for _ in 0..octets.u32()? {
                    let place = usize::from(octets.array().map(u16::from_be_bytes)?);
                    let count = octets.u64()?;
                    if counts.len() <= place {
                        counts.resize(place + 1, 0);
                    }
                    if let Some(at) = counts.get_mut(place) {
                        *at = count;
                    }
                }
                Self::Counts(counts)
            }
            NAMES => {
                let count = octets.u32()?;
                let names = (0..count).map(|_| octets.text().map(Into::into));
                Self::Names(names.collect::<Result<_, _>>()?)
            }
            _ => return Err(Truncated),
        })
    }
}

impl std::convert::From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_be_bytes());
}

const NULL: u8 = 0;
const TEXT: u8 = 1;
const NUMBER: u8 = 2;
const NAMES: u8 = 4;
const COUNTS: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_numbers_that_fit_and_the_most_that_fits() {
        assert_eq!(Value::number(7_u64), Value::Number(7));
        assert_eq!(Value::number(u64::MAX), Value::Number(i64::MAX));
    }

    #[test]
    fn gives_nothing_for_a_value_of_another_kind() {
        assert_eq!(Value::Null.as_number(), 0);
        assert_eq!(Value::Number(3).as_text(), "");
        assert_eq!(Value::from("x").as_text(), "x");
    }
}

//! Connection strings: `key=value` pairs with blanks between them.
//!
//! A value with blanks is written in single quotes, which are doubled inside
//! of it; a backslash is nothing special. This is PgBouncer's syntax.

use std::fmt;

/// Why a text is no connection string.
///
/// It tells the place, not the text, which may be part of a password.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ConninfoError {
    /// No `key=` at this character, counted from 1.
    Key { at: usize },
    /// No value at this character.
    Value { at: usize },
    /// The quote at this character is not closed.
    Quote { at: usize },
    /// No blank at this character, behind a closing quote.
    Blank { at: usize },
}

/// Splits `text` into its pairs of key and value.
///
/// # Errors
///
/// [`ConninfoError`] at the first character that does not fit.
pub(crate) fn parse(text: &str) -> Result<Vec<(&str, String)>, ConninfoError> {
    let at = |rest: &str| text.chars().count() - rest.chars().count() + 1;
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let split = rest.split_once('=').filter(|(key, _)| {
            let key = key.trim_end();
            !key.is_empty() && !key.contains(blank) && !key.contains('\'')
        });
        let (key, after) = split.ok_or(ConninfoError::Key { at: at(rest) })?;
        let after = after.trim_start();
        let (value, after) = if after.starts_with('\'') {
            let (value, behind) = quoted(after).ok_or(ConninfoError::Quote { at: at(after) })?;
            if !behind.is_empty() && !behind.starts_with(blank) {
                return Err(ConninfoError::Blank { at: at(behind) });
            }
            (value, behind)
        } else {
            let (value, behind) = after.split_at(after.find(blank).unwrap_or(after.len()));
            (value.to_owned(), behind)
        };
        if value.is_empty() {
            return Err(ConninfoError::Value { at: at(after) });
        }
        pairs.push((key.trim_end(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

impl fmt::Display for ConninfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { at } => write!(f, "expected key=value at character {at}"),
            Self::Value { at } => write!(f, "expected a value at character {at}"),
            Self::Quote { at } => write!(f, "the quote at character {at} is not closed"),
            Self::Blank { at } => write!(f, "expected a blank at character {at}"),
        }
    }
}

/// Takes a quoted value off `text`; returns it and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('\'')?;
    let mut value = String::new();
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        match after.strip_prefix('\'') {
            Some(after) => {
                value.push('\'');
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

fn blank(c: char) -> bool {
    c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs(text: &str) -> Vec<(&str, String)> {
        parse(text).unwrap()
    }

    #[test]
    fn accepts_quotes_and_blanks_around_the_equals_sign() {
        assert_eq!(
            pairs(" host = a  port=1 connect_query='select ''x'' = \\'  "),
            [
                ("host", "a".to_owned()),
                ("port", "1".to_owned()),
                ("connect_query", "select 'x' = \\".to_owned()),
            ]
        );
        assert_eq!(pairs("  "), []);
    }

    #[test]
    fn rejects_what_is_no_pair_and_tells_where() {
        assert_eq!(parse("a=1 b"), Err(ConninfoError::Key { at: 5 }));
        assert_eq!(parse("=1"), Err(ConninfoError::Key { at: 1 }));
        assert_eq!(parse("a b=1"), Err(ConninfoError::Key { at: 1 }));
        assert_eq!(parse("a="), Err(ConninfoError::Value { at: 3 }));
        assert_eq!(parse("a=''"), Err(ConninfoError::Value { at: 5 }));
        assert_eq!(parse("a='x"), Err(ConninfoError::Quote { at: 3 }));
        assert_eq!(parse("a='x'y"), Err(ConninfoError::Blank { at: 6 }));
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text);
        }

        #[test]
        fn reads_back_any_quoted_value(key in "[a-z_]{1,9}", value in ".+", other in "[^'\\s]+") {
            let text = format!("{key}='{}' other={other}", value.replace('\'', "''"));
            let read = parse(&text).unwrap();
            prop_assert_eq!(read, vec![(key.as_str(), value), ("other", other)]);
        }
    }
}

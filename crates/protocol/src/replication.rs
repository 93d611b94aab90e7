//! What the startup parameter `replication` asks for.
//!
//! Source: PostgreSQL documentation, "Streaming Replication Protocol".

use std::error::Error;
use std::fmt;

/// A connection that speaks the replication commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replication {
    /// Of the whole cluster: base backups and WAL; no database, no SQL.
    Physical,
    /// Of one database: decoded changes, and SQL.
    Logical,
}

impl Replication {
    /// Reads the value of the parameter: `database`, or anything that
    /// PostgreSQL takes for a boolean. `None` is an ordinary session.
    ///
    /// # Errors
    ///
    /// [`ReplicationError`] for any other value.
    ///
    /// Source: PostgreSQL documentation, "Streaming Replication Protocol" and
    /// "Boolean Type".
    pub fn parse(value: &[u8]) -> Result<Option<Self>, ReplicationError> {
        if value == b"database" {
            return Ok(Some(Self::Logical));
        }
        match boolean(value) {
            Some(true) => Ok(Some(Self::Physical)),
            Some(false) => Ok(None),
            None => Err(ReplicationError {
                value: String::from_utf8_lossy(value).into_owned(),
            }),
        }
    }

    /// The value of the parameter that asks for it.
    pub fn value(self) -> &'static str {
        match self {
            Self::Physical => "true",
            Self::Logical => "database",
        }
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Physical => "physical",
            Self::Logical => "logical",
        })
    }
}

/// A value that the parameter cannot have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplicationError {
    /// The value as sent; what is not UTF-8 in it is replaced.
    pub value: String,
}

impl ReplicationError {
    /// SQLSTATE of the final ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        "22023"
    }

    /// Hint of the final ErrorResponse.
    pub fn hint(&self) -> &'static str {
        "Valid values are: \"false\", 0, \"true\", 1, \"database\"."
    }
}

impl fmt::Display for ReplicationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = &self.value;
        write!(
            f,
            "invalid value for parameter \"replication\": \"{value}\""
        )
    }
}

impl Error for ReplicationError {}

/// A boolean as PostgreSQL reads it: a word or the beginning of one that no
/// other word has, in any case.
fn boolean(value: &[u8]) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let words: [(&[u8], usize, bool); 8] = [
        (b"true", 1, true),
        (b"false", 1, false),
        (b"yes", 1, true),
        (b"no", 1, false),
        (b"on", 2, true),
        (b"off", 2, false),
        (b"1", 1, true),
        (b"0", 1, false),
    ];
    let fits = |(word, shortest, _): &(&[u8], usize, bool)| {
        value.len() >= *shortest && word.starts_with(&value)
    };
    words.iter().find(|word| fits(word)).map(|word| word.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<Replication> {
        Replication::parse(value.as_bytes()).unwrap()
    }

    #[test]
    fn accepts_every_boolean_of_postgresql() {
        for value in ["true", "TRUE", "t", "tr", "yes", "Y", "on", "ON", "1"] {
            assert_eq!(parsed(value), Some(Replication::Physical), "{value}");
        }
        for value in ["false", "F", "fals", "no", "N", "off", "of", "0"] {
            assert_eq!(parsed(value), None, "{value}");
        }
    }

    #[test]
    fn accepts_the_word_for_one_database_as_it_is() {
        assert_eq!(parsed("database"), Some(Replication::Logical));
        assert!(Replication::parse(b"Database").is_err());
        assert!(Replication::parse(b"data").is_err());
    }

    #[test]
    fn rejects_whatever_is_no_boolean() {
        for value in ["", "o", "2", "11", "truth", "onn", "physical", " true"] {
            let error = Replication::parse(value.as_bytes()).unwrap_err();
            assert_eq!(error.sqlstate(), "22023");
            let text = format!("invalid value for parameter \"replication\": \"{value}\"");
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn asks_for_what_was_asked_for() {
        for mode in [Replication::Physical, Replication::Logical] {
            assert_eq!(parsed(mode.value()), Some(mode));
        }
    }
}

//! Names of databases and users as the files of client authentication give
//! them: as they are, or as regular expressions.
//!
//! Expressions have the syntax of the regex-lite crate. PostgreSQL's have the
//! same for all that is common; back references, look-around and its escapes
//! for words (`\m`, `\M`, `\y`) are refused.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File", "User Name Maps".

use regex_lite::Regex;

use super::tokens::Word;

/// One name, or all that an expression matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Name {
    /// This name.
    Exactly(String),
    /// Names in which this is found.
    Like(Pattern),
}

impl Name {
    /// Reads a word that is no keyword.
    pub(crate) fn parse(word: &Word) -> Result<Self, String> {
        match word.text.strip_prefix('/') {
            Some(pattern) => Ok(Self::Like(Pattern::parse(pattern)?)),
            None => Ok(Self::Exactly(word.text.clone())),
        }
    }

    /// Whether `name` is meant.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == name,
            Self::Like(pattern) => pattern.0.is_match(name),
        }
    }
}

/// A regular expression; equal to another of the same text.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(pub(crate) Regex);

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        match Regex::new(text) {
            Ok(regex) => Ok(Self(regex)),
            Err(error) => Err(format!("bad regular expression /{text}: {error}")),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

//! The startup parameter `options`: settings as command-line switches.
//!
//! `-c name=value`, `-cname=value` and `--name=value` are understood, separated
//! by white space; a backslash takes the next character as it is. Dashes in a
//! name become underscores, as in PostgreSQL. Nothing else of `postgres`'s
//! command line makes sense through a pooler.
//!
//! Source: PostgreSQL documentation, "Database Connection Control Functions",
//! options; "postgres", -c and --name.

use std::error::Error;
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// Splits the value of `options` into settings, in their order.
///
/// # Errors
///
/// [`OptionsError`] for any other switch, and for a switch without `=` or with
/// nothing before it.
pub fn parse_options(value: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut settings = Vec::new();
    let mut words = Words(value.chars().peekable());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next().ok_or(OptionsError::NoSetting)?,
            Some(setting) => setting.to_owned(),
            None => match word.strip_prefix("--") {
                Some(setting) => setting.to_owned(),
                None => return Err(OptionsError::UnknownSwitch),
            },
        };
        match setting.split_once('=') {
            Some(("", _)) => return Err(OptionsError::EmptyName),
            Some((name, value)) => settings.push((name.replace('-', "_"), value.to_owned())),
            None => return Err(OptionsError::NoValue),
        }
    }
    Ok(settings)
}

/// Why the value of `options` is not one that a pooler can follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OptionsError {
    /// A word is neither `-c` nor begins with `--`.
    UnknownSwitch,
    /// Nothing follows `-c`.
    NoSetting,
    /// A setting has no `=`.
    NoValue,
    /// A setting has nothing before its `=`.
    EmptyName,
}

impl OptionsError {
    /// SQLSTATE of the final ErrorResponse.
    pub fn sqlstate(self) -> &'static str {
        "22023"
    }
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "unsupported options startup parameter: \
             only '-c config=val' and '--config=val' are allowed",
        )
    }
}

impl Error for OptionsError {}

/// Words separated by white space, with backslashes resolved.
struct Words<'a>(Peekable<Chars<'a>>);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        while self.0.next_if(|&c| is_space(c)).is_some() {}
        self.0.peek()?;
        let mut word = String::new();
        while let Some(c) = self.0.next_if(|&c| !is_space(c)) {
            // A backslash at the very end stands for nothing, as in PostgreSQL.
            let c = if c == '\\' { self.0.next() } else { Some(c) };
            word.extend(c);
        }
        Some(word)
    }
}

/// White space as C's isspace() has it.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted(value: &str) -> Vec<(String, String)> {
        parse_options(value).unwrap()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn accepts_all_three_spellings() {
        assert_eq!(
            accepted("-c a=b --c=d  -ce=f"),
            [pair("a", "b"), pair("c", "d"), pair("e", "f")]
        );
    }

    #[test]
    fn accepts_nothing_and_white_space() {
        assert_eq!(accepted(""), []);
        assert_eq!(accepted(" \t\n "), []);
        assert_eq!(accepted(" -c a=b "), [pair("a", "b")]);
    }

    #[test]
    fn resolves_backslashes() {
        assert_eq!(
            accepted(r"-c search_path=a,\ b\\c --x=\ "),
            [pair("search_path", r"a, b\c"), pair("x", " ")]
        );
        assert_eq!(accepted("-c a=b\\"), [pair("a", "b")]);
    }

    #[test]
    fn keeps_equals_signs_of_the_value_and_empty_values() {
        assert_eq!(accepted("-c a=b=c --d="), [pair("a", "b=c"), pair("d", "")]);
    }

    #[test]
    fn turns_dashes_of_a_name_into_underscores() {
        assert_eq!(
            accepted("--statement-timeout=1-2"),
            [pair("statement_timeout", "1-2")]
        );
    }

    #[test]
    fn rejects_empty_names() {
        for value in [
            "-c=",
            "-c =",
            "-c =x",
            "--=",
            "--=x",
            "-c a=b -c=",
            "-c \\=",
        ] {
            assert_eq!(
                parse_options(value),
                Err(OptionsError::EmptyName),
                "{value}"
            );
        }
    }

    #[test]
    fn rejects_whatever_is_no_setting() {
        assert_eq!(parse_options("-c"), Err(OptionsError::NoSetting));
        assert_eq!(parse_options("-c a"), Err(OptionsError::NoValue));
        assert_eq!(parse_options("--"), Err(OptionsError::NoValue));
        assert_eq!(parse_options("--a b"), Err(OptionsError::NoValue));
        assert_eq!(parse_options("-d 5"), Err(OptionsError::UnknownSwitch));
        assert_eq!(parse_options("a=b"), Err(OptionsError::UnknownSwitch));
        assert_eq!(parse_options("\\"), Err(OptionsError::UnknownSwitch));
    }

    #[test]
    fn says_what_is_allowed() {
        assert_eq!(
            OptionsError::EmptyName.to_string(),
            "unsupported options startup parameter: \
             only '-c config=val' and '--config=val' are allowed"
        );
    }

    proptest! {
        #[test]
        fn ends_on_any_text(value in r"[-c=\\ a\t]{0,40}|\PC{0,40}") {
            if let Ok(settings) = parse_options(&value) {
                prop_assert!(settings.iter().all(|(name, _)| !name.is_empty()));
            }
        }

        #[test]
        fn reads_any_escaped_value(value in r"\PC{0,20}") {
            let escaped: String = value.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert_eq!(accepted(&format!("-c a={escaped}")), [pair("a", &value)]);
        }
    }
}

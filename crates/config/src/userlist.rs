//! The file of users and secrets that `auth_file` names.
//!
//! A line is `"user" "secret"`, where quotes inside are doubled and anything
//! behind is ignored; `;` begins a comment line. The last line of a user wins.

use std::collections::BTreeMap;

use crate::finding::{Finding, Place};
use crate::ini::quoted;
use crate::secret_text::SecretText;

/// Reads the text of `file` into a map from users to their secrets.
pub(crate) fn parse(text: &str, file: &str) -> (BTreeMap<String, SecretText>, Vec<Finding>) {
    let mut users = BTreeMap::new();
    let mut findings = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        match entry(line) {
            Some((user, secret)) => {
                users.insert(user, secret);
            }
            None => {
                let place = Place {
                    file: file.to_owned(),
                    line: number,
                };
                findings.push(place.finding("", "expected \"user\" \"secret\""));
            }
        }
    }
    (users, findings)
}

fn entry(line: &str) -> Option<(String, SecretText)> {
    let (user, rest) = quoted(line)?;
    let (secret, _) = quoted(rest.trim_start())?;
    let valid = !user.is_empty() && !line.contains('\0');
    valid.then(|| (user, secret.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_doubled_quotes_comments_and_trailing_words() {
        let text = "; users\n\"al\"\"ice\" \"se\"\"cret\"\n\n  \"bob\"\t\"md5x\" whatever\r\n";
        let (users, findings) = parse(text, "users.txt");
        assert_eq!(findings, []);
        assert_eq!(users["al\"ice"], "se\"cret");
        assert_eq!(users["bob"], "md5x");
    }

    #[test]
    fn keeps_the_last_line_of_a_user() {
        let (users, _) = parse("\"a\" \"1\"\n\"a\" \"2\"\n", "users.txt");
        assert_eq!(users["a"], "2");
    }

    #[test]
    fn rejects_broken_lines_without_showing_them() {
        for line in [
            "alice secret",
            "\"alice\"",
            "\"alice\" \"secret",
            "\"\" \"secret\"",
        ] {
            let (users, findings) = parse(&format!(";\n{line}"), "users.txt");
            assert!(users.is_empty(), "{line}");
            let texts: Vec<_> = findings.iter().map(Finding::to_string).collect();
            assert_eq!(
                texts,
                ["users.txt:2: expected \"user\" \"secret\""],
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = parse(&text, "users.txt");
        }
    }
}

//! Findings: what is wrong with a configuration, and where.

use std::fmt;

/// Something wrong in the configuration, or worth a warning.
///
/// It is shown as `FILE:LINE: setting: problem`, and without the file when it is
/// about something that is in none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The file as it was named; empty when the finding is about none.
    pub file: String,
    /// Line in the file, from 1; 0 when the finding is about the whole file.
    pub line: u32,
    /// The setting, database or user; empty when the finding is about none.
    pub setting: String,
    /// What is wrong, never with a secret in it.
    pub problem: String,
}

/// A line of a file; of none by default.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// Line in the file, from 1; 0 for the file as a whole.
    pub line: u32,
}

impl Place {
    /// Something is wrong here with `setting`.
    pub fn finding(&self, setting: &str, problem: impl Into<String>) -> Finding {
        Finding {
            file: self.file.clone(),
            line: self.line,
            setting: setting.to_owned(),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line != 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.setting.is_empty() {
            if !self.file.is_empty() {
                f.write_str(": ")?;
            }
            f.write_str(&self.setting)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Says that `name` is unknown, with the nearest of the `known` names.
pub(crate) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> String {
    match nearest(name, known) {
        Some(known) => format!("unknown {what}, did you mean {known}?"),
        None => format!("unknown {what}"),
    }
}

/// The known name that looks most like `name`, unless none does.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long texts are no typing mistakes, and comparing them is slow.
    if name.len() > LONGEST_NAME {
        return None;
    }
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

const LONGEST_NAME: usize = 64;

/// Likeness, from 0 to 1, from which on a name is worth suggesting.
const ALIKE: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_file_line_and_setting() {
        let place = Place {
            file: "a.ini".to_owned(),
            line: 3,
        };
        assert_eq!(place.finding("x", "bad").to_string(), "a.ini:3: x: bad");
        assert_eq!(place.finding("", "bad").to_string(), "a.ini:3: bad");
    }

    #[test]
    fn suggests_the_nearest_name_only_when_it_is_near() {
        let known = ["pool_size", "port"];
        assert_eq!(
            unknown("key", "pol_size", known),
            "unknown key, did you mean pool_size?"
        );
        assert_eq!(unknown("key", "zzz", known), "unknown key");
    }
}

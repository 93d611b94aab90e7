//! The ini file: lines to named values, each with its file and line.
//!
//! A scan goes through the lines, skips comments, follows `%include` and knows
//! the section that each value belongs to; rust-ini splits the single line.
//! Sections may be repeated, and an included file goes on in the section that
//! it is included from.

use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};
use zeroize::Zeroizing;

use crate::finding::{Finding, Place, unknown};

/// A line `name = value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    /// Where it stands.
    pub(crate) place: Place,
    /// The section that it belongs to.
    pub(crate) section: Section,
    /// What is before the equals sign.
    pub(crate) name: String,
    /// What is behind it.
    pub(crate) value: String,
}

#[cfg(test)]
impl Entry {
    /// One that stands in line 2 of `a.ini`.
    pub(crate) fn sample(section: Section, name: &str, value: &str) -> Self {
        Self {
            place: Place {
                file: "a.ini".to_owned(),
                line: 2,
            },
            section,
            name: name.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// A section that is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Section {
    /// `[pgskein]`, which is also `[pgbouncer]`.
    Settings,
    /// `[databases]`.
    Databases,
    /// `[users]`.
    Users,
    /// `[peers]`.
    Peers,
}

/// Gives the text of a file, or the reason why there is none.
pub(crate) type Fetch<'a> = dyn FnMut(&Path) -> Result<String, String> + 'a;

/// Reads `main` and all files that it includes.
pub(crate) fn scan(main: &Path, fetch: &mut Fetch<'_>) -> (Vec<Entry>, Vec<Finding>) {
    let mut scan = Scan {
        fetch,
        current: Current::None,
        open: Vec::new(),
        files: 0,
        entries: Vec::new(),
        findings: Vec::new(),
    };
    let whole = Place {
        file: main.display().to_string(),
        line: 0,
    };
    scan.file(main, &whole);
    (scan.entries, scan.findings)
}

struct Scan<'a, 'b> {
    fetch: &'a mut Fetch<'b>,
    current: Current,
    /// The files that are being read, each included by the one before it.
    open: Vec<PathBuf>,
    /// How many files were read, repeated ones counted again.
    files: usize,
    entries: Vec<Entry>,
    findings: Vec<Finding>,
}

/// The section that the scan is in.
#[derive(Clone, Copy)]
enum Current {
    /// No section has begun.
    None,
    /// One that is reported, so what it holds is skipped.
    Unknown,
    Known(Section),
}

impl Scan<'_, '_> {
    /// Reads `path`, which is named at `named`.
    fn file(&mut self, path: &Path, named: &Place) {
        if self.open.iter().any(|open| open == path) {
            let loops = format!("{} includes itself", path.display());
            return self.wrong(named, INCLUDE, loops);
        }
        if self.open.len() >= DEEPEST || self.files >= MOST_FILES {
            return self.wrong(named, INCLUDE, "too many files are included");
        }
        let text = match (self.fetch)(path) {
            Ok(text) => Zeroizing::new(text),
            Err(reason) => {
                let problem = format!("cannot read {}: {reason}", path.display());
                return self.wrong(named, "", problem);
            }
        };
        self.files += 1;
        self.open.push(path.to_owned());
        let file = path.display().to_string();
        let lines = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text).lines();
        for (line, number) in lines.zip(1..) {
            let place = Place {
                file: file.clone(),
                line: number,
            };
            self.line(line.trim(), place);
        }
        self.open.pop();
    }

    fn line(&mut self, line: &str, place: Place) {
        if line.is_empty() || line.starts_with([';', '#']) {
            return;
        }
        if line.contains(['\0', '\r']) {
            return self.wrong(&place, "", "the line has a control character in it");
        }
        if let Some(path) = directive(line, INCLUDE) {
            return self.file(Path::new(path), &place);
        }
        if line.starts_with('[') {
            return match section_name(line) {
                Some(name) => self.section(&name, &place),
                None => self.wrong(&place, "", "expected [section]"),
            };
        }
        let Some((name, value)) = pair(line) else {
            return self.wrong(&place, "", "expected name = value");
        };
        match self.current {
            Current::None => self.wrong(&place, &name, "is in no section"),
            Current::Unknown => {}
            Current::Known(section) => self.entries.push(Entry {
                place,
                section,
                name,
                value,
            }),
        }
    }

    fn section(&mut self, name: &str, place: &Place) {
        let known = SECTIONS.iter().find(|(known, _)| *known == name);
        if let Some((_, section)) = known {
            self.current = Current::Known(*section);
            return;
        }
        self.current = Current::Unknown;
        let problem = unknown("section", name, SECTIONS.map(|(known, _)| known));
        self.wrong(place, &format!("[{name}]"), problem);
    }

    fn wrong(&mut self, place: &Place, setting: &str, problem: impl Into<String>) {
        self.findings.push(place.finding(setting, problem));
    }
}

/// What follows `directive` on the line, if that is how the line begins.
fn directive<'a>(line: &'a str, directive: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(directive)?;
    rest.starts_with([' ', '\t']).then(|| rest.trim())
}

/// The name in a line `[name]`.
fn section_name(line: &str) -> Option<String> {
    if !line.ends_with(']') {
        return None;
    }
    let ini = parse(line)?;
    ini.sections().flatten().next().map(str::to_owned)
}

/// The two sides of a line `name = value`.
///
/// A name of other characters than letters, digits and `_.-*` is quoted as in
/// SQL, which rust-ini does not know; it gets the rest of such a line.
fn pair(line: &str) -> Option<(String, String)> {
    if let Some((name, rest)) = quoted(line) {
        let rest = rest.trim_start().strip_prefix('=')?;
        let (_, value) = pair(&format!("quoted={rest}"))?;
        return (!name.is_empty()).then_some((name, value));
    }
    let ini = parse(line)?;
    let (name, value) = ini
        .iter()
        .flat_map(|(_, properties)| properties.iter())
        .next()?;
    let plain = |c: char| c.is_alphanumeric() || "_.-*".contains(c);
    // rust-ini would take a colon for an equals sign.
    let equals = line.strip_prefix(name)?.trim_start().starts_with('=');
    let valid = equals && !name.is_empty() && name.chars().all(plain);
    valid.then(|| (name.to_owned(), value.to_owned()))
}

fn parse(line: &str) -> Option<Ini> {
    let options = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        enabled_indented_mutiline_value: false,
        enabled_preserve_key_leading_whitespace: false,
    };
    Ini::load_from_str_opt(line, options).ok()
}

/// Takes a text in double quotes, which are doubled inside of it, off `line`;
/// returns it and what follows.
pub(crate) fn quoted(line: &str) -> Option<(String, &str)> {
    let mut rest = line.strip_prefix('"')?;
    let mut text = String::new();
    loop {
        let (before, after) = rest.split_once('"')?;
        text.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                text.push('"');
                rest = after;
            }
            None => return Some((text, after)),
        }
    }
}

const SECTIONS: [(&str, Section); 5] = [
    ("pgskein", Section::Settings),
    ("pgbouncer", Section::Settings),
    ("databases", Section::Databases),
    ("users", Section::Users),
    ("peers", Section::Peers),
];

const INCLUDE: &str = "%include";
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Files that may be included by each other.
const DEEPEST: usize = 10;

/// Files that a configuration may consist of.
const MOST_FILES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_files(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut fetch = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| "no such file".to_owned())
        };
        let (entries, findings) = scan(Path::new("a.ini"), &mut fetch);
        let entry = |e: &Entry| {
            let Place { file, line } = &e.place;
            format!("{file}:{line}:{:?}:{}={}", e.section, e.name, e.value)
        };
        (
            entries.iter().map(entry).collect(),
            findings.iter().map(Finding::to_string).collect(),
        )
    }

    fn scan_text(text: &str) -> (Vec<String>, Vec<String>) {
        scan_files(&[("a.ini", text)])
    }

    #[test]
    fn keeps_section_and_line_of_each_value() {
        let (entries, findings) = scan_text(
            "; comment\n[databases]\n  a = host=b port=1\r\n\n[pgbouncer]\n# x\nuser=me\n[databases]\nb=\n",
        );
        assert_eq!(
            entries,
            [
                "a.ini:3:Databases:a=host=b port=1",
                "a.ini:7:Settings:user=me",
                "a.ini:9:Databases:b=",
            ]
        );
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn keeps_quotes_escapes_and_comment_signs_of_values() {
        let (entries, _) = scan_text("[users]\na = 'x;y' \"#z\" \\n\\");
        assert_eq!(entries, ["a.ini:2:Users:a='x;y' \"#z\" \\n\\"]);
    }

    #[test]
    fn accepts_quoted_names() {
        let (entries, _) = scan_text("[databases]\n\"a=b \"\"c\"\"\" = host=x\n");
        assert_eq!(entries, ["a.ini:2:Databases:a=b \"c\"=host=x"]);
    }

    #[test]
    fn rejects_lines_that_are_nothing() {
        for line in [
            "word", "a: b", "a: b=c", "= 1", "a b = c", "[x", "[x] y", "\"a = b", "a\\=b",
        ] {
            let (entries, findings) = scan_text(&format!("[users]\n{line}\n"));
            assert_eq!(entries, [""; 0], "{line}");
            assert_eq!(findings.len(), 1, "{line}");
            assert!(findings[0].starts_with("a.ini:2: expected"), "{findings:?}");
        }
    }

    #[test]
    fn rejects_values_outside_a_section_and_unknown_sections() {
        let (_, findings) = scan_text("a = 1\n[database]\nb = 2\n");
        assert_eq!(
            findings,
            [
                "a.ini:1: a: is in no section",
                "a.ini:2: [database]: unknown section, did you mean databases?",
            ]
        );
    }

    #[test]
    fn goes_on_in_the_same_section_in_an_included_file() {
        let (entries, _) = scan_files(&[
            ("a.ini", "[users]\n%include b.ini\nz = 3"),
            ("b.ini", "x = 1\n[databases]\ny = 2"),
        ]);
        assert_eq!(
            entries,
            [
                "b.ini:1:Users:x=1",
                "b.ini:3:Databases:y=2",
                "a.ini:3:Databases:z=3",
            ]
        );
    }

    #[test]
    fn rejects_files_that_include_themselves_or_do_not_exist() {
        let (_, findings) = scan_files(&[
            ("a.ini", "%include b.ini\n%include c.ini"),
            ("b.ini", "\n%include a.ini"),
        ]);
        assert_eq!(
            findings,
            [
                "b.ini:2: %include: a.ini includes itself",
                "a.ini:2: cannot read c.ini: no such file",
            ]
        );
    }

    #[test]
    fn rejects_endless_chains_of_files() {
        let mut fetch = |path: &Path| {
            let next = path.display().to_string() + "x";
            Ok(format!("%include {next}\n%include {next}\n"))
        };
        let (_, findings) = scan(Path::new("a"), &mut fetch);
        assert!(
            findings
                .iter()
                .all(|f| f.problem == "too many files are included")
        );
        assert!(!findings.is_empty());
    }
}

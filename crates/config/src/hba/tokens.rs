//! Lines, fields and words of the files of client authentication.
//!
//! Fields are divided by white space, the words of one field by commas; `#`
//! begins a comment, a backslash at the end continues the line, and what is in
//! double quotes has no other meaning. A word `@file` stands for the words of
//! that file, a line `include file` for its lines.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File".

use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::str::Chars;

use crate::finding::{Finding, Place};
use crate::ini::Fetch;

/// One word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Word {
    /// The word without its quotes.
    pub(crate) text: String,
    /// It begins with a quote, so that it is no keyword.
    pub(crate) quoted: bool,
}

impl Word {
    /// Whether it is this keyword.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }
}

/// A line that says something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Line {
    /// Where it begins.
    pub(crate) place: Place,
    /// Its fields; none is without a word.
    pub(crate) fields: Vec<Vec<Word>>,
}

/// What `read` makes of each line of `file`, which `setting` at `place` names.
///
/// # Errors
///
/// Everything that is wrong with it and with the files that it names.
pub(crate) fn read_each<T>(
    file: &Path,
    place: &Place,
    setting: &str,
    fetch: &mut Fetch<'_>,
    read: fn(&Line) -> Result<T, String>,
) -> Result<Vec<T>, Vec<Finding>> {
    let (lines, mut findings) = lines(file, place, setting, fetch);
    let mut all = Vec::with_capacity(lines.len());
    for line in lines {
        match read(&line) {
            Ok(one) => all.push(one),
            Err(problem) => findings.push(line.place.finding("", problem)),
        }
    }
    if findings.is_empty() {
        Ok(all)
    } else {
        Err(findings)
    }
}

/// The lines of `file` that could be read, and what keeps others from it;
/// `place` names it.
fn lines(
    file: &Path,
    place: &Place,
    setting: &str,
    fetch: &mut Fetch<'_>,
) -> (Vec<Line>, Vec<Finding>) {
    let mut reader = Reader {
        fetch,
        open: Vec::new(),
        files: 0,
        findings: Vec::new(),
    };
    let lines = reader.file(file, place, setting);
    (lines, reader.findings)
}

struct Reader<'a, 'b> {
    fetch: &'a mut Fetch<'b>,
    /// The files that are being read, each named by the one before it.
    open: Vec<PathBuf>,
    /// How many files were read, repeated ones counted again.
    files: usize,
    findings: Vec<Finding>,
}

impl Reader<'_, '_> {
    fn file(&mut self, file: &Path, place: &Place, setting: &str) -> Vec<Line> {
        let name = file.display().to_string();
        self.files += 1;
        let problem = if self.open.iter().any(|open| open == file) {
            format!("{name} includes itself")
        } else if self.open.len() >= DEEPEST || self.files > MOST_FILES {
            "too many files are included".to_owned()
        } else {
            match (self.fetch)(file) {
                Ok(text) => {
                    self.open.push(file.to_owned());
                    let lines = self.text(file, &name, &text);
                    self.open.pop();
                    return lines;
                }
                Err(reason) => format!("cannot read {name}: {reason}"),
            }
        };
        self.findings.push(place.finding(setting, problem));
        Vec::new()
    }

    fn text(&mut self, file: &Path, name: &str, text: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut numbered = text.lines().zip(1..);
        while let Some((line, number)) = numbered.next() {
            let place = Place {
                file: name.to_owned(),
                line: number,
            };
            let mut whole = line.to_owned();
            while whole.ends_with('\\') {
                whole.pop();
                let Some((more, _)) = numbered.next() else {
                    break;
                };
                whole.push_str(more);
            }
            let fields = match fields(&whole) {
                Ok(fields) => fields,
                Err(problem) => {
                    self.findings.push(place.finding("", problem));
                    continue;
                }
            };
            match include(&fields) {
                Some(Ok(other)) => {
                    let other = beside(file, other);
                    lines.extend(self.file(&other, &place, ""));
                }
                Some(Err(problem)) => self.findings.push(place.finding("", problem)),
                None if fields.is_empty() => {}
                None => {
                    let problems = self.findings.len();
                    let fields = fields.into_iter();
                    let fields = fields.map(|field| self.expand(file, &place, field));
                    let fields: Vec<_> = fields.collect();
                    if !fields.iter().any(Vec::is_empty) {
                        lines.push(Line { place, fields });
                    } else if self.findings.len() == problems {
                        // Nobody is meant.
                        let problem = "a file that is named with @ has no word";
                        self.findings.push(place.finding("", problem));
                    }
                }
            }
        }
        lines
    }

    /// Puts the words of files in the places of those that name them.
    fn expand(&mut self, file: &Path, place: &Place, field: Vec<Word>) -> Vec<Word> {
        let mut words = Vec::new();
        for word in field {
            match word.text.strip_prefix('@') {
                Some(other) if !word.quoted && !other.is_empty() => {
                    let other = beside(file, other);
                    let lines = self.file(&other, place, "");
                    words.extend(lines.into_iter().flat_map(|line| line.fields).flatten());
                }
                _ => words.push(word),
            }
        }
        words
    }
}

/// The file that a line includes, if it is such a line.
fn include(fields: &[Vec<Word>]) -> Option<Result<&str, String>> {
    let [word] = fields.first()?.as_slice() else {
        return None;
    };
    if word.is("include") {
        return Some(match fields {
            [_, file] => match file.as_slice() {
                [file] => Ok(&file.text),
                _ => Err("include wants the name of one file".to_owned()),
            },
            _ => Err("include wants the name of one file".to_owned()),
        });
    }
    let other = ["include_if_exists", "include_dir"];
    let other = other.into_iter().find(|name| word.is(name))?;
    Some(Err(format!("{other} is not supported, include is")))
}

/// The file of this name, as a line of `file` names it.
fn beside(file: &Path, name: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(name)
}

/// The fields of a line.
fn fields(line: &str) -> Result<Vec<Vec<Word>>, &'static str> {
    let mut chars = line.chars().peekable();
    let mut fields = Vec::new();
    loop {
        let mut field = Vec::new();
        while let Some((word, more)) = word(&mut chars)? {
            field.push(word);
            if !more {
                break;
            }
        }
        if field.is_empty() {
            return Ok(fields);
        }
        fields.push(field);
    }
}

/// The next word, and whether a comma ends it.
fn word(chars: &mut Peekable<Chars<'_>>) -> Result<Option<(Word, bool)>, &'static str> {
    while chars.next_if(|c| is_blank(*c) || *c == ',').is_some() {}
    let (mut text, mut quoted, mut seen) = (String::new(), false, false);
    let mut comma = false;
    while let Some(c) = chars.next_if(|c| !is_blank(*c)) {
        match c {
            '#' => {
                chars.by_ref().for_each(drop);
                break;
            }
            ',' => {
                comma = true;
                break;
            }
            '"' => {
                quoted |= text.is_empty() && !seen;
                seen = true;
                quotation(chars, &mut text)?;
            }
            c => text.push(c),
        }
    }
    let is_one = seen || !text.is_empty();
    Ok(is_one.then_some((Word { text, quoted }, comma)))
}

/// Reads up to the quote that ends a quotation; two of them are one quote.
pub(crate) fn quotation(
    chars: &mut Peekable<Chars<'_>>,
    text: &mut String,
) -> Result<(), &'static str> {
    loop {
        match chars.next() {
            None => return Err("a quotation does not end"),
            Some('"') if chars.next_if_eq(&'"').is_some() => text.push('"'),
            Some('"') => return Ok(()),
            Some(c) => text.push(c),
        }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

/// How deep files may be included.
const DEEPEST: usize = 10;

/// How many files one may include, directly and indirectly.
const MOST_FILES: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Line>, Vec<String>> {
        let mut fetch = |path: &Path| match path.to_str() {
            Some("/etc/hba") => Ok(text.to_owned()),
            Some("/etc/names") => Ok("shop, web # two\n\"all\"\n@more\n".to_owned()),
            Some("/etc/more") => Ok("last\n".to_owned()),
            Some("/etc/itself") => Ok("include itself\n".to_owned()),
            Some("/etc/empty") => Ok("# nobody\n".to_owned()),
            _ => Err("no such file".to_owned()),
        };
        let place = Place {
            file: "a.ini".to_owned(),
            line: 3,
        };
        let (lines, findings) = lines(Path::new("/etc/hba"), &place, "auth_hba_file", &mut fetch);
        match findings.as_slice() {
            [] => Ok(lines),
            findings => Err(findings.iter().map(Finding::to_string).collect()),
        }
    }

    /// The words of each field; quoted ones in quotes.
    fn words(text: &str) -> Vec<Vec<Vec<String>>> {
        let show = |word: &Word| match word.quoted {
            true => format!("\"{}\"", word.text),
            false => word.text.clone(),
        };
        let lines = read(text).unwrap();
        let fields = |line: &Line| {
            let fields = line.fields.iter();
            fields
                .map(|field| field.iter().map(show).collect())
                .collect()
        };
        lines.iter().map(fields).collect()
    }

    #[test]
    fn divides_lines_into_fields_and_fields_into_words() {
        assert_eq!(
            words("local a,b\tc, d # e\n\n# only this\n"),
            [[vec!["local"], vec!["a", "b"], vec!["c", "d"]]]
        );
    }

    #[test]
    fn takes_the_meaning_from_what_is_quoted() {
        assert_eq!(
            words("\"all\" \"a, \"\"b\"\" # c\" d\"e f\" \"\" \"@x\"\n"),
            [[
                vec!["\"all\""],
                vec!["\"a, \"b\" # c\""],
                vec!["de f"],
                vec!["\"\""],
                vec!["\"@x\""]
            ]]
        );
    }

    #[test]
    fn continues_a_line_and_keeps_the_number_of_its_first() {
        let lines = read("\nlocal a \\\n b\nhost\n").unwrap();
        let places: Vec<_> = lines.iter().map(|line| line.place.line).collect();
        assert_eq!(places, [2, 4]);
        assert_eq!(lines[0].fields.len(), 3);
    }

    #[test]
    fn puts_the_words_of_a_file_in_the_place_of_its_name() {
        assert_eq!(
            words("local a,@names b\n"),
            [[
                vec!["local"],
                vec!["a", "shop", "web", "\"all\"", "last"],
                vec!["b"]
            ]]
        );
    }

    #[test]
    fn includes_the_lines_of_a_file_with_their_places() {
        let lines = read("x\ninclude more\ny\n").unwrap();
        let places: Vec<_> = lines
            .iter()
            .map(|line| format!("{}:{}", line.place.file, line.place.line))
            .collect();
        assert_eq!(places, ["/etc/hba:1", "/etc/more:1", "/etc/hba:3"]);
    }

    #[test]
    fn names_the_line_of_what_cannot_be_read() {
        for (text, expected) in [
            (
                "\nlocal @gone b",
                "/etc/hba:2: cannot read /etc/gone: no such file",
            ),
            (
                "include itself",
                "/etc/itself:1: /etc/itself includes itself",
            ),
            ("local \"a", "/etc/hba:1: a quotation does not end"),
            (
                "include_dir x",
                "/etc/hba:1: include_dir is not supported, include is",
            ),
            (
                "include a b",
                "/etc/hba:1: include wants the name of one file",
            ),
            (
                "local @empty b",
                "/etc/hba:1: a file that is named with @ has no word",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), [expected], "{text}");
        }
        let mut fetch = |_: &Path| Err("no such file".to_owned());
        let place = Place {
            file: "a.ini".to_owned(),
            line: 3,
        };
        let (_, findings) = lines(Path::new("hba"), &place, "auth_hba_file", &mut fetch);
        assert_eq!(
            findings[0].to_string(),
            "a.ini:3: auth_hba_file: cannot read hba: no such file"
        );
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = read(&text);
        }

        #[test]
        fn never_panics_on_what_looks_like_lines(text in "([a-z\",# \\\\\n@]|include ){0,60}") {
            let _ = read(&text);
        }
    }
}

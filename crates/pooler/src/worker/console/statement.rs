//! Statements: what was typed, split into words.
//!
//! One statement a message, with or without a semicolon behind it. The forms
//! are those of PgBouncer: words, bare or in double quotes, and
//! `SET name = value` or `SET name TO 'value'`.

/// What was typed, before anything is known about the words.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Statement {
    /// Nothing, or only a semicolon.
    Empty,
    /// A command and its arguments.
    Command(Vec<String>),
    /// A setting is to get another value.
    Set {
        /// The setting.
        name: String,
        /// The value.
        value: String,
    },
}

impl Statement {
    /// Reads one statement, or `None` when it has none of the forms.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = without_comments(text)?;
        let text = text.trim_matches(SPACE);
        let text = text.strip_suffix(';').unwrap_or(text);
        let tokens = tokens(text)?;
        if let [Token::Word(set), Token::Word(name), sign, value] = tokens.as_slice()
            && set.eq_ignore_ascii_case("set")
            && sign.is_assignment()
            && let Token::Word(value) | Token::Text(value) = value
        {
            let (name, value) = (name.clone(), value.clone());
            return Some(Self::Set { name, value });
        }
        let words: Option<Vec<String>> = tokens.into_iter().map(Token::word).collect();
        words.map(|words| {
            if words.is_empty() {
                Self::Empty
            } else {
                Self::Command(words)
            }
        })
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Equals,
}

impl Token {
    fn word(self) -> Option<String> {
        match self {
            Self::Word(word) => Some(word),
            Self::Text(_) | Self::Equals => None,
        }
    }

    fn is_assignment(&self) -> bool {
        match self {
            Self::Equals => true,
            Self::Word(word) => word.eq_ignore_ascii_case("to"),
            Self::Text(_) => false,
        }
    }
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut rest = text.trim_matches(SPACE);
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let token;
        (token, rest) = match first {
            '"' => {
                let (word, rest) = quoted(rest, '"')?;
                (Token::Word(word), rest)
            }
            '\'' => {
                let (text, rest) = quoted(rest, '\'')?;
                (Token::Text(text), rest)
            }
            '=' => (Token::Equals, rest.strip_prefix('=')?),
            first if is_bare(first) => {
                let end = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
                let (word, rest) = rest.split_at_checked(end)?;
                (Token::Word(word.to_owned()), rest)
            }
            _ => return None,
        };
        tokens.push(token);
        rest = rest.trim_start_matches(SPACE);
    }
    Some(tokens)
}

/// The text without comments of either kind; `None` if one has no end.
fn without_comments(text: &str) -> Option<String> {
    let mut rest = text;
    let mut plain = String::new();
    loop {
        let at = rest.find(['\'', '"', '-', '/']).unwrap_or(rest.len());
        let (before, from) = rest.split_at_checked(at)?;
        plain.push_str(before);
        rest = match from.chars().next() {
            None => return Some(plain),
            Some('-') if from.starts_with("--") => {
                plain.push(' ');
                from.split_once('\n').map_or("", |(_, behind)| behind)
            }
            Some('/') if from.starts_with("/*") => {
                plain.push(' ');
                from.split_once("*/")?.1
            }
            Some(quote @ ('\'' | '"')) => {
                let (_, behind) = quoted(from, quote)?;
                plain.push_str(from.strip_suffix(behind)?);
                behind
            }
            Some(other) => {
                plain.push(other);
                from.get(1..)?
            }
        };
    }
}

/// Splits a quoted string off `text`, which begins with its quote; a doubled
/// quote stands for one.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        inside.push_str(part);
        let Some(next) = behind.strip_prefix(quote) else {
            return Some((inside, behind));
        };
        inside.push(quote);
        rest = next;
    }
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Option<Statement> {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Some(Statement::Command(words))
    }

    #[test]
    fn accepts_words_with_space_and_semicolon_around() {
        for text in ["show workers", " SHOW\tWorkers ;\n", "\"show\" workers;"] {
            let words = Statement::parse(text);
            let Some(Statement::Command(words)) = words else {
                panic!("{text}: {words:?}");
            };
            assert!(words.join(" ").eq_ignore_ascii_case("show workers"));
        }
        assert_eq!(
            Statement::parse("kill \"a \"\"b\"\"\""),
            command(&["kill", "a \"b\""])
        );
    }

    #[test]
    fn accepts_nothing_as_nothing() {
        for text in ["", ";", " \n ; "] {
            assert_eq!(Statement::parse(text), Some(Statement::Empty), "{text:?}");
        }
    }

    #[test]
    fn leaves_comments_out() {
        for text in ["-- ping", "/* ping */", "-- a\n;--b"] {
            assert_eq!(Statement::parse(text), Some(Statement::Empty), "{text:?}");
        }
        let kill = Statement::parse("kill/*--*/\"--a\" -- b");
        assert_eq!(kill, command(&["kill", "--a"]));
        assert_eq!(Statement::parse("kill /* a"), None);
    }

    #[test]
    fn accepts_every_form_of_set() {
        for (text, value) in [
            ("set tz = x", "x"),
            ("SET tz='it''s'", "it's"),
            ("set \"tz\" to x;", "x"),
            ("SET tz TO 'a;b' ;", "a;b"),
            ("set tz = ''", ""),
        ] {
            let (name, value) = ("tz".to_owned(), value.to_owned());
            let expected = Statement::Set { name, value };
            assert_eq!(Statement::parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn rejects_what_has_no_form_of_a_statement() {
        for text in [
            ";;",
            "show version; show config",
            "set a =",
            "set a = =",
            "set a 'b'",
            "show 'workers'",
            "show \"workers",
            "kill 'a",
            "select 1 + 1",
            "päuse",
            "\0",
        ] {
            assert_eq!(Statement::parse(text), None, "{text:?}");
        }
    }
}

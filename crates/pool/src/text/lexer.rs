//! Lexer: words and symbols of SQL, from a text that comes in pieces.
//!
//! ```text
//! Blank ──> Word, Name, String, DollarTag ──> Dollar
//!   ^ └───> Dash ──> LineComment, Slash ──> Comment
//!   └────── and back
//! ```
//!
//! It keeps no more of a text than the beginning of one word. A string in
//! dollar quotes ends where a tag of the same length and hash stands: who
//! wanted to deceive this has simpler ways to change a session unseen.
//!
//! Source: PostgreSQL documentation, "Lexical Structure".

use memchr::{memchr, memchr2};

use super::blank::{begins_word, continues_word, is_blank};
use super::classes::Classes;
use super::statement::{Awaits, Followed, Statement, Word};

/// Reads SQL with one meaning of backslashes in ordinary strings.
#[derive(Clone, Debug)]
pub(super) struct Lexer {
    state: State,
    backslash: Backslash,
    /// The last token was an escape string, and goes on with the next quote.
    again: bool,
    /// The last byte of the string so far is over 0x7f.
    high: bool,
    /// The text can be read in ways that are not followed.
    unsure: bool,
    /// The beginning of the word or name that is being read.
    word: [u8; WORD_MAX],
    /// The length of all of it.
    length: usize,
    statement: Statement,
}

/// What a backslash in an ordinary string is; that depends on
/// `standard_conforming_strings`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Backslash {
    /// There was none yet.
    Unknown,
    /// A character like all others.
    Ordinary,
    /// It escapes the next one.
    Escapes,
}

/// Where in the text it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Between tokens.
    Blank,
    /// In a word without quotes.
    Word,
    /// In a name between double quotes.
    Name,
    /// In a string; whether it is one with escapes.
    String { escapes: bool },
    /// There, behind a backslash that escapes.
    Escaped { escapes: bool },
    /// Behind a minus sign.
    Dash,
    /// Behind a slash.
    Slash,
    /// In a comment that ends with the line.
    LineComment,
    /// In so many comments in comments, behind this byte.
    Comment { depth: u32, last: u8 },
    /// In what may be the tag of a dollar quote.
    DollarTag(Tag),
    /// In a string in dollar quotes, perhaps in the tag that ends it.
    Dollar { tag: Tag, end: Option<Tag> },
}

/// A tag of a dollar quote, without the dollars.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Tag {
    length: u32,
    hash: u64,
}

impl Lexer {
    /// At the beginning of a text.
    pub(super) fn new() -> Self {
        Self {
            state: State::Blank,
            backslash: Backslash::Unknown,
            again: false,
            high: false,
            unsure: false,
            word: [0; WORD_MAX],
            length: 0,
            statement: Statement::default(),
        }
    }

    /// Decides that backslashes are ordinary, and gives a lexer at the same
    /// place for which they escape.
    pub(super) fn fork(&mut self) -> Self {
        self.backslash = Backslash::Ordinary;
        Self {
            backslash: Backslash::Escapes,
            ..self.clone()
        }
    }

    /// What the text changes as far as it was read.
    pub(super) fn classes(&self) -> Classes {
        if self.unsure {
            return Classes::ALL;
        }
        self.statement.classes()
    }

    /// Reads the end of the text.
    pub(super) fn finish(&mut self) {
        if self.state == State::Word {
            // A SET that ends with its name is none.
            self.word_ends(false, &|_| None);
        }
    }

    /// Reads `bytes`, but no further than to the first backslash whose meaning
    /// is unknown. Returns how many were read.
    pub(super) fn feed(&mut self, bytes: &[u8], followed: Followed<'_>) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && let Some(&byte) = rest.first()
        {
            at += match self.state {
                State::Blank => match self.idle(rest) {
                    0 => self.blank(byte, rest),
                    step => step,
                },
                State::Word => self.in_word(rest, followed),
                State::Name => self.in_name(rest, followed),
                State::String { escapes } => match self.in_string(rest, escapes) {
                    Some(step) => step,
                    None => return at,
                },
                State::Escaped { escapes } => {
                    self.unsure |= self.high && byte == b'\'';
                    self.high = false;
                    self.enter(State::String { escapes })
                }
                State::Dash if byte == b'-' => self.enter(State::LineComment),
                State::Slash if byte == b'*' => self.enter(State::Comment { depth: 1, last: 0 }),
                State::Dash => self.was_symbol(b'-'),
                State::Slash => self.was_symbol(b'/'),
                State::LineComment => self.in_line_comment(rest),
                State::Comment { depth, last } => self.in_comment(byte, depth, last),
                State::DollarTag(tag) => self.in_tag(byte, tag),
                State::Dollar { tag, end: None } => self.in_dollar(rest, tag),
                State::Dollar {
                    tag,
                    end: Some(end),
                } => self.in_end_tag(byte, tag, end),
            };
        }
        bytes.len()
    }

    /// Goes on behind the byte that led to `state`.
    fn enter(&mut self, state: State) -> usize {
        self.state = state;
        1
    }

    /// The byte before this one stands for itself.
    fn was_symbol(&mut self, byte: u8) -> usize {
        self.state = State::Blank;
        self.again = false;
        self.statement.symbol(byte);
        0
    }

    /// How many bytes from here on mean nothing to a statement that waits for
    /// few words or none.
    fn idle(&self, rest: &[u8]) -> usize {
        let end = match self.statement.awaits() {
            _ if self.again => return 0,
            Awaits::Any => return 0,
            Awaits::None => rest.iter().position(|byte| ends_idle(*byte)),
            Awaits::Into => rest
                .iter()
                .position(|byte| ends_idle(*byte) || matches!(byte, b'i' | b'I')),
        };
        // The word there, or the end of one, is read as such.
        rest.get(..end.unwrap_or(rest.len()))
            .unwrap_or_default()
            .iter()
            .rposition(|byte| !continues_word(*byte))
            .map_or(0, |last| last + 1)
    }

    fn blank(&mut self, byte: u8, rest: &[u8]) -> usize {
        match byte {
            byte if is_blank(byte) => 1,
            byte if begins_word(byte) => {
                self.length = 0;
                self.again = false;
                self.state = State::Word;
                0
            }
            b'-' => self.enter(State::Dash),
            b'/' => self.enter(State::Slash),
            b'\'' => self.string_begins(self.again),
            b'"' => {
                self.length = 0;
                self.again = false;
                self.enter(State::Name)
            }
            b'$' => self.enter(State::DollarTag(Tag::EMPTY)),
            b';' => {
                self.again = false;
                self.statement.end();
                1
            }
            b'0'..=b'9' => {
                self.was_symbol(byte);
                let end = rest.iter().position(|byte| !byte.is_ascii_digit());
                end.unwrap_or(rest.len())
            }
            byte => {
                self.was_symbol(byte);
                1
            }
        }
    }

    fn in_word(&mut self, rest: &[u8], followed: Followed<'_>) -> usize {
        let end = rest
            .iter()
            .position(|byte| !continues_word(*byte))
            .unwrap_or(rest.len());
        self.append(rest.get(..end).unwrap_or_default());
        match rest.get(end) {
            None => end,
            Some(b'\'') if self.length == 1 && self.word[0].eq_ignore_ascii_case(&b'e') => {
                end + self.string_begins(true)
            }
            Some(_) => {
                self.word_ends(false, followed);
                end
            }
        }
    }

    fn in_name(&mut self, rest: &[u8], followed: Followed<'_>) -> usize {
        let end = memchr(b'"', rest);
        self.append(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
        match end {
            None => rest.len(),
            Some(end) => {
                self.word_ends(true, followed);
                end + 1
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let free = self.word.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in free.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length += bytes.len();
    }

    fn word_ends(&mut self, quoted: bool, followed: Followed<'_>) {
        self.state = State::Blank;
        if self.statement.awaits() == Awaits::None {
            return;
        }
        let bytes = self.word.get(..self.length).unwrap_or(&self.word);
        self.statement.word(Word { bytes, quoted }, followed);
    }

    fn string_begins(&mut self, escapes: bool) -> usize {
        self.statement.symbol(b'\'');
        self.again = false;
        self.high = false;
        self.enter(State::String { escapes })
    }

    /// `None` at a backslash whose meaning is unknown.
    fn in_string(&mut self, rest: &[u8], escapes: bool) -> Option<usize> {
        let found = if !escapes && self.backslash == Backslash::Ordinary {
            memchr(b'\'', rest)
        } else {
            memchr2(b'\'', b'\\', rest)
        };
        let end = found.unwrap_or(rest.len());
        if let Some(last) = rest.get(..end).and_then(<[u8]>::last) {
            self.high = *last > 0x7f;
        }
        match rest.get(end) {
            None => Some(end),
            Some(b'\'') => {
                self.again = escapes;
                Some(end + self.enter(State::Blank))
            }
            Some(_) if escapes || self.backslash == Backslash::Escapes => {
                Some(end + self.enter(State::Escaped { escapes }))
            }
            Some(_) if end == 0 => None,
            Some(_) => Some(end),
        }
    }

    fn in_line_comment(&mut self, rest: &[u8]) -> usize {
        match memchr2(b'\n', b'\r', rest) {
            None => rest.len(),
            Some(end) => end + self.enter(State::Blank),
        }
    }

    fn in_comment(&mut self, byte: u8, depth: u32, last: u8) -> usize {
        self.enter(match (last, byte) {
            (b'*', b'/') if depth == 1 => State::Blank,
            (b'*', b'/') => State::Comment {
                depth: depth - 1,
                last: 0,
            },
            (b'/', b'*') => State::Comment {
                depth: depth.saturating_add(1),
                last: 0,
            },
            (_, last) => State::Comment { depth, last },
        })
    }

    fn in_tag(&mut self, byte: u8, tag: Tag) -> usize {
        if byte == b'$' {
            self.was_symbol(b'$');
            return self.enter(State::Dollar { tag, end: None });
        }
        match tag.with(byte) {
            Some(tag) => self.enter(State::DollarTag(tag)),
            None => self.was_symbol(b'$'),
        }
    }

    fn in_dollar(&mut self, rest: &[u8], tag: Tag) -> usize {
        match memchr(b'$', rest) {
            None => rest.len(),
            Some(end) => {
                let begun = Some(Tag::EMPTY);
                end + self.enter(State::Dollar { tag, end: begun })
            }
        }
    }

    fn in_end_tag(&mut self, byte: u8, tag: Tag, end: Tag) -> usize {
        let end = match byte {
            b'$' if end == tag => return self.enter(State::Blank),
            b'$' => Some(Tag::EMPTY),
            _ => end.with(byte),
        };
        self.enter(State::Dollar { tag, end })
    }
}

impl Tag {
    const EMPTY: Self = Self {
        length: 0,
        hash: 0xcbf2_9ce4_8422_2325,
    };

    /// The tag with one more byte, if it may have that.
    fn with(self, byte: u8) -> Option<Self> {
        let fits = begins_word(byte) || (self.length > 0 && byte.is_ascii_digit());
        fits.then(|| Self {
            length: self.length.saturating_add(1),
            hash: (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3),
        })
    }
}

/// Whether a byte begins something that a statement ends with or hides in.
fn ends_idle(byte: u8) -> bool {
    matches!(byte, b';' | b'\'' | b'"' | b'$' | b'-' | b'/')
}

/// No name that means anything to us is longer, in bytes.
const WORD_MAX: usize = 64;

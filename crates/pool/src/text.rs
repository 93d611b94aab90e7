//! Text: what the SQL of a client changes that outlives its transaction.
//!
//! A server goes from one client to the next as it was; so the text of each
//! Query and Parse is looked at for what has to be undone before that
//! ([`Classes`]). Command tags do not tell: CREATE TEMP TABLE is tagged
//! `CREATE TABLE`, SET LOCAL is tagged `SET`. What no text shows, a
//! `set_config()` or what a function does, is not seen here either.
//!
//! Most texts are one statement that can change nothing, and are told by their
//! first four bytes, one look for a semicolon, and for a SELECT one for
//! `temp`. All others are read word by word ([`Scanner`]).
//!
//! Source: PostgreSQL documentation, "SQL Commands", "Lexical Structure".

mod blank;
mod classes;
mod deallocated;
mod end;
mod harmless;
mod lexer;
mod statement;
mod undo;

pub use classes::Classes;
pub use deallocated::deallocated;
pub use end::{ends_transaction, is_empty};
pub use harmless::is_harmless;
pub use statement::Followed;
pub use undo::undo;

use blank::after_blanks;
use lexer::Lexer;

/// What a whole text changes; a NUL at its end is not part of it.
///
/// `followed` gives the position of a followed parameter, by its name in any
/// case.
#[inline]
pub fn classes(text: &[u8], followed: Followed<'_>) -> Classes {
    if is_harmless(text) {
        return Classes::NONE;
    }
    read(text, followed)
}

/// Reads a text that comes in pieces.
///
/// It finds what [`classes`] finds, or all where nobody can tell.
#[derive(Clone, Debug)]
pub struct Scanner {
    lexer: Lexer,
    /// The same text if backslashes escape in ordinary strings; made when that
    /// makes a difference.
    escaping: Option<Lexer>,
}

impl Scanner {
    /// At the beginning of a text.
    pub fn new() -> Self {
        Self {
            lexer: Lexer::new(),
            escaping: None,
        }
    }

    /// Reads the next piece, of any length.
    pub fn feed(&mut self, piece: &[u8], followed: Followed<'_>) {
        if let Some(escaping) = &mut self.escaping {
            escaping.feed(piece, followed);
        }
        let read = self.lexer.feed(piece, followed);
        if let Some(rest) = piece.get(read..)
            && !rest.is_empty()
        {
            let mut escaping = self.lexer.fork();
            escaping.feed(rest, followed);
            self.escaping = Some(escaping);
            self.lexer.feed(rest, followed);
        }
    }

    /// What the text changes, all of it being read.
    pub fn finish(mut self) -> Classes {
        self.end()
    }

    fn end(&mut self) -> Classes {
        self.lexer.finish();
        let mut classes = self.lexer.classes();
        if let Some(escaping) = &mut self.escaping {
            escaping.finish();
            classes |= escaping.classes();
        }
        classes
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

#[cold]
#[inline(never)]
fn read(text: &[u8], followed: Followed<'_>) -> Classes {
    // Some clients say who they are in a comment before each statement.
    if let Some(text) = after_blanks(text)
        && is_harmless(text)
    {
        return Classes::NONE;
    }
    let mut scanner = Scanner::new();
    scanner.feed(text, followed);
    scanner.end()
}

#[cfg(test)]
#[path = "text/tests.rs"]
mod tests;

//! End: texts that end a transaction, and do nothing else.
//!
//! Source: PostgreSQL documentation, "ROLLBACK", "ABORT", "COMMIT", "END".

use super::blank::after_blanks;
use super::deallocated::Name;

/// Whether a text is one ROLLBACK, ABORT, COMMIT or END of a whole transaction,
/// and nothing else: no savepoint, no chain, no other statement.
pub fn ends_transaction(text: &[u8]) -> bool {
    end(text).is_some()
}

/// Whether there is no statement in a text.
pub fn is_empty(text: &[u8]) -> bool {
    after_statements(text).is_some()
}

fn end(text: &[u8]) -> Option<()> {
    let (first, rest) = Name::split(after_blanks(text)?)?;
    let ends: [&[u8]; 4] = [b"rollback", b"abort", b"commit", b"end"];
    if !ends.iter().any(|keyword| first.is(keyword)) {
        return None;
    }
    let rest = after_blanks(rest)?;
    let rest = match Name::split(rest) {
        Some((second, behind)) if second.is(b"work") || second.is(b"transaction") => behind,
        Some(_) => return None,
        None => rest,
    };
    after_statements(rest)
}

/// Finds nothing but semicolons, blanks and comments.
fn after_statements(text: &[u8]) -> Option<()> {
    let mut rest = after_blanks(text)?;
    while let Some(after) = rest.strip_prefix(b";") {
        rest = after_blanks(after)?;
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_only_ends_a_transaction() {
        for text in [
            "rollback",
            "ROLLBACK WORK;",
            "Abort Transaction",
            " commit ; ;\n",
            "/* a */ END -- b",
            "end transaction\0",
            "commit/**/work",
        ] {
            assert!(ends_transaction(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn rejects_everything_else() {
        for text in [
            "",
            ";",
            "rollback to a",
            "ROLLBACK WORK TO SAVEPOINT a",
            "rollback to",
            "commit and chain",
            "commit prepared 'a'",
            "rollback prepared 'a'",
            "rollback; select 1",
            "select 1; rollback",
            "begin",
            "release a",
            "\"rollback\"",
            "rollbacks",
            "commit /*",
            "commit 'work'",
        ] {
            assert!(!ends_transaction(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn finds_texts_without_a_statement() {
        assert!(is_empty(b""));
        assert!(is_empty(b" ; -- nothing\n;\0"));
        assert!(!is_empty(b"; select"));
    }
}

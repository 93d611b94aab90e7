//! Undo: the query that takes back what clients have changed.

use super::Classes;

/// The statements that undo `classes`, to be run as one query.
///
/// What was prepared by messages survives, which DISCARD ALL would not let it.
/// Statements prepared in SQL can only be deallocated one by one; nothing that
/// is named there can be meant otherwise by a `search_path`.
///
/// Source: PostgreSQL documentation, "DISCARD".
pub fn undo(classes: Classes) -> String {
    let mut sql = String::new();
    for (kind, statements) in STATEMENTS {
        if classes.contains(kind) {
            sql.push_str(statements);
        }
    }
    sql
}

/// In this order: a setting may need the right of the user that logged in.
const STATEMENTS: [(Classes, &str); 6] = [
    (Classes::HOLD, "CLOSE ALL;"),
    (Classes::ROLE, "RESET SESSION AUTHORIZATION;RESET ROLE;"),
    (Classes::GUC, "RESET ALL;"),
    (Classes::LISTEN, "UNLISTEN *;"),
    (Classes::TEMP, "DISCARD TEMP;"),
    (Classes::PREPARE, DEALLOCATE),
];

const DEALLOCATE: &str = "DO LANGUAGE plpgsql 'DECLARE name pg_catalog.text; BEGIN \
     FOR name IN SELECT pg_catalog.quote_ident(s.name) \
     FROM pg_catalog.pg_prepared_statements AS s WHERE s.from_sql LOOP \
     EXECUTE pg_catalog.concat(''DEALLOCATE '', name); END LOOP; END';";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_only_what_is_needed() {
        assert_eq!(undo(Classes::NONE), "");
        assert_eq!(undo(Classes::followed(1)), "");
        assert_eq!(
            undo(Classes::GUC | Classes::ROLE | Classes::TEMP),
            "RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;DISCARD TEMP;"
        );
        assert!(undo(Classes::ALL).starts_with("CLOSE ALL;RESET SESSION"));
    }
}

//! The question for the secret of a user, and what a server answers.
//!
//! The name of the user goes as a parameter, never into the text.
//!
//! Source: PostgreSQL documentation, "Extended Query" in "Message Flow".

use std::fmt;

use pgskein_config::SecretText;
use pgskein_protocol::tag::backend as tags;
use pgskein_protocol::{ErrorFields, TransactionStatus, backend, write};

/// A question that a server has not answered yet.
#[derive(Debug)]
pub struct SecretQuery {
    user: String,
    answer: Answer,
}

/// What a server knows of a user.
#[derive(Debug, Eq, PartialEq)]
pub enum Answer {
    /// There is no such user.
    Nobody,
    /// There is, and no password does: it has none, or that has expired.
    NoPassword,
    /// What is known of its password.
    Secret(SecretText),
    /// The question could not be answered.
    Failed {
        /// SQLSTATE of the server's error.
        sqlstate: String,
        /// Its text.
        message: String,
    },
    /// The answer is not of the form that it has to have.
    Unfit(Unfit),
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// It has another number of columns than two.
    Columns,
    /// It has more than one row.
    Rows,
    /// It is about another user.
    OtherUser,
    /// The secret is no text.
    Text,
}

/// What came is not the protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Malformed;

impl SecretQuery {
    /// Asks for the secret of `user` by the query `sql`, whose `$1` it is, and
    /// appends the question to `out`.
    pub fn ask(user: String, sql: &str, out: &mut Vec<u8>) -> Self {
        write::extended_query(out, sql.as_bytes(), &[user.as_bytes()]);
        let answer = Answer::Nobody;
        Self { user, answer }
    }

    /// Takes a message of the server; the answer is complete when this gives
    /// the state of the transaction behind it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the message has not its form.
    pub fn on_message(
        &mut self,
        tag: u8,
        body: &[u8],
    ) -> Result<Option<TransactionStatus>, Malformed> {
        match tag {
            tags::DATA_ROW => self.on_row(body)?,
            tags::ERROR => {
                let fields = ErrorFields::parse(body);
                let sqlstate = fields.sqlstate().unwrap_or("XX000").to_owned();
                let mut message = fields.message().unwrap_or_default().into_owned();
                if NOT_FOUND.contains(&sqlstate.as_str()) && !message.contains('.') {
                    message += NO_PATH;
                }
                self.answer = Answer::Failed { sqlstate, message };
            }
            tags::READY_FOR_QUERY => {
                return TransactionStatus::parse(body).map(Some).ok_or(Malformed);
            }
            _ => {}
        }
        Ok(None)
    }

    /// The answer, once it is complete.
    pub fn into_answer(self) -> Answer {
        self.answer
    }

    fn on_row(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut values = backend::data_row(body);
        let mut next = || values.next().transpose().map_err(|_| Malformed);
        let (name, secret, more) = (next()?, next()?, next()?);
        let answer = match (name, secret, more) {
            _ if self.answer != Answer::Nobody => Answer::Unfit(Unfit::Rows),
            // A function that finds nobody may return a row of nulls.
            (Some(None), Some(_), None) => Answer::Nobody,
            (Some(Some(name)), Some(_), None) if name != self.user.as_bytes() => {
                Answer::Unfit(Unfit::OtherUser)
            }
            (Some(Some(_)), Some(None | Some(b"")), None) => Answer::NoPassword,
            (Some(Some(_)), Some(Some(secret)), None) => match std::str::from_utf8(secret) {
                Ok(secret) => Answer::Secret(secret.into()),
                Err(_) => Answer::Unfit(Unfit::Text),
            },
            _ => Answer::Unfit(Unfit::Columns),
        };
        self.answer = answer;
        Ok(())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Columns => "its row has not two columns, name and secret",
            Self::Rows => "it returns more than one row",
            Self::OtherUser => "it returns another user than was asked for",
            Self::Text => "the secret is not UTF-8",
        })
    }
}

/// States of errors about a function, a relation and a type that is not found.
///
/// Source: PostgreSQL documentation, "PostgreSQL Error Codes".
const NOT_FOUND: [&str; 3] = ["42883", "42P01", "42704"];

/// What is said of a name without a schema that is not found.
const NO_PATH: &str = "; search_path is empty for auth_query: write the schema";

#[cfg(test)]
mod tests {
    use super::*;

    type Rows<'a> = &'a [&'a [Option<&'a [u8]>]];

    fn answer(rows: Rows<'_>) -> Answer {
        let mut query = SecretQuery::ask("alice".to_owned(), "select $1", &mut Vec::new());
        query.on_message(tags::PARSE_COMPLETE, b"").unwrap();
        query.on_message(tags::BIND_COMPLETE, b"").unwrap();
        for row in rows {
            let mut out = Vec::new();
            write::data_row(&mut out, row);
            query.on_message(tags::DATA_ROW, &out[5..]).unwrap();
        }
        let ready = query.on_message(tags::READY_FOR_QUERY, b"I");
        assert_eq!(ready, Ok(Some(TransactionStatus::Idle)));
        query.into_answer()
    }

    #[test]
    fn sends_the_name_as_a_parameter() {
        let mut out = Vec::new();
        let _ = SecretQuery::ask("a' or 1=1 --".to_owned(), "select $1", &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains("select $1\0"));
        assert_eq!(out.iter().filter(|byte| **byte == b'\'').count(), 1);
    }

    #[test]
    fn tells_what_is_known_of_a_user() {
        for (rows, expected) in [
            (&[][..], Answer::Nobody),
            (&[&[None, None][..]][..], Answer::Nobody),
            (&[&[Some(&b"alice"[..]), None]], Answer::NoPassword),
            (&[&[Some(b"alice"), Some(b"")]], Answer::NoPassword),
            (
                &[&[Some(b"alice"), Some(b"pw")]],
                Answer::Secret("pw".into()),
            ),
        ] as [(Rows<'_>, Answer); 5]
        {
            assert_eq!(answer(rows), expected);
        }
    }

    #[test]
    fn rejects_answers_that_are_about_something_else() {
        for (rows, expected) in [
            (&[&[Some(&b"alice"[..])][..]][..], Unfit::Columns),
            (&[&[Some(b"alice"), None, None]], Unfit::Columns),
            (&[&[]], Unfit::Columns),
            (&[&[Some(b"Alice"), Some(b"pw")]], Unfit::OtherUser),
            (&[&[Some(b"alice"), Some(b"\xff")]], Unfit::Text),
            (
                &[
                    &[Some(b"alice"), Some(b"pw")],
                    &[Some(b"alice"), Some(b"pw")],
                ],
                Unfit::Rows,
            ),
        ] as [(Rows<'_>, Unfit); 6]
        {
            assert_eq!(answer(rows), Answer::Unfit(expected), "{expected}");
        }
    }

    #[test]
    fn keeps_the_error_of_the_server_and_says_that_a_schema_is_missing() {
        let path = "; search_path is empty for auth_query: write the schema";
        for (sqlstate, said, hint) in [
            ("42501", "permission denied", ""),
            ("42883", "function find(unknown) does not exist", path),
            ("42883", "function keys.find(unknown) does not exist", ""),
            ("42P01", "relation \"users\" does not exist", path),
        ] {
            let mut query = SecretQuery::ask("alice".to_owned(), "select", &mut Vec::new());
            let body = format!("SERROR\0C{sqlstate}\0M{said}\0\0");
            query.on_message(tags::ERROR, body.as_bytes()).unwrap();
            let expected = Answer::Failed {
                sqlstate: sqlstate.to_owned(),
                message: format!("{said}{hint}"),
            };
            assert_eq!(query.into_answer(), expected);
        }
    }

    #[test]
    fn rejects_malformed_rows_and_shows_no_secret() {
        let mut query = SecretQuery::ask("alice".to_owned(), "select", &mut Vec::new());
        let row = query.on_message(tags::DATA_ROW, b"\0\x02\0\0\0\x05ali");
        assert_eq!(row, Err(Malformed));
        assert_eq!(
            query.on_message(tags::READY_FOR_QUERY, b"?"),
            Err(Malformed)
        );
        let secret = Answer::Secret("hunter2".into());
        assert_eq!(format!("{secret:?}"), "Secret(SecretText(..))");
    }
}

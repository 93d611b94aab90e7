//! Lost: a transaction whose server is gone, until its client ends it.
//!
//! Nothing of it is left, so it is over; but its client does not know, and what it
//! sends next is meant to be a part of it. So nothing is carried out before the
//! client has said that the transaction ends, as PostgreSQL has it after an error:
//!
//! ```text
//! the next message     the error with which the server went, if it was not told
//! any other            25P02
//! ROLLBACK, COMMIT     the tag ROLLBACK, and it is over
//! ```
//!
//! Source: PostgreSQL documentation, "Message Flow", "ROLLBACK", "PostgreSQL Error
//! Codes" (in_failed_sql_transaction).

use pgskein_protocol::frontend::{Bind, Statement, Target};
use pgskein_protocol::tag::frontend;
use pgskein_protocol::{ErrorFields, Report, TransactionStatus, write};

use crate::prepared::{Prepared, Statements};
use crate::text::{self, Classes};

/// A transaction whose server is gone.
#[derive(Debug)]
pub struct Lost {
    /// The message with which the server went, until the client has it.
    error: Option<Vec<u8>>,
    state: State,
    /// Nothing came behind the last ReadyForQuery.
    at_rest: bool,
    /// The unnamed statement ends the transaction.
    unnamed: bool,
    /// The portal that ends it, if there is one.
    portal: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Everything fails but the end.
    Failed,
    /// It has failed in a batch, of which the rest is skipped.
    Skipping,
    /// It was ended in a batch, whose Sync is to come.
    Ended,
}

/// What becomes of a client's message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// It is answered.
    Answered,
    /// It is answered, and the transaction is over.
    Over,
    /// The transaction is over already: a server has to answer.
    Elsewhere,
}

impl Lost {
    /// A transaction that was lost with this message, if its client was not told;
    /// `skipping` if a batch has failed whose Sync is still to come.
    pub fn new(error: Option<Vec<u8>>, skipping: bool) -> Self {
        Self {
            error,
            state: if skipping {
                State::Skipping
            } else {
                State::Failed
            },
            at_rest: !skipping,
            unnamed: false,
            portal: None,
        }
    }

    /// Whether the client is owed nothing, and has sent nothing of a batch.
    pub fn at_rest(&self) -> bool {
        self.at_rest
    }

    /// Answers a message with this tag and body, or with the beginning of a body
    /// that is too long to end a transaction.
    pub fn answer(
        &mut self,
        tag: u8,
        body: &[u8],
        prepared: Option<&mut Prepared>,
        statements: &mut Statements,
        out: &mut Vec<u8>,
    ) -> Step {
        let whole = matches!(tag, frontend::QUERY | frontend::FUNCTION_CALL);
        self.at_rest = tag == frontend::SYNC || whole && self.state == State::Failed;
        match (tag, self.state) {
            (frontend::SYNC, State::Ended) => {
                write::ready_for_query(out, TransactionStatus::Idle);
                return Step::Over;
            }
            (_, State::Ended) => return Step::Elsewhere,
            (frontend::SYNC, _) => {
                self.state = State::Failed;
                self.portal = None;
                write::ready_for_query(out, TransactionStatus::Failed);
            }
            (_, State::Skipping) => {}
            (frontend::QUERY, _) => return self.query(body, prepared, out),
            (frontend::FUNCTION_CALL, _) => {
                self.fail(out);
                write::ready_for_query(out, TransactionStatus::Failed);
            }
            _ => {
                if self.error.is_some() || !self.extended(tag, body, prepared, statements, out) {
                    self.fail(out);
                    self.state = State::Skipping;
                }
            }
        }
        Step::Answered
    }

    fn query(&mut self, body: &[u8], prepared: Option<&mut Prepared>, out: &mut Vec<u8>) -> Step {
        self.unnamed = false;
        if let Some(prepared) = prepared {
            prepared.unnamed.clear();
        }
        let told = self.error.is_none();
        let text = body.strip_suffix(b"\0");
        if told && text.is_some_and(text::ends_transaction) {
            write::command_complete(out, TAG);
            write::ready_for_query(out, TransactionStatus::Idle);
            return Step::Over;
        }
        if told && text.is_some_and(text::is_empty) {
            write::empty_query(out);
        } else {
            self.fail(out);
        }
        write::ready_for_query(out, TransactionStatus::Failed);
        Step::Answered
    }

    /// Answers a message of the extended protocol; false if it fails.
    fn extended(
        &mut self,
        tag: u8,
        body: &[u8],
        prepared: Option<&mut Prepared>,
        statements: &mut Statements,
        out: &mut Vec<u8>,
    ) -> bool {
        let target = || Target::parse(body);
        match tag {
            frontend::PARSE => {
                let parse = Statement::parse(body).filter(|parse| is_end(parse.tail));
                let parsed = parse.is_some_and(|parse| self.parse(parse, prepared, statements));
                if parsed {
                    write::parse_complete(out);
                }
                parsed
            }
            frontend::BIND => {
                let bind = Bind::parse(body)
                    .filter(|bind| self.ends(bind.statement, prepared.as_deref(), statements));
                if let Some(bind) = bind {
                    self.portal = Some(bind.portal.to_vec());
                    write::bind_complete(out);
                }
                bind.is_some()
            }
            frontend::DESCRIBE => match target() {
                Some(Target::Statement(name)) => {
                    let ends = self.ends(name, prepared.as_deref(), statements);
                    if ends {
                        write::no_parameters(out);
                        write::no_data(out);
                    }
                    ends
                }
                Some(Target::Portal(name)) if self.portal.as_deref() == Some(name) => {
                    write::no_data(out);
                    true
                }
                _ => false,
            },
            frontend::EXECUTE => {
                let portal = body.split(|byte| *byte == 0).next();
                let ends = self.portal.is_some() && self.portal.as_deref() == portal;
                if ends {
                    write::command_complete(out, TAG);
                    self.state = State::Ended;
                }
                ends
            }
            frontend::CLOSE => {
                match target() {
                    Some(Target::Statement(b"")) => {
                        self.unnamed = false;
                        if let Some(prepared) = prepared {
                            prepared.unnamed.clear();
                        }
                    }
                    Some(Target::Statement(name)) => {
                        if let Some(prepared) = prepared
                            && let Some(id) = prepared.remove(name, statements)
                        {
                            statements.release(id);
                        }
                    }
                    Some(Target::Portal(name)) => {
                        self.portal.take_if(|portal| portal == name);
                    }
                    None => return false,
                }
                write::close_complete(out);
                true
            }
            _ => true,
        }
    }

    /// Keeps a statement that ends the transaction; false if its name is taken, or
    /// names are not kept.
    fn parse(
        &mut self,
        parse: Statement<'_>,
        prepared: Option<&mut Prepared>,
        statements: &mut Statements,
    ) -> bool {
        if parse.name.is_empty() {
            self.unnamed = true;
            if let Some(prepared) = prepared {
                prepared.unnamed.parse(parse.tail, true, statements);
            }
            return true;
        }
        let Some(prepared) = prepared.filter(|prepared| prepared.find(parse.name).is_none()) else {
            return false;
        };
        let Ok(id) = statements.intern(parse.tail, prepared.own(), |_| Classes::NONE) else {
            return false;
        };
        let defined = prepared.define(parse.name, id, statements).is_ok();
        if !defined {
            statements.release(id);
        }
        defined
    }

    /// Whether the statement of this name ends the transaction.
    fn ends(&self, name: &[u8], prepared: Option<&Prepared>, statements: &Statements) -> bool {
        if name.is_empty() {
            return self.unnamed;
        }
        let id = prepared.and_then(|prepared| prepared.find(name));
        id.is_some_and(|id| is_end(statements.tail(id)))
    }

    fn fail(&mut self, out: &mut Vec<u8>) {
        match self.error.take() {
            Some(error) => out.extend_from_slice(&error),
            None => write::error(out, &ABORTED),
        }
    }
}

/// The message with which a server has ended the connection, as one that does not
/// end it.
pub fn as_error(body: &[u8]) -> Vec<u8> {
    let fields = ErrorFields::parse(body);
    let (detail, hint) = (fields.detail(), fields.hint());
    let mut out = Vec::new();
    let report = Report {
        severity: "ERROR",
        sqlstate: fields.sqlstate().unwrap_or("08006"),
        message: &fields.message().unwrap_or_default(),
        detail: detail.as_deref(),
        hint: hint.as_deref(),
    };
    write::error(&mut out, &report);
    out
}

fn is_end(tail: &[u8]) -> bool {
    text::ends_transaction(Statement::text(tail))
}

/// What everything fails with in such a transaction.
pub const ABORTED: Report<'static> = Report {
    severity: "ERROR",
    sqlstate: "25P02",
    message: "current transaction is aborted, commands ignored until end of transaction block",
    detail: None,
    hint: None,
};

/// What the end of such a transaction comes to, whatever was asked for.
const TAG: &str = "ROLLBACK";

#[cfg(test)]
mod tests {
    use super::*;

    /// A client in a lost transaction, with what it gets.
    struct Client {
        lost: Lost,
        prepared: Prepared,
        statements: Statements,
    }

    impl Client {
        fn new(error: Option<&[u8]>, skipping: bool) -> Self {
            let mut statements = Statements::new([1; 16]);
            Self {
                lost: Lost::new(error.map(<[u8]>::to_vec), skipping),
                prepared: Prepared::new(&mut statements),
                statements,
            }
        }

        /// The tags of the answer, with the status of each ReadyForQuery, and
        /// what becomes of the transaction.
        fn send(&mut self, tag: u8, body: &[u8]) -> (String, Step) {
            let mut out = Vec::new();
            let step = self.lost.answer(
                tag,
                body,
                Some(&mut self.prepared),
                &mut self.statements,
                &mut out,
            );
            let mut tags = String::new();
            let mut rest = &out[..];
            while let Some((frame, behind)) = pgskein_protocol::Frame::split(rest, 1000).unwrap() {
                tags.push(frame.tag.into());
                if frame.tag == b'Z' {
                    tags.push(frame.body[0].into());
                }
                if frame.tag == b'C' {
                    assert_eq!(frame.body, b"ROLLBACK\0");
                }
                rest = behind;
            }
            (tags, step)
        }

        /// What it gets for a pipeline of the extended protocol.
        fn batch(&mut self, messages: &[(u8, &[u8])]) -> (String, Step) {
            let mut tags = String::new();
            let mut step = Step::Answered;
            for (tag, body) in messages {
                let (more, next) = self.send(*tag, body);
                tags += &more;
                step = next;
            }
            (tags, step)
        }
    }

    fn answered(tags: &str) -> (String, Step) {
        (tags.to_owned(), Step::Answered)
    }

    fn over(tags: &str) -> (String, Step) {
        (tags.to_owned(), Step::Over)
    }

    const ERROR: &[u8] = b"E\0\0\0\x05\0";

    #[test]
    fn answers_the_next_query_with_the_error_and_others_until_the_end() {
        let mut client = Client::new(Some(ERROR), false);
        let mut out = Vec::new();
        let (statements, prepared) = (&mut client.statements, &mut client.prepared);
        client
            .lost
            .answer(b'Q', b"commit\0", Some(prepared), statements, &mut out);
        assert_eq!(out, [ERROR, b"Z\0\0\0\x05E"].concat());
        assert_eq!(client.send(b'Q', b"select 1\0"), answered("EZE"));
        assert_eq!(client.send(b'Q', b"rollback to a\0"), answered("EZE"));
        assert_eq!(client.send(b'Q', b"rollback; select 1\0"), answered("EZE"));
        assert_eq!(client.send(b'Q', b"\0"), answered("IZE"));
        assert_eq!(client.send(b'F', b""), answered("EZE"));
        assert_eq!(client.send(b'Q', b"COMMIT;\0"), over("CZI"));
    }

    #[test]
    fn fails_a_batch_once_and_skips_the_rest() {
        let mut client = Client::new(Some(ERROR), false);
        let batch: [(u8, &[u8]); 5] = [
            (b'P', b"\0rollback\0\0\0"),
            (b'B', b"\0\0\0\0\0\0\0\0"),
            (b'E', b"\0\0\0\0\0"),
            (b'H', b""),
            (b'S', b""),
        ];
        assert_eq!(client.batch(&batch), answered("EZE"));
        // Once it is told, the same batch ends the transaction.
        assert_eq!(client.batch(&batch), over("12CZI"));
    }

    #[test]
    fn skips_what_is_left_of_a_batch_that_has_failed() {
        let mut client = Client::new(None, true);
        assert_eq!(client.send(b'Q', b"rollback\0"), answered(""));
        assert_eq!(client.send(b'S', b""), answered("ZE"));
        assert_eq!(client.send(b'Q', b"rollback\0"), over("CZI"));
    }

    #[test]
    fn ends_by_statements_that_were_prepared_before_or_since() {
        let mut client = Client::new(None, false);
        let describe: [(u8, &[u8]); 3] = [(b'P', b"s\0Commit\0\0\0"), (b'D', b"Ss\0"), (b'S', b"")];
        assert_eq!(client.batch(&describe), answered("1tnZE"));
        assert_eq!(client.batch(&describe[..1]), answered("E"), "it is taken");
        assert_eq!(client.batch(&describe[2..]), answered("ZE"));
        let run: [(u8, &[u8]); 4] = [
            (b'B', b"p\0s\0\0\0\0\0\0\0"),
            (b'D', b"Pp\0"),
            (b'E', b"p\0\0\0\0\0"),
            (b'S', b""),
        ];
        assert_eq!(client.batch(&run), over("2nCZI"));
    }

    #[test]
    fn refuses_statements_that_end_nothing_and_lets_all_be_closed() {
        let mut client = Client::new(None, false);
        let tail = b"select 1\0\0\0";
        let id = client
            .statements
            .intern(tail, 0, |_| Classes::NONE)
            .unwrap();
        client
            .prepared
            .define(b"s", id, &mut client.statements)
            .unwrap();
        for batch in [
            [(b'P', &b"\0select 1\0\0\0"[..]), (b'S', b"")],
            [(b'B', b"\0s\0\0\0\0\0\0\0"), (b'S', b"")],
            [(b'B', b"\0\0\0\0\0\0\0\0"), (b'S', b"")],
            [(b'D', b"P\0"), (b'S', b"")],
            [(b'E', b"\0\0\0\0\0"), (b'S', b"")],
            [(b'C', b"?"), (b'S', b"")],
        ] {
            assert_eq!(client.batch(&batch), answered("EZE"), "{batch:?}");
        }
        assert_eq!(
            client.batch(&[(b'C', b"Ss\0"), (b'C', b"P\0"), (b'S', b"")]),
            answered("33ZE")
        );
        assert_eq!(client.prepared.len(), 0);
    }

    #[test]
    fn leaves_what_follows_the_end_in_a_batch_to_a_server() {
        let mut client = Client::new(None, false);
        let batch: [(u8, &[u8]); 3] = [
            (b'P', b"\0rollback\0\0\0"),
            (b'B', b"\0\0\0\0\0\0\0\0"),
            (b'E', b"\0\0\0\0\0"),
        ];
        assert_eq!(client.batch(&batch), answered("12C"));
        assert_eq!(
            client.send(b'P', b"\0select 1\0\0\0"),
            (String::new(), Step::Elsewhere)
        );
    }

    #[test]
    fn takes_the_end_from_the_last_word_of_a_server() {
        let error = as_error(b"SPANIK\0VFATAL\0C57P01\0Mbye\0\0");
        assert_eq!(error, b"E\0\0\0\x1fSERROR\0VERROR\0C57P01\0Mbye\0\0");
    }

    #[test]
    fn is_at_rest_behind_what_ends_with_a_ready_for_query() {
        let mut client = Client::new(None, false);
        assert!(client.lost.at_rest());
        for (tag, body, expected) in [
            (b'P', &b"\0rollback\0\0\0"[..], false),
            (b'H', b"", false),
            (b'S', b"", true),
            (b'P', b"\0select 1\0\0\0", false),
            (b'Q', b"select 1\0", false),
            (b'S', b"", true),
            (b'Q', b"select 1\0", true),
        ] {
            client.send(tag, body);
            assert_eq!(client.lost.at_rest(), expected, "{}", char::from(tag));
        }
        assert!(!Client::new(None, true).lost.at_rest());
    }
}

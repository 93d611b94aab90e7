//! Comparing two answers to the same sequence.

use std::fmt::{self, Write};

use super::run::{Answers, End};
use crate::wire::Message;

/// What became of a comparison.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Both said the same.
    Same,
    /// They are the same up to something that a pooler cannot do as PostgreSQL
    /// does: a statement whose result has changed its columns since it was
    /// prepared on one server and not on another, or that a server does not
    /// know in a transaction that has failed. What came after was not compared.
    Partly,
    /// They differ.
    Different(Difference),
}

/// Where two answers begin to differ, in words.
#[derive(Debug)]
pub(super) struct Difference {
    /// What is different, without where: another sequence with the same kind
    /// probably shows the same fault.
    pub(super) kind: String,
    text: String,
}

/// Compares what PostgreSQL said with what came through the pooler.
pub(super) fn compare(direct: &Answers, pooled: &Answers) -> Outcome {
    let ours = normalized(&pooled.messages);
    let theirs = normalized(&direct.messages);
    let mut at = 0;
    let mut failed = false;
    while at < ours.len() && at < theirs.len() {
        let refused = failed && is_error(&ours[at], IN_FAILED);
        // Refused for being in a failed transaction before the wrong number of
        // parameters was seen.
        if ours[at] != theirs[at] && !(refused && is_error(&theirs[at], WRONG_BIND)) {
            break;
        }
        if theirs[at].tag == b'Z' {
            failed = theirs[at].body == b"E";
        }
        at += 1;
    }
    if at == ours.len() && at == theirs.len() && direct.end == pooled.end {
        return Outcome::Same;
    }
    let stale = |messages: &[Message]| messages.get(at).is_some_and(is_stale_plan);
    let refused = failed && ours.get(at).is_some_and(|ours| is_error(ours, IN_FAILED));
    if pooled.end == End::Whole && (stale(&ours) || stale(&theirs) || refused) {
        return Outcome::Partly;
    }
    let kind = format!(
        "{} from PostgreSQL, {} through the pooler",
        kind_of(theirs.get(at), &direct.end),
        kind_of(ours.get(at), &pooled.end)
    );
    let mut text = format!("the answers differ from message {at} on\n");
    show(&mut text, "PostgreSQL", &theirs, at, &direct.end);
    show(&mut text, "through the pooler", &ours, at, &pooled.end);
    Outcome::Different(Difference { kind, text })
}

/// Messages without what differs between two databases.
fn normalized(messages: &[Message]) -> Vec<Message> {
    messages.iter().map(normal).collect()
}

fn normal(message: &Message) -> Message {
    let mut message = message.clone();
    if message.tag == b'T' {
        mask_tables(&mut message.body);
    }
    if message.tag == b'E' {
        message.body = without_statement(&message.body);
    }
    message
}

/// Puts 1 for every number of a table in a RowDescription: the same table has
/// another one in another database.
fn mask_tables(body: &mut [u8]) {
    let mut at = 2;
    while at < body.len() {
        let name = body[at..].iter().position(|byte| *byte == 0).unwrap();
        at += name + 1;
        let table = &mut body[at..at + 4];
        if table != [0; 4] {
            table.copy_from_slice(&[0, 0, 0, 1]);
        }
        at += FIELD_LEN;
    }
}

/// An error without the name of the prepared statement in it.
///
/// A client that has given one text two names may be told of the other one.
/// That it is told a name of the server's side is a difference all the same.
fn without_statement(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let Some((before, rest)) = text.split_once(STATEMENT) else {
        return body.to_vec();
    };
    match rest.split_once('\0') {
        Some((message, _)) if message.contains("pgskein_") => body.to_vec(),
        Some((message, after)) => {
            let words = message.rsplit('"').next().unwrap_or_default();
            format!("{before}{STATEMENT}\"{words}\0{after}").into_bytes()
        }
        None => body.to_vec(),
    }
}

fn is_error(message: &Message, sqlstate: &str) -> bool {
    message.tag == b'E' && message.error().sqlstate == sqlstate
}

fn is_stale_plan(message: &Message) -> bool {
    message.tag == b'E' && message.error().message == "cached plan must not change result type"
}

/// A message, or what came instead of it, in a word or two.
fn kind_of(message: Option<&Message>, end: &End) -> String {
    match (message, end) {
        (Some(message), _) if message.tag == b'E' => format!("error {}", message.error().sqlstate),
        (Some(message), _) => format!("{:?}", char::from(message.tag)),
        (None, End::Whole) => "nothing more".to_owned(),
        (None, End::Hung(_)) => "no answer".to_owned(),
        (None, End::Closed) => "the end".to_owned(),
    }
}

/// Writes an answer around the place where it begins to differ.
fn show(text: &mut String, whose: &str, messages: &[Message], at: usize, end: &End) {
    let first = at.saturating_sub(BEFORE);
    let last = (at + AFTER).min(messages.len());
    writeln!(text, "  {whose}: {} messages, then {end:?}", messages.len()).unwrap();
    for (number, message) in messages.iter().enumerate().take(last).skip(first) {
        let mark = if number == at { "->" } else { "  " };
        writeln!(text, "  {mark} {number}: {}", Shown(message)).unwrap();
    }
}

/// A message as a report shows it.
struct Shown<'a>(&'a Message);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { tag, body } = self.0;
        let shown = &body[..body.len().min(SHOWN)];
        write!(f, "{} {}", char::from(*tag), shown.escape_ascii())?;
        if shown.len() < body.len() {
            write!(f, "… {} bytes", body.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// In a failed transaction: what a Parse of ours is answered with that goes
/// before a Bind or Describe.
const IN_FAILED: &str = "25P02";
/// A Bind with more or fewer parameters than its statement has.
const WRONG_BIND: &str = "08P01";
/// What comes before the name of a statement in an error.
const STATEMENT: &str = "prepared statement \"";
/// Bytes of a field of a RowDescription behind its name.
const FIELD_LEN: usize = 18;
/// Messages shown before the first that differs.
const BEFORE: usize = 6;
/// Messages shown from the first that differs on.
const AFTER: usize = 6;
/// Bytes of a message that are shown.
const SHOWN: usize = 300;

//! Answers: what a console is sent, message by message.
//!
//! Every function appends a whole answer, up to what ends the command: with the
//! simple protocol ReadyForQuery follows, which whoever sends it adds.
//!
//! Source: PostgreSQL documentation, "Message Flow", Simple Query.

use std::fmt;

use pgskein_pool::control::Asked;
use pgskein_protocol::{Report, TransactionStatus, write};

use super::commands::{COMMANDS, Refusal};
use super::goaway_words;
use super::move_words;
use super::order_words::VERBS;

/// Why there is an error for an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The command is not obeyed.
    Refused(Refusal),
    /// There is no prepared statement of this name.
    NoStatement(String),
    /// There is no portal of this name.
    NoPortal(String),
    /// There is a prepared statement of this name already.
    StatementExists(String),
    /// It has prepared more than it may.
    TooManyStatements,
    /// It has as many portals as it may have.
    TooManyPortals,
    /// It brings so many parameters for a statement that has none.
    Parameters(u16),
    /// It asks for formats that there are not, or not for as many columns.
    Formats,
    /// The client sent a message of this type.
    UnknownMessage(u8),
    /// There is no supervisor to carry out the command.
    NoSupervisor,
}

/// Appends everything that follows AuthenticationOk in the login of a console.
pub(in crate::worker) fn greeting(out: &mut Vec<u8>, process_id: u32, secret: &[u8]) {
    for (name, value) in PARAMETERS {
        write::parameter_status(out, name.as_bytes(), value.as_bytes());
    }
    write::backend_key_data(out, process_id, secret);
    write::ready_for_query(out, TransactionStatus::Idle);
}

/// Appends the end of a command that has nothing to show.
pub(super) fn done(out: &mut Vec<u8>, command_tag: &str) {
    write::command_complete(out, command_tag);
}

/// Appends the answer to an empty query.
pub(super) fn nothing(out: &mut Vec<u8>) {
    write::empty_query(out);
}

/// Appends an error; the console goes on.
pub(super) fn failed(out: &mut Vec<u8>, failure: &Failure) {
    let message = failure.to_string();
    write::error(out, &report("ERROR", failure.sqlstate(), &message));
}

/// Appends the answer to what was asked of the group: a notice that may be
/// empty, or why it was not done. Lines after the first are the detail.
pub(super) fn answered(out: &mut Vec<u8>, asked: &Asked, outcome: &Result<String, String>) {
    let (Ok(text) | Err(text)) = outcome;
    let text = text.trim_end();
    let (message, detail) = match (asked, text.split_once('\n')) {
        (Asked::Set { .. }, _) if outcome.is_err() => ("SET failed", Some(text)),
        (_, Some((message, detail))) => (message, Some(detail)),
        (_, None) => (text, None),
    };
    if outcome.is_err() {
        let sqlstate = match asked {
            Asked::Reload => CONFIG_FILE_ERROR,
            Asked::Set { .. } | Asked::Order(_) | Asked::Move { .. } => PROTOCOL_VIOLATION,
            Asked::Restart | Asked::Balance => CANNOT_NOW,
        };
        let report = report("ERROR", sqlstate, message);
        return write::error(out, &Report { detail, ..report });
    }
    if !message.is_empty() {
        let report = report("NOTICE", SUCCESS, message);
        write::notice(out, &Report { detail, ..report });
    }
    match asked {
        Asked::Order(order) => done(out, order.verb()),
        Asked::Move { .. } => done(out, "MOVE"),
        Asked::Reload | Asked::Restart | Asked::Balance | Asked::Set { .. } => {
            done(out, &asked.to_string());
        }
    }
}

/// Appends the answer to a SET that changes nothing.
pub(super) fn set_ignored(out: &mut Vec<u8>) {
    write::notice(out, &report("NOTICE", SUCCESS, "SET ignored"));
    done(out, "SET");
}

/// Appends the list of all commands.
pub(super) fn help(out: &mut Vec<u8>) {
    let mut list = String::new();
    let commands = COMMANDS.iter().map(|command| command.words);
    let verbs = VERBS.iter().map(|verb| verb.words);
    let goaway = goaway_words::WORDS.iter().copied();
    let moves = move_words::WORDS.iter().copied();
    for words in commands.chain(verbs).chain(goaway).chain(moves) {
        list.push_str("\n\t");
        list.push_str(words);
    }
    let report = report("NOTICE", SUCCESS, "Console usage");
    let detail = Some(list.as_str());
    write::notice(out, &Report { detail, ..report });
    done(out, "SHOW");
}

impl Failure {
    /// There is no prepared statement of this name.
    pub(super) fn no_statement(name: &[u8]) -> Self {
        Self::NoStatement(String::from_utf8_lossy(name).into_owned())
    }

    /// There is no portal of this name.
    pub(super) fn no_portal(name: &[u8]) -> Self {
        Self::NoPortal(String::from_utf8_lossy(name).into_owned())
    }

    /// There is a prepared statement of this name already.
    pub(super) fn has_statement(name: &[u8]) -> Self {
        Self::StatementExists(String::from_utf8_lossy(name).into_owned())
    }

    /// As PostgreSQL's, where it knows the failure.
    fn sqlstate(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::UnknownMessage(_) | Self::Parameters(_) | Self::Formats => {
                PROTOCOL_VIOLATION
            }
            Self::NoStatement(_) => "26000",
            Self::NoPortal(_) => "34000",
            Self::StatementExists(_) => "42P05",
            Self::TooManyStatements | Self::TooManyPortals => "54000",
            Self::NoSupervisor => CONFIG_FILE_ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::NoStatement(name) => {
                write!(f, "prepared statement \"{name}\" does not exist")
            }
            Self::NoPortal(name) => write!(f, "portal \"{name}\" does not exist"),
            Self::StatementExists(name) => {
                write!(f, "prepared statement \"{name}\" already exists")
            }
            Self::TooManyStatements => f.write_str("too many prepared statements"),
            Self::TooManyPortals => f.write_str("too many portals"),
            Self::Parameters(count) => {
                write!(f, "{count} parameters for a command that takes none")
            }
            Self::Formats => f.write_str("unknown formats of the result"),
            Self::UnknownMessage(tag) => {
                write!(f, "unsupported packet type for admin console: {tag}")
            }
            Self::NoSupervisor => f.write_str("the supervisor is gone"),
        }
    }
}

fn report<'a>(severity: &'a str, sqlstate: &'a str, message: &'a str) -> Report<'a> {
    Report {
        severity,
        sqlstate,
        message,
        detail: None,
        hint: None,
    }
}

/// The session of a console, as drivers see it: PgBouncer's, with our name in
/// the place of its own.
const PARAMETERS: [(&str, &str); 7] = [
    ("server_version", "1.25.2/pgskein"),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "on"),
];

const SUCCESS: &str = "00000";
const PROTOCOL_VIOLATION: &str = "08P01";
const CONFIG_FILE_ERROR: &str = "F0000";
const CANNOT_NOW: &str = "55000";

#[cfg(test)]
mod tests {
    use pgskein_pool::runtime::{Order, Scope};
    use pgskein_protocol::{ErrorFields, Frame};

    use super::*;

    /// The messages of an answer.
    fn answer(write: impl FnOnce(&mut Vec<u8>)) -> Vec<(char, Vec<u8>)> {
        let mut out = Vec::new();
        write(&mut out);
        let mut messages = Vec::new();
        let mut rest = out.as_slice();
        while let Some((frame, behind)) = Frame::split(rest, u32::MAX).unwrap() {
            messages.push((frame.tag.into(), frame.body.to_vec()));
            rest = behind;
        }
        assert!(rest.is_empty());
        messages
    }

    fn tags(messages: &[(char, Vec<u8>)]) -> String {
        messages.iter().map(|(tag, _)| tag).collect()
    }

    #[test]
    fn writes_the_greeting_with_key_and_ready() {
        let messages = answer(|out| greeting(out, 0x0102_0304, b"abcd"));
        assert_eq!(tags(&messages), "SSSSSSSKZ");
        assert_eq!(messages[0].1, b"server_version\x001.25.2/pgskein\0");
        assert_eq!(messages[7].1, b"\x01\x02\x03\x04abcd");
    }

    #[test]
    fn writes_help_as_a_notice() {
        let messages = answer(help);
        assert_eq!(tags(&messages), "NC");
        let fields = ErrorFields::parse(&messages[0].1);
        let detail = fields.detail().unwrap_or_default();
        for command in COMMANDS {
            assert!(detail.contains(command.words), "{}", command.words);
        }
    }

    #[test]
    fn writes_findings_of_a_failed_reload_as_message_and_detail() {
        let outcome = Err("a.ini:1: x: bad\na.ini:2: y: bad\n".to_owned());
        let messages = answer(|out| answered(out, &Asked::Reload, &outcome));
        assert_eq!(tags(&messages), "E");
        let fields = ErrorFields::parse(&messages[0].1);
        assert_eq!(fields.sqlstate(), Some("F0000"));
        assert_eq!(fields.message().as_deref(), Some("a.ini:1: x: bad"));
        assert_eq!(fields.detail().as_deref(), Some("a.ini:2: y: bad"));
    }

    #[test]
    fn writes_the_notice_of_a_reload_only_if_there_is_one() {
        let quiet = answer(|out| answered(out, &Asked::Reload, &Ok(String::new())));
        assert_eq!(tags(&quiet), "C");
        assert_eq!(quiet[0].1, b"RELOAD\0");
        let notice = Ok("x needs a restart".to_owned());
        let noisy = answer(|out| answered(out, &Asked::Reload, &notice));
        assert_eq!(tags(&noisy), "NC");
    }

    #[test]
    fn writes_the_tag_and_the_failure_of_what_was_asked() {
        let set = Asked::Set {
            name: "a".to_owned(),
            value: "b".to_owned(),
        };
        let pause = Asked::Order(Order::Pause(Scope::Database("x".to_owned())));
        let failures = [
            (&set, "SET a=b", "SET failed", Some("why\nthat")),
            (&pause, "PAUSE", "why", Some("that")),
        ];
        for (asked, command_tag, message, detail) in failures {
            let done = answer(|out| answered(out, asked, &Ok(String::new())));
            assert_eq!(tags(&done), "C");
            assert_eq!(done[0].1, [command_tag.as_bytes(), b"\0"].concat());
            let failed = answer(|out| answered(out, asked, &Err("why\nthat".to_owned())));
            assert_eq!(tags(&failed), "E");
            let fields = ErrorFields::parse(&failed[0].1);
            assert_eq!(fields.sqlstate(), Some("08P01"));
            assert_eq!(fields.message().as_deref(), Some(message));
            assert_eq!(fields.detail().as_deref(), detail);
        }
    }

    #[test]
    fn writes_errors_with_the_words_of_pgbouncer() {
        let failure = Failure::Refused(Refusal::AdminNeeded);
        let messages = answer(|out| failed(out, &failure));
        assert_eq!(tags(&messages), "E");
        let fields = ErrorFields::parse(&messages[0].1);
        assert_eq!(fields.sqlstate(), Some("08P01"));
        assert_eq!(fields.message().as_deref(), Some("admin access needed"));
        assert_eq!(tags(&answer(nothing)), "I");
        assert_eq!(tags(&answer(set_ignored)), "NC");
    }
}

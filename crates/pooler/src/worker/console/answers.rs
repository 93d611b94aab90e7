//! Answers: what a console is sent, message by message.
//!
//! Every function appends a whole answer, ReadyForQuery included.
//!
//! Source: PostgreSQL documentation, "Message Flow", Simple Query.

use std::fmt;

use pgskein_config::{Settings, When};
use pgskein_protocol::{Column, Report, TransactionStatus, write};

use super::commands::{COMMANDS, Parameter, Refusal};
use super::order_words::VERBS;
use crate::scoreboard::{CellView, WorkerState};

/// Why there is an error for an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// The command is not obeyed.
    Refused(Refusal),
    /// The client speaks the extended protocol.
    ExtendedProtocol,
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
    ready(out);
}

/// Appends the end of a command that has nothing to show.
pub(super) fn done(out: &mut Vec<u8>, command_tag: &str) {
    write::command_complete(out, command_tag);
    ready(out);
}

/// Appends the answer to an empty query.
pub(super) fn nothing(out: &mut Vec<u8>) {
    write::empty_query(out);
    ready(out);
}

/// Appends an error; the console goes on.
pub(super) fn failed(out: &mut Vec<u8>, failure: &Failure) {
    let message = failure.to_string();
    write::error(out, &report("ERROR", failure.sqlstate(), &message));
    ready(out);
}

/// Appends the answer to RELOAD: a notice that may be empty, or why the old
/// configuration stays. Lines after the first are the detail.
pub(super) fn reloaded(out: &mut Vec<u8>, outcome: &Result<String, String>) {
    ended(out, "RELOAD", CONFIG_FILE_ERROR, outcome);
}

/// Appends the answer to an order that the group has carried out, or not.
pub(super) fn ordered(out: &mut Vec<u8>, command_tag: &str, outcome: &Result<String, String>) {
    ended(out, command_tag, PROTOCOL_VIOLATION, outcome);
}

fn ended(out: &mut Vec<u8>, command_tag: &str, sqlstate: &str, outcome: &Result<String, String>) {
    let (Ok(text) | Err(text)) = outcome;
    let (message, detail) = match text.trim_end().split_once('\n') {
        Some((message, detail)) => (message, Some(detail)),
        None => (text.trim_end(), None),
    };
    if outcome.is_err() {
        let report = report("ERROR", sqlstate, message);
        write::error(out, &Report { detail, ..report });
        return ready(out);
    }
    if !message.is_empty() {
        let report = report("NOTICE", SUCCESS, message);
        write::notice(out, &Report { detail, ..report });
    }
    done(out, command_tag);
}

/// Appends the answer to a SET that changes nothing.
pub(super) fn set_ignored(out: &mut Vec<u8>) {
    write::notice(out, &report("NOTICE", SUCCESS, "SET ignored"));
    done(out, "SET");
}

/// Appends the value of a parameter of the session.
pub(super) fn parameter(out: &mut Vec<u8>, parameter: &Parameter) {
    let row = vec![parameter.value.to_owned()];
    table(out, &[(parameter.name, TEXT)], [row]);
}

/// Appends the list of all commands.
pub(super) fn help(out: &mut Vec<u8>) {
    let mut list = String::new();
    let commands = COMMANDS.iter().map(|command| command.words);
    for words in commands.chain(VERBS.iter().map(|verb| verb.words)) {
        list.push_str("\n\t");
        list.push_str(words);
    }
    let report = report("NOTICE", SUCCESS, "Console usage");
    let detail = Some(list.as_str());
    write::notice(out, &Report { detail, ..report });
    done(out, "SHOW");
}

/// Appends name and version of the program.
pub(super) fn version(out: &mut Vec<u8>) {
    let version = concat!("pgskein ", env!("CARGO_PKG_VERSION"));
    table(out, &[("version", TEXT)], [vec![version.to_owned()]]);
}

/// Appends every setting, by name.
pub(super) fn config(out: &mut Vec<u8>, settings: &Settings) {
    let mut table_of_settings: Vec<_> = pgskein_config::table().iter().collect();
    table_of_settings.sort_unstable_by_key(|info| info.name);
    let rows = table_of_settings.into_iter().map(|info| {
        let changeable = match info.takes_effect {
            When::Now => "yes",
            When::Restart => "no",
        };
        vec![
            info.name.to_owned(),
            settings.value(info.name).unwrap_or_default(),
            info.default.to_owned(),
            changeable.to_owned(),
        ]
    });
    let columns = [
        ("key", TEXT),
        ("value", TEXT),
        ("default", TEXT),
        ("changeable", TEXT),
    ];
    table(out, &columns, rows);
}

/// Appends every living worker; `now_unix` is the time in seconds since 1970.
pub(super) fn workers(out: &mut Vec<u8>, cells: impl Iterator<Item = CellView>, now_unix: u64) {
    let mut living: Vec<(&str, CellView)> = cells
        .filter_map(|cell| state_text(cell.state).map(|state| (state, cell)))
        .collect();
    living.sort_unstable_by_key(|(_, cell)| (cell.slot.get(), cell.generation));
    let rows = living.into_iter().map(|(state, cell)| {
        vec![
            cell.slot.to_string(),
            cell.pid.to_string(),
            cell.slot.to_string(),
            cell.generation.to_string(),
            state.to_owned(),
            cell.clients.to_string(),
            cell.waiting.to_string(),
            cell.servers.to_string(),
            cell.cleaned.to_string(),
            cell.prepared.to_string(),
            cell.prepared_bytes.to_string(),
            now_unix.saturating_sub(cell.started_unix).to_string(),
        ]
    });
    let columns = [
        ("worker", INT4),
        ("pid", INT4),
        ("slot", INT4),
        ("generation", INT4),
        ("state", TEXT),
        ("clients", INT4),
        ("waiting", INT4),
        ("servers", INT4),
        ("cleaned", INT8),
        ("prepared_statements", INT8),
        ("prepared_memory", INT8),
        ("uptime", INT8),
    ];
    table(out, &columns, rows);
}

impl Failure {
    fn sqlstate(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::ExtendedProtocol | Self::UnknownMessage(_) => {
                PROTOCOL_VIOLATION
            }
            Self::NoSupervisor => CONFIG_FILE_ERROR,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ExtendedProtocol => {
                f.write_str("extended query protocol not supported by admin console")
            }
            Self::UnknownMessage(tag) => {
                write!(f, "unsupported packet type for admin console: {tag}")
            }
            Self::NoSupervisor => f.write_str("the supervisor is gone"),
        }
    }
}

/// What a living worker is doing, in one word.
fn state_text(state: WorkerState) -> Option<&'static str> {
    match state {
        WorkerState::Starting => Some("starting"),
        WorkerState::Ready => Some("ready"),
        WorkerState::Draining => Some("draining"),
        WorkerState::Empty | WorkerState::Dead => None,
    }
}

/// Appends a result of columns with their types, and of rows of text.
fn table(out: &mut Vec<u8>, columns: &[(&str, u32)], rows: impl IntoIterator<Item = Vec<String>>) {
    let columns: Vec<Column<'_>> = columns
        .iter()
        .map(|&(name, type_oid)| Column { name, type_oid })
        .collect();
    write::row_description(out, &columns);
    for row in rows {
        let values: Vec<Option<&[u8]>> = row.iter().map(|value| Some(value.as_bytes())).collect();
        write::data_row(out, &values);
    }
    done(out, "SHOW");
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

fn ready(out: &mut Vec<u8>) {
    write::ready_for_query(out, TransactionStatus::Idle);
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

/// Oids of types in `pg_type`.
const INT8: u32 = 20;
const INT4: u32 = 23;
const TEXT: u32 = 25;

#[cfg(test)]
mod tests {
    use pgskein_protocol::{ErrorFields, Frame, Slot};

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

    /// The values of a DataRow, behind each other.
    fn row(body: &[u8]) -> String {
        let mut values = Vec::new();
        let mut rest = &body[2..];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (value, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            values.push(String::from_utf8(value.to_vec()).unwrap());
            rest = behind;
        }
        values.join("|")
    }

    fn cell(slot: u8, generation: u32, state: WorkerState) -> CellView {
        CellView {
            index: 0,
            pid: 4711,
            slot: Slot::new(slot).unwrap(),
            generation,
            started_unix: 1000,
            state,
            loop_running_since: 0,
            clients: 5,
            waiting: 2,
            servers: 3,
            cleaned: 6,
            prepared: 7,
            prepared_bytes: 800,
        }
    }

    #[test]
    fn writes_the_greeting_with_key_and_ready() {
        let messages = answer(|out| greeting(out, 0x0102_0304, b"abcd"));
        assert_eq!(tags(&messages), "SSSSSSSKZ");
        assert_eq!(messages[0].1, b"server_version\x001.25.2/pgskein\0");
        assert_eq!(messages[7].1, b"\x01\x02\x03\x04abcd");
    }

    #[test]
    fn writes_living_workers_by_slot_and_generation() {
        let cells = [
            cell(2, 1, WorkerState::Ready),
            cell(1, 3, WorkerState::Starting),
            cell(3, 1, WorkerState::Dead),
            cell(1, 2, WorkerState::Draining),
        ];
        let messages = answer(|out| workers(out, cells.into_iter(), 1060));
        assert_eq!(tags(&messages), "TDDDCZ");
        assert_eq!(row(&messages[1].1), "1|4711|1|2|draining|5|2|3|6|7|800|60");
        assert_eq!(row(&messages[2].1), "1|4711|1|3|starting|5|2|3|6|7|800|60");
        assert_eq!(row(&messages[3].1), "2|4711|2|1|ready|5|2|3|6|7|800|60");
        assert_eq!(messages[4].1, b"SHOW\0");
    }

    #[test]
    fn writes_an_uptime_of_zero_when_the_clock_was_set_back() {
        let cells = [cell(1, 1, WorkerState::Ready)];
        let messages = answer(|out| workers(out, cells.into_iter(), 900));
        assert!(row(&messages[1].1).ends_with("|0"));
    }

    #[test]
    fn writes_every_setting_by_name() {
        let settings = Settings::default();
        let messages = answer(|out| config(out, &settings));
        let rows: Vec<String> = messages
            .iter()
            .filter(|(tag, _)| *tag == 'D')
            .map(|(_, body)| row(body))
            .collect();
        assert_eq!(rows.len(), pgskein_config::table().len());
        assert!(rows.is_sorted_by_key(|row| row.split('|').next()));
        assert!(rows.contains(&"default_pool_size|20|20|yes".to_owned()));
        assert!(rows.contains(&"workers|auto|auto|no".to_owned()));
    }

    #[test]
    fn writes_help_as_a_notice() {
        let messages = answer(help);
        assert_eq!(tags(&messages), "NCZ");
        let fields = ErrorFields::parse(&messages[0].1);
        let detail = fields.detail().unwrap_or_default();
        for command in COMMANDS {
            assert!(detail.contains(command.words), "{}", command.words);
        }
    }

    #[test]
    fn writes_version_and_parameters_of_the_session() {
        let messages = answer(version);
        assert_eq!(tags(&messages), "TDCZ");
        assert!(row(&messages[1].1).starts_with("pgskein "));
        let name_and_value = Parameter {
            name: "timezone",
            value: "GMT",
        };
        let messages = answer(|out| parameter(out, &name_and_value));
        assert_eq!(row(&messages[1].1), "GMT");
        assert_eq!(tags(&answer(set_ignored)), "NCZ");
    }

    #[test]
    fn writes_findings_of_a_failed_reload_as_message_and_detail() {
        let outcome = Err("a.ini:1: x: bad\na.ini:2: y: bad\n".to_owned());
        let messages = answer(|out| reloaded(out, &outcome));
        assert_eq!(tags(&messages), "EZ");
        let fields = ErrorFields::parse(&messages[0].1);
        assert_eq!(fields.sqlstate(), Some("F0000"));
        assert_eq!(fields.message().as_deref(), Some("a.ini:1: x: bad"));
        assert_eq!(fields.detail().as_deref(), Some("a.ini:2: y: bad"));
    }

    #[test]
    fn writes_the_notice_of_a_reload_only_if_there_is_one() {
        let quiet = answer(|out| reloaded(out, &Ok(String::new())));
        assert_eq!(tags(&quiet), "CZ");
        assert_eq!(quiet[0].1, b"RELOAD\0");
        let noisy = answer(|out| reloaded(out, &Ok("x needs a restart".to_owned())));
        assert_eq!(tags(&noisy), "NCZ");
    }

    #[test]
    fn writes_errors_that_leave_the_console_ready() {
        let failure = Failure::Refused(Refusal::AdminNeeded);
        let messages = answer(|out| failed(out, &failure));
        assert_eq!(tags(&messages), "EZ");
        let fields = ErrorFields::parse(&messages[0].1);
        assert_eq!(fields.sqlstate(), Some("08P01"));
        assert_eq!(fields.message().as_deref(), Some("admin access needed"));
        assert_eq!(tags(&answer(nothing)), "IZ");
    }
}

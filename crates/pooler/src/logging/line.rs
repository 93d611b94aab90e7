//! One line of the log, and the time it begins with.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{Level, Record};

/// What a record says, on one line.
#[derive(Debug)]
pub(crate) struct Text(pub(crate) String);

impl Text {
    /// Formats the record; line ends and other control characters in it become
    /// spaces, so that nothing takes the log for a binary file.
    pub(crate) fn new(record: &Record<'_>) -> Self {
        let text = record.args().to_string();
        Self(if text.contains(char::is_control) {
            text.replace(char::is_control, " ")
        } else {
            text
        })
    }
}

/// Appends a whole line with its time, process and level.
///
/// It is cut where all lines together would be over [`LINE_MAX`] bytes.
pub(crate) fn push_line(lines: &mut Vec<u8>, level: Level, worker: u8, text: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let mut line = String::with_capacity(text.len() + 64);
    push_time(&mut line, now.as_secs(), now.subsec_millis());
    let pid = std::process::id();
    // Writing to a string cannot fail.
    let _ = write!(line, " [{pid}] {} {level} {text}", process(worker));
    lines.extend_from_slice(line.as_bytes());
    lines.truncate(LINE_MAX - 1);
    lines.push(b'\n');
}

/// Name of a process in the log; 0 is the supervisor.
pub(crate) fn process(worker: u8) -> String {
    match worker {
        0 => "supervisor".to_owned(),
        HTTP => "http".to_owned(),
        slot => format!("worker {slot}"),
    }
}

/// A time, in seconds since 1970, as `2026-07-10 22:19:13 UTC`.
pub(crate) fn time_text(seconds: u64) -> String {
    let mut text = String::new();
    push_seconds(&mut text, seconds);
    text.push_str(" UTC");
    text
}

/// Appends a time as `2026-07-10 22:19:13.123 UTC`.
fn push_time(line: &mut String, seconds: u64, millis: u32) {
    push_seconds(line, seconds);
    // Writing to a string cannot fail.
    let _ = write!(line, ".{millis:03} UTC");
}

/// Appends a time as `2026-07-10 22:19:13`.
fn push_seconds(line: &mut String, seconds: u64) {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    );
}

/// Year, month and day of a number of days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the day that may be missing is the
    // last one. 719,468 days lie between 0000-03-01 and 1970-01-01, 146,097
    // days are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March on have 153 days.
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + carry, month, day_of_month)
}

/// What stands for the HTTP process; slots have seven bits.
pub(super) const HTTP: u8 = 128;

/// Most that is written at once, in bytes: what a pipe takes whole or not at all.
const LINE_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_operators_read_them() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00.007 UTC"),
            (951_782_399, "2000-02-28 23:59:59.007 UTC"),
            (951_782_400, "2000-02-29 00:00:00.007 UTC"),
            (1_783_721_953, "2026-07-10 22:19:13.007 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00.007 UTC"),
        ] {
            let mut out = String::new();
            push_time(&mut out, seconds, 7);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn names_the_process_and_the_level() {
        let mut line = Vec::new();
        push_line(&mut line, Level::Info, 2, "x=1");
        let line = String::from_utf8(line).unwrap();
        let pid = std::process::id();
        assert!(
            line.ends_with(&format!(" UTC [{pid}] worker 2 INFO x=1\n")),
            "{line}"
        );
    }

    #[test]
    fn keeps_a_record_on_one_line_of_text() {
        let args = format_args!("shop/asker\0auth_query: {}", "a\r\nb\x1b[1mc\u{85}é");
        let text = Text::new(&Record::builder().args(args).build());
        assert_eq!(text.0, "shop/asker auth_query: a  b [1mc é");
    }

    #[test]
    fn cuts_long_lines() {
        let mut line = Vec::new();
        push_line(&mut line, Level::Info, 0, &"x".repeat(10_000));
        assert_eq!(line.len(), LINE_MAX);
        assert_eq!(line.last(), Some(&b'\n'));
    }
}

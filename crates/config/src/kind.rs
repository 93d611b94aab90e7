//! Kinds of values: what the text of a setting may be and what it becomes.
//!
//! Each kind knows its unit, so that no setting's name carries one. What a kind
//! prints is what it parses, and is what `SHOW CONFIG` shows.

use std::fmt::Debug;
use std::time::Duration;

/// How the text of a value becomes a value, and back.
pub trait Kind {
    /// What the program works with.
    type Value: Clone + Debug + Default + PartialEq;

    /// One word for the reference.
    const NAME: &'static str;

    /// What a complaint about a bad value asks for.
    const EXPECTED: &'static str;

    /// Reads `text`, or returns `None` when it is no value of this kind.
    fn parse(text: &str) -> Option<Self::Value>;

    /// Writes `value` so that [`Kind::parse`] reads it back.
    fn print(value: &Self::Value) -> String;
}

/// A whole number.
#[derive(Debug)]
pub struct Count;

/// A whole number, or `auto`, which is `None`.
#[derive(Debug)]
pub struct CountOrAuto;

/// A time in seconds, decimals allowed. 0 usually means "never".
#[derive(Debug)]
pub struct Seconds;

/// Yes or no.
#[derive(Debug)]
pub struct Flag;

/// Any text.
#[derive(Debug)]
pub struct Text;

/// Names with commas between them.
#[derive(Debug)]
pub struct Names;

/// A TCP port.
#[derive(Debug)]
pub struct Port;

/// TCP ports with commas between them.
#[derive(Debug)]
pub(crate) struct Ports;

/// Permissions of a file, in octal.
#[derive(Debug)]
pub struct Octal;

/// A number of bytes, with `kB`, `MB` or `GB` for powers of 1024.
#[derive(Debug)]
pub struct Size;

impl Kind for Count {
    type Value = u32;
    const NAME: &'static str = "count";
    const EXPECTED: &'static str = "a whole number";

    fn parse(text: &str) -> Option<u32> {
        whole(text)?.try_into().ok()
    }

    fn print(value: &u32) -> String {
        value.to_string()
    }
}

impl Kind for CountOrAuto {
    type Value = Option<u32>;
    const NAME: &'static str = "count or auto";
    const EXPECTED: &'static str = "a whole number or auto";

    fn parse(text: &str) -> Option<Option<u32>> {
        if text.eq_ignore_ascii_case(AUTO) {
            return Some(None);
        }
        Count::parse(text).map(Some)
    }

    fn print(value: &Option<u32>) -> String {
        value.map_or_else(|| AUTO.to_owned(), |count| count.to_string())
    }
}

impl Kind for Seconds {
    type Value = Duration;
    const NAME: &'static str = "seconds";
    const EXPECTED: &'static str = "a time in seconds";

    fn parse(text: &str) -> Option<Duration> {
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let seconds: f64 = text.parse().ok().filter(|_| plain)?;
        let longest = Duration::from_secs(LONGEST);
        let time = Duration::try_from_secs_f64(seconds).ok()?;
        (time <= longest).then_some(time)
    }

    fn print(value: &Duration) -> String {
        value.as_secs_f64().to_string()
    }
}

impl Kind for Flag {
    type Value = bool;
    const NAME: &'static str = "flag";
    const EXPECTED: &'static str = "0 or 1";

    /// Any other number than 0 is yes, as in PgBouncer.
    fn parse(text: &str) -> Option<bool> {
        let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is(&["yes", "true", "on", "t", "y"]) {
            return Some(true);
        }
        if is(&["no", "false", "off", "f", "n"]) {
            return Some(false);
        }
        Count::parse(text).map(|number| number != 0)
    }

    fn print(value: &bool) -> String {
        if *value { "1" } else { "0" }.to_owned()
    }
}

impl Kind for Text {
    type Value = String;
    const NAME: &'static str = "text";
    const EXPECTED: &'static str = "text";

    fn parse(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn print(value: &String) -> String {
        value.clone()
    }
}

impl Kind for Names {
    type Value = Vec<String>;
    const NAME: &'static str = "names";
    const EXPECTED: &'static str = "names with commas between them";

    fn parse(text: &str) -> Option<Vec<String>> {
        let names = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        Some(names.map(str::to_owned).collect())
    }

    fn print(value: &Vec<String>) -> String {
        value.join(", ")
    }
}

impl Kind for Port {
    type Value = u16;
    const NAME: &'static str = "port";
    const EXPECTED: &'static str = "a port from 1 to 65535";

    fn parse(text: &str) -> Option<u16> {
        whole(text)?.try_into().ok().filter(|port| *port != 0)
    }

    fn print(value: &u16) -> String {
        value.to_string()
    }
}

impl Kind for Ports {
    type Value = Vec<u16>;
    const NAME: &'static str = "ports";
    const EXPECTED: &'static str = "ports from 1 to 65535, with commas between them";

    fn parse(text: &str) -> Option<Vec<u16>> {
        text.split(',')
            .map(|port| Port::parse(port.trim()))
            .collect()
    }

    fn print(value: &Vec<u16>) -> String {
        let ports: Vec<_> = value.iter().map(Port::print).collect();
        ports.join(",")
    }
}

impl Kind for Octal {
    type Value = u32;
    const NAME: &'static str = "octal";
    const EXPECTED: &'static str = "permissions in octal, such as 0770";

    fn parse(text: &str) -> Option<u32> {
        let digits = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| digits)?;
        (mode <= 0o7777).then_some(mode)
    }

    fn print(value: &u32) -> String {
        format!("{value:04o}")
    }
}

impl Kind for Size {
    type Value = u64;
    const NAME: &'static str = "size";
    const EXPECTED: &'static str = "a number of bytes, or one with kB, MB or GB";

    fn parse(text: &str) -> Option<u64> {
        for (unit, bytes) in UNITS {
            if let Some(number) = text.strip_suffix(unit) {
                return whole(number.trim_end())?.checked_mul(bytes);
            }
        }
        whole(text)
    }

    fn print(value: &u64) -> String {
        for (unit, bytes) in UNITS {
            if *value != 0 && value.is_multiple_of(bytes) {
                return format!("{}{unit}", value / bytes);
            }
        }
        value.to_string()
    }
}

/// Reads a whole number as C does: `0x` is hexadecimal and a leading 0 octal.
fn whole(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // A sign would be accepted by `from_str_radix`.
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(digits, radix).ok().filter(|_| plain)
}

const AUTO: &str = "auto";

/// The longest time that may be configured, in seconds: far enough, and near
/// enough that adding it to a clock cannot overflow.
const LONGEST: u64 = 0x7fff_ffff;

/// Units of [`Size`], the largest first.
const UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_whole_numbers_as_c_does() {
        assert_eq!(Count::parse("20"), Some(20));
        assert_eq!(Count::parse("0x10"), Some(16));
        assert_eq!(Count::parse("010"), Some(8));
        for bad in ["", "-1", "+1", "1 ", "4294967296", "1e3", "0x"] {
            assert_eq!(Count::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_decimals_of_a_second_and_refuses_endless_times() {
        assert_eq!(Seconds::parse("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(Seconds::print(&Duration::from_millis(1500)), "1.5");
        for bad in ["", "-1", "inf", "nan", "1e9", "99999999999", "5s"] {
            assert_eq!(Seconds::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reads_flags_in_words_and_numbers() {
        for yes in ["1", "yes", "TRUE", "on", "45"] {
            assert_eq!(Flag::parse(yes), Some(true), "{yes}");
        }
        for no in ["0", "no", "false", "Off"] {
            assert_eq!(Flag::parse(no), Some(false), "{no}");
        }
        assert_eq!(Flag::parse("maybe"), None);
    }

    #[test]
    fn splits_names_at_commas() {
        assert_eq!(
            Names::parse(" a, b ,,c"),
            Some(vec!["a".into(), "b".into(), "c".into()])
        );
        assert_eq!(Names::parse(""), Some(vec![]));
    }

    #[test]
    fn rejects_permissions_that_are_not_octal() {
        assert_eq!(Octal::parse("0777"), Some(0o777));
        for bad in ["", "8", "+7", "17777"] {
            assert_eq!(Octal::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(count: u32, bytes: u64, mode in 0u32..0o10000, port in 1u16..) {
            prop_assert_eq!(Count::parse(&Count::print(&count)), Some(count));
            prop_assert_eq!(Size::parse(&Size::print(&bytes)), Some(bytes));
            prop_assert_eq!(Octal::parse(&Octal::print(&mode)), Some(mode));
            prop_assert_eq!(Port::parse(&Port::print(&port)), Some(port));
            let ports = vec![port; 3];
            prop_assert_eq!(Ports::parse(&Ports::print(&ports)), Some(ports));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = (Count::parse(&text), CountOrAuto::parse(&text), Seconds::parse(&text));
            let _ = (Flag::parse(&text), Names::parse(&text), Octal::parse(&text), Size::parse(&text));
        }
    }
}

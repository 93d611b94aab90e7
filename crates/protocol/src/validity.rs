//! From when until when a certificate is valid.
//!
//! Source: RFC 5280, section 4.1.2.5.

use crate::der::{SEQUENCE, fields, inside, split};

/// From when until when a certificate is valid, as `2026-07-10 22:19:13 UTC`: such
/// texts compare as the times follow each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Its first second.
    pub from: String,
    /// Its last one.
    pub until: String,
}

impl Validity {
    /// That of a `certificate` in DER; `None` if it is none, or has times that no
    /// certificate should have.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_signature, behind) = inside(fields(certificate)?, SEQUENCE)?;
        let (_issuer, behind) = inside(behind, SEQUENCE)?;
        let (validity, _) = inside(behind, SEQUENCE)?;
        let (tag, from, behind) = split(validity)?;
        let from = time(tag, from)?;
        let (tag, until, _) = split(behind)?;
        let until = time(tag, until)?;
        Some(Self { from, until })
    }
}

/// The text of a time; years of two digits are those from 1950 to 2049.
fn time(tag: u8, written: &[u8]) -> Option<String> {
    let written = str::from_utf8(written).ok()?;
    let digits = written.strip_suffix('Z')?;
    let expected = match tag {
        UTC_TIME => 12,
        GENERALIZED_TIME => 14,
        _ => return None,
    };
    if digits.len() != expected || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = digits.split_at(expected - 10);
    let century = match tag {
        UTC_TIME if year < "50" => "20",
        UTC_TIME => "19",
        _ => "",
    };
    let (month, rest) = rest.split_at(2);
    let (day, rest) = rest.split_at(2);
    let (hour, rest) = rest.split_at(2);
    let (minute, second) = rest.split_at(2);
    Some(format!(
        "{century}{year}-{month}-{day} {hour}:{minute}:{second} UTC"
    ))
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    /// A certificate, as far as it is looked at, with these times.
    fn certificate(times: &[(u8, &str)]) -> Vec<u8> {
        let times = times
            .iter()
            .flat_map(|(tag, text)| value(*tag, text.as_bytes()));
        let fields = [
            value(2, &[7]),
            value(SEQUENCE, b"signature"),
            value(SEQUENCE, b"issuer"),
            value(SEQUENCE, &times.collect::<Vec<_>>()),
        ];
        value(SEQUENCE, &value(SEQUENCE, &fields.concat()))
    }

    fn until(tag: u8, text: &str) -> Option<String> {
        let certificate = certificate(&[(UTC_TIME, "190101000000Z"), (tag, text)]);
        Validity::of(&certificate).map(|validity| validity.until)
    }

    #[test]
    fn reads_both_ways_to_write_a_time() {
        let certificate = certificate(&[
            (UTC_TIME, "491231235959Z"),
            (GENERALIZED_TIME, "20500101000001Z"),
        ]);
        let validity = Validity::of(&certificate).unwrap();
        assert_eq!(validity.from, "2049-12-31 23:59:59 UTC");
        assert_eq!(validity.until, "2050-01-01 00:00:01 UTC");
        let old = until(UTC_TIME, "500101000000Z");
        assert_eq!(old.as_deref(), Some("1950-01-01 00:00:00 UTC"));
    }

    #[test]
    fn knows_no_other_times() {
        for (tag, text) in [
            (UTC_TIME, "20500101000001Z"),
            (UTC_TIME, "4912312359Z"),
            (UTC_TIME, "491231235959+0100"),
            (UTC_TIME, "4912312359x9Z"),
            (GENERALIZED_TIME, "491231235959Z"),
            (SEQUENCE, "491231235959Z"),
        ] {
            assert_eq!(until(tag, text), None, "{tag} {text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_times(from: String, until: String, tag: u8) {
            prop_assume!(from.len() < 40 && until.len() < 40);
            let _ = Validity::of(&certificate(&[(UTC_TIME, &from), (tag, &until)]));
        }

        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = Validity::of(&bytes);
        }
    }
}

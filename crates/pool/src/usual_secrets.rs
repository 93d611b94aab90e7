//! What secrets look like to whoever tries to log in.
//!
//! Who is not there is asked for a proof as those are who are: as one of them,
//! chosen by the name. Of the database the group knows what it has seen, and
//! every worker knows it, by whomever the first secret was fetched.

use std::collections::BTreeMap;

use pgskein_protocol::Secret;

use crate::octets::{Octets, Truncated};

/// What the secret of one user looks like.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Form {
    /// It is hashed by MD5, or lets nobody in.
    Other,
    /// It is the password.
    Plain,
    /// It is for SCRAM, with so many iterations.
    Scram(u32),
}

/// What the secrets of a file look like, and how many look so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forms(BTreeMap<Form, u64>);

/// What the secrets of the database look like, as far as was seen.
///
/// What was seen once stays: if it followed the last one, somebody could tell
/// whose secret does not change.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UsualSecrets {
    /// There are some that are not for SCRAM.
    other: bool,
    /// The number of iterations of the first one that is.
    iterations: Option<u32>,
}

impl Form {
    /// What a secret looks like.
    pub fn of(text: &str) -> Self {
        match Secret::parse(text) {
            Secret::Scram(secret) => Self::Scram(secret.iterations),
            Secret::Plain(password) if !password.is_empty() => Self::Plain,
            Secret::Plain(_) | Secret::Md5(_) => Self::Other,
        }
    }
}

impl FromIterator<Form> for Forms {
    fn from_iter<I: IntoIterator<Item = Form>>(all: I) -> Self {
        let mut forms = BTreeMap::new();
        for form in all {
            *forms.entry(form).or_default() += 1;
        }
        Self(forms)
    }
}

impl Forms {
    /// One of them by any number; each as often as secrets look so.
    pub fn pick(&self, number: u32) -> Option<Form> {
        let all: u64 = self.0.values().sum();
        let mut rest = (u64::from(number) * all) >> u32::BITS;
        for (form, count) in &self.0 {
            match rest.checked_sub(*count) {
                Some(less) => rest = less,
                None => return Some(*form),
            }
        }
        None
    }
}

impl UsualSecrets {
    /// Notes a secret that was fetched; whether it tells anything new.
    pub fn note(&mut self, text: &str) -> bool {
        self.merge(match Form::of(text) {
            Form::Scram(iterations) => Self {
                other: false,
                iterations: Some(iterations),
            },
            Form::Other | Form::Plain => Self {
                other: true,
                iterations: None,
            },
        })
    }

    /// Notes what others have seen; whether it tells anything new.
    pub fn merge(&mut self, others: Self) -> bool {
        let before = *self;
        self.other |= others.other;
        self.iterations = self.iterations.or(others.iterations);
        *self != before
    }

    /// What one of them looks like, by any number; `None` if none was seen.
    pub fn pick(&self, number: u32) -> Option<Form> {
        match (self.iterations, self.other) {
            (Some(_), true) if number % 2 == 1 => Some(Form::Other),
            (Some(iterations), _) => Some(Form::Scram(iterations)),
            (None, true) => Some(Form::Other),
            (None, false) => None,
        }
    }

    /// The number of iterations of those for SCRAM, if one was seen.
    pub fn iterations(&self) -> Option<u32> {
        self.iterations
    }

    /// Appends it for another process: 1 if some are not for SCRAM, else 0,
    /// then the iterations in four bytes, 0 if none was seen.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.other));
        out.extend_from_slice(&self.iterations.unwrap_or_default().to_be_bytes());
    }

    /// Reads what [`UsualSecrets::encode`] wrote.
    pub(crate) fn decode(octets: &mut Octets<'_>) -> Result<Self, Truncated> {
        Ok(Self {
            other: octets.u8()? != 0,
            iterations: Some(octets.u32()?).filter(|iterations| *iterations != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use pgskein_protocol::ScramSecret;

    use super::*;
    use crate::control::{ToSupervisor, ToWorker};

    const MD5: &str = "md5b1ffb1d9dc1b1e5a9ad6b4e6bb4fa9b7";

    fn scram(iterations: u32) -> String {
        ScramSecret::derive("pw", b"salt", iterations).to_string()
    }

    #[test]
    fn keeps_what_was_seen_first() {
        let mut usual = UsualSecrets::default();
        assert_eq!(usual.pick(0), None);
        assert!(usual.note(&scram(3)));
        assert!(!usual.note(&scram(4)));
        assert_eq!(usual.pick(1), Some(Form::Scram(3)));
        assert!(usual.note(MD5));
        assert!(!usual.note("plain"));
        // Then some are asked so and some so.
        assert_eq!(usual.pick(0), Some(Form::Scram(3)));
        assert_eq!(usual.pick(1), Some(Form::Other));
        assert_eq!(usual.iterations(), Some(3));
        let mut other = UsualSecrets::default();
        other.note(MD5);
        assert_eq!(other.pick(0), Some(Form::Other));
        assert!(other.merge(usual));
        assert_eq!(other, usual);
    }

    #[test]
    fn picks_each_form_as_often_as_there_are_such() {
        let texts = ["", MD5, "plain", &scram(3), &scram(3), &scram(4)];
        let forms: Forms = texts.into_iter().map(Form::of).collect();
        let sixth = u32::MAX / 6;
        let picked: Vec<_> = (0..6)
            .map(|n| forms.pick(n * sixth + sixth / 2).unwrap())
            .collect();
        assert_eq!(
            picked,
            [
                Form::Other,
                Form::Other,
                Form::Plain,
                Form::Scram(3),
                Form::Scram(3),
                Form::Scram(4)
            ]
        );
        assert_eq!(forms.pick(u32::MAX), Some(Form::Scram(4)));
        assert_eq!(Forms::default().pick(7), None);
    }

    #[test]
    fn reads_recorded_messages() {
        let mut usual = UsualSecrets::default();
        usual.note(&scram(5));
        usual.note(MD5);
        let mut out = Vec::new();
        ToSupervisor::Usual(usual).encode(&mut out);
        assert_eq!(out, b"\0\0\0\x08\x01\x61\0\x01\0\0\0\x05");
        assert_eq!(ToSupervisor::decode(&out), Ok(ToSupervisor::Usual(usual)));
        for (usual, recorded) in [
            (usual, b"\0\0\0\x08\x01\xb1\0\x01\0\0\0\x05"),
            (UsualSecrets::default(), b"\0\0\0\x08\x01\xb1\0\0\0\0\0\0"),
        ] {
            let mut out = Vec::new();
            ToWorker::Usual(usual).encode(&mut out);
            assert_eq!(out, recorded);
            assert_eq!(ToWorker::decode(recorded), Ok(ToWorker::Usual(usual)));
        }
        assert!(ToWorker::decode(b"\0\0\0\x07\x01\xb1\0\0\0\0\0").is_err());
    }
}

//! What kind of secrets the database has, as far as the group has seen.
//!
//! Who is not known to it is asked for a proof as those are who are, by every
//! worker: by the one that has fetched no secret yet, too.

use pgskein_protocol::Secret;

use crate::octets::{Octets, Truncated};

/// What kind of secrets the database has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UsualSecrets {
    /// The last one that was fetched is none for SCRAM.
    other: bool,
    /// The number of iterations of the last one that is.
    iterations: Option<u32>,
}

impl UsualSecrets {
    /// Notes a secret that was fetched; whether it is of another kind.
    pub fn note(&mut self, text: &str) -> bool {
        let before = *self;
        match Secret::parse(text) {
            Secret::Scram(secret) => {
                self.other = false;
                self.iterations = Some(secret.iterations);
            }
            Secret::Md5(_) | Secret::Plain(_) => self.other = true,
        }
        *self != before
    }

    /// Whether they are for SCRAM; so they are if none was seen.
    pub fn are_for_scram(&self) -> bool {
        !self.other
    }

    /// The number of iterations of those for SCRAM, if one was seen.
    pub fn iterations(&self) -> Option<u32> {
        self.iterations
    }

    /// Appends it for another process: 1 if the last was none for SCRAM, else 0,
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
    fn follows_the_kind_of_the_last_one() {
        let mut usual = UsualSecrets::default();
        assert!(usual.are_for_scram());
        assert!(usual.note(&scram(3)));
        assert!(!usual.note(&scram(3)));
        assert!(usual.note(MD5));
        assert!(!usual.are_for_scram());
        // Who has none for SCRAM is asked by as many as those who have.
        assert_eq!(usual.iterations(), Some(3));
        assert!(usual.note(&scram(4)));
        assert_eq!((usual.are_for_scram(), usual.iterations()), (true, Some(4)));
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

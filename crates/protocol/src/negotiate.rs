//! What a session gets of what its startup packet asked for.
//!
//! The answer, NegotiateProtocolVersion, is sent once, before authentication,
//! and only when something was asked for that is not given: libpq 18 drops a
//! connection that gets one without need.
//!
//! Source: PostgreSQL documentation, "Message Formats",
//! NegotiateProtocolVersion.

use std::error::Error;
use std::fmt;

use crate::startup::{StartupMessage, Version};
use crate::write;

/// What is granted to a session, and what is not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Negotiation {
    /// The version that both sides speak from here on.
    pub version: Version,
    /// Protocol options that were asked for and are not ours, as sent.
    pub unknown: Vec<String>,
    /// Whether the client takes GoAway.
    pub goaway: bool,
}

impl Negotiation {
    /// Decides on the version and the protocol options of `message`.
    ///
    /// Minor versions up to 2 are granted as they are, 3.1 among them although
    /// nobody should ask for it; PostgreSQL 18 does the same. Higher ones
    /// become 3.2.
    ///
    /// # Errors
    ///
    /// [`NegotiationError`] when an option of ours has a value that it cannot
    /// have; the session is then refused.
    pub fn of(message: &StartupMessage<'_>) -> Result<Self, NegotiationError> {
        let mut unknown = Vec::new();
        let mut goaway = false;
        for (name, value) in message.parameters() {
            if name == GO_AWAY {
                if value != b"1" {
                    return Err(NegotiationError::GoAway {
                        value: String::from_utf8_lossy(value).into_owned(),
                    });
                }
                goaway = true;
            } else if is_protocol_option(name) {
                unknown.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        Ok(Self {
            version: message.version.min(Version::V3_2),
            unknown,
            goaway,
        })
    }

    /// Whether a client that asked for `requested` must be told of the result.
    pub fn reply_needed(&self, requested: Version) -> bool {
        self.version != requested || !self.unknown.is_empty()
    }

    /// Appends NegotiateProtocolVersion to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        write::negotiate(out, self.version, &self.unknown);
    }
}

/// Whether a startup parameter with this name asks something of the protocol,
/// and is no setting of the session.
pub fn is_protocol_option(name: &[u8]) -> bool {
    name.starts_with(b"_pq_.")
}

/// Why a session cannot be had as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NegotiationError {
    /// The option `_pq_.goaway` has a value other than `1`.
    GoAway {
        /// The value as sent; what is not UTF-8 in it is replaced.
        value: String,
    },
}

impl NegotiationError {
    /// SQLSTATE of the final ErrorResponse.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::GoAway { .. } => "08P01",
        }
    }

    /// Hint of the final ErrorResponse.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::GoAway { .. } => Some("Valid values are: \"1\"."),
        }
    }
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GoAway { value } => write!(
                f,
                "invalid value for protocol option \"_pq_.goaway\": \"{value}\""
            ),
        }
    }
}

impl Error for NegotiationError {}

/// The option by which a client says that it takes GoAway.
pub(crate) const GO_AWAY: &[u8] = b"_pq_.goaway";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::startup::Startup;

    fn negotiate(
        minor: u16,
        pairs: &[(&[u8], &[u8])],
    ) -> (Result<Negotiation, NegotiationError>, Version) {
        let requested = Version { major: 3, minor };
        let mut bytes = Vec::new();
        write::startup(&mut bytes, requested, pairs);
        match Startup::split(&bytes) {
            Ok(Some((Startup::Session(message), []))) => (Negotiation::of(&message), requested),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn grants_known_versions_without_a_word() {
        for minor in [0, 1, 2] {
            let (result, requested) = negotiate(minor, &[(b"user", b"alice")]);
            let negotiation = result.unwrap();
            assert_eq!(negotiation.version, requested);
            assert!(!negotiation.reply_needed(requested), "3.{minor}");
        }
    }

    #[test]
    fn lowers_higher_minor_versions_to_the_latest() {
        for minor in [3, 9999, 65535] {
            let (result, requested) = negotiate(minor, &[(b"user", b"alice")]);
            let negotiation = result.unwrap();
            assert_eq!(negotiation.version, Version::V3_2);
            assert!(negotiation.reply_needed(requested), "3.{minor}");
        }
    }

    #[test]
    fn answers_greased_startup_of_libpq_19() {
        let (result, requested) = negotiate(
            9999,
            &[
                (b"user", b"alice"),
                (b"_pq_.test_protocol_negotiation", b""),
            ],
        );
        let negotiation = result.unwrap();
        assert!(negotiation.reply_needed(requested));
        let mut out = Vec::new();
        negotiation.write(&mut out);
        assert_eq!(
            out,
            b"v\0\0\0\x2b\x00\x03\x00\x02\0\0\0\x01_pq_.test_protocol_negotiation\0"
        );
    }

    #[test]
    fn names_unknown_options_at_any_version_in_their_order() {
        for minor in [0, 1, 2] {
            let (result, requested) =
                negotiate(minor, &[(b"_pq_.b", b"1"), (b"x", b"y"), (b"_pq_.a", b"2")]);
            let negotiation = result.unwrap();
            assert_eq!(negotiation.unknown, ["_pq_.b", "_pq_.a"]);
            assert_eq!(negotiation.version, requested);
            assert!(negotiation.reply_needed(requested));
        }
    }

    #[test]
    fn accepts_goaway_at_any_version_without_a_word() {
        for minor in [0, 2] {
            let (result, requested) = negotiate(minor, &[(b"_pq_.goaway", b"1")]);
            let negotiation = result.unwrap();
            assert!(negotiation.goaway);
            assert!(!negotiation.reply_needed(requested));
        }
    }

    #[test]
    fn rejects_any_other_value_of_goaway() {
        for value in [&b"0"[..], b"", b"11", b"true"] {
            let error = negotiate(2, &[(b"_pq_.goaway", value)]).0.unwrap_err();
            assert_eq!(error.sqlstate(), "08P01");
            assert_eq!(error.hint(), Some("Valid values are: \"1\"."));
            assert_eq!(
                error.to_string(),
                format!(
                    "invalid value for protocol option \"_pq_.goaway\": \"{}\"",
                    String::from_utf8_lossy(value)
                )
            );
        }
    }

    #[test]
    fn rejects_bad_goaway_behind_a_good_one() {
        let pairs: &[(&[u8], &[u8])] = &[(b"_pq_.goaway", b"1"), (b"_pq_.goaway", b"2")];
        assert!(negotiate(2, pairs).0.is_err());
    }
}

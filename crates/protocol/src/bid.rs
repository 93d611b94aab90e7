//! What we ask a server for, and what it grants.
//!
//! ```text
//! Asked ── v ──> Answered ── R ──> Settled
//!   └────────────── R ───────────────^
//! ```
//!
//! A server that knows less than it was asked for says so once, before its
//! first Authentication message. Servers and poolers that do not know how to
//! say it refuse the session instead; they are asked again in plain 3.0.
//!
//! Source: PostgreSQL documentation, "Message Formats",
//! NegotiateProtocolVersion; "Protocol Versions".

use std::error::Error;
use std::fmt;

use crate::backend::Negotiated;
use crate::negotiate::GO_AWAY;
use crate::startup::Version;
use crate::write;

/// What one server connection was asked for and, once settled, what it has
/// granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bid {
    version: Version,
    goaway: bool,
    phase: Phase,
    /// It follows one that was refused.
    second: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// The server has said nothing.
    Asked,
    /// It has sent NegotiateProtocolVersion.
    Answered,
    /// It has sent its first Authentication message.
    Settled,
}

impl Bid {
    /// Asks for 3.2 and for GoAway.
    pub fn newest() -> Self {
        Self {
            version: Version::V3_2,
            goaway: true,
            phase: Phase::Asked,
            second: false,
        }
    }

    /// Asks for 3.0 and nothing else.
    pub fn plain() -> Self {
        Self {
            version: Version::V3_0,
            goaway: false,
            phase: Phase::Asked,
            second: false,
        }
    }

    /// What a server has granted to somebody else, who hands it over.
    pub fn granted(version: Version, goaway: bool) -> Self {
        Self {
            version,
            goaway,
            phase: Phase::Settled,
            second: false,
        }
    }

    /// What to ask for after a refusal: plain 3.0, or nothing more if that was
    /// refused, or if the refusal had nothing to do with it.
    pub fn after_refusal(self) -> Option<Self> {
        let by_version = self.phase != Phase::Settled && self != Self::plain() && !self.second;
        by_version.then_some(Self {
            second: true,
            ..Self::plain()
        })
    }

    /// Appends the StartupMessage with these parameters, and with the options
    /// that are asked for.
    pub fn write(&self, out: &mut Vec<u8>, parameters: &[(&[u8], &[u8])]) {
        let mut pairs = parameters.to_vec();
        if self.goaway {
            pairs.push((GO_AWAY, b"1"));
        }
        write::startup(out, self.version, &pairs);
    }

    /// Takes the body of NegotiateProtocolVersion.
    ///
    /// # Errors
    ///
    /// [`BidError`] for an answer that does not fit what was asked; the server
    /// cannot be used then.
    pub fn on_negotiate(&mut self, body: &[u8]) -> Result<(), BidError> {
        match self.phase {
            Phase::Answered => return Err(BidError::Twice),
            Phase::Settled => return Err(BidError::Late),
            Phase::Asked if self.version == Version::V3_0 && !self.goaway => {
                return Err(BidError::Unasked);
            }
            Phase::Asked => {}
        }
        let answer = Negotiated::parse(body).ok_or(BidError::Malformed)?;
        if ![Version::V3_0, Version::V3_2].contains(&answer.version)
            || answer.version > self.version
        {
            return Err(BidError::Version(answer.version));
        }
        let mut goaway = self.goaway;
        for name in answer.unknown() {
            if name != GO_AWAY || !std::mem::replace(&mut goaway, false) {
                return Err(BidError::Option(String::from_utf8_lossy(name).into_owned()));
            }
        }
        if (answer.version, goaway) == (self.version, self.goaway) {
            return Err(BidError::Needless);
        }
        self.version = answer.version;
        self.goaway = goaway;
        self.phase = Phase::Answered;
        Ok(())
    }

    /// Takes note of an Authentication message; true if it shows that the
    /// server takes plain 3.0 where it refused more.
    pub fn on_authentication(&mut self) -> bool {
        let first = self.phase != Phase::Settled;
        self.phase = Phase::Settled;
        first && self.second
    }

    /// Whether the server has sent an Authentication message.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Settled
    }

    /// The version that both sides speak, once settled.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the server may send GoAway, once settled.
    pub fn goaway(&self) -> bool {
        self.goaway
    }
}

/// Why a NegotiateProtocolVersion is no answer to what was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BidError {
    /// It has not its form.
    Malformed,
    /// Nothing was asked for that could be negotiated.
    Unasked,
    /// It is the second one.
    Twice,
    /// It comes behind an Authentication message.
    Late,
    /// The server wants to speak this version, which is higher than what was
    /// asked for, or does not exist.
    Version(Version),
    /// It names this option, which was not asked for, or names it twice.
    Option(String),
    /// It grants all that was asked for.
    Needless,
}

impl fmt::Display for BidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid NegotiateProtocolVersion from server: ")?;
        match self {
            Self::Malformed => f.write_str("malformed"),
            Self::Unasked => f.write_str("nothing was asked for"),
            Self::Twice => f.write_str("sent twice"),
            Self::Late => f.write_str("sent after authentication began"),
            Self::Version(version) => write!(f, "version {version} was not offered"),
            Self::Option(name) => write!(f, "option \"{name}\" was not asked for"),
            Self::Needless => f.write_str("all that was asked for is granted"),
        }
    }
}

impl Error for BidError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::startup::Startup;

    fn answer(version: Version, names: &[&str]) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        write::negotiate(&mut out, version, &names);
        out.split_off(crate::HEADER_LEN)
    }

    fn outcome(version: Version, names: &[&str]) -> Result<(Version, bool), BidError> {
        let mut bid = Bid::newest();
        bid.on_negotiate(&answer(version, names))?;
        assert!(!bid.on_authentication());
        Ok((bid.version(), bid.goaway()))
    }

    #[test]
    fn writes_a_startup_packet_that_asks_for_the_newest() {
        let mut out = Vec::new();
        Bid::newest().write(&mut out, &[(b"user", b"a")]);
        let Ok(Some((Startup::Session(message), []))) = Startup::split(&out) else {
            panic!("{out:?}");
        };
        assert_eq!(message.version, Version::V3_2);
        let pairs: Vec<_> = message.parameters().collect();
        assert_eq!(pairs, [(&b"user"[..], &b"a"[..]), (b"_pq_.goaway", b"1")]);
        out.clear();
        Bid::plain().write(&mut out, &[(b"user", b"a")]);
        assert_eq!(out, b"\0\0\0\x10\0\x03\0\0user\0a\0\0");
    }

    #[test]
    fn takes_what_it_is_given() {
        let mut bid = Bid::newest();
        assert!(!bid.on_authentication());
        assert_eq!((bid.version(), bid.goaway()), (Version::V3_2, true));
        assert_eq!(
            outcome(Version::V3_2, &["_pq_.goaway"]),
            Ok((Version::V3_2, false))
        );
        assert_eq!(
            outcome(Version::V3_0, &["_pq_.goaway"]),
            Ok((Version::V3_0, false))
        );
        assert_eq!(outcome(Version::V3_0, &[]), Ok((Version::V3_0, true)));
    }

    #[test]
    fn rejects_versions_that_were_not_offered() {
        for (major, minor) in [(3, 1), (3, 3), (3, 9999), (2, 0), (4, 0), (0, 0)] {
            let version = Version { major, minor };
            assert_eq!(
                outcome(version, &["_pq_.goaway"]),
                Err(BidError::Version(version))
            );
        }
    }

    #[test]
    fn rejects_options_that_were_not_asked_for() {
        for names in [
            &["_pq_.goawa"][..],
            &["_pq_.goaway", "_pq_.goaway"],
            &["_pq_.goaway", "x"],
        ] {
            assert!(
                matches!(outcome(Version::V3_2, names), Err(BidError::Option(_))),
                "{names:?}"
            );
        }
    }

    #[test]
    fn rejects_an_answer_that_changes_nothing() {
        assert_eq!(outcome(Version::V3_2, &[]), Err(BidError::Needless));
    }

    #[test]
    fn rejects_a_second_a_late_and_an_unasked_answer() {
        let body = answer(Version::V3_0, &["_pq_.goaway"]);
        let mut bid = Bid::newest();
        bid.on_negotiate(&body).unwrap();
        assert_eq!(bid.on_negotiate(&body), Err(BidError::Twice));
        bid.on_authentication();
        assert_eq!(bid.on_negotiate(&body), Err(BidError::Late));
        assert_eq!(Bid::plain().on_negotiate(&body), Err(BidError::Unasked));
    }

    #[test]
    fn asks_once_more_after_a_refusal_before_authentication() {
        let mut second = Bid::newest().after_refusal().unwrap();
        assert_eq!((second.version(), second.goaway()), (Version::V3_0, false));
        assert_eq!(second.after_refusal(), None);
        assert!(second.on_authentication());
        assert!(!second.on_authentication(), "said once");

        assert_eq!(Bid::plain().after_refusal(), None);
        let mut settled = Bid::newest();
        settled.on_authentication();
        assert_eq!(settled.after_refusal(), None);
    }

    proptest! {
        #[test]
        fn never_grants_more_than_was_asked_for(body: Vec<u8>, version in 0..4_u16, extra: bool) {
            let mut bid = Bid::newest();
            let _ = bid.on_negotiate(&body);
            prop_assert!(bid.version() <= Version::V3_2);
            let names: &[&str] = if extra { &["_pq_.goaway"] } else { &[] };
            let mut bid = Bid::newest();
            let _ = bid.on_negotiate(&answer(Version { major: 3, minor: version }, names));
            prop_assert!(bid.version() <= Version::V3_2);
        }
    }
}

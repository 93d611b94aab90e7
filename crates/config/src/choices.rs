//! Values that are one word of a few.
//!
//! Words are compared without regard to case, as PgBouncer does.

use std::fmt;

use crate::kind::Kind;

/// Declares enums whose values are words; the first one is the `Default`.
macro_rules! choices {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            $(#[doc = $first_doc:literal])+ $first:ident = $first_word:literal,
            $( $(#[doc = $other_doc:literal])+ $other:ident = $other_word:literal, )*
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
        pub enum $name {
            $(#[doc = $first_doc])+
            #[default]
            $first,
            $( $(#[doc = $other_doc])+ $other, )*
        }

        impl $name {
            /// The word in the configuration file.
            pub fn as_str(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $( Self::$other => $other_word, )*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Kind for $name {
            type Value = Self;
            const NAME: &'static str = "choice";
            const EXPECTED: &'static str =
                concat!("one of ", $first_word, $( ", ", $other_word ),*);

            fn parse(text: &str) -> Option<Self> {
                if text.eq_ignore_ascii_case($first_word) {
                    return Some(Self::$first);
                }
                $( if text.eq_ignore_ascii_case($other_word) {
                    return Some(Self::$other);
                } )*
                None
            }

            fn print(value: &Self) -> String {
                value.as_str().to_owned()
            }
        }
    )+};
}

choices! {
    /// When a server goes back to its pool.
    PoolMode {
        /// When the client leaves.
        Session = "session",
        /// When the transaction ends.
        Transaction = "transaction",
        /// After each query; transaction blocks are refused.
        Statement = "statement",
    }

    /// How a client proves who it is.
    AuthType {
        /// By MD5, or by SCRAM where the stored secret is one for SCRAM.
        Md5 = "md5",
        /// Not at all, and its name is ignored: the database names the user.
        Any = "any",
        /// Not at all, but the user must be known.
        Trust = "trust",
        /// By its password in clear text.
        Plain = "plain",
        /// By SCRAM-SHA-256.
        ScramSha256 = "scram-sha-256",
        /// By a client certificate.
        Cert = "cert",
        /// As the HBA file says for each connection.
        Hba = "hba",
        /// By a directory server.
        Ldap = "ldap",
        /// By PAM.
        Pam = "pam",
    }

    /// How much TLS a connection has to have.
    SslMode {
        /// None.
        Disable = "disable",
        /// Whatever the other side wants.
        Allow = "allow",
        /// TLS where the other side has it.
        Prefer = "prefer",
        /// TLS, with any certificate.
        Require = "require",
        /// TLS, with a certificate of a known authority.
        VerifyCa = "verify-ca",
        /// TLS, with a certificate of a known authority for the right host.
        VerifyFull = "verify-full",
    }

    /// How clients are asked to go when the pooler drains.
    DrainNotify {
        /// GoAway to those that understand it, a parameter to the others.
        Both = "both",
        /// GoAway to those that understand it, nothing to the others.
        GoAway = "goaway",
        /// The parameter `disconnect_requested` to everyone.
        Parameter = "parameter",
        /// They are not asked.
        None = "none",
    }

    /// What becomes of the TCP listeners when the pooler drains.
    DrainListen {
        /// They are closed once their queues are empty.
        Close = "close",
        /// They stay: cancels are served and sessions refused.
        Answer = "answer",
    }

    /// The protocol version that servers are asked for.
    ServerProtocol {
        /// The newest that the host can take.
        Auto = "auto",
        /// 3.0, without any option.
        V3_0 = "3.0",
        /// 3.2.
        V3_2 = "3.2",
    }

    /// At which of several hosts a new server connection is tried first.
    LoadBalanceHosts {
        /// At the next one each time.
        RoundRobin = "round-robin",
        /// At the same one until it fails.
        Disable = "disable",
    }

    /// How TLS with servers begins.
    SslNegotiation {
        /// They are asked for it.
        Postgres = "postgres",
        /// At once.
        Direct = "direct",
    }

    /// Which servers of several hosts are used.
    TargetSessionAttrs {
        /// All.
        Any = "any",
        /// Those whose transactions may write.
        ReadWrite = "read-write",
        /// Those whose transactions may not.
        ReadOnly = "read-only",
        /// Those that are no standby.
        Primary = "primary",
        /// Those that are.
        Standby = "standby",
        /// Standbys; others where none can be used.
        PreferStandby = "prefer-standby",
    }

    /// The program that runs on another host of the group.
    PeerKind {
        /// Nobody has said; it may be PgBouncer.
        Unknown = "unknown",
        /// pgskein, which takes cancel keys of any length.
        Pgskein = "pgskein",
        /// PgBouncer, which takes those of 4 bytes only.
        PgBouncer = "pgbouncer",
    }

    /// What becomes of a server connection whose session state was changed.
    SessionState {
        /// What was changed is undone before the next client gets it.
        Reset = "reset",
        /// The client keeps it.
        Pin = "pin",
        /// It is passed on as it is.
        Pass = "pass",
    }
}

impl SslMode {
    /// Whether a connection without TLS does not do.
    pub fn demands_tls(self) -> bool {
        match self {
            Self::Disable | Self::Allow | Self::Prefer => false,
            Self::Require | Self::VerifyCa | Self::VerifyFull => true,
        }
    }

    /// Whether the other side needs a certificate of a known authority.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_in_any_case() {
        assert_eq!(PoolMode::parse("TRANSACTION"), Some(PoolMode::Transaction));
        assert_eq!(
            AuthType::parse("scram-sha-256"),
            Some(AuthType::ScramSha256)
        );
        assert_eq!(PoolMode::parse("sessions"), None);
    }

    #[test]
    fn expects_each_word() {
        assert_eq!(PoolMode::EXPECTED, "one of session, transaction, statement");
    }
}

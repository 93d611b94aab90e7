//! Unconfirmed: somebody else was asked about a password, and did not say that
//! it is right.
//!
//! Source: PostgreSQL documentation, "PostgreSQL Error Codes".

use pgskein_config::Checker;

/// Who is asked about passwords.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Service {
    /// A directory.
    Ldap,
    /// PAM.
    Pam,
}

/// Why a client may not come in whose password somebody else knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Unconfirmed {
    /// It was not confirmed, for this reason.
    Refused(Service, String),
    /// Too many wait for an answer.
    TooMany(Service),
}

impl Service {
    /// Who a checker is.
    pub(super) fn of(checker: &Checker) -> Self {
        match checker {
            Checker::Ldap(_) => Self::Ldap,
            Checker::Pam(_) => Self::Pam,
        }
    }
}

impl Unconfirmed {
    /// SQLSTATE for the client.
    pub(super) fn sqlstate(&self) -> &'static str {
        match self {
            Self::Refused(..) => "28000",
            Self::TooMany(_) => "53300",
        }
    }

    /// Text for the client.
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::Refused(Service::Ldap, _) => "LDAP authentication failed",
            Self::Refused(Service::Pam, _) => "PAM authentication failed",
            Self::TooMany(Service::Ldap) => "too many logins wait for LDAP authentication",
            Self::TooMany(Service::Pam) => "too many logins wait for PAM authentication",
        }
    }

    /// What only the log says.
    pub(super) fn detail(&self) -> Option<&str> {
        match self {
            Self::Refused(_, why) => Some(why),
            Self::TooMany(_) => None,
        }
    }
}

//! Denied: why somebody may not come in.
//!
//! Clients are told no more than PgBouncer tells them; what exactly was wrong
//! is for the log.
//!
//! Source: PostgreSQL documentation, "PostgreSQL Error Codes".

use pgskein_protocol::NameError;

use super::reason::Reason;

/// Why a client may not come in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// No line of the HBA file is for it.
    NoLine,
    /// The name of its host decides, and too many names are looked up.
    NotLookedUp,
    /// Our addresses decide, and cannot be read.
    NoInterfaces,
    /// The line for it rejects it.
    ByLine,
    /// The user of the system behind its socket may not be the one it wants.
    WrongPeer,
    /// The user of the system behind its socket has no name.
    NamelessPeer,
    /// Too many names of users of the system are looked up.
    PeerNotLookedUp,
    /// Too many passwords wait for being compared.
    Crowded,
    /// Nobody can be known by its certificate, or not whom it wants to be.
    Certificate(CertificateFault),
    /// It need not prove who it is, but the user is not known.
    Untrusted,
    /// Its password is empty.
    EmptyPassword,
    /// Its password does not do.
    Password(Fault),
    /// Its SASL exchange does not do.
    Sasl(Fault),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CertificateFault {
    /// The connection is not encrypted, so there can be none.
    NoTls,
    /// The client has shown none.
    NotShown,
    /// What was verified in the handshake is not believed any more.
    Outdated,
    /// Its name cannot be relied on.
    Name(NameError),
    /// Who it is for may not be this user.
    WrongUser,
}

/// What is wrong with a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The user is not known.
    UnknownUser,
    /// No password does: it has none, or that has expired.
    NoPassword,
    /// The stored secret is of a kind that does not serve the method.
    OtherKind,
    /// It does not fit the stored secret.
    Wrong,
}

impl Denied {
    /// SQLSTATE for the client.
    pub(super) fn sqlstate(self) -> &'static str {
        match self {
            // It may try again.
            Self::NotLookedUp | Self::PeerNotLookedUp | Self::Crowded => "53300",
            Self::NoLine
            | Self::NoInterfaces
            | Self::ByLine
            | Self::WrongPeer
            | Self::NamelessPeer
            | Self::Certificate(_)
            | Self::Untrusted => "28000",
            // A password file may have the wrong one.
            Self::EmptyPassword | Self::Password(_) | Self::Sasl(_) => "28P01",
        }
    }

    /// Text for the client.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::NoLine | Self::NotLookedUp | Self::NoInterfaces | Self::ByLine => {
                "login rejected"
            }
            Self::WrongPeer | Self::NamelessPeer | Self::PeerNotLookedUp => {
                "unix socket login rejected"
            }
            Self::Crowded => "too many logins wait for password authentication",
            Self::Certificate(CertificateFault::NoTls) => "TLS connection required",
            Self::Certificate(CertificateFault::NotShown) => "TLS client certificate required",
            Self::Certificate(_) => "certificate authentication failed",
            Self::Untrusted => "\"trust\" authentication failed",
            Self::EmptyPassword => "empty password returned by client",
            Self::Password(_) => "password authentication failed",
            Self::Sasl(_) => "SASL authentication failed",
        }
    }

    /// What only the log says.
    pub(super) fn detail(self) -> Option<&'static str> {
        Some(match self {
            Self::NoLine => "no line of auth_hba_file fits",
            Self::NotLookedUp => "too many names of hosts are looked up",
            Self::NoInterfaces => "the addresses of interfaces cannot be read",
            Self::ByLine => "reject",
            Self::WrongPeer => "the user of the system may not be this one",
            Self::NamelessPeer => "the user of the system has no name",
            Self::PeerNotLookedUp => "too many names of users are looked up",
            Self::Certificate(fault) => return fault.text(),
            Self::Untrusted => Fault::UnknownUser.text(),
            Self::EmptyPassword | Self::Crowded => return None,
            Self::Password(fault) | Self::Sasl(fault) => fault.text(),
        })
    }
}

impl Reason {
    /// What only the log says.
    pub(super) fn detail(&self) -> Option<&str> {
        match self {
            Self::Denied(denied) => denied.detail(),
            Self::Unconfirmed(unconfirmed) => unconfirmed.detail(),
            Self::Unanswered { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

impl CertificateFault {
    fn text(self) -> Option<&'static str> {
        match self {
            Self::NoTls | Self::NotShown => None,
            Self::Outdated => Some("the certificate is not believed any more"),
            Self::Name(error) => Some(error.text()),
            Self::WrongUser => Some("the name in the certificate may not be this user"),
        }
    }
}

impl Fault {
    fn text(self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown user",
            Self::NoPassword => "the user has no valid password",
            Self::OtherKind => "the stored secret does not serve this method",
            Self::Wrong => "wrong password",
        }
    }
}

//! Words: what went wrong with TLS, as an operator would call it.
//!
//! rustls names what two sides cannot agree on by what it missed in a message. That
//! is said behind, so that it can be searched for.
//!
//! Source: RFC 8446, "Handshake Protocol".

use rustls::{CertificateError, Error, PeerIncompatible};

/// What has failed, for the log and for errors.
pub(crate) fn words(error: &Error) -> String {
    match error {
        Error::PeerIncompatible(missed) => match in_common(missed) {
            Some(what) => format!("no {what} in common ({missed:?})"),
            None => error.to_string(),
        },
        Error::InvalidCertificate(CertificateError::Other(fault)) => {
            format!("invalid peer certificate: {}", fault.0)
        }
        _ => error.to_string(),
    }
}

/// What both sides would have to have, and do not.
fn in_common(missed: &PeerIncompatible) -> Option<&'static str> {
    Some(match missed {
        // Whoever offers nothing newer than TLS 1.1 names no signatures.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => "version of TLS",
        PeerIncompatible::NoCipherSuitesInCommon => "cipher",
        // Ciphers without elliptic curves come without the names of any.
        PeerIncompatible::NoKxGroupsInCommon | PeerIncompatible::NamedGroupsExtensionRequired => {
            "cipher or curve"
        }
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "kind of signature",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn says_what_is_not_in_common() {
        let missed = PeerIncompatible::SignatureAlgorithmsExtensionRequired;
        assert_eq!(
            words(&missed.into()),
            "no version of TLS in common (SignatureAlgorithmsExtensionRequired)"
        );
        assert_eq!(
            words(&PeerIncompatible::NoKxGroupsInCommon.into()),
            "no cipher or curve in common (NoKxGroupsInCommon)"
        );
    }

    #[test]
    fn keeps_what_has_words_already() {
        let error = Error::NoCertificatesPresented;
        assert_eq!(words(&error), "peer sent no certificates");
        let fault: Arc<dyn std::error::Error + Send + Sync> =
            Arc::new(std::io::Error::other("CaUsedAsEndEntity"));
        let error = CertificateError::Other(rustls::OtherError(fault));
        assert_eq!(
            words(&error.into()),
            "invalid peer certificate: CaUsedAsEndEntity"
        );
    }
}

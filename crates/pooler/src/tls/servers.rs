//! TLS towards servers: which certificates are believed.

use std::sync::Arc;

use pgskein_config::{Config, Finding, SslMode, TlsFile};
use pgskein_protocol::PublicKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::certified::certified;
use super::{ALPN, chain, provider, versions};

/// What connections to servers are encrypted by; none where they are not.
///
/// # Errors
///
/// What is wrong with a file, or with what was chosen.
pub(super) fn for_servers(config: &Config) -> Result<Option<Arc<ClientConfig>>, Finding> {
    let tls = &config.server_tls;
    let mode = config.settings.server_tls_sslmode;
    if mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(provider(tls));
    let authorities = match &tls.authorities {
        Some(file) if mode.verifies() => {
            let system = config.settings.server_tls_ca_file.is_empty();
            Some(Authorities::of(file, system)?)
        }
        _ => None,
    };
    let believed = Believed {
        authorities,
        by_name: mode == SslMode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let nowhere = |error: Error| Finding {
        file: String::new(),
        line: 0,
        setting: "server_tls_protocols".to_owned(),
        problem: error.to_string(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls))
        .map_err(nowhere)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(believed));
    let mut client = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => {
            let certified = certified(certificate, key)?;
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
        }
        _ => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    // PostgreSQL gives no tickets; before 2024 it did, and refused who came with one.
    client.resumption = Resumption::disabled();
    Ok(Some(Arc::new(client)))
}

/// Believes certificates that authorities of `file` have issued for the name of
/// the server; the file may be that of the system.
///
/// # Errors
///
/// What is wrong with the file.
pub(super) fn by_name(
    file: &TlsFile,
    system: bool,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<Arc<dyn ServerCertVerifier>, Finding> {
    Ok(Arc::new(Believed {
        authorities: Some(Authorities::of(file, system)?),
        by_name: true,
        algorithms,
    }))
}

/// Which certificates of servers are believed.
///
/// That the server has the key of its certificate is verified in any case.
#[derive(Debug)]
struct Believed {
    /// Who has to have issued them; none where nobody asks.
    authorities: Option<Authorities>,
    /// They have to be for the name of the server as well.
    by_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Those who are known by a file.
#[derive(Debug)]
struct Authorities {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Those of `file`; of those of the system some may be of a kind that is not
    /// known.
    fn of(file: &TlsFile, system: bool) -> Result<Self, Finding> {
        let certificates = chain(file)?;
        let mut roots = RootCertStore::empty();
        if system {
            roots.add_parsable_certificates(certificates.iter().cloned());
        } else {
            roots = super::roots(file)?;
        }
        if roots.is_empty() {
            return Err(file.finding("holds no authority that can be used"));
        }
        Ok(Self {
            roots,
            certificates,
        })
    }

    fn has_issued(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let issued = verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            algorithms.all,
        );
        match issued {
            // A server that has signed its certificate itself shows an authority,
            // in the file as it is; its time is looked at before that.
            Err(Error::InvalidCertificate(CertificateError::Other(_)))
                if self.certificates.iter().any(|one| one == certificate) =>
            {
                Ok(())
            }
            issued => issued,
        }
    }
}

impl Believed {
    /// Verifies a signature by a key that is in a certificate of a kind that is
    /// not known, such as one of the first version of X.509.
    fn by_key(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
        because: Error,
    ) -> Result<HandshakeSignatureValid, Error> {
        let unknown = matches!(because, Error::InvalidCertificate(_))
            && ParsedCertificate::try_from(certificate).is_err();
        let Some(key) = PublicKey::of(certificate).filter(|_| unknown) else {
            return Err(because);
        };
        let schemes = self.algorithms.mapping.iter();
        let verified = schemes
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, algorithms)| algorithms.iter())
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm)
            .any(|algorithm| {
                let verified = algorithm.verify_signature(key.bits, message, signed.signature());
                verified.is_ok()
            });
        if verified {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(because)
        }
    }
}

impl ServerCertVerifier for Believed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.has_issued(end_entity, intermediates, now, &self.algorithms)?;
        }
        if self.by_name {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
            .or_else(|error| self.by_key(message, certificate, signed, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
            .or_else(|error| self.by_key(message, certificate, signed, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

//! TLS towards servers: which certificates are believed.

use std::sync::Arc;

use pgskein_config::{Config, Finding, SslMode, TlsFile};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{ALPN, chain, private_key, provider, roots, unusable, versions};

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
    let believed = match (mode, &tls.authorities) {
        (SslMode::VerifyCa | SslMode::VerifyFull, Some(file)) => {
            let system = config.settings.server_tls_ca_file.is_empty();
            Some((believed(file, system)?, file))
        }
        _ => None,
    };
    let verifier = verifier(mode, believed, &provider)?;
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
        .with_custom_certificate_verifier(verifier);
    let mut client = match (&tls.certificate, &tls.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(chain(certificate)?, private_key(key)?)
            .map_err(|error| unusable(certificate, key, &error))?,
        _ => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    // PostgreSQL gives no tickets; before 2024 it did, and refused who came with one.
    client.resumption = Resumption::disabled();
    Ok(Some(Arc::new(client)))
}

/// Authorities; of those of the system some may be of a kind that is not known.
fn believed(file: &TlsFile, system: bool) -> Result<RootCertStore, Finding> {
    if !system {
        return roots(file);
    }
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(chain(file)?) {
        (0, _) => Err(file.finding("holds no authority that can be used")),
        _ => Ok(roots),
    }
}

fn verifier(
    mode: SslMode,
    believed: Option<(RootCertStore, &TlsFile)>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, Finding> {
    match believed {
        Some((roots, file)) if mode == SslMode::VerifyFull => {
            let provider = Arc::clone(provider);
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| file.finding(&error.to_string()))?;
            Ok(verifier)
        }
        believed => Ok(Arc::new(AnyName {
            roots: believed.map(|(roots, _)| roots),
            algorithms: provider.signature_verification_algorithms,
        })),
    }
}

/// Believes certificates whatever the name in them: of these authorities, or of
/// any at all.
///
/// That the server has the key of its certificate is verified in any case.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
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
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

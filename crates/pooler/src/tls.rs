//! TLS: from the texts of certificates and keys to what connections are made by.
//!
//! The supervisor makes it of every configuration that it reads, to find out
//! what is wrong with it, and forgets it; each worker makes its own of the
//! configuration that it is sent. No random generator crosses the fork between
//! them: that of aws-lc knows when its process was forked, and begins anew.
//!
//! Source: PostgreSQL documentation, "Secure TCP/IP Connections with SSL".

mod certified;
mod directories;
mod servers;
mod tickets;
mod words;

use std::fmt;
use std::sync::Arc;

use pgskein_config::{Config, Finding, SslMode, Tls, TlsFile, TlsGroup, TlsSuite};
use pgskein_pool::tickets::TicketSecrets;
use pgskein_protocol::tls_server_end_point;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use self::certified::certified;
pub(crate) use self::certified::warnings;
use self::directories::for_directories;
use self::servers::for_servers;
use self::tickets::Ticketer;
pub(crate) use self::words::words;

/// The protocol that is spoken inside TLS.
///
/// Source: PostgreSQL documentation, "ALPN" in "SSL Session Encryption".
pub(crate) const ALPN: &[u8] = b"postgresql";

/// What connections are encrypted by; none on a side where they are not.
#[derive(Debug, Default)]
pub(crate) struct Secured {
    /// Those of clients; to be had by [`Secured::of_clients`].
    clients: Option<ForClients>,
    /// Those to servers; to be had by [`Secured::to_servers`].
    servers: Option<Arc<ClientConfig>>,
    /// Those to directories.
    pub directories: Option<Arc<ClientConfig>>,
}

/// What connections of clients are encrypted by.
#[derive(Clone, Debug)]
pub(crate) struct ForClients {
    /// Settings of the sessions.
    pub config: Arc<ServerConfig>,
    /// What logins are bound to where the certificate is shown; none if it is
    /// signed in a way for which that is not defined.
    pub end_point: Option<Arc<[u8]>>,
    /// By what their certificates are verified.
    pub verifier: Arc<dyn ClientCertVerifier>,
}

/// Connections are to be encrypted, and there is nothing to do it by.
///
/// That would be our own mistake; nothing goes on in the clear for it.
#[derive(Debug, PartialEq)]
pub(crate) struct NotSetUp;

impl fmt::Display for NotSetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not set up, and has to be")
    }
}

impl Secured {
    /// What a configuration says.
    ///
    /// # Errors
    ///
    /// What is wrong with a file, or with what was chosen.
    pub(crate) fn of(config: &Config) -> Result<Self, Finding> {
        Ok(Self {
            clients: for_clients(config)?,
            servers: for_servers(config)?,
            directories: for_directories(config)?,
        })
    }

    /// The same, for a process that is to shake hands: its first random bytes take
    /// some time, in which no client should have to wait.
    ///
    /// # Errors
    ///
    /// As [`Secured::of`].
    pub(crate) fn ready(config: &Config) -> Result<Self, Finding> {
        let secured = Self::of(config)?;
        if secured.clients.is_some() || secured.servers.is_some() {
            // If there are none, the first handshake fails and says so.
            let _ = default_provider().secure_random.fill(&mut [0; 32]);
        }
        Ok(secured)
    }

    /// What connections of clients are encrypted by where this is the mode; none
    /// where they are not.
    ///
    /// # Errors
    ///
    /// [`NotSetUp`], whatever the mode, unless it is `disable`.
    pub(crate) fn of_clients(&self, mode: SslMode) -> Result<Option<&ForClients>, NotSetUp> {
        there(self.clients.as_ref(), mode)
    }

    /// The same of connections to servers.
    ///
    /// # Errors
    ///
    /// As [`Secured::of_clients`].
    pub(crate) fn to_servers(&self, mode: SslMode) -> Result<Option<&Arc<ClientConfig>>, NotSetUp> {
        there(self.servers.as_ref(), mode)
    }

    /// Has the sessions of clients resumed by tickets that these secrets are for.
    pub(crate) fn use_tickets(&mut self, config: &Config, secrets: &TicketSecrets) {
        if let Some(clients) = &mut self.clients {
            let mode = config.settings.client_tls_sslmode;
            let mut server = ServerConfig::clone(&clients.config);
            server.ticketer = Arc::new(Ticketer::new(secrets, &config.client_tls, mode));
            clients.config = Arc::new(server);
        }
    }
}

fn there<T>(made: Option<T>, mode: SslMode) -> Result<Option<T>, NotSetUp> {
    match mode {
        SslMode::Disable => Ok(None),
        _ => made.map(Some).ok_or(NotSetUp),
    }
}

/// What connections of clients are encrypted by; none where they are not.
///
/// # Errors
///
/// What is wrong with a file, or with what was chosen.
fn for_clients(config: &Config) -> Result<Option<ForClients>, Finding> {
    let tls = &config.client_tls;
    let mode = config.settings.client_tls_sslmode;
    let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) else {
        return Ok(None);
    };
    if mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(provider(tls));
    let verifier: Arc<dyn ClientCertVerifier> = match &tls.authorities {
        Some(authorities) => {
            let roots = Arc::new(roots(authorities)?);
            let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
            // Who shows one without need is known by it, so it has to be good.
            let builder = match mode.verifies() {
                true => builder,
                false => builder.allow_unauthenticated(),
            };
            builder
                .build()
                .map_err(|error| authorities.finding(&error.to_string()))?
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let certified = certified(certificate, key)?;
    let own = certified.cert.first();
    let end_point = own.and_then(|own| tls_server_end_point(own));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls))
        .map_err(|error| certificate.finding(&error.to_string()))?;
    let mut server = builder
        .with_client_cert_verifier(Arc::clone(&verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.ignore_client_order = true;
    // No sessions but those that clients keep: other workers know them as well.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 1;
    Ok(Some(ForClients {
        config: Arc::new(server),
        end_point: end_point.map(Arc::from),
        verifier,
    }))
}

/// OpenSSL's name of a cipher suite.
pub(crate) fn name_of(suite: CipherSuite) -> &'static str {
    let mut all = TlsSuite::ALL.iter();
    all.find(|one| supported(**one).suite() == suite)
        .map_or("", |one| one.as_str())
}

/// OpenSSL's name of a version of the protocol.
pub(crate) fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "",
    }
}

fn provider(tls: &Tls) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: tls.suites.iter().map(|suite| supported(*suite)).collect(),
        kx_groups: tls.groups.iter().map(|group| exchanged(*group)).collect(),
        ..default_provider()
    }
}

fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    let newest = tls.versions.v1_3.then_some(&TLS13);
    let older = tls.versions.v1_2.then_some(&TLS12);
    newest.into_iter().chain(older).collect()
}

fn supported(suite: TlsSuite) -> SupportedCipherSuite {
    match suite {
        TlsSuite::Aes256 => cipher_suite::TLS13_AES_256_GCM_SHA384,
        TlsSuite::Aes128 => cipher_suite::TLS13_AES_128_GCM_SHA256,
        TlsSuite::ChaCha20 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        TlsSuite::EcdsaAes256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TlsSuite::EcdsaAes128 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TlsSuite::EcdsaChaCha20 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsSuite::RsaAes256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsSuite::RsaAes128 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TlsSuite::RsaChaCha20 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn exchanged(group: TlsGroup) -> &'static dyn SupportedKxGroup {
    match group {
        TlsGroup::X25519 => kx_group::X25519,
        TlsGroup::P256 => kx_group::SECP256R1,
        TlsGroup::P384 => kx_group::SECP384R1,
        TlsGroup::X25519MlKem768 => kx_group::X25519MLKEM768,
    }
}

fn chain(file: &TlsFile) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let chain: Result<Vec<_>, pem::Error> =
        CertificateDer::pem_slice_iter(file.text.as_bytes()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(file.finding("holds no certificate")),
        Ok(chain) => Ok(chain),
        Err(_) => Err(file.finding("is no PEM file of certificates")),
    }
}

fn roots(file: &TlsFile) -> Result<RootCertStore, Finding> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots
            .add(certificate)
            .map_err(|_| file.finding("holds something that is no certificate of an authority"))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_suites_as_openssl_does() {
        assert_eq!(
            name_of(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
            "ECDHE-RSA-CHACHA20-POLY1305"
        );
        assert_eq!(
            name_of(CipherSuite::TLS13_AES_256_GCM_SHA384),
            "TLS_AES_256_GCM_SHA384"
        );
    }

    #[test]
    fn offers_every_suite_of_the_provider() {
        let offered = TlsSuite::ALL.iter().map(|suite| supported(*suite).suite());
        for suite in default_provider().cipher_suites {
            assert!(offered.clone().any(|one| one == suite.suite()), "{suite:?}");
        }
    }

    #[test]
    fn keeps_everybody_from_going_on_in_the_clear() {
        let nothing = Secured::default();
        let plain = Secured::of(&Config::default()).unwrap();
        for mode in [
            SslMode::Allow,
            SslMode::Prefer,
            SslMode::Require,
            SslMode::VerifyCa,
            SslMode::VerifyFull,
        ] {
            assert!(nothing.of_clients(mode).is_err(), "{mode}");
            assert!(nothing.to_servers(mode).is_err(), "{mode}");
        }
        assert!(nothing.of_clients(SslMode::Disable).unwrap().is_none());
        assert!(nothing.to_servers(SslMode::Disable).unwrap().is_none());
        assert!(plain.to_servers(SslMode::Prefer).unwrap().is_some());
    }

    #[test]
    fn names_the_file_that_cannot_be_used() {
        let file = |setting, text: &str| TlsFile {
            setting,
            name: "x.pem".to_owned(),
            text: text.into(),
            ..TlsFile::default()
        };
        let mut config = Config::default();
        config.settings.client_tls_sslmode = SslMode::Require;
        config.client_tls.certificate = Some(file("client_tls_cert_file", "nothing"));
        config.client_tls.key = Some(file("client_tls_key_file", "nothing"));
        assert_eq!(
            for_clients(&config).unwrap_err().to_string(),
            "client_tls_cert_file: x.pem: holds no certificate"
        );
        config.settings.client_tls_sslmode = SslMode::Disable;
        assert!(for_clients(&config).unwrap().is_none());
    }
}

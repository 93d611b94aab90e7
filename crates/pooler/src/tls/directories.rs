//! TLS towards directories.

use std::sync::Arc;

use pgskein_config::{Config, Finding};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs::default_provider;

use super::servers::by_name;

/// What connections to directories are encrypted by; none where no directory is
/// asked over TLS.
///
/// Their certificates must be of a known authority and for the host that was
/// connected to.
///
/// # Errors
///
/// What is wrong with the file of authorities.
pub(super) fn for_directories(config: &Config) -> Result<Option<Arc<ClientConfig>>, Finding> {
    let Some(file) = &config.ldap_authorities else {
        return Ok(None);
    };
    let provider = default_provider();
    let system = config.settings.auth_ldap_ca_file.is_empty();
    let verifier = by_name(file, system, provider.signature_verification_algorithms)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| file.finding(&error.to_string()))?;
    let client = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Some(Arc::new(client)))
}

//! What we show ourselves: a certificate and its private key.
//!
//! Nothing of the certificate is checked but that the key is its own, and what there
//! is to warn of when its time is over: it is for the other side to say whether it
//! believes it. Old recipes make certificates of
//! the first version of X.509, which OpenSSL takes, and rustls does not.

use pgskein_config::{Config, Finding, SslMode, TlsFile};
use pgskein_protocol::{PublicKey, Validity};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use zeroize::Zeroize;

use super::chain;
use crate::logging::time_text;

/// A certificate, with those between it and the root, and its key.
///
/// # Errors
///
/// Which of the two files cannot be used, and why.
pub(super) fn certified(certificate: &TlsFile, key: &TlsFile) -> Result<CertifiedKey, Finding> {
    let chain = chain(certificate)?;
    let own = chain.first().and_then(|first| PublicKey::of(first));
    let Some(own) = own else {
        return Err(certificate.finding("begins with something that is no certificate"));
    };
    let mut private = private_key(key)?;
    let signer = any_supported_type(&private);
    private.zeroize();
    let signer =
        signer.map_err(|_| key.finding("holds a private key of a kind that is not known"))?;
    let others = signer.public_key().is_some_and(|info| *info != *own.info);
    if others {
        let problem = format!("is not the key of {}", certificate.name);
        return Err(key.finding(&problem));
    }
    Ok(CertifiedKey::new(chain, signer))
}

/// What is worth a warning of the certificates that we show `now`, in seconds since
/// 1970: that one does not hold.
pub(crate) fn warnings(config: &Config, now: u64) -> Vec<Finding> {
    let settings = &config.settings;
    let sides = [
        (settings.client_tls_sslmode, &config.client_tls),
        (settings.server_tls_sslmode, &config.server_tls),
    ];
    let used = sides.iter().filter(|(mode, _)| *mode != SslMode::Disable);
    let files = used.filter_map(|(_, tls)| tls.certificate.as_ref());
    files.filter_map(|file| outdated(file, now)).collect()
}

fn outdated(file: &TlsFile, now: u64) -> Option<Finding> {
    let chain = chain(file).ok()?;
    let Validity { from, until } = Validity::of(chain.first()?)?;
    // Written alike, times compare as they follow each other.
    let now = time_text(now);
    if now < from {
        Some(file.finding(&format!(
            "is not valid before {from}: whoever verifies it refuses it"
        )))
    } else if until < now {
        Some(file.finding(&format!(
            "has expired at {until}: whoever verifies it refuses it"
        )))
    } else {
        None
    }
}

fn private_key(file: &TlsFile) -> Result<PrivateKeyDer<'static>, Finding> {
    if file.text.contains("ENCRYPTED") {
        return Err(file.finding("holds a key that needs a passphrase, which nobody could give"));
    }
    // What is wrong in detail might quote the key.
    PrivateKeyDer::from_pem_slice(file.text.as_bytes())
        .map_err(|_| file.finding("holds no private key"))
}

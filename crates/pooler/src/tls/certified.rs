//! What we show ourselves: a certificate and its private key.
//!
//! Nothing of the certificate is checked but that the key is its own: it is for
//! the other side to say whether it believes it. Old recipes make certificates of
//! the first version of X.509, which OpenSSL takes, and rustls does not.

use pgskein_config::{Finding, TlsFile};
use pgskein_protocol::PublicKey;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;
use zeroize::Zeroize;

use super::chain;

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

fn private_key(file: &TlsFile) -> Result<PrivateKeyDer<'static>, Finding> {
    if file.text.contains("ENCRYPTED") {
        return Err(file.finding("holds a key that needs a passphrase, which nobody could give"));
    }
    // What is wrong in detail might quote the key.
    PrivateKeyDer::from_pem_slice(file.text.as_bytes())
        .map_err(|_| file.finding("holds no private key"))
}

//! Resumption: who comes with a ticket is believed as long as the certificate is.

use std::sync::atomic::{AtomicU32, Ordering};

use rustls::client::Resumption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerified;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    ServerConnection, SignatureScheme,
};

use super::*;

/// Believes a certificate a number of times.
#[derive(Debug)]
struct Believing(AtomicU32);

impl ClientCertVerifier for Believing {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(Error::InvalidCertificate(CertificateError::Expired)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Has a client say hello, and gives what the pooler understands of it.
fn says_hello(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    verifier: &Arc<Believing>,
) -> (Option<HandshakeKind>, io::Result<Vec<u8>>) {
    let name = ServerName::try_from("db.example").unwrap();
    let mut theirs = ClientConnection::new(Arc::clone(client), name).unwrap();
    let session = ServerConnection::new(Arc::clone(server)).unwrap();
    let verifier: Arc<dyn ClientCertVerifier> = verifier.clone();
    let mut ours = Tls::accept(session.into(), Vec::new(), None, verifier);
    let mut socket = Other::default();
    theirs.writer().write_all(b"hello").unwrap();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let mut said = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut said).unwrap();
        }
        socket.says.extend(said);
        let read = ours.read(&mut socket, &mut bytes);
        let heard = std::mem::take(&mut socket.heard);
        let mut heard = heard.as_slice();
        while !heard.is_empty() {
            theirs.read_tls(&mut heard).unwrap();
            theirs.process_new_packets().unwrap();
        }
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            read => {
                let read = read.map(|length| bytes[..length].to_vec());
                return (ours.session.handshake_kind(), read);
            }
        }
    }
}

#[test]
fn verifies_a_certificate_again_when_its_session_is_resumed() {
    let chain = || vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = || PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let verifier = Arc::new(Believing(AtomicU32::new(2)));
    let mut server = ServerConfig::builder()
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(chain(), key())
        .unwrap();
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain().remove(0)).unwrap();
    let mut client = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(), key())
        .unwrap();
    client.resumption = Resumption::in_memory_sessions(8);
    let (server, client) = (Arc::new(server), Arc::new(client));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (seen, read) = says_hello(&server, &client, &verifier);
        assert_eq!(seen, Some(kind));
        assert_eq!(read.unwrap(), b"hello");
    }
    let (seen, read) = says_hello(&server, &client, &verifier);
    assert_eq!(seen, Some(HandshakeKind::Resumed));
    let error = read.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("Expired"), "{error}");
}

/// A key for nothing but this, and a certificate of it.
const KEY: &[u8] = b"\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgv8eexJb6WmZ5+xN6
TZvk/FNryukx4MIakRckX7Tqr7KhRANCAAQoyoPj116aYOkhmvuVf1AOBV5ioqXu
TEAkUSir0KmNH/qaENxIgapOjpKuzZiMvNk5FzZvD31tEcBn4KVOtd3L
-----END PRIVATE KEY-----";
const CERTIFICATE: &[u8] = b"\
-----BEGIN CERTIFICATE-----
MIIBYzCCAQigAwIBAgIUBYC4KSRL4rzm71btfCE0tSmaTDwwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAgFw0yNjExMjIxODUxNDZaGA8yMTI2MTAyOTE4NTE0Nlow
DDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCjKg+PXXppg
6SGa+5V/UA4FXmKipe5MQCRRKKvQqY0f+poQ3EiBqk6Okq7NmIy82TkXNm8PfW0R
wGfgpU613cujRjBEMBUGA1UdEQQOMAyCCmRiLmV4YW1wbGUwDAYDVR0TAQH/BAIw
ADAdBgNVHQ4EFgQUhZmPrfYRgouM+Jeqe0Wbq/83XFQwCgYIKoZIzj0EAwIDSQAw
RgIhAK9ueuLm15nO0NSrIX6+XeLscvROr18yZJ18kO15Fd/1AiEAxGwoKH3ii8vn
IpbJAFpWdXtvtrDlpchjjtoYgDVF9bM=
-----END CERTIFICATE-----";

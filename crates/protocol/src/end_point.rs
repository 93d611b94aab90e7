//! What a SASL exchange is bound to: a hash of the server's certificate.
//!
//! Of the certificate only the algorithm of its signature is looked at, which
//! says by what it is hashed.
//!
//! Source: RFC 5929, section 4.1; RFC 5280, section 4.1; RFC 8017, appendix A.2.3.

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::der::{FIRST, OBJECT_IDENTIFIER, SEQUENCE, inside, split};

/// The channel binding `tls-server-end-point` for a server with this
/// `certificate`, in DER.
///
/// `None` where there is none: it is not defined for signatures that have no
/// hash of their own, such as Ed25519, or are not known here.
///
/// Source: RFC 5929, section 4.1.
pub fn tls_server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (body, _) = inside(certificate, SEQUENCE)?;
    let (_, _, behind) = split(body)?;
    let (algorithm, _) = inside(behind, SEQUENCE)?;
    Some(match hash_of(algorithm)? {
        Hash::Sha224 => Sha224::digest(certificate).to_vec(),
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

#[derive(Clone, Copy)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// The hash of an AlgorithmIdentifier for signatures.
fn hash_of(algorithm: &[u8]) -> Option<Hash> {
    let (name, parameters) = inside(algorithm, OBJECT_IDENTIFIER)?;
    if name == RSA_PSS {
        return hash_of_pss(parameters);
    }
    // MD5 and SHA-1 are too weak to be bound to.
    Some(match (name.strip_prefix(PKCS1), name.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Hash::Sha256,
        (Some([12]), _) | (_, Some([3, 3])) => Hash::Sha384,
        (Some([13]), _) | (_, Some([3, 4])) => Hash::Sha512,
        (Some([14]), _) | (_, Some([3, 1])) => Hash::Sha224,
        _ => return None,
    })
}

/// The hash that the parameters of RSASSA-PSS name; SHA-1 if none, which is too
/// weak.
fn hash_of_pss(parameters: &[u8]) -> Option<Hash> {
    let (parameters, _) = inside(parameters, SEQUENCE)?;
    let Some((identifier, _)) = inside(parameters, FIRST) else {
        return Some(Hash::Sha256);
    };
    let (identifier, _) = inside(identifier, SEQUENCE)?;
    let (name, _) = inside(identifier, OBJECT_IDENTIFIER)?;
    Some(match name.strip_prefix(SHA2) {
        Some([1]) => Hash::Sha256,
        Some([2]) => Hash::Sha384,
        Some([3]) => Hash::Sha512,
        Some([4]) => Hash::Sha224,
        None if name == SHA1 => Hash::Sha256,
        _ => return None,
    })
}

/// 1.2.840.113549.1.1, signatures by RSA.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1];
/// 1.2.840.113549.1.1.10.
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
/// 1.2.840.10045.4, signatures by ECDSA.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4];
/// 2.16.840.1.101.3.4.2, hashes of NIST.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2];
/// 1.3.14.3.2.26.
const SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        if length < 0x80 {
            [&[tag, length][..], content].concat()
        } else {
            [&[tag, 0x81, length][..], content].concat()
        }
    }

    /// A certificate with this algorithm, as far as it is looked at.
    fn certificate(name: &[u8], parameters: &[u8]) -> Vec<u8> {
        let algorithm = [value(OBJECT_IDENTIFIER, name), parameters.to_vec()].concat();
        let body = [
            value(SEQUENCE, &[7; 150]),
            value(SEQUENCE, &algorithm),
            value(3, b"signature"),
        ];
        value(SEQUENCE, &body.concat())
    }

    fn length(name: &[&[u8]], parameters: &[u8]) -> Option<usize> {
        let certificate = certificate(&name.concat(), parameters);
        tls_server_end_point(&certificate).map(|hash| hash.len() * 8)
    }

    #[test]
    fn hashes_as_the_certificate_is_signed() {
        let bytes = certificate(&[ECDSA, &[3, 2]].concat(), &[]);
        let expected = Sha256::digest(&bytes).to_vec();
        assert_eq!(tls_server_end_point(&bytes), Some(expected));
        assert_eq!(length(&[PKCS1, &[11]], &[5, 0]), Some(256));
        assert_eq!(length(&[PKCS1, &[12]], &[5, 0]), Some(384));
        assert_eq!(length(&[PKCS1, &[13]], &[5, 0]), Some(512));
        assert_eq!(length(&[ECDSA, &[3, 3]], &[]), Some(384));
        assert_eq!(length(&[ECDSA, &[3, 4]], &[]), Some(512));
    }

    #[test]
    fn takes_sha_256_for_what_is_too_weak() {
        assert_eq!(length(&[PKCS1, &[4]], &[5, 0]), Some(256));
        assert_eq!(length(&[PKCS1, &[5]], &[5, 0]), Some(256));
        assert_eq!(length(&[ECDSA, &[1]], &[]), Some(256));
        assert_eq!(length(&[RSA_PSS], &value(SEQUENCE, &[])), Some(256));
    }

    #[test]
    fn finds_the_hash_of_pss_in_its_parameters() {
        let hash = value(OBJECT_IDENTIFIER, &[SHA2, &[3]].concat());
        let field = value(FIRST, &value(SEQUENCE, &hash));
        assert_eq!(length(&[RSA_PSS], &value(SEQUENCE, &field)), Some(512));
    }

    #[test]
    fn has_none_for_ed25519_or_what_is_no_certificate() {
        assert_eq!(length(&[&[0x2b, 0x65, 0x70]], &[]), None);
        assert_eq!(tls_server_end_point(b""), None);
        assert_eq!(tls_server_end_point(b"\x30\x84\xff\xff\xff\xff"), None);
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = tls_server_end_point(&bytes);
        }
    }
}

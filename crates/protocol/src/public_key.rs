//! The public key in a certificate of any version.
//!
//! Nothing else of the certificate is looked at, not even whether the key is a
//! good one: this is for where it does not matter whose it is.
//!
//! Source: RFC 5280, section 4.1.

use crate::der::{SEQUENCE, fields, inside, split};

/// The public key of a certificate, as its SubjectPublicKeyInfo has it, in DER.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PublicKey<'a> {
    /// All of it.
    pub info: &'a [u8],
    /// What is in its AlgorithmIdentifier.
    pub algorithm: &'a [u8],
    /// The bits of the key itself.
    pub bits: &'a [u8],
}

impl<'a> PublicKey<'a> {
    /// That of a `certificate` in DER; `None` if it is none.
    pub fn of(certificate: &'a [u8]) -> Option<Self> {
        let mut rest = fields(certificate)?;
        for _ in BETWEEN {
            (_, rest) = inside(rest, SEQUENCE)?;
        }
        let (key, behind) = inside(rest, SEQUENCE)?;
        let info = rest.get(..rest.len() - behind.len())?;
        let (algorithm, behind) = inside(key, SEQUENCE)?;
        let (BIT_STRING, [0, bits @ ..], _) = split(behind)? else {
            return None;
        };
        Some(Self {
            info,
            algorithm,
            bits,
        })
    }
}

const BIT_STRING: u8 = 0x03;
/// What stands between the serial number and the key.
const BETWEEN: [&str; 4] = ["signature", "issuer", "validity", "subject"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::der::FIRST;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn key() -> Vec<u8> {
        let algorithm = value(SEQUENCE, b"algorithm");
        value(
            SEQUENCE,
            &[algorithm, value(BIT_STRING, b"\0bits")].concat(),
        )
    }

    /// A certificate whose fields begin with these.
    fn certificate(first: &[Vec<u8>]) -> Vec<u8> {
        let between = [
            value(SEQUENCE, b"x"),
            value(SEQUENCE, b""),
            value(SEQUENCE, b"yz"),
        ];
        let fields = [
            first.concat(),
            between.concat(),
            value(SEQUENCE, b"s"),
            key(),
        ]
        .concat();
        value(SEQUENCE, &value(SEQUENCE, &fields))
    }

    #[test]
    fn finds_the_key_of_a_certificate_of_any_version() {
        let serial = value(2, &[7]);
        let third = certificate(&[value(FIRST, &value(2, &[2])), serial.clone()]);
        for certificate in [certificate(&[serial]), third] {
            let found = PublicKey::of(&certificate).unwrap();
            assert_eq!(found.info, key());
            assert_eq!(
                (found.algorithm, found.bits),
                (&b"algorithm"[..], &b"bits"[..])
            );
        }
    }

    #[test]
    fn finds_none_in_what_is_cut_short() {
        let whole = certificate(&[value(2, &[7])]);
        for end in 0..whole.len() {
            assert_eq!(PublicKey::of(&whole[..end]), None, "{end} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes: Vec<u8>) {
            let _ = PublicKey::of(&bytes);
        }
    }
}

//! Secrets as they stand in `auth_file` and in `pg_authid`.

mod fingerprint;
mod scram_secret;

pub use fingerprint::Fingerprint;
pub use scram_secret::{DEFAULT_ITERATIONS, ScramSecret};

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::md5;

/// What is known of a user's password.
#[derive(Clone, Eq, PartialEq)]
pub enum Secret {
    /// The password itself.
    Plain(Zeroizing<String>),
    /// `md5` and 32 hexadecimal digits, hashed with the user name.
    Md5(String),
    /// What SCRAM-SHA-256 keeps.
    Scram(ScramSecret),
}

impl Secret {
    /// Tells by its form what a secret is.
    ///
    /// What looks like a hash but does not have its form is a password, as in
    /// PgBouncer.
    pub fn parse(text: &str) -> Self {
        if is_md5(text) {
            return Self::Md5(text.to_owned());
        }
        match ScramSecret::parse(text) {
            Some(secret) => Self::Scram(secret),
            None => Self::Plain(text.to_owned().into()),
        }
    }

    /// Whether `password`, sent in clear text by `user`, is the right one.
    ///
    /// With a SCRAM secret this takes milliseconds. An empty password is never
    /// right, as in PostgreSQL.
    pub fn accepts_password(&self, user: &[u8], password: &[u8]) -> bool {
        if password.is_empty() {
            return false;
        }
        match self {
            Self::Plain(plain) => same(plain.as_bytes(), password),
            Self::Md5(digest) => same(
                digest.as_bytes(),
                md5::md5_secret(password, user).as_bytes(),
            ),
            Self::Scram(secret) => {
                std::str::from_utf8(password).is_ok_and(|password| secret.accepts(password))
            }
        }
    }

    /// Whether `response` is the right answer of `user` to
    /// AuthenticationMD5Password with `salt`.
    ///
    /// No answer is right if only a SCRAM secret or an empty password is known.
    pub fn accepts_md5(&self, user: &[u8], salt: [u8; 4], response: &[u8]) -> bool {
        let expected = match self {
            Self::Plain(plain) if plain.is_empty() => return false,
            Self::Plain(plain) => md5::md5_response(&md5::md5_secret(plain.as_bytes(), user), salt),
            Self::Md5(digest) => md5::md5_response(digest, salt),
            Self::Scram(_) => return false,
        };
        same(expected.as_bytes(), response)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(..)",
            Self::Md5(_) => "Md5(..)",
            Self::Scram(_) => "Scram(..)",
        })
    }
}

fn is_md5(text: &str) -> bool {
    text.strip_prefix("md5").is_some_and(|digits| {
        digits.len() == 32
            && digits
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Compares in a time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "md5b1ffb1d9dc1b1e5a9ad6b4e6bb4fa9b7";

    fn scram() -> String {
        ScramSecret::derive("secret", b"0123456789abcdef", 2).to_string()
    }

    #[test]
    fn tells_the_three_kinds_apart() {
        assert_eq!(Secret::parse(MD5), Secret::Md5(MD5.to_owned()));
        assert!(matches!(Secret::parse(&scram()), Secret::Scram(_)));
        assert_eq!(Secret::parse("pw"), Secret::Plain("pw".to_owned().into()));
    }

    #[test]
    fn takes_malformed_hashes_for_passwords() {
        let texts = [
            "".to_owned(),
            "md5".to_owned(),
            MD5[..34].to_owned(),
            format!("{MD5}0"),
            MD5.replace('b', "B"),
            MD5.replace('b', "g"),
            "SCRAM-SHA-256$".to_owned(),
            scram().replace("$2:", "$0:"),
            scram().replace("$2:", "$+2:"),
            scram().replace("SHA-256", "SHA-512"),
            format!("{}x", scram()),
        ];
        for text in texts {
            assert_eq!(Secret::parse(&text), Secret::Plain(text.into()));
        }
    }

    #[test]
    fn accepts_the_right_password_only() {
        let md5 = Secret::Md5(md5::md5_secret(b"secret", b"alice"));
        for secret in [Secret::parse("secret"), md5, Secret::parse(&scram())] {
            assert!(secret.accepts_password(b"alice", b"secret"), "{secret:?}");
            for wrong in [&b""[..], b"Secret", b"secret ", b"\xff"] {
                assert!(!secret.accepts_password(b"alice", wrong), "{secret:?}");
            }
        }
    }

    #[test]
    fn rejects_empty_password_even_where_it_is_stored() {
        assert!(!Secret::parse("").accepts_password(b"alice", b""));
        let empty = md5::md5_response(&md5::md5_secret(b"", b"alice"), [1; 4]);
        assert!(!Secret::parse("").accepts_md5(b"alice", [1; 4], empty.as_bytes()));
    }

    #[test]
    fn accepts_the_right_md5_response_only() {
        let digest = md5::md5_secret(b"secret", b"alice");
        let right = md5::md5_response(&digest, [1, 2, 3, 4]);
        for secret in [Secret::parse("secret"), Secret::Md5(digest)] {
            assert!(secret.accepts_md5(b"alice", [1, 2, 3, 4], right.as_bytes()));
            assert!(!secret.accepts_md5(b"alice", [1, 2, 3, 5], right.as_bytes()));
            assert!(!secret.accepts_md5(b"alice", [1, 2, 3, 4], b"md5"));
            assert!(!secret.accepts_md5(b"alice", [1, 2, 3, 4], b""));
        }
        let scram = Secret::parse(&scram());
        assert!(!scram.accepts_md5(b"alice", [1, 2, 3, 4], right.as_bytes()));
    }

    #[test]
    fn keeps_secrets_out_of_debug_output() {
        for text in ["hunter2", MD5, &scram()] {
            let debug = format!("{:?}", Secret::parse(text));
            assert!(debug.ends_with("(..)"), "{debug}");
        }
    }
}

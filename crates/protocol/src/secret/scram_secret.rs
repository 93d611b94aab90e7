//! What a server keeps of a password for SCRAM-SHA-256.
//!
//! Source: PostgreSQL documentation, "pg_authid", rolpassword.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::scram::{self, ScramKeys};

/// Iterations that PostgreSQL uses if it is told nothing else.
pub const DEFAULT_ITERATIONS: u32 = 4096;

/// What a server keeps of a password for SCRAM-SHA-256.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramSecret {
    /// How slow deriving the keys is.
    pub iterations: u32,
    /// Bytes that make equal passwords different.
    pub salt: Vec<u8>,
    /// Checks a client's proof.
    pub stored_key: [u8; 32],
    /// Proves to a client that the server knows this secret.
    pub server_key: [u8; 32],
}

impl ScramSecret {
    /// Reads `SCRAM-SHA-256$iterations:salt$stored:server`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(scram::MECHANISM)?.strip_prefix('$')?;
        let (cost, keys) = rest.split_once('$')?;
        let (iterations, salt) = cost.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let iterations = scram::parse_count(iterations)?;
        let salt = STANDARD.decode(salt).ok()?;
        if iterations == 0 || salt.is_empty() || salt.len() > MAX_SALT {
            return None;
        }
        Some(Self {
            iterations,
            salt,
            stored_key: STANDARD.decode(stored_key).ok()?.try_into().ok()?,
            server_key: STANDARD.decode(server_key).ok()?.try_into().ok()?,
        })
    }

    /// Makes the secret of a password; takes milliseconds.
    ///
    /// The password is normalised by SASLprep; one that SASLprep does not
    /// allow is taken as it is, as in PostgreSQL. `iterations` is at least 1.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let keys = ScramKeys::derive(password, salt, iterations);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: keys.stored_key,
            server_key: keys.server_key,
        }
    }

    /// Makes the secret of a user that does not exist, so that an attempt to
    /// log in as one looks like any other that fails.
    ///
    /// It is the same each time as long as `mock_key` is. No proof matches it.
    pub fn mock(user: &[u8], mock_key: &[u8]) -> Self {
        let salt = scram::hmac(mock_key, &[b"salt", user]);
        Self {
            iterations: DEFAULT_ITERATIONS,
            salt: salt.into_iter().take(SALT_LEN).collect(),
            stored_key: scram::hmac(mock_key, &[b"stored", user]),
            server_key: scram::hmac(mock_key, &[b"server", user]),
        }
    }

    /// Whether this is the secret of `password`; takes milliseconds.
    pub fn accepts(&self, password: &str) -> bool {
        self.keys_of(password).is_some()
    }

    /// The keys of `password` if this is its secret; takes milliseconds.
    pub fn keys_of(&self, password: &str) -> Option<ScramKeys> {
        let keys = ScramKeys::derive(password, &self.salt, self.iterations);
        let same: bool = keys.stored_key.ct_eq(&self.stored_key).into();
        same.then_some(keys)
    }
}

impl fmt::Display for ScramSecret {
    /// Writes the form that [`ScramSecret::parse`] reads: a secret, not for a
    /// log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}${}:{}${}:{}",
            scram::MECHANISM,
            self.iterations,
            scram::encode(&self.salt),
            scram::encode(&self.stored_key),
            scram::encode(&self.server_key)
        )
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramSecret(..)")
    }
}

/// Bytes of salt, as PostgreSQL makes it.
const SALT_LEN: usize = 16;

/// The longest salt that is read, in bytes.
const MAX_SALT: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_postgresql_wrote() {
        // create role r password 'pencil', with the salt and count of RFC 7677
        let text = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
                    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let secret = ScramSecret::parse(text).unwrap();
        assert_eq!(secret.iterations, 4096);
        assert_eq!(secret.to_string(), text);
        assert_eq!(secret, ScramSecret::derive("pencil", &secret.salt, 4096));
        assert!(secret.accepts("pencil"));
        assert!(!secret.accepts("pen"));
    }

    #[test]
    fn rejects_malformed_secrets() {
        let good = ScramSecret::derive("x", b"0123456789abcdef", 1).to_string();
        assert!(ScramSecret::parse(&good).is_some());
        for bad in [
            good.replace("256$", "256"),
            good.replace("$1:", "$:"),
            good.replace("$1:", "$0:"),
            good.replace("$1:", "$-1:"),
            good.replace("$1:", "$4294967296:"),
            good.replace("$1:", "$1:="),
            good.replace(&scram::encode(b"0123456789abcdef"), ""),
            good.replace(&scram::encode(b"0123456789abcdef"), &"AAAA".repeat(400)),
            good[..good.len() - 1].to_owned(),
            format!("{good}AAAA"),
            format!("{good}:"),
            good.to_lowercase(),
        ] {
            assert_eq!(ScramSecret::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn mocks_the_same_secret_for_the_same_user() {
        let mock = ScramSecret::mock(b"nobody", b"key");
        assert_eq!(mock, ScramSecret::mock(b"nobody", b"key"));
        assert_ne!(mock.salt, ScramSecret::mock(b"somebody", b"key").salt);
        assert_ne!(mock.salt, ScramSecret::mock(b"nobody", b"other").salt);
        assert_eq!(mock.salt.len(), 16);
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in r"(SCRAM-SHA-256\$)?\PC{0,60}") {
            let _ = ScramSecret::parse(&text);
        }

        #[test]
        fn reads_what_it_wrote(
            iterations in 1..u32::MAX,
            salt in prop::collection::vec(any::<u8>(), 1..40),
            stored_key: [u8; 32],
            server_key: [u8; 32],
        ) {
            let secret = ScramSecret { iterations, salt, stored_key, server_key };
            prop_assert_eq!(ScramSecret::parse(&secret.to_string()), Some(secret));
        }
    }
}

//! What a password becomes.

use std::borrow::Cow;
use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use super::crypto::{self, Block};

/// The keys of a password, for one salt and number of iterations.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramKeys {
    /// Proves that the client knows the password.
    pub client_key: [u8; 32],
    /// The hash of `client_key`, which the server keeps.
    pub stored_key: [u8; 32],
    /// Proves that the server knows the stored form of the password.
    pub server_key: [u8; 32],
}

impl ScramKeys {
    /// Derives the keys of a password; takes milliseconds.
    ///
    /// The password is normalised by SASLprep; one that SASLprep does not
    /// allow is taken as it is, as in PostgreSQL.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let password = prepared(password);
        let salted = crypto::salted_password(password.as_bytes(), salt, iterations);
        let salted = Zeroizing::new(salted);
        Self::of_client_key(
            crypto::hmac(&*salted, &[b"Client Key"]),
            crypto::hmac(&*salted, &[b"Server Key"]),
        )
    }

    /// The keys of a client that has shown its own.
    pub fn of_client_key(client_key: [u8; 32], server_key: [u8; 32]) -> Self {
        Self {
            client_key,
            stored_key: crypto::sha256(&[&client_key]),
            server_key,
        }
    }

    pub(super) fn proof(&self, auth_message: &[u8]) -> Block {
        let signature = crypto::hmac(&self.stored_key, &[auth_message]);
        crypto::xor(&self.client_key, &signature)
    }
}

impl Drop for ScramKeys {
    /// Overwrites the key by which anybody could log in.
    fn drop(&mut self) {
        self.client_key.zeroize();
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(..)")
    }
}

fn prepared(password: &str) -> Cow<'_, str> {
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => prepared,
        _ => Cow::Borrowed(password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prepares_passwords_as_postgresql_does() {
        let cases = [
            ("pencil", "pencil"),
            ("I\u{ad}X", "IX"),       // soft hyphen is dropped
            ("\u{aa}", "a"),          // ordinal indicator
            ("\u{2168}", "IX"),       // Roman numeral
            ("a\u{a0}b", "a b"),      // no-break space
            ("\u{ad}", "\u{ad}"),     // nothing left: as it is
            ("a\u{7}b", "a\u{7}b"),   // prohibited: as it is
            ("\u{627}1", "\u{627}1"), // mixed directions: as it is
        ];
        for (password, expected) in cases {
            assert_eq!(prepared(password), expected, "{password:?}");
        }
    }

    #[test]
    fn keeps_keys_out_of_debug_output() {
        let keys = ScramKeys::of_client_key([201; 32], [202; 32]);
        assert_eq!(format!("{keys:?}"), "ScramKeys(..)");
    }
}

//! Fingerprints, by which a password is known again that is not kept.

use std::fmt;
use std::hash::{Hash, Hasher};

use subtle::ConstantTimeEq;

use crate::scram;

/// Tells whether two passwords are the same, to whoever knows the key.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a password; `key` is known to nobody outside.
    pub fn of(password: &str, key: &[u8]) -> Self {
        Self(scram::hmac(key, &[b"password", password.as_bytes()]))
    }
}

impl Eq for Fingerprint {}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_password_again_by_the_same_key_only() {
        let one = Fingerprint::of("hunter2", b"key");
        assert_eq!(one, Fingerprint::of("hunter2", b"key"));
        assert_ne!(one, Fingerprint::of("hunter3", b"key"));
        assert_ne!(one, Fingerprint::of("hunter2", b"another"));
        assert_eq!(format!("{one:?}"), "Fingerprint(..)");
    }
}

//! Passwords as PostgreSQL hashes them by MD5.
//!
//! Source: PostgreSQL documentation, "Message Flow", AuthenticationMD5Password.

use md5::{Digest, Md5};

/// The stored form of a password: `md5` and 32 hexadecimal digits.
pub fn md5_secret(password: &[u8], user: &[u8]) -> String {
    hashed(&[password, user])
}

/// The answer to AuthenticationMD5Password: `md5` and 32 hexadecimal digits.
///
/// `secret_md5` is what [`md5_secret`] returns. In any other string the first
/// three characters are ignored and the rest is taken for the digits.
pub fn md5_response(secret_md5: &str, salt: [u8; 4]) -> String {
    hashed(&[secret_md5.get(3..).unwrap_or("").as_bytes(), &salt])
}

fn hashed(parts: &[&[u8]]) -> String {
    let mut hasher = Md5::new();
    for part in parts {
        hasher.update(part);
    }
    let mut text = String::with_capacity(35);
    text.push_str("md5");
    for byte in hasher.finalize() {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_postgresql_stores_it() {
        // select 'md5' || md5('secret' || 'alice')
        assert_eq!(
            md5_secret(b"secret", b"alice"),
            "md54a0a68b43b6cd5cf266fa02f196e2371"
        );
    }

    #[test]
    fn hashes_the_digits_with_the_salt() {
        let secret = md5_secret(b"secret", b"alice");
        // select 'md5' || md5(convert_to(substr(secret, 4), 'UTF8') || '\x01020304')
        assert_eq!(
            md5_response(&secret, [1, 2, 3, 4]),
            "md598a0412b9c31436fc53776e863350083"
        );
    }

    #[test]
    fn never_panics_on_a_secret_that_is_none() {
        for secret in ["", "m", "md5", "päß"] {
            assert_eq!(md5_response(secret, [0; 4]).len(), 35);
        }
    }
}

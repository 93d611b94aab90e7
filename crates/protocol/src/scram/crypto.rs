//! The hash functions of SCRAM-SHA-256.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// A key, hash, proof or signature.
pub(crate) type Block = [u8; 32];

/// SHA-256 of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> Block {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-SHA-256 of the parts, one after the other.
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> Block {
    // A key of any length is legal for HMAC, so the error cannot happen.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Block::default();
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// PBKDF2 of a password, the slow part.
pub(super) fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Block {
    pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations)
}

/// The bits of two blocks that differ.
pub(super) fn xor(a: &Block, b: &Block) -> Block {
    let mut out = *a;
    for (byte, other) in out.iter_mut().zip(b) {
        *byte ^= other;
    }
    out
}

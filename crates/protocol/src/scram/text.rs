//! The text form of SCRAM messages: attributes such as `r=…`, with commas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{MAX_NONCE, ScramError, crypto::Block};

/// Base64 as SCRAM wants it: the standard alphabet, padded.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Result<Vec<u8>, ScramError> {
    STANDARD.decode(text).map_err(|_| ScramError::Malformed)
}

pub(super) fn decode_block(text: &str) -> Result<Block, ScramError> {
    decode(text)?.try_into().map_err(|_| ScramError::Malformed)
}

/// The message as text, if it is not longer than `max` bytes and has no NUL.
pub(super) fn text(message: &[u8], max: usize) -> Result<&str, ScramError> {
    if message.len() > max {
        return Err(ScramError::TooLong);
    }
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed)?;
    if text.contains('\0') {
        return Err(ScramError::Malformed);
    }
    Ok(text)
}

/// The value of the attribute `name` at the start of `text`, and what follows
/// it: the rest with its comma skipped, or nothing at the end.
pub(super) fn attribute<'a>(
    text: &'a str,
    name: &str,
) -> Result<(&'a str, Option<&'a str>), ScramError> {
    if text.starts_with("m=") {
        return Err(ScramError::Extension);
    }
    let value = text
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('='));
    let value = value.ok_or(ScramError::Malformed)?;
    Ok(match value.split_once(',') {
        Some((value, rest)) => (value, Some(rest)),
        None => (value, None),
    })
}

/// Like [`attribute`], for one that cannot be the last.
pub(super) fn leading<'a>(text: &'a str, name: &str) -> Result<(&'a str, &'a str), ScramError> {
    let (value, rest) = attribute(text, name)?;
    Ok((value, rest.ok_or(ScramError::Malformed)?))
}

/// A nonce has at least one character, only printable ones, and an end.
pub(super) fn check_nonce(nonce: &str) -> Result<(), ScramError> {
    if nonce.len() > MAX_NONCE {
        return Err(ScramError::TooLong);
    }
    let printable = nonce.bytes().all(|byte| byte.is_ascii_graphic());
    if nonce.is_empty() || !printable {
        return Err(ScramError::Malformed);
    }
    Ok(())
}

/// A number in digits only, without sign or white space.
pub(crate) fn parse_count(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

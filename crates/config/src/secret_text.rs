//! Texts that are nobody else's business.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use zeroize::Zeroizing;

/// A password, what is known of one, or a private key, as it stands in a file.
///
/// It is shown nowhere, and overwritten when it is dropped.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct SecretText(Zeroizing<String>);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Hash for SecretText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Deref for SecretText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SecretText {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for SecretText {
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_of_itself() {
        let secret = SecretText::from("hunter2");
        assert_eq!(secret, "hunter2");
        assert_eq!(format!("{:?}", Some(secret)), "Some(SecretText(..))");
    }
}

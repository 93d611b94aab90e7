//! LDAP: which directory is asked about a password, and how.
//!
//! The options are PostgreSQL's, in lines of the HBA file and in
//! `auth_ldap_options`. A filter is taken apart when it is read, so that the
//! name of a user can only ever be a value in it.
//!
//! Source: PostgreSQL documentation, "LDAP Authentication".

mod filter;
mod options;
mod url;

use std::fmt;

use crate::secret_text::SecretText;

pub use self::filter::{LdapFilter, LdapValue};
pub(crate) use self::options::LdapOptions;
pub use self::url::LdapScope;

/// A directory that knows the passwords of users.
#[derive(Clone, Debug, PartialEq)]
pub struct Ldap {
    /// Its servers; the first that answers is asked.
    pub servers: Vec<LdapServer>,
    /// How connections to them are encrypted.
    pub encryption: LdapEncryption,
    /// How a user is found there.
    pub lookup: LdapLookup,
}

/// A server of a directory.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LdapServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How connections to a directory are encrypted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LdapEncryption {
    /// Not at all.
    None,
    /// By TLS that the connection is asked to go over to.
    StartTls,
    /// By TLS from the first byte.
    Ldaps,
}

/// How a user is found in a directory.
#[derive(Clone, Debug, PartialEq)]
pub enum LdapLookup {
    /// By a name that is made of the user's.
    Bind {
        /// What is before the name of the user.
        prefix: String,
        /// What is behind it.
        suffix: String,
    },
    /// By a search.
    Search {
        /// Where it begins.
        base: String,
        /// How far below that it goes.
        scope: LdapScope,
        /// Who searches; empty for nobody.
        bind_dn: String,
        /// The password of who searches.
        bind_password: SecretText,
        /// What is searched for.
        filter: LdapFilter,
    },
}

impl fmt::Display for LdapServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The byte that the first two hexadecimal digits stand for.
fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests;

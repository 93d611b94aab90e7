//! URLs of LDAP.
//!
//! Source: RFC 4516, "Lightweight Directory Access Protocol (LDAP): Uniform
//! Resource Locator".

use super::hexadecimal;

/// How far below its base a search goes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LdapScope {
    /// It is for the base itself.
    Base,
    /// For its children.
    One,
    /// For it and all below it.
    #[default]
    Subtree,
}

/// What a URL says; empty where it says nothing.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Url {
    /// Whether TLS begins at once.
    pub(super) ldaps: bool,
    /// Host and port.
    pub(super) server: String,
    pub(super) base: String,
    /// The first of the attributes.
    pub(super) attribute: String,
    pub(super) scope: LdapScope,
    pub(super) filter: String,
}

impl Url {
    /// Reads a URL. What is wrong with it is said without quoting it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("is no URL of LDAP")?;
        let ldaps = match scheme.to_ascii_lowercase().as_str() {
            "ldap" => false,
            "ldaps" => true,
            _ => return Err("expected ldap://… or ldaps://…".to_owned()),
        };
        let (server, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let mut parts = rest.split('?');
        let mut part = || parts.next().unwrap_or_default();
        let base = decoded(part())?;
        let attributes = part();
        let attribute = attributes.split(',').next().unwrap_or_default();
        let scope = match part().to_ascii_lowercase().as_str() {
            "" | "base" => LdapScope::Base,
            "one" | "onetree" => LdapScope::One,
            "sub" | "subtree" => LdapScope::Subtree,
            _ => return Err("expected base, one or sub as its scope".to_owned()),
        };
        let filter = decoded(part())?;
        if parts.any(|extensions| !extensions.is_empty()) {
            return Err("extensions of URLs are not supported".to_owned());
        }
        Ok(Self {
            ldaps,
            server: decoded(server)?,
            base,
            attribute: decoded(attribute)?,
            scope,
            filter,
        })
    }
}

/// A text where `%` and two digits stand for a byte.
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        bytes.push(hexadecimal(behind).ok_or("a percent sign is not written as %25")?);
        rest = behind.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

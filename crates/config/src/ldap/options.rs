//! The options by which a directory is described.

use super::filter::LdapFilter;
use super::url::{LdapScope, Url};
use super::{Ldap, LdapEncryption, LdapLookup, LdapServer};
use crate::finding::unknown;
use crate::secret_text::SecretText;

/// Options as they were given, before it is known whether they go together.
#[derive(Default)]
pub(crate) struct LdapOptions {
    servers: Option<String>,
    port: Option<u16>,
    ldaps: bool,
    start_tls: bool,
    prefix: Option<String>,
    suffix: Option<String>,
    base: Option<String>,
    scope: LdapScope,
    bind_dn: Option<String>,
    bind_password: Option<SecretText>,
    attribute: Option<String>,
    filter: Option<String>,
}

impl LdapOptions {
    /// Whether this is the name of an option.
    pub(crate) fn has(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Whether the password of who searches was given.
    pub(crate) fn has_password(&self) -> bool {
        self.bind_password.is_some()
    }

    /// Takes one option; a later one of the same name replaces it.
    ///
    /// What is wrong is said without quoting the value.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match name {
            "ldapserver" => self.servers = text(),
            "ldapport" => {
                let port = value.parse().ok().filter(|port| *port > 0);
                self.port = Some(port.ok_or("ldapport: expected a port, 1 to 65535")?);
            }
            "ldapscheme" => {
                self.ldaps = match value {
                    "ldap" => false,
                    "ldaps" => true,
                    _ => return Err("ldapscheme: expected ldap or ldaps".to_owned()),
                }
            }
            "ldaptls" => {
                self.start_tls = match value {
                    "0" => false,
                    "1" => true,
                    _ => return Err("ldaptls: expected 0 or 1".to_owned()),
                }
            }
            "ldapprefix" => self.prefix = text(),
            "ldapsuffix" => self.suffix = text(),
            "ldapbasedn" => self.base = text(),
            "ldapbinddn" => self.bind_dn = text(),
            "ldapbindpasswd" => self.bind_password = Some(value.into()),
            "ldapsearchattribute" => self.attribute = text(),
            "ldapsearchfilter" => self.filter = text(),
            "ldapurl" => {
                let url = Url::parse(value).map_err(|problem| format!("ldapurl: {problem}"))?;
                self.url(url);
            }
            other => return Err(format!("{other}: {}", unknown("option", other, NAMES))),
        }
        Ok(())
    }

    fn url(&mut self, url: Url) {
        let some = |text: String| (!text.is_empty()).then_some(text);
        self.ldaps = url.ldaps;
        self.scope = url.scope;
        self.servers = some(url.server).or(self.servers.take());
        self.base = some(url.base).or(self.base.take());
        self.attribute = some(url.attribute).or(self.attribute.take());
        self.filter = some(url.filter).or(self.filter.take());
    }

    /// The directory that these options describe.
    pub(crate) fn finish(self) -> Result<Ldap, String> {
        let encryption = match (self.ldaps, self.start_tls) {
            (true, true) => return Err("ldaptls=1 is not for ldaps, which has TLS".to_owned()),
            (true, false) => LdapEncryption::Ldaps,
            (false, true) => LdapEncryption::StartTls,
            (false, false) => LdapEncryption::None,
        };
        let usual = self.port.unwrap_or(if self.ldaps { 636 } else { 389 });
        let servers = self.servers.as_deref().unwrap_or_default();
        let servers = servers.split_whitespace().map(|text| server(text, usual));
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(
                "ldap needs ldapserver, or ldapurl with a host: servers are not looked up in DNS"
                    .to_owned(),
            );
        }
        Ok(Ldap {
            servers,
            encryption,
            lookup: self.lookup()?,
        })
    }

    fn lookup(self) -> Result<LdapLookup, String> {
        if self.prefix.is_some() || self.suffix.is_some() {
            for (name, given) in [
                ("ldapbasedn", self.base.is_some()),
                ("ldapbinddn", self.bind_dn.is_some()),
                ("ldapbindpasswd", self.bind_password.is_some()),
                ("ldapsearchattribute", self.attribute.is_some()),
                ("ldapsearchfilter", self.filter.is_some()),
            ] {
                if given {
                    return Err(format!("{name} does not go with ldapprefix or ldapsuffix"));
                }
            }
            return Ok(LdapLookup::Bind {
                prefix: self.prefix.unwrap_or_default(),
                suffix: self.suffix.unwrap_or_default(),
            });
        }
        let base = self.base.filter(|base| !base.is_empty());
        let base = base.ok_or("ldap needs ldapbasedn, ldapprefix or ldapsuffix")?;
        let bind_dn = self.bind_dn.unwrap_or_default();
        let bind_password = self.bind_password.unwrap_or_default();
        if bind_dn.is_empty() != bind_password.is_empty() {
            return Err("ldapbinddn and ldapbindpasswd belong together".to_owned());
        }
        let filter = match (self.attribute, self.filter) {
            (Some(_), Some(_)) => {
                return Err("ldapsearchattribute does not go with ldapsearchfilter".to_owned());
            }
            (None, Some(filter)) => LdapFilter::parse(&filter)
                .map_err(|problem| format!("ldapsearchfilter: {problem}"))?,
            (attribute, None) => LdapFilter::user(attribute.as_deref().unwrap_or("uid"))
                .map_err(|problem| format!("ldapsearchattribute: {problem}"))?,
        };
        Ok(LdapLookup::Search {
            base,
            scope: self.scope,
            bind_dn,
            bind_password,
            filter,
        })
    }
}

/// A server, `host`, `host:port` or `[address]:port`.
fn server(text: &str, usual: u16) -> Result<LdapServer, String> {
    let wrong = || "ldapserver: expected hosts, with spaces between them".to_owned();
    let (host, port) = if let Some(inside) = text.strip_prefix('[') {
        let (host, behind) = inside.split_once(']').ok_or_else(wrong)?;
        match behind.strip_prefix(':') {
            None if !behind.is_empty() => return Err(wrong()),
            port => (host, port),
        }
    } else {
        match text.split_once(':') {
            // An address of version 6, without a port.
            Some((_, more)) if more.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() || host.contains(['/', ',', '@']) {
        return Err(wrong());
    }
    let port = match port {
        None => usual,
        Some(port) => port.parse().ok().filter(|p| *p > 0).ok_or_else(wrong)?,
    };
    Ok(LdapServer {
        host: host.to_owned(),
        port,
    })
}

const NAMES: [&str; 12] = [
    "ldapserver",
    "ldapport",
    "ldapscheme",
    "ldaptls",
    "ldapprefix",
    "ldapsuffix",
    "ldapbasedn",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapurl",
];

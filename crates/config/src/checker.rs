//! Checker: who is asked whether a password is right, where that is not known
//! here.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

use crate::choices::AuthType;
use crate::config::Config;
use crate::finding::Finding;
use crate::hba::{HbaMethod, quotation};
use crate::ini::Fetch;
use crate::kind::Kind;
use crate::ldap::{Ldap, LdapEncryption, LdapOptions};
use crate::pam::Pam;
use crate::secret_text::SecretText;
use crate::tls::{TlsFile, file, system_authorities};

/// Who is asked whether a password is right.
#[derive(Clone, Debug, PartialEq)]
pub enum Checker {
    /// A directory.
    Ldap(Arc<Ldap>),
    /// A service of PAM.
    Pam(Arc<Pam>),
}

/// Options as they are written in a setting, with a password among them.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Options(pub(crate) SecretText);

/// The options of a line, while they are read.
pub(crate) enum CheckerOptions {
    /// It is of a method that has none.
    None,
    Ldap(Option<LdapOptions>),
    Pam(Option<Pam>),
}

impl CheckerOptions {
    /// Those of a method, none of which was seen yet.
    pub(crate) fn of(method: HbaMethod) -> Self {
        match method {
            HbaMethod::Ldap => Self::Ldap(None),
            HbaMethod::Pam => Self::Pam(None),
            _ => Self::None,
        }
    }

    /// Takes an option if it is one of these.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match self {
            Self::Ldap(options) if LdapOptions::has(name) => {
                options.get_or_insert_default().set(name, value)?;
            }
            Self::Pam(options) if Pam::has(name) => {
                options.get_or_insert_default().set(name, value)?;
            }
            // It may be the end of a password that is not in quotes.
            Self::Ldap(Some(options)) if options.has_password() => {
                return Err(
                    "ldapbindpasswd is to be in double quotes, or an option behind it \
                     is unknown"
                        .to_owned(),
                );
            }
            _ if LdapOptions::has(name) => return Err(format!("{name} is for ldap only")),
            _ if Pam::has(name) => return Err(format!("{name} is for pam only")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Who these options say is asked; `None` if none were given.
    pub(crate) fn finish(self) -> Result<Option<Checker>, String> {
        Ok(match self {
            Self::Ldap(Some(options)) => Some(Checker::Ldap(Arc::new(options.finish()?))),
            Self::Pam(Some(pam)) => Some(Checker::Pam(Arc::new(pam))),
            Self::None | Self::Ldap(None) | Self::Pam(None) => None,
        })
    }
}

/// Finds out who is asked, for everybody or by the lines of the HBA file that do
/// not say it, and reads the authorities that directories are checked against.
pub(crate) fn resolve(config: &mut Config, fetch: &mut Fetch<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match config.settings.auth_type {
        AuthType::Ldap => config.checker = usual(config, HbaMethod::Ldap, &mut findings),
        AuthType::Pam => config.checker = usual(config, HbaMethod::Pam, &mut findings),
        _ => {}
    }
    for method in [HbaMethod::Ldap, HbaMethod::Pam] {
        if config.hba.lacks_checker(method)
            && let Some(checker) = usual(config, method, &mut findings)
        {
            config.hba.complete(method, &checker);
        }
    }
    let encrypted = config.checkers().any(|checker| match checker {
        Checker::Ldap(ldap) => ldap.encryption != LdapEncryption::None,
        Checker::Pam(_) => false,
    });
    if encrypted {
        config.ldap_authorities = authorities(config, fetch, &mut findings);
    }
    findings
}

/// Who is asked where nothing else is said.
fn usual(config: &Config, method: HbaMethod, findings: &mut Vec<Finding>) -> Option<Checker> {
    let settings = &config.settings;
    let (name, text) = match method {
        HbaMethod::Ldap => ("auth_ldap_options", &*settings.auth_ldap_options.0),
        _ => ("auth_pam_options", settings.auth_pam_options.as_str()),
    };
    let read = || {
        let mut options = match method {
            HbaMethod::Ldap => CheckerOptions::Ldap(Some(LdapOptions::default())),
            _ => CheckerOptions::Pam(Some(Pam::default())),
        };
        for (name, value) in pairs(text)? {
            if !options.take(&name, &value)? {
                return Err(format!("{name}: unknown option"));
            }
        }
        options.finish()
    };
    read().unwrap_or_else(|problem| {
        let auth_type = config.places.get("auth_type");
        let place = config.places.get(name).or(auth_type).cloned();
        findings.push(place.unwrap_or_default().finding(name, problem));
        None
    })
}

fn authorities(
    config: &Config,
    fetch: &mut Fetch<'_>,
    findings: &mut Vec<Finding>,
) -> Option<TlsFile> {
    let setting = "auth_ldap_ca_file";
    let name = &config.settings.auth_ldap_ca_file;
    let place = config.places.get(setting).cloned().unwrap_or_default();
    let read = if name.is_empty() {
        let problem = "is needed for TLS with directories: this system has no list of authorities";
        let system = system_authorities(setting, &place, fetch);
        system.ok_or_else(|| place.finding(setting, problem))
    } else {
        file(setting, name, place, fetch)
    };
    read.map_err(|finding| findings.push(finding)).ok()
}

impl Kind for Options {
    type Value = Self;
    const NAME: &'static str = "options";
    const EXPECTED: &'static str = "options";

    fn parse(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }

    /// Writes them without the password.
    fn print(value: &Self) -> String {
        masked(&value.0)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

/// The value of a setting as it may be shown to others.
pub fn shown_value(setting: &str, value: &str) -> String {
    if setting.eq_ignore_ascii_case("auth_ldap_options") {
        masked(value)
    } else {
        value.to_owned()
    }
}

/// `text` without the password that is in it.
fn masked(text: &str) -> String {
    let Ok(pairs) = pairs(text) else {
        return if text.contains(PASSWORD) {
            HIDDEN.to_owned()
        } else {
            text.to_owned()
        };
    };
    if !pairs.iter().any(|(name, _)| name == PASSWORD) {
        return text.to_owned();
    }
    let shown = pairs.iter().map(|(name, value)| {
        let value = if name == PASSWORD { HIDDEN } else { value };
        format!("{name}=\"{}\"", value.replace('"', "\"\""))
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Divides `name=value name="value"` into names and values, as PgBouncer does:
/// white space or a comma is between them, and two quotes in a quotation are one.
///
/// What is wrong is said without quoting it.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut chars = text.chars().peekable();
    let mut pairs = Vec::new();
    let blank = |c: char| c.is_whitespace() || c == ',';
    loop {
        while chars.next_if(|c| blank(*c)).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let name = word(&mut chars, |c| blank(c) || c == '=')?;
        if name.is_empty() || chars.next_if_eq(&'=').is_none() {
            return Err("expected name=value or name=\"value\"".to_owned());
        }
        pairs.push((name, word(&mut chars, blank)?));
    }
}

/// Takes a word off, in quotes or up to a character that ends it.
fn word(chars: &mut Peekable<Chars<'_>>, ends: impl Fn(char) -> bool) -> Result<String, String> {
    let mut word = String::new();
    if chars.next_if_eq(&'"').is_none() {
        while let Some(c) = chars.next_if(|c| !ends(*c)) {
            word.push(c);
        }
        return Ok(word);
    }
    quotation(chars, &mut word)?;
    Ok(word)
}

/// The option that holds a password.
const PASSWORD: &str = "ldapbindpasswd";

/// What is shown of a password.
const HIDDEN: &str = "****";

#[cfg(test)]
mod tests;

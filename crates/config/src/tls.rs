//! TLS: what the settings of one side come to.
//!
//! Versions, ciphers and groups are named as PgBouncer and OpenSSL name them.
//! What of a list is not offered here is left out with a warning; when nothing
//! is left, that is an error. The files are texts here; whether they hold
//! certificates is for those to say who use them.

mod names;

use std::fmt;
use std::path::Path;

use crate::choices::{SslMode, SslNegotiation};
use crate::config::Config;
use crate::entries::Database;
use crate::finding::{Finding, Place};
use crate::ini::Fetch;
use crate::secret_text::SecretText;
use crate::table::Settings;

pub use names::{TlsGroup, TlsSuite, TlsVersions};

/// What TLS towards clients, or towards servers, is to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// The certificate that is shown, with those between it and the root.
    pub certificate: Option<TlsFile>,
    /// Its private key.
    pub key: Option<TlsFile>,
    /// Authorities that the other side's certificate is checked against.
    pub authorities: Option<TlsFile>,
    /// Versions of the protocol.
    pub versions: TlsVersions,
    /// Cipher suites, the preferred ones first.
    pub suites: Vec<TlsSuite>,
    /// Groups for the key exchange, the preferred ones first.
    pub groups: Vec<TlsGroup>,
}

/// A file that a setting names.
///
/// Two are the same wherever the setting is: a comment above it changes nothing.
#[derive(Clone, Default)]
pub struct TlsFile {
    /// The setting.
    pub setting: &'static str,
    /// The file as it was named.
    pub name: String,
    /// What is in it, which may be a private key.
    pub text: SecretText,
    /// Where the setting is.
    pub place: Place,
}

impl TlsFile {
    /// Something is wrong with what is in the file.
    pub fn finding(&self, problem: &str) -> Finding {
        let problem = format!("{}: {problem}", self.name);
        self.place.finding(self.setting, problem)
    }
}

impl PartialEq for TlsFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            authorities: None,
            versions: TlsVersions::ALL,
            suites: TlsSuite::ALL.to_vec(),
            groups: TlsGroup::DEFAULT.to_vec(),
        }
    }
}

impl fmt::Debug for TlsFile {
    /// Shows the name alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsFile").field(&self.name).finish()
    }
}

/// Works out the TLS of both sides, and reads the files by `fetch`; returns
/// what is wrong, and what is worth a warning.
pub(crate) fn resolve(
    config: &mut Config,
    main: &Path,
    fetch: &mut Fetch<'_>,
) -> (Vec<Finding>, Vec<Finding>) {
    let settings = config.settings.clone();
    let mut resolve = Resolve {
        config,
        main,
        findings: Vec::new(),
        warnings: Vec::new(),
    };
    let client = resolve.client(&settings, fetch);
    let server = resolve.server(&settings, fetch);
    resolve.direct(settings.server_tls_sslmode);
    let (findings, warnings) = (resolve.findings, resolve.warnings);
    (config.client_tls, config.server_tls) = (client, server);
    (findings, warnings)
}

struct Resolve<'a> {
    config: &'a Config,
    main: &'a Path,
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
}

/// The settings of one side, each with its name.
struct Texts<'a> {
    mode: (&'static str, SslMode),
    certificate: (&'static str, &'a str),
    key: (&'static str, &'a str),
    authorities: (&'static str, &'a str),
    protocols: (&'static str, &'a str),
    ciphers: (&'static str, &'a str),
    ciphers13: (&'static str, &'a str),
}

impl Resolve<'_> {
    /// TLS towards clients.
    fn client(&mut self, settings: &Settings, fetch: &mut Fetch<'_>) -> Tls {
        let texts = Texts {
            mode: ("client_tls_sslmode", settings.client_tls_sslmode),
            certificate: ("client_tls_cert_file", &settings.client_tls_cert_file),
            key: ("client_tls_key_file", &settings.client_tls_key_file),
            authorities: ("client_tls_ca_file", &settings.client_tls_ca_file),
            protocols: ("client_tls_protocols", &settings.client_tls_protocols),
            ciphers: ("client_tls_ciphers", &settings.client_tls_ciphers),
            ciphers13: ("client_tls13_ciphers", &settings.client_tls13_ciphers),
        };
        let mut tls = self.side(&texts, fetch);
        let curves = ("client_tls_ecdhcurve", &*settings.client_tls_ecdhcurve);
        if let Some(groups) = self.list(curves, names::groups(curves.1)) {
            tls.groups = groups;
        }
        let parameters = &settings.client_tls_dheparams;
        let known = |word: &&str| parameters.eq_ignore_ascii_case(word);
        if !["auto", "none"].iter().any(known) {
            let problem = format!(
                "{parameters} is not offered: keys are exchanged over elliptic curves only, \
                 expected auto or none"
            );
            self.wrong("client_tls_dheparams", problem);
        }
        if texts.mode.1 != SslMode::Disable {
            self.need(&texts, texts.certificate.0, tls.certificate.is_some());
            self.need(&texts, texts.key.0, tls.key.is_some());
        }
        if texts.mode.1.verifies() {
            self.need(&texts, texts.authorities.0, tls.authorities.is_some());
        }
        tls
    }

    /// TLS towards servers.
    fn server(&mut self, settings: &Settings, fetch: &mut Fetch<'_>) -> Tls {
        let texts = Texts {
            mode: ("server_tls_sslmode", settings.server_tls_sslmode),
            certificate: ("server_tls_cert_file", &settings.server_tls_cert_file),
            key: ("server_tls_key_file", &settings.server_tls_key_file),
            authorities: ("server_tls_ca_file", &settings.server_tls_ca_file),
            protocols: ("server_tls_protocols", &settings.server_tls_protocols),
            ciphers: ("server_tls_ciphers", &settings.server_tls_ciphers),
            ciphers13: ("server_tls13_ciphers", &settings.server_tls13_ciphers),
        };
        let mut tls = self.side(&texts, fetch);
        if texts.mode.1.verifies() && texts.authorities.1.is_empty() {
            let setting = texts.authorities.0;
            tls.authorities = system_authorities(setting, &self.place(setting), fetch);
            self.need(&texts, texts.authorities.0, tls.authorities.is_some());
        }
        if texts.mode.1 != SslMode::Disable && tls.certificate.is_some() != tls.key.is_some() {
            let missing = if tls.key.is_some() {
                texts.certificate.0
            } else {
                texts.key.0
            };
            self.need(&texts, missing, false);
        }
        tls
    }

    /// Where TLS begins at once there is no way to go without.
    fn direct(&mut self, mode: SslMode) {
        if mode.demands_tls() {
            return;
        }
        let config = self.config;
        let direct = |database: &&Database| database.sslnegotiation == SslNegotiation::Direct;
        for database in config.entries().filter(direct) {
            let problem = format!(
                "{}: sslnegotiation = direct needs require, verify-ca or verify-full",
                database.name
            );
            self.wrong("server_tls_sslmode", problem);
        }
    }

    fn side(&mut self, texts: &Texts<'_>, fetch: &mut Fetch<'_>) -> Tls {
        let mut tls = Tls::default();
        // What is not used yet may be missing; if not, SET can have it used.
        let before = self.findings.len();
        tls.certificate = self.file(texts.certificate, fetch);
        tls.key = self.file(texts.key, fetch);
        tls.authorities = self.file(texts.authorities, fetch);
        if texts.mode.1 == SslMode::Disable {
            self.findings.truncate(before);
        }
        if let Some(versions) = self.list(texts.protocols, names::versions(texts.protocols.1)) {
            tls.versions = versions;
        }
        let old = self.list(texts.ciphers, names::suites(texts.ciphers.1));
        let new = self.list(texts.ciphers13, names::suites13(texts.ciphers13.1));
        if let (Some(old), Some(new)) = (old, new) {
            let suites = new.into_iter().chain(old);
            tls.suites = suites
                .filter(|suite| tls.versions.has(suite.version()))
                .collect();
        }
        tls
    }

    fn file(
        &mut self,
        (setting, name): (&'static str, &str),
        fetch: &mut Fetch<'_>,
    ) -> Option<TlsFile> {
        if name.is_empty() {
            return None;
        }
        match file(setting, name, self.place(setting), fetch) {
            Ok(file) => Some(file),
            Err(finding) => {
                self.findings.push(finding);
                None
            }
        }
    }

    /// Takes what a list comes to, and says what of it is not offered.
    fn list<T>(
        &mut self,
        (setting, _): (&'static str, &str),
        parsed: Result<(T, Vec<String>), String>,
    ) -> Option<T> {
        match parsed {
            Ok((value, left_out)) => {
                if !left_out.is_empty() {
                    let problem = format!("not offered and left out: {}", left_out.join(", "));
                    let warning = self.place(setting).finding(setting, problem);
                    self.warnings.push(warning);
                }
                Some(value)
            }
            Err(problem) => {
                self.wrong(setting, problem);
                None
            }
        }
    }

    /// Says that a file is missing, unless something else was said of it.
    fn need(&mut self, texts: &Texts<'_>, setting: &'static str, there: bool) {
        let said = self
            .findings
            .iter()
            .any(|finding| finding.setting == setting);
        if !there && !said {
            let (name, mode) = texts.mode;
            let problem = if self.config.places.contains_key(name) {
                format!("is needed by {name} = {mode}")
            } else {
                // The other one of two that belong together.
                "is missing".to_owned()
            };
            let finding = self.place(name).finding(setting, problem);
            self.findings.push(finding);
        }
    }

    fn wrong(&mut self, setting: &str, problem: impl Into<String>) {
        let finding = self.place(setting).finding(setting, problem);
        self.findings.push(finding);
    }

    fn place(&self, setting: &str) -> Place {
        self.config.place(setting, self.main)
    }
}

/// Reads the file `name` that `setting` at `place` names.
pub(crate) fn file(
    setting: &'static str,
    name: &str,
    place: Place,
    fetch: &mut Fetch<'_>,
) -> Result<TlsFile, Finding> {
    match fetch(Path::new(name)) {
        Ok(text) => Ok(TlsFile {
            setting,
            name: name.to_owned(),
            text: text.into(),
            place,
        }),
        Err(reason) => Err(place.finding(setting, format!("cannot read {name}: {reason}"))),
    }
}

/// The authorities that this system knows, in place of the file that `setting`
/// at `place` could name; none if it has no such file.
pub(crate) fn system_authorities(
    setting: &'static str,
    place: &Place,
    fetch: &mut Fetch<'_>,
) -> Option<TlsFile> {
    SYSTEM_AUTHORITIES
        .iter()
        .find_map(|name| file(setting, name, place.clone(), fetch).ok())
}

/// Where systems keep the authorities that they know: Debian, Red Hat, Alpine.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

#[cfg(test)]
mod tests;

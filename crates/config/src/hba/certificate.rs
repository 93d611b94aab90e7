//! What a rule asks of the certificate of a client.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File" and "Certificate
//! Authentication".

use super::{Connections, Hba, HbaMethod, Rule};
use crate::choices::SslMode;
use crate::config::Config;
use crate::finding::Finding;

/// What is asked of the certificate of a client.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientCertificate {
    /// Nothing: it needs none.
    #[default]
    NotNeeded,
    /// That a known authority has issued it.
    VerifyCa,
    /// That its common name is that of the user as well, or may be it by the map
    /// of the rule.
    VerifyFull,
}

impl Rule {
    /// Takes `clientcert=value`.
    pub(super) fn client_certificate(&mut self, value: &str) -> Result<(), String> {
        if !matches!(self.connections, Connections::Encrypted(_)) {
            return Err("clientcert is for hostssl only".to_owned());
        }
        self.certificate = match (value, self.method) {
            ("verify-full", _) => ClientCertificate::VerifyFull,
            ("verify-ca", HbaMethod::Cert) => {
                return Err("clientcert=verify-ca: cert always compares the name".to_owned());
            }
            ("verify-ca", _) => ClientCertificate::VerifyCa,
            _ => {
                return Err(format!(
                    "clientcert={value}: expected verify-ca or verify-full"
                ));
            }
        };
        Ok(())
    }

    /// Takes `clientname=value`.
    pub(super) fn client_name(&self, value: &str) -> Result<(), String> {
        match value {
            _ if !matches!(self.connections, Connections::Encrypted(_)) => {
                Err("clientname is for hostssl only".to_owned())
            }
            "CN" => Ok(()),
            "DN" => Err("clientname=DN is not supported, the common name is".to_owned()),
            _ => Err(format!("clientname={value}: expected CN")),
        }
    }
}

/// What keeps rules about TLS from working, and what is worth a warning.
pub(crate) fn check(hba: &Hba, config: &Config) -> (Vec<Finding>, Vec<Finding>) {
    let encrypted = |rule: &&Rule| matches!(rule.connections, Connections::Encrypted(_));
    let rules = hba.rules.iter().filter(encrypted);
    if config.settings.client_tls_sslmode == SslMode::Disable {
        let problem = "hostssl fits nobody with client_tls_sslmode = disable";
        let warnings = rules.map(|rule| rule.place.finding("", problem));
        return (Vec::new(), warnings.collect());
    }
    // If they cannot be read, that was said.
    if !config.settings.client_tls_ca_file.is_empty() {
        return Default::default();
    }
    let needing = rules.filter(|rule| rule.certificate != ClientCertificate::NotNeeded);
    let problem = "certificates of clients can be checked only with client_tls_ca_file";
    let findings = needing.map(|rule| rule.place.finding("", problem));
    (findings.collect(), Vec::new())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::finding::Place;

    const LINES: &str = "host all all all md5\n\
                         hostssl all all all md5\n\
                         hostssl all all all cert map=m\n\
                         hostssl all all all md5 clientcert=verify-ca clientname=CN\n\
                         hostssl all all all md5 clientcert=verify-full\n";

    fn lines() -> Hba {
        let mut fetch = |_: &Path| Ok(LINES.to_owned());
        Hba::read(Path::new("hba"), &Place::default(), &mut fetch).unwrap()
    }

    fn checked(config: &Config) -> (Vec<String>, Vec<String>) {
        let (findings, warnings) = check(&lines(), config);
        let texts = |all: Vec<Finding>| all.iter().map(Finding::to_string).collect();
        (texts(findings), texts(warnings))
    }

    #[test]
    fn knows_what_is_asked_of_certificates() {
        use ClientCertificate::{NotNeeded, VerifyCa, VerifyFull};
        let hba = lines();
        let asked: Vec<_> = hba.rules.iter().map(|rule| rule.certificate).collect();
        assert_eq!(
            asked,
            [NotNeeded, NotNeeded, VerifyFull, VerifyCa, VerifyFull]
        );
        assert_eq!(hba.rules[2].map.as_deref(), Some("m"));
    }

    #[test]
    fn warns_of_rules_that_fit_nobody() {
        let (findings, warnings) = checked(&Config::default());
        assert_eq!(findings, [""; 0]);
        assert_eq!(warnings.len(), 4);
        assert_eq!(
            warnings[0],
            "hba:2: hostssl fits nobody with client_tls_sslmode = disable"
        );
    }

    #[test]
    fn rejects_rules_about_certificates_that_nobody_can_check() {
        let mut config = Config::default();
        config.settings.client_tls_sslmode = SslMode::Prefer;
        let (findings, warnings) = checked(&config);
        assert_eq!(findings.len(), 3);
        assert_eq!(
            findings[0],
            "hba:3: certificates of clients can be checked only with client_tls_ca_file"
        );
        assert_eq!(warnings, [""; 0]);
        config.settings.client_tls_ca_file = "gone.pem".to_owned();
        assert_eq!(checked(&config), (vec![], vec![]));
    }
}

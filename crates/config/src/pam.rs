//! PAM: which of the system's services is asked about a password.
//!
//! Source: PostgreSQL documentation, "PAM Authentication".

use crate::finding::unknown;

/// A service of PAM that knows the passwords of users.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pam {
    /// Its name.
    pub service: String,
    /// The folder of its file, if that is not the system's.
    pub folder: Option<String>,
}

impl Default for Pam {
    fn default() -> Self {
        Self {
            service: "pgbouncer".to_owned(),
            folder: None,
        }
    }
}

impl Pam {
    /// Whether this is the name of an option.
    pub(crate) fn has(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Takes one option; a later one of the same name replaces it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "pamservice" if value.is_empty() || value.contains('/') => {
                return Err("pamservice: expected the name of a service".to_owned());
            }
            "pamservice" => value.clone_into(&mut self.service),
            "pamconfdir" if !value.starts_with('/') => {
                return Err("pamconfdir: expected the whole path of a folder".to_owned());
            }
            "pamconfdir" => self.folder = Some(value.to_owned()),
            "pam_use_hostname" if value == "0" => {}
            "pam_use_hostname" if value == "1" => {
                return Err("pam_use_hostname=1 is not supported: \
                     services are told the addresses of clients"
                    .to_owned());
            }
            "pam_use_hostname" => return Err("pam_use_hostname: expected 0".to_owned()),
            other => return Err(format!("{other}: {}", unknown("option", other, NAMES))),
        }
        Ok(())
    }
}

const NAMES: [&str; 3] = ["pamservice", "pamconfdir", "pam_use_hostname"];

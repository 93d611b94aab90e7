//! Admission: how a client has to prove who it is.
//!
//! `auth_type` says it for all, or the HBA file for each by where it comes from
//! and what it wants. Over a unix socket the system may know who it is.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File", "Peer
//! Authentication".

use std::net::IpAddr;

use pgskein_config::{AuthType, ClientCertificate, HbaMethod, Place, Undecided, Visitor};
use pgskein_pool::slab::ClientId;
use pgskein_protocol::{Replication, common_name};

use super::Worker;
use super::client::{Client, Origin, Stage};
use super::denied::Denied;
use super::reason::Reason;
use super::tls::Tls;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    /// Not at all, and its name is ignored.
    Any,
    /// Not at all, but the user must be known.
    Trust,
    /// By its password in clear text.
    Password,
    /// By MD5, or by SCRAM where the stored secret is one for SCRAM.
    Md5,
    /// By SCRAM-SHA-256.
    ScramSha256,
    /// By being a user of this host.
    Peer,
    /// By a certificate, which was looked at.
    Certificate,
    /// By its password in clear text, which somebody else is asked about.
    Checked,
}

/// The line of the HBA file that a client comes in by.
#[derive(Debug)]
pub(super) struct HbaLine {
    place: Place,
    /// The map that says whom a peer may be.
    map: Option<String>,
    /// The user of the system behind a peer's socket, once it is known.
    identity: Option<String>,
}

impl Worker {
    /// Finds out how a client has to prove who it is; `None` if it has to wait
    /// until the name of its host is known.
    ///
    /// # Errors
    ///
    /// [`Reason::Denied`] when it may not try.
    pub(super) fn method_for(&mut self, id: ClientId) -> Result<Option<Method>, Reason> {
        let auth_type = self.config.settings.auth_type;
        if !matches!(auth_type, AuthType::Cert | AuthType::Hba) {
            self.check_certificate(id, ClientCertificate::NotNeeded, None)?;
        }
        Ok(Some(match auth_type {
            AuthType::Any => Method::Any,
            AuthType::Trust => Method::Trust,
            AuthType::Plain => Method::Password,
            AuthType::Md5 => Method::Md5,
            AuthType::Hba => return self.method_of_rule(id),
            AuthType::Cert => {
                self.check_certificate(id, ClientCertificate::VerifyFull, None)?;
                Method::Certificate
            }
            AuthType::Ldap | AuthType::Pam => {
                let checker = self.config.checker.clone();
                if let Some((login, _)) = self.login_mut(id) {
                    login.checker = checker;
                }
                Method::Checked
            }
            AuthType::ScramSha256 => Method::ScramSha256,
        }))
    }

    fn method_of_rule(&mut self, id: ClientId) -> Result<Option<Method>, Reason> {
        let client = self.clients.get(id);
        let encrypted = client.is_some_and(|client| client.stream.tls().is_some());
        let Some((login, origin)) = self.login_mut(id) else {
            return Ok(None);
        };
        let (database, user) = (login.database.clone(), login.user.clone());
        let host = login.host.clone();
        let replication = login.replication.as_ref().map(|own| own.mode());
        let visitor = Visitor {
            address: origin.address(),
            host: host.name(),
            interfaces: self.host_names.interfaces(),
            encrypted,
            database: &database,
            user: &user,
            physical_replication: replication == Some(Replication::Physical),
        };
        let rule = match (self.config.hba.rule(&visitor), visitor.address) {
            (Ok(Some(rule)), _) => rule,
            (Err(Undecided::Interfaces), _) => {
                return Err(Reason::Denied(Denied::NoInterfaces));
            }
            (Err(Undecided::Name), Some(address)) => {
                return match self.find_host(id, address)? {
                    true => self.method_of_rule(id),
                    false => Ok(None),
                };
            }
            _ => return Err(Reason::Denied(Denied::NoLine)),
        };
        let method = match rule.method {
            HbaMethod::Trust => Ok(Method::Trust),
            HbaMethod::Reject => Err(Reason::Denied(Denied::ByLine)),
            HbaMethod::Md5 => Ok(Method::Md5),
            HbaMethod::Password => Ok(Method::Password),
            HbaMethod::ScramSha256 => Ok(Method::ScramSha256),
            HbaMethod::Peer => Ok(Method::Peer),
            HbaMethod::Cert => Ok(Method::Certificate),
            HbaMethod::Ldap | HbaMethod::Pam => Ok(Method::Checked),
        };
        let (certificate, map) = (rule.certificate, rule.map.clone());
        let line = Box::new(HbaLine {
            place: rule.place.clone(),
            map: rule.map.clone(),
            identity: None,
        });
        let checker = rule.checker.clone();
        if let Some((login, _)) = self.login_mut(id) {
            login.line = Some(line);
            login.checker = checker;
        }
        let method = method?;
        self.check_certificate(id, certificate, map.as_deref())?;
        Ok(Some(method))
    }

    /// Lets a client in if the user of the system behind its socket has this name
    /// and may be whom it wants to be.
    pub(super) fn admit_peer(&mut self, id: ClientId, name: Option<&str>) -> Result<(), Reason> {
        let Some((login, _)) = self.login_mut(id) else {
            return Ok(());
        };
        let line = login.line.as_deref_mut();
        let map = line.and_then(|line| {
            line.identity = name.map(str::to_owned);
            line.map.clone()
        });
        let user = login.user.clone();
        match name {
            None => Err(Reason::Denied(Denied::NamelessPeer)),
            Some(name) if self.config.ident.admits(map.as_deref(), name, &user) => {
                self.authenticated(id)
            }
            Some(_) => Err(Reason::Denied(Denied::WrongPeer)),
        }
    }
}

impl Client {
    /// How a client that logs in has come in: by what encryption, and known by
    /// what.
    pub(super) fn way_in(&self) -> String {
        let tls = self
            .stream
            .tls()
            .map_or_else(String::new, |tls| format!(", tls={}", tls.description()));
        tls + &self.known_by()
    }

    /// By what a client that logs in is known: the name in its certificate, or that
    /// of the user of the system, and the line of the HBA file that it logs in by.
    pub(super) fn known_by(&self) -> String {
        let Stage::Login(login) = &self.stage else {
            return String::new();
        };
        let shown = self.stream.tls().and_then(Tls::client_certificate);
        let name = shown.and_then(|shown| common_name(shown).ok());
        let name = name.map_or_else(String::new, |name| format!(", certificate={name:?}"));
        let Some(HbaLine {
            place, identity, ..
        }) = login.line.as_deref()
        else {
            return name;
        };
        let identity = identity.as_ref();
        let identity = identity.map_or_else(String::new, |name| format!(", identity={name:?}"));
        format!("{name}{identity}, hba={}:{}", place.file, place.line)
    }
}

impl Origin {
    /// The address that a client comes from, if it does not come over a unix
    /// socket.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix { .. } => None,
        }
    }
}

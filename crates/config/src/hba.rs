//! The HBA file: who may come in from where, and how it is proved.
//!
//! The first rule that fits decides; without one nobody comes in. The syntax is
//! PostgreSQL's. What needs a server to be decided (`+role`, `samerole`) or is
//! not built is refused when the file is read, never skipped.
//!
//! Source: PostgreSQL documentation, "The pg_hba.conf File".

mod address;
mod certificate;
mod host_name;
mod ident;
mod interfaces;
mod name;
mod tokens;

use std::net::IpAddr;
use std::path::Path;

use self::address::Addresses;
pub use self::certificate::ClientCertificate;
pub(crate) use self::certificate::check as check_certificates;
pub use self::host_name::HostName;
pub use self::ident::IdentMap;
pub use self::interfaces::Interfaces;
use self::name::Name;
pub(crate) use self::tokens::quotation;
use self::tokens::{Line, Word, read_each};
use crate::checker::{Checker, CheckerOptions};
use crate::config::{RESERVED, is_reserved};
use crate::finding::{Finding, Place, unknown};
use crate::ini::Fetch;

/// The rules of an HBA file, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hba {
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its line.
    pub place: Place,
    /// How those whom it fits prove who they are.
    pub method: HbaMethod,
    /// The map that says which users a proved name may be.
    pub map: Option<String>,
    /// What is asked of their certificates.
    pub certificate: ClientCertificate,
    /// Who is asked about passwords, where the method says that somebody is.
    pub checker: Option<Checker>,
    connections: Connections,
    databases: Vec<Databases>,
    users: Vec<Users>,
}

/// How clients of a rule prove who they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HbaMethod {
    /// Not at all, but the user must be known.
    Trust,
    /// They cannot.
    Reject,
    /// By MD5, or by SCRAM where the stored secret is one for SCRAM.
    Md5,
    /// By their password in clear text.
    Password,
    /// By SCRAM-SHA-256.
    ScramSha256,
    /// By being that user of this host.
    Peer,
    /// By a certificate.
    Cert,
    /// By a password that a directory knows.
    Ldap,
    /// By a password that a service of PAM knows.
    Pam,
}

/// Who wants to come in.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// Its address, or `None` if it comes over a unix socket.
    pub address: Option<IpAddr>,
    /// The name of its host.
    pub host: HostName<'a>,
    /// The addresses of our host, if they are known.
    pub interfaces: Option<&'a Interfaces>,
    /// Whether its connection is encrypted.
    pub encrypted: bool,
    /// The database that it asks for.
    pub database: &'a str,
    /// The user that it wants to be.
    pub user: &'a str,
    /// Whether it asks for physical replication, which is of no database.
    pub physical_replication: bool,
}

impl<'a> Visitor<'a> {
    /// The names of the database that it asks for: the console has two, and a rule
    /// for either is for both.
    fn databases(&self) -> &[&'a str] {
        match is_reserved(self.database) {
            true => &RESERVED,
            false => std::slice::from_ref(&self.database),
        }
    }
}

impl Hba {
    /// Reads the file that the setting at `place` names.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it and with the files that it names.
    pub(crate) fn read(
        file: &Path,
        place: &Place,
        fetch: &mut Fetch<'_>,
    ) -> Result<Self, Vec<Finding>> {
        let rules = read_each(file, place, "auth_hba_file", fetch, rule)?;
        Ok(Self { rules })
    }

    /// The rule for `visitor`: the first that fits.
    ///
    /// # Errors
    ///
    /// [`Undecided`] when something that is not known decides.
    pub fn rule(&self, visitor: &Visitor<'_>) -> Result<Option<&Rule>, Undecided> {
        for rule in &self.rules {
            if rule.fits(visitor)? {
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    /// Whether a rule depends on the addresses of our host.
    pub fn wants_interfaces(&self) -> bool {
        self.rules.iter().any(|rule| match &rule.connections {
            Connections::Local => false,
            Connections::Host(addresses)
            | Connections::Encrypted(addresses)
            | Connections::Plain(addresses) => {
                matches!(addresses, Addresses::SameHost | Addresses::SameNet)
            }
        })
    }

    /// Whether a rule lets in users of whom nothing need be known here.
    pub(crate) fn knows_others(&self) -> bool {
        use HbaMethod::{Cert, Ldap, Pam, Peer};
        let mut rules = self.rules.iter();
        rules.any(|rule| matches!(rule.method, Cert | Ldap | Pam | Peer))
    }

    /// Whether a rule of this method does not say who is asked.
    pub(crate) fn lacks_checker(&self, method: HbaMethod) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.method == method && rule.checker.is_none())
    }

    /// Says who is asked by rules of this method that do not say it.
    pub(crate) fn complete(&mut self, method: HbaMethod, checker: &Checker) {
        for rule in &mut self.rules {
            if rule.method == method {
                rule.checker.get_or_insert_with(|| checker.clone());
            }
        }
    }

    /// Who is asked by the rules.
    pub(crate) fn checkers(&self) -> impl Iterator<Item = &Checker> {
        self.rules.iter().filter_map(|rule| rule.checker.as_ref())
    }

    /// The rules with a map.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = (&Place, &str)> {
        let rules = self.rules.iter();
        rules.filter_map(|rule| Some((&rule.place, rule.map.as_deref()?)))
    }
}

/// What decides, and is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Undecided {
    /// The name of a client's host, which has to be looked up.
    Name,
    /// The addresses of our host, which cannot be read.
    Interfaces,
}

impl Rule {
    fn fits(&self, visitor: &Visitor<'_>) -> Result<bool, Undecided> {
        let meant = self.databases.iter().any(|names| names.fit(visitor))
            && self.users.iter().any(|names| names.fit(visitor.user));
        if meant {
            self.connections.fit(visitor)
        } else {
            Ok(false)
        }
    }
}

/// Which connections are meant.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Connections {
    /// Those over unix sockets.
    Local,
    /// Those from addresses, whether or not they are encrypted.
    Host(Addresses),
    /// Encrypted ones from addresses.
    Encrypted(Addresses),
    /// Those from addresses that are not encrypted.
    Plain(Addresses),
}

impl Connections {
    fn fit(&self, visitor: &Visitor<'_>) -> Result<bool, Undecided> {
        let (addresses, address) = match (self, visitor.address) {
            (Self::Local, address) => return Ok(address.is_none()),
            (_, None) => return Ok(false),
            (Self::Encrypted(_), _) if !visitor.encrypted => return Ok(false),
            (Self::Plain(_), _) if visitor.encrypted => return Ok(false),
            (
                Self::Host(addresses) | Self::Encrypted(addresses) | Self::Plain(addresses),
                Some(address),
            ) => (addresses, address),
        };
        addresses.fit(address, visitor)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Databases {
    All,
    /// The one that has the name of the user.
    SameUser,
    /// None: physical replication.
    Replication,
    Named(Name),
}

impl Databases {
    fn parse(word: &Word) -> Result<Self, String> {
        Ok(match word.text.as_str() {
            "all" if !word.quoted => Self::All,
            "sameuser" if !word.quoted => Self::SameUser,
            "replication" if !word.quoted => Self::Replication,
            "samerole" | "samegroup" if !word.quoted => return Err(needs_roles(&word.text)),
            _ => Self::Named(Name::parse(word)?),
        })
    }

    fn fit(&self, visitor: &Visitor<'_>) -> bool {
        match self {
            Self::Replication => visitor.physical_replication,
            _ if visitor.physical_replication => false,
            Self::All => true,
            Self::SameUser => visitor.databases().contains(&visitor.user),
            Self::Named(name) => visitor.databases().iter().any(|&one| name.matches(one)),
        }
    }
}

/// Users of the database that are meant, here and in an ident map.
#[derive(Clone, Debug, PartialEq)]
enum Users {
    All,
    Named(Name),
}

impl Users {
    fn parse(word: &Word) -> Result<Self, String> {
        Ok(match word.text.as_str() {
            "all" if !word.quoted => Self::All,
            role if !word.quoted && role.starts_with('+') => return Err(needs_roles(role)),
            _ => Self::Named(Name::parse(word)?),
        })
    }

    fn fit(&self, user: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(name) => name.matches(user),
        }
    }
}

fn rule(line: &Line) -> Result<Rule, String> {
    let mut fields = line.fields.as_slice();
    let kind = one(next(&mut fields, "type")?, "connection type")?;
    let of = match kind.text.as_str() {
        "local" => None,
        "host" => Some(Connections::Host as fn(Addresses) -> Connections),
        "hostssl" => Some(Connections::Encrypted as fn(Addresses) -> Connections),
        "hostnossl" => Some(Connections::Plain as fn(Addresses) -> Connections),
        other @ ("hostgssenc" | "hostnogssenc") => {
            return Err(format!("{other}: GSSAPI is not supported"));
        }
        other => {
            return Err(format!(
                "{other}: {}",
                unknown("connection type", other, KINDS)
            ));
        }
    };
    let databases = next(&mut fields, "databases")?.iter();
    let databases = databases
        .map(Databases::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let users = next(&mut fields, "users")?.iter();
    let users = users.map(Users::parse).collect::<Result<Vec<_>, _>>()?;
    let connections = match of {
        None => Connections::Local,
        Some(of) => {
            let (addresses, taken) = Addresses::parse(fields)?;
            fields = fields.get(taken..).unwrap_or_default();
            of(addresses)
        }
    };
    let method = method(&one(next(&mut fields, "method")?, "method")?.text)?;
    if method == HbaMethod::Peer && connections != Connections::Local {
        return Err("peer is for local connections only".to_owned());
    }
    if method == HbaMethod::Cert && !matches!(connections, Connections::Encrypted(_)) {
        return Err("cert is for hostssl connections only".to_owned());
    }
    let mut rule = Rule {
        place: line.place.clone(),
        method,
        map: None,
        certificate: match method {
            HbaMethod::Cert => ClientCertificate::VerifyFull,
            _ => ClientCertificate::NotNeeded,
        },
        checker: None,
        connections,
        databases,
        users,
    };
    let mut options = CheckerOptions::of(method);
    for option in fields.iter().flatten() {
        // Without an equals sign it may be a piece of a password.
        let (name, value) = option.text.split_once('=').unwrap_or_default();
        if !options.take(name, value)? {
            rule.option(&option.text)?;
        }
    }
    rule.checker = options.finish()?;
    Ok(rule)
}

impl Rule {
    fn option(&mut self, text: &str) -> Result<(), String> {
        match text.split_once('=') {
            Some(("map", map)) if matches!(self.method, HbaMethod::Peer | HbaMethod::Cert) => {
                self.map = Some(map.to_owned());
                Ok(())
            }
            Some(("map", _)) => Err("map is for peer and cert only".to_owned()),
            Some(("clientcert", value)) => self.client_certificate(value),
            Some(("clientname", value)) => self.client_name(value),
            Some((name, _)) => Err(format!("{name}: {}", unknown("option", name, OPTIONS))),
            // It may be the end of a password with a blank in it.
            None => Err("expected options as name=value".to_owned()),
        }
    }
}

fn method(text: &str) -> Result<HbaMethod, String> {
    Ok(match text {
        "trust" => HbaMethod::Trust,
        "reject" => HbaMethod::Reject,
        "md5" => HbaMethod::Md5,
        "password" => HbaMethod::Password,
        "scram-sha-256" => HbaMethod::ScramSha256,
        "peer" => HbaMethod::Peer,
        "cert" => HbaMethod::Cert,
        "ldap" => HbaMethod::Ldap,
        "pam" => HbaMethod::Pam,
        "gss" | "sspi" | "ident" | "radius" | "bsd" | "oauth" => {
            return Err(format!("{text} is not supported"));
        }
        other => return Err(format!("{other}: {}", unknown("method", other, METHODS))),
    })
}

/// Takes the next field off; `what` it is if it is missing.
fn next<'a>(fields: &mut &'a [Vec<Word>], what: &str) -> Result<&'a [Word], String> {
    let (field, rest) = fields
        .split_first()
        .ok_or_else(|| format!("the line ends before its {what}"))?;
    *fields = rest;
    Ok(field)
}

/// The only word of a field.
fn one<'a>(field: &'a [Word], what: &str) -> Result<&'a Word, String> {
    match field {
        [word] => Ok(word),
        _ => Err(format!("one {what} is expected, not a list")),
    }
}

fn needs_roles(text: &str) -> String {
    format!("{text}: membership in roles is known to PostgreSQL only, and not supported")
}

const KINDS: [&str; 4] = ["local", "host", "hostssl", "hostnossl"];

const OPTIONS: [&str; 3] = ["map", "clientcert", "clientname"];

const METHODS: [&str; 9] = [
    "trust",
    "reject",
    "md5",
    "password",
    "scram-sha-256",
    "peer",
    "cert",
    "ldap",
    "pam",
];

#[cfg(test)]
mod tests;

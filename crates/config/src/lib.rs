//! Declares every setting of pgskein once.
//!
//! From the one table come the parser, `SHOW CONFIG`, the sample file and the
//! reference. Files are read by the caller: [`Sources`] asks for their text,
//! keeps it, and turns it into a [`Config`] or into [`Finding`]s that name the
//! file and the line. Nothing here does I/O, reads a clock or logs.
#![forbid(unsafe_code)]

mod addresses;
mod check;
mod checker;
mod choices;
mod config;
mod conninfo;
mod entries;
mod finding;
mod hba;
mod ini;
mod keys;
mod kind;
mod ldap;
mod load;
mod pam;
mod parse_entry;
mod parse_peer;
mod peer_id;
mod reference;
mod reload;
mod reported;
mod secret_source;
mod secret_text;
mod settings;
mod sources;
mod table;
mod tls;
mod userlist;

pub use addresses::{ListenAddress, Network};
pub use checker::{Checker, shown_value};
pub use choices::{
    AuthType, DrainListen, DrainNotify, LoadBalanceHosts, PeerKind, PoolMode, ServerProtocol,
    SessionState, SslMode, SslNegotiation, TargetSessionAttrs,
};
pub use config::{ClientLimits, Config, PoolSettings, is_reserved};
pub use entries::{Database, Peer, User};
pub use finding::{Finding, Place};
pub use hba::{
    ClientCertificate, Hba, HbaMethod, HostName, IdentMap, Interfaces, Rule, Undecided, Visitor,
};
pub use kind::Kind;
pub use ldap::{Ldap, LdapEncryption, LdapFilter, LdapLookup, LdapScope, LdapServer, LdapValue};
pub use pam::Pam;
pub use peer_id::PeerId;
pub use reference::{reference_markdown, sample_ini};
pub use reported::is_read_only_parameter;
pub use secret_source::SecretSource;
pub use secret_text::SecretText;
pub use settings::{SettingInfo, Status, When};
pub use sources::Sources;
pub use table::{Settings, table};
pub use tls::{Tls, TlsFile, TlsGroup, TlsSuite, TlsVersions};

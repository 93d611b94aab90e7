//! A whole configuration, and the settings that hold for one pool.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::checker::Checker;
use crate::choices::{PoolMode, SessionState};
use crate::entries::{Database, Peer, User};
use crate::finding::{Finding, Place};
use crate::hba::{Hba, IdentMap};
use crate::secret_text::SecretText;
use crate::table::Settings;
use crate::tls::{Tls, TlsFile};

/// Everything that the files of a configuration say.
#[derive(Clone, Default, PartialEq)]
pub struct Config {
    /// The settings of `[pgskein]`.
    pub settings: Settings,
    /// The entries of `[databases]` by their names, without `*`.
    pub databases: BTreeMap<String, Database>,
    /// The entry `*` of `[databases]`, which serves all other names.
    pub wildcard: Option<Database>,
    /// The entries of `[users]` by their names.
    pub users: BTreeMap<String, User>,
    /// The number of this host among its peers, if it has one.
    pub peer_id: Option<u16>,
    /// The entries of `[peers]` by their ids, that of this host among them.
    pub peers: BTreeMap<u16, Peer>,
    /// The users of `auth_file` with the texts of their secrets.
    pub auth: BTreeMap<String, SecretText>,
    /// The rules of `auth_hba_file`, if it is used.
    pub hba: Hba,
    /// The maps of `auth_ident_file`, if it is used.
    pub ident: IdentMap,
    /// Who is asked about the passwords of all clients.
    pub checker: Option<Checker>,
    /// Authorities that the certificates of directories are checked against.
    pub ldap_authorities: Option<TlsFile>,
    /// TLS towards clients.
    pub client_tls: Tls,
    /// TLS towards servers.
    pub server_tls: Tls,
    /// What is accepted, but worth a word in the log.
    pub warnings: Vec<Finding>,
    /// Where the settings that are in the files were set.
    pub places: BTreeMap<&'static str, Place>,
}

/// The settings that hold for one pool: the user's before the database's
/// before those of `[pgskein]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoolSettings {
    /// When a server goes back to the pool.
    pub pool_mode: PoolMode,
    /// What becomes of session state that a client leaves behind; nothing is
    /// known of it in session mode.
    pub session_state: SessionState,
    /// Server connections of the pool.
    pub pool_size: u32,
    /// Server connections that the pool keeps open, at most `pool_size`.
    pub min_pool_size: u32,
    /// Further server connections, once a client has waited for
    /// `reserve_pool_timeout`.
    pub reserve_pool_size: u32,
    /// How long a client waits before the pool may use its reserve.
    pub reserve_pool_timeout: Duration,
    /// Server connections of the database; 0 means no limit.
    pub max_db_connections: u32,
    /// Server connections of the user; 0 means no limit.
    pub max_user_connections: u32,
    /// Longest time that a query may run; 0 means any time.
    pub query_timeout: Duration,
    /// Longest time that a client waits for a server; 0 waits for ever.
    pub query_wait_timeout: Duration,
    /// Longest time of idleness in a transaction; 0 means any time.
    pub idle_transaction_timeout: Duration,
    /// Longest time that a transaction may last; 0 means any time.
    pub transaction_timeout: Duration,
    /// Longest time of idleness of a client; 0 means any time.
    pub client_idle_timeout: Duration,
    /// Age at which server connections are closed when they are free.
    pub server_lifetime: Duration,
}

/// Limits of client connections of the group; 0 means no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientLimits {
    /// Clients of the database.
    pub of_database: u32,
    /// Clients of the user.
    pub of_user: u32,
}

impl Config {
    /// Where `setting` is set, or the file `main` if nowhere.
    pub(crate) fn place(&self, setting: &str, main: &Path) -> Place {
        let place = self.places.get(setting).cloned();
        place.unwrap_or_else(|| Place {
            file: main.display().to_string(),
            line: 0,
        })
    }

    /// The entries of `[databases]`, `*` among them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Database> {
        self.databases.values().chain(&self.wildcard)
    }

    /// The entry that `database` is served by, `*` as it is written.
    pub(crate) fn entry(&self, database: &str) -> Option<&Database> {
        self.databases.get(database).or(self.wildcard.as_ref())
    }

    /// The limits for clients of `database`, an entry's name, that log in as
    /// `user`.
    pub fn client_limits(&self, database: &str, user: &str) -> ClientLimits {
        let settings = &self.settings;
        let database = self.entry(database);
        let user = self.users.get(user);
        ClientLimits {
            of_database: first(
                None,
                database.and_then(|d| d.max_db_client_connections),
                settings.max_db_client_connections,
            ),
            of_user: first(
                user.and_then(|u| u.max_user_client_connections),
                None,
                settings.max_user_client_connections,
            ),
        }
    }

    /// The entry that serves clients who ask for the database `name`: the one
    /// of that name, else the one made from `*`.
    pub fn database(&self, name: &str) -> Option<Cow<'_, Database>> {
        if is_reserved(name) {
            return None;
        }
        if let Some(database) = self.databases.get(name) {
            return Some(Cow::Borrowed(database));
        }
        let mut database = self.wildcard.clone()?;
        name.clone_into(&mut database.name);
        if database.dbname.is_empty() {
            name.clone_into(&mut database.dbname);
        }
        Some(Cow::Owned(database))
    }

    /// The other hosts of the group; none as long as this one has no `peer_id`.
    pub fn other_peers(&self) -> impl Iterator<Item = &Peer> {
        let own = self.peer_id;
        let others = self.peers.values();
        others.filter(move |peer| own.is_some_and(|own| own != peer.id))
    }

    /// Everybody who may be asked about passwords.
    pub fn checkers(&self) -> impl Iterator<Item = &Checker> {
        self.checker.iter().chain(self.hba.checkers())
    }

    /// Bytes in the secrets of cancel keys for clients of protocol 3.2.
    pub fn cancel_key_length(&self) -> usize {
        match self.settings.cancel_key_length {
            Some(length) => length as usize,
            None if self.other_peers().all(|peer| peer.takes_long_keys()) => LONGEST_SECRET,
            None => SHORTEST_SECRET,
        }
    }

    /// The settings of the pool of `database`, an entry's name, and `user`.
    pub fn pool(&self, database: &str, user: &str) -> PoolSettings {
        let settings = &self.settings;
        let database = self.entry(database);
        let user = self.users.get(user);
        let pool_size = first(
            user.and_then(|u| u.pool_size),
            database.and_then(|d| d.pool_size),
            settings.default_pool_size,
        );
        PoolSettings {
            pool_mode: first(
                user.and_then(|u| u.pool_mode),
                database.and_then(|d| d.pool_mode),
                settings.pool_mode,
            ),
            session_state: first(
                None,
                database.and_then(|d| d.session_state),
                settings.session_state,
            ),
            pool_size,
            min_pool_size: first(
                None,
                database.and_then(|d| d.min_pool_size),
                settings.min_pool_size,
            )
            .min(pool_size),
            reserve_pool_size: if settings.reserve_pool_timeout.is_zero() {
                0
            } else {
                first(
                    user.and_then(|u| u.reserve_pool_size),
                    database.and_then(|d| d.reserve_pool_size),
                    settings.reserve_pool_size,
                )
            },
            reserve_pool_timeout: settings.reserve_pool_timeout,
            max_db_connections: first(
                None,
                database.and_then(|d| d.max_db_connections),
                settings.max_db_connections,
            ),
            max_user_connections: first(
                user.and_then(|u| u.max_user_connections),
                None,
                settings.max_user_connections,
            ),
            query_timeout: first(
                user.and_then(|u| u.query_timeout),
                None,
                settings.query_timeout,
            ),
            query_wait_timeout: first(
                user.and_then(|u| u.query_wait_timeout),
                database.and_then(|d| d.query_wait_timeout),
                settings.query_wait_timeout,
            ),
            idle_transaction_timeout: first(
                user.and_then(|u| u.idle_transaction_timeout),
                None,
                settings.idle_transaction_timeout,
            ),
            transaction_timeout: first(
                user.and_then(|u| u.transaction_timeout),
                None,
                settings.transaction_timeout,
            ),
            client_idle_timeout: first(
                user.and_then(|u| u.client_idle_timeout),
                None,
                settings.client_idle_timeout,
            ),
            server_lifetime: first(
                None,
                database.and_then(|d| d.server_lifetime),
                settings.server_lifetime,
            ),
        }
    }
}

impl Settings {
    /// The text that checks an idle server, empty for the empty query, or
    /// `None` when servers are not checked.
    pub fn check_query(&self) -> Option<&str> {
        match self.server_check_query.as_str() {
            "" => None,
            "<empty>" => Some(""),
            query => Some(query),
        }
    }
}

impl fmt::Debug for Config {
    /// Shows names, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("databases", &self.databases.keys())
            .field("wildcard", &self.wildcard)
            .field("users", &self.users.keys())
            .field("peers", &self.peers)
            .field("auth", &self.auth.len())
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// Whether the name of a database is one of the console's.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// What was set nearest to the user.
fn first<T>(user: Option<T>, database: Option<T>, global: T) -> T {
    user.or(database).unwrap_or(global)
}

/// The longest and the shortest secret of a cancel key that is issued, in bytes.
const LONGEST_SECRET: usize = 32;
const SHORTEST_SECRET: usize = 4;

/// Names of databases that are the console's.
pub(crate) const RESERVED: [&str; 2] = ["pgskein", "pgbouncer"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_unknown_names_from_the_wildcard() {
        let mut config = Config::default();
        assert_eq!(config.database("shop"), None);
        config.wildcard = Some(Database {
            name: "*".to_owned(),
            ports: vec![7000],
            ..Database::default()
        });
        let shop = config.database("shop").unwrap();
        assert_eq!(
            (shop.name.as_str(), shop.dbname.as_str(), shop.port(0)),
            ("shop", "shop", 7000)
        );
        assert_eq!(config.database("pgskein"), None);
    }

    #[test]
    fn prefers_the_user_to_the_database_to_the_setting() {
        let mut config = Config::default();
        let database = Database {
            pool_size: Some(7),
            ..Database::default()
        };
        config.databases.insert("shop".to_owned(), database);
        let user = User {
            pool_size: Some(3),
            ..User::default()
        };
        config.users.insert("alice".to_owned(), user);
        assert_eq!(config.pool("shop", "alice").pool_size, 3);
        assert_eq!(config.pool("shop", "bob").pool_size, 7);
        assert_eq!(config.pool("other", "bob").pool_size, 20);
    }

    #[test]
    fn keeps_open_what_fits_and_no_reserve_without_its_timeout() {
        let mut config = Config::default();
        config.settings.min_pool_size = 30;
        config.settings.reserve_pool_size = 4;
        let pool = config.pool("shop", "bob");
        assert_eq!((pool.min_pool_size, pool.reserve_pool_size), (20, 4));
        config.settings.reserve_pool_timeout = Duration::ZERO;
        assert_eq!(config.pool("shop", "bob").reserve_pool_size, 0);
    }

    #[test]
    fn checks_servers_by_the_empty_query_unless_told_otherwise() {
        let mut settings = Settings::default();
        assert_eq!(settings.check_query(), Some(""));
        settings.server_check_query.clear();
        assert_eq!(settings.check_query(), None);
    }

    #[test]
    fn shows_no_secret_in_debug_output() {
        let mut config = Config::default();
        config.auth.insert("alice".to_owned(), "hunter2".into());
        config.wildcard = Some(Database {
            password: Some("hunter2".into()),
            ..Database::default()
        });
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

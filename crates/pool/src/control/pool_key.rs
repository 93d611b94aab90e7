//! A pool's name.

use std::borrow::Cow;
use std::fmt;

use pgskein_config::{Config, PoolMode, PoolSettings};

/// A pool's name: servers of one database entry and one server-side user.
///
/// The servers that are asked for secrets make pools of their own, so that no
/// client ever has one of them: behind the name of their user is a mark that no
/// startup packet can hold.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolKey {
    /// Name of the entry in `[databases]`, or what a client asked `*` for.
    pub database: String,
    /// User the pool's servers log in as, and the mark; see
    /// [`PoolKey::login`].
    pub user: String,
}

impl PoolKey {
    /// The pool of the servers that are asked for secrets in `database` as
    /// `user`.
    pub fn asking(database: &str, user: &str) -> Self {
        Self {
            database: database.to_owned(),
            user: format!("{user}{ASKING}"),
        }
    }

    /// Whether no client gets a server of the pool.
    pub fn is_asking(&self) -> bool {
        self.user.ends_with(ASKING)
    }

    /// The user that the pool's servers log in as.
    pub fn login(&self) -> &str {
        self.user.strip_suffix(ASKING).unwrap_or(&self.user)
    }

    /// The user as tables and the log show it.
    pub fn shown(&self) -> Cow<'_, str> {
        if self.is_asking() {
            Cow::Owned(format!("{} (auth_query)", self.login()))
        } else {
            Cow::Borrowed(&self.user)
        }
    }

    /// The settings of the pool.
    pub fn settings(&self, config: &Config) -> PoolSettings {
        let settings = config.pool(&self.database, self.login());
        if self.is_asking() {
            PoolSettings {
                pool_mode: PoolMode::Transaction,
                min_pool_size: 0,
                ..settings
            }
        } else {
            settings
        }
    }
}

impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.database, self.shown())
    }
}

/// Strings on the wire end at a NUL.
const ASKING: &str = "\0auth_query";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_asks_apart_from_what_clients_use() {
        let key = PoolKey::asking("shop", "pgb");
        assert!(key.is_asking());
        assert_eq!(key.login(), "pgb");
        assert_eq!(key.to_string(), "shop/pgb (auth_query)");
        let clients = PoolKey {
            database: "shop".to_owned(),
            user: "pgb".to_owned(),
        };
        assert!(!clients.is_asking() && clients != key);
        assert_eq!(clients.login(), "pgb");
        assert_eq!(clients.to_string(), "shop/pgb");
    }

    #[test]
    fn takes_the_limits_of_its_user_and_keeps_nothing_open() {
        let mut config = Config::default();
        config.settings.min_pool_size = 3;
        config.settings.default_pool_size = 7;
        let settings = PoolKey::asking("shop", "pgb").settings(&config);
        assert_eq!((settings.min_pool_size, settings.pool_size), (0, 7));
    }
}

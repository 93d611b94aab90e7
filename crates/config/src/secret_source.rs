//! Where the secrets of users are asked for who are not in `auth_file`.

use crate::config::{Config, is_reserved};

/// A query that a database is asked for the secret of a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretSource<'a> {
    /// Name of the entry in `[databases]`, or what a client asked `*` for.
    pub database: &'a str,
    /// User that asks.
    pub user: &'a str,
    /// The query, whose `$1` is the name of the user.
    pub query: &'a str,
}

impl Config {
    /// Where the secrets are asked for of clients of `database`, if they are.
    ///
    /// The entry's `auth_user`, `auth_query` and `auth_dbname` count before the
    /// settings. Without an `auth_dbname`, clients of the console ask nowhere.
    pub fn secret_source<'a>(&'a self, database: &'a str) -> Option<SecretSource<'a>> {
        let settings = &self.settings;
        let entry = (!is_reserved(database))
            .then(|| self.entry(database))
            .flatten();
        let user = entry.and_then(|entry| entry.auth_user.as_deref());
        let query = entry.and_then(|entry| entry.auth_query.as_deref());
        let dbname = entry.and_then(|entry| entry.auth_dbname.as_deref());
        let source = SecretSource {
            database: dbname
                .or_else(|| filled(&settings.auth_dbname))
                .unwrap_or(database),
            user: user.or_else(|| filled(&settings.auth_user))?,
            query: query.or_else(|| filled(&settings.auth_query))?,
        };
        (!is_reserved(source.database)).then_some(source)
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries::Database;

    fn config() -> Config {
        let mut config = Config::default();
        config.settings.auth_user = "asker".to_owned();
        config.settings.auth_query = "select".to_owned();
        let shop = Database {
            auth_user: Some("other".to_owned()),
            auth_query: Some("select 2".to_owned()),
            auth_dbname: Some("secrets".to_owned()),
            ..Database::default()
        };
        config.databases.insert("shop".to_owned(), shop);
        config
    }

    fn source<'a>(config: &'a Config, database: &'a str) -> Option<[&'a str; 3]> {
        let source = config.secret_source(database)?;
        Some([source.database, source.user, source.query])
    }

    #[test]
    fn takes_what_the_entry_says_before_the_settings() {
        let mut config = config();
        assert_eq!(
            source(&config, "shop"),
            Some(["secrets", "other", "select 2"])
        );
        assert_eq!(source(&config, "web"), Some(["web", "asker", "select"]));
        config.settings.auth_dbname = "common".to_owned();
        assert_eq!(
            source(&config, "shop"),
            Some(["secrets", "other", "select 2"])
        );
        assert_eq!(source(&config, "web"), Some(["common", "asker", "select"]));
        config.settings.auth_user.clear();
        assert_eq!(source(&config, "web"), None);
    }

    #[test]
    fn asks_for_clients_of_the_console_only_where_that_is_said() {
        let mut config = config();
        assert_eq!(source(&config, "pgskein"), None);
        config.settings.auth_dbname = "common".to_owned();
        assert_eq!(
            source(&config, "pgskein"),
            Some(["common", "asker", "select"])
        );
    }
}

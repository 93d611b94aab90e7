//! SHOW DATABASES and USERS: what is configured, and what this worker
//! has of it.

use std::collections::{BTreeMap, BTreeSet};

use pgskein_config::{Database, PoolMode};
use pgskein_pool::console::{Row, Value};

use super::clients::CONSOLE;
use crate::worker::Worker;
use crate::worker::client::Stage;
use crate::worker::server::ServerState;

/// Connections of one database or user.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    servers: u32,
    clients: u32,
}

impl Worker {
    /// The row of every database that has an entry or, by `*`, a pool.
    pub(super) fn database_rows(&self) -> Vec<Row> {
        let mut uses = self.uses(|database, _| database);
        let consoles = self
            .clients
            .ids(|client| matches!(client.stage, Stage::Console(_)));
        uses.entry(CONSOLE).or_default().clients = count(consoles.len());
        let names: BTreeSet<&str> = self.database_names().collect();
        let mut rows = vec![self.console_row(uses.get(CONSOLE).copied().unwrap_or_default())];
        rows.extend(names.into_iter().filter_map(|name| {
            let database = self.config.database(name)?;
            Some(self.database_row(&database, uses.get(name).copied().unwrap_or_default()))
        }));
        rows
    }

    /// The row of every user that is known by name.
    pub(super) fn user_rows(&self) -> Vec<Row> {
        let uses = self.uses(|_, user| user);
        let names: BTreeSet<&str> = self.user_names().collect();
        let rows = names.into_iter().map(|name| {
            let uses = uses.get(name).copied().unwrap_or_default();
            let entry = self.config.users.get(name);
            let settings = &self.config.settings;
            let number = |number: Option<u32>| {
                number.map_or(Value::Null, |number| Value::text(number.to_string()))
            };
            let max_servers = entry.and_then(|user| user.max_user_connections);
            let max_clients = entry.and_then(|user| user.max_user_client_connections);
            vec![
                Value::from(name),
                number(entry.and_then(|user| user.pool_size)),
                number(entry.and_then(|user| user.reserve_pool_size)),
                mode(entry.and_then(|user| user.pool_mode)),
                Value::number(max_servers.unwrap_or(settings.max_user_connections)),
                Value::number(uses.servers),
                Value::number(max_clients.unwrap_or(settings.max_user_client_connections)),
                Value::number(uses.clients),
            ]
        });
        rows.collect()
    }

    /// The databases that clients can ask for by name, and those that were made
    /// from `*`.
    pub(super) fn database_names(&self) -> impl Iterator<Item = &str> {
        let entries = self.config.databases.keys().map(String::as_str);
        let pools = self.pools.iter();
        entries.chain(pools.map(|(_, pool)| pool.key.database.as_str()))
    }

    /// The users of `auth_file`, of `[users]` and of pools.
    pub(super) fn user_names(&self) -> impl Iterator<Item = &str> {
        let config = &self.config;
        let names = config.auth.keys().chain(config.users.keys());
        let pools = self.pools.iter();
        let names = names.map(String::as_str);
        names.chain(pools.map(|(_, pool)| pool.key.login()))
    }

    fn database_row(&self, database: &Database, uses: Uses) -> Row {
        let name = database.name.as_str();
        // No user of this name has settings of his own.
        let pool = self.config.pool(name, "");
        let clients = self.config.client_limits(name, "");
        let hosts = hosts(database);
        let state = self.orders.state();
        vec![
            Value::from(name),
            text((!hosts.is_empty()).then_some(&hosts)),
            Value::number(database.port(0)),
            Value::text(database.dbname.as_str()),
            text(database.user.as_deref()),
            Value::number(pool.pool_size),
            Value::number(pool.min_pool_size),
            Value::number(pool.reserve_pool_size),
            Value::number(pool.server_lifetime.as_secs()),
            mode(database.pool_mode),
            balance(database),
            Value::number(pool.max_db_connections),
            Value::number(uses.servers),
            Value::number(clients.of_database),
            Value::number(uses.clients),
            Value::number(u8::from(state.paused.contains(name))),
            Value::number(u8::from(state.is_disabled(name))),
            Value::from(database.target_session_attrs.as_str()),
        ]
    }

    /// The console is a database to those who look for databases.
    fn console_row(&self, uses: Uses) -> Row {
        let settings = &self.config.settings;
        vec![
            Value::from(CONSOLE),
            Value::Null,
            Value::number(settings.listen_port),
            Value::from(CONSOLE),
            Value::from(CONSOLE),
            Value::Number(2),
            Value::Number(0),
            Value::Number(0),
            Value::number(settings.server_lifetime.as_secs()),
            Value::from("statement"),
            Value::Null,
            Value::Number(0),
            Value::Number(0),
            Value::Number(0),
            Value::number(uses.clients),
            Value::Number(0),
            Value::Number(0),
            Value::Null,
        ]
    }

    /// Connections by a part of the name of their pool.
    fn uses<'a>(&'a self, part: impl Fn(&'a str, &'a str) -> &'a str) -> BTreeMap<&'a str, Uses> {
        let mut uses = BTreeMap::<&str, Uses>::new();
        for (_, server) in self.servers.iter() {
            if let Some(pool) = self.pools.get(server.pool)
                && server.is_working()
                && !matches!(server.state, ServerState::Coming(_))
            {
                let part = part(&pool.key.database, pool.key.login());
                uses.entry(part).or_default().servers += 1;
            }
        }
        for (_, client) in self.clients.iter() {
            let name = match &client.stage {
                _ if client.is_coming() => None,
                Stage::Session(session) => self.pools.get(session.pool).map(|pool| {
                    let user = self.claims.user(client.number);
                    (pool.key.database.as_str(), user.unwrap_or(&pool.key.user))
                }),
                Stage::Login(login) if login.pool.is_some() => {
                    Some((login.database.as_str(), login.user.as_str()))
                }
                _ => None,
            };
            if let Some((database, user)) = name {
                uses.entry(part(database, user)).or_default().clients += 1;
            }
        }
        uses
    }
}

/// The hosts of a database, with their ports where these differ.
fn hosts(database: &Database) -> String {
    let hosts = database.hosts.iter().enumerate();
    let hosts = hosts.map(|(position, host)| match database.ports.len() {
        0 | 1 => host.clone(),
        _ if host.contains(':') => format!("[{host}]:{}", database.port(position)),
        _ => format!("{host}:{}", database.port(position)),
    });
    hosts.collect::<Vec<_>>().join(",")
}

/// How servers are spread over the hosts of a database, if there are several.
pub(super) fn balance(database: &Database) -> Value {
    let several = database.hosts.len() > 1;
    text(several.then_some(database.load_balance_hosts.as_str()))
}

fn text(text: Option<impl AsRef<str>>) -> Value {
    text.map_or(Value::Null, |text| Value::from(text.as_ref()))
}

fn mode(mode: Option<PoolMode>) -> Value {
    text(mode.map(PoolMode::as_str))
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

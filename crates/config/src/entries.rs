//! What the sections `[databases]`, `[users]` and `[peers]` hold.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use crate::choices::{
    LoadBalanceHosts, PeerKind, PoolMode, SessionState, SslNegotiation, TargetSessionAttrs,
};
use crate::secret_text::SecretText;

/// An entry of `[databases]`: where clients of this name are connected to.
///
/// A field that is `None` takes the value of the setting with the same name.
#[derive(Clone, PartialEq)]
pub struct Database {
    /// Name by which clients ask for it; `*` for the entry that serves all
    /// other names.
    pub name: String,
    /// Name of the database on the server. Empty in the entry `*` when it is
    /// the name that the client asks for.
    pub dbname: String,
    /// Hosts to try in turn: names, addresses, or folders of unix sockets.
    /// Empty means `unix_socket_dir`.
    pub hosts: Vec<String>,
    /// Port on these hosts: one for all, or one for each.
    pub ports: Vec<u16>,
    /// Which host is tried first.
    pub load_balance_hosts: LoadBalanceHosts,
    /// Which servers are used.
    pub target_session_attrs: TargetSessionAttrs,
    /// How TLS with them begins.
    pub sslnegotiation: SslNegotiation,
    /// User of every connection to the server, whoever the client is.
    pub user: Option<String>,
    /// Password of that user.
    pub password: Option<SecretText>,
    /// Server connections of each of its pools.
    pub pool_size: Option<u32>,
    /// Server connections that each of its pools keeps open.
    pub min_pool_size: Option<u32>,
    /// Further server connections of each of its pools.
    pub reserve_pool_size: Option<u32>,
    /// Server connections of all its pools together.
    pub max_db_connections: Option<u32>,
    /// Connections of clients.
    pub max_db_client_connections: Option<u32>,
    /// When a server goes back to its pool.
    pub pool_mode: Option<PoolMode>,
    /// What becomes of session state that a client leaves behind.
    pub session_state: Option<SessionState>,
    /// Longest time that a client waits for a server.
    pub query_wait_timeout: Option<Duration>,
    /// Age at which server connections are closed.
    pub server_lifetime: Option<Duration>,
    /// Query that is run once on every new server connection.
    pub connect_query: Option<String>,
    /// User that asks for the secrets of users.
    pub auth_user: Option<String>,
    /// Query that asks for the secret of a user.
    pub auth_query: Option<String>,
    /// Entry of `[databases]` that is asked for secrets.
    pub auth_dbname: Option<String>,
    /// Startup parameter for the server.
    pub client_encoding: Option<String>,
    /// Startup parameter for the server.
    pub datestyle: Option<String>,
    /// Startup parameter for the server.
    pub timezone: Option<String>,
    /// Startup parameter for the server.
    pub application_name: Option<String>,
}

impl Database {
    /// Whether connections to `other` reach the same server in the same way.
    pub fn connects_like(&self, other: &Self) -> bool {
        self.route() == other.route()
    }

    /// The port on the host at this position.
    pub fn port(&self, host: usize) -> u16 {
        let port = match self.ports.as_slice() {
            [one] => Some(one),
            several => several.get(host),
        };
        port.copied().unwrap_or(DEFAULT_PORT)
    }

    /// What decides which server is reached, and how.
    pub fn route(&self) -> impl Eq + Hash + use<'_> {
        let Self {
            dbname,
            hosts,
            ports,
            load_balance_hosts,
            target_session_attrs,
            sslnegotiation,
            user,
            password,
            connect_query,
            ..
        } = self;
        let choice = (load_balance_hosts, target_session_attrs, sslnegotiation);
        let place = (hosts, ports, choice);
        let startup = (&self.client_encoding, &self.datestyle, &self.timezone);
        let login = (user, password, &self.application_name);
        (dbname, place, connect_query, startup, login)
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            name: String::new(),
            dbname: String::new(),
            hosts: Vec::new(),
            ports: vec![DEFAULT_PORT],
            load_balance_hosts: LoadBalanceHosts::default(),
            target_session_attrs: TargetSessionAttrs::default(),
            sslnegotiation: SslNegotiation::default(),
            user: None,
            password: None,
            pool_size: None,
            min_pool_size: None,
            reserve_pool_size: None,
            max_db_connections: None,
            max_db_client_connections: None,
            pool_mode: None,
            session_state: None,
            query_wait_timeout: None,
            server_lifetime: None,
            connect_query: None,
            auth_user: None,
            auth_query: None,
            auth_dbname: None,
            client_encoding: None,
            datestyle: None,
            timezone: None,
            application_name: None,
        }
    }
}

impl fmt::Debug for Database {
    /// Shows where it leads, and no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .field("dbname", &self.dbname)
            .field("hosts", &self.hosts)
            .field("ports", &self.ports)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Port of a server of which nothing else is said.
const DEFAULT_PORT: u16 = 5432;

/// An entry of `[users]`: settings that hold for one user.
///
/// A field that is `None` takes the value of the database or of the setting
/// with the same name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    /// The user as clients name it.
    pub name: String,
    /// Server connections of each of its pools.
    pub pool_size: Option<u32>,
    /// Further server connections of each of its pools.
    pub reserve_pool_size: Option<u32>,
    /// When a server goes back to its pool.
    pub pool_mode: Option<PoolMode>,
    /// Server connections of all its pools together.
    pub max_user_connections: Option<u32>,
    /// Connections of its clients.
    pub max_user_client_connections: Option<u32>,
    /// Longest time that a query may run.
    pub query_timeout: Option<Duration>,
    /// Longest time that a client waits for a server.
    pub query_wait_timeout: Option<Duration>,
    /// Longest time that a client may be idle in a transaction.
    pub idle_transaction_timeout: Option<Duration>,
    /// Longest time that a transaction may last.
    pub transaction_timeout: Option<Duration>,
    /// Longest time that a client may be idle.
    pub client_idle_timeout: Option<Duration>,
}

/// An entry of `[peers]`: another host of the group.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its `peer_id`, 1 to 16383.
    pub id: u16,
    /// Name, address, or folder of its unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Cancel requests that may be on their way to it at once.
    pub pool_size: Option<u32>,
    /// What program runs there.
    pub kind: PeerKind,
}

impl Peer {
    /// Whether it takes cancel keys with more than 4 bytes in their secrets.
    pub fn takes_long_keys(&self) -> bool {
        self.kind == PeerKind::Pgskein
    }
}

//! The table of all settings.
//!
//! Names, units and defaults are those of PgBouncer wherever it has the same
//! setting, so that an existing file can be used as it is.

use crate::addresses::{Listen, Networks};
use crate::checker::Options;
use crate::choices::{
    AuthType, DrainListen, DrainNotify, PoolMode, ServerProtocol, SessionState, SslMode,
};
use crate::kind::{Count, CountOrAuto, Flag, Kind, Names, Octal, Port, Seconds, Size, Text};
use crate::peer_id::PeerId;
use crate::settings::Status::{Obsolete, OnlyDefault, Supported};
use crate::settings::{SetError, SettingInfo, When, settings};

/// Every setting, in the order of the documents.
pub fn table() -> &'static [SettingInfo] {
    TABLE
}

settings! {
    "Process" {
        /// Workers that share the port. `auto` starts one for each CPU that this process may use;
        /// at most 127.
        workers: CountOrAuto = "auto", Restart, Supported;

        /// User to run as when started as root. It is taken on before anything is bound.
        user: Text = "", Start, Supported;

        /// File that holds the process id of the supervisor. `-d` needs it.
        pidfile: Text = "", Start, Supported;

        /// Folder of the sockets by which the workers talk to each other, for this group alone.
        /// When empty: `/run/pgskein/PORT` if it can be made, else `.pgskein.PORT` in
        /// `unix_socket_dir`.
        runtime_dir: Text = "", Start, Supported;

        /// Configuration file that the next reload reads.
        conffile: Text = "", Now, OnlyDefault;

        /// Name of this service towards the system.
        job_name: Text = "pgbouncer", Restart, Supported;

        /// Longest time that a new worker may take until it serves; then it is killed and started
        /// again, or if it was to succeed another one, RESTART replaces no more of them. The
        /// program that RESTART checks has as long to answer. 0 means any time.
        worker_start_timeout: Seconds = "30", Now, Supported;

        /// A worker, or the process for HTTP, whose event loop does not turn for this long, and for
        /// 2 s at least, is killed and replaced. 0 means never, for when a debugger is to stop one.
        worker_hang_timeout: Seconds = "30", Now, Supported;

        /// How long workers whose supervisor has died go on serving and accepting, unless another
        /// one is started in their place. Then they drain, at once if it is 0.
        orphan_timeout: Seconds = "3600", Now, Supported;
    }

    "Where clients connect" {
        /// Addresses to listen on, with commas between them. `*` means all addresses; when empty,
        /// clients can use the unix socket only.
        listen_addr: Names = "", Start, Supported;

        /// Port to listen on; it also names the unix socket.
        listen_port: Port = "6432", Start, Supported;

        /// Whether a worker that accepts a connection passes it on to the worker with the fewest
        /// clients, when that has at least two fewer: by itself the kernel spreads connections
        /// unevenly.
        balance: Flag = "1", Now, Supported;

        /// Connections that the kernel queues for each listener until they are accepted.
        listen_backlog: Count = "128", Start, Supported;

        /// 0 refuses to start while somebody else listens on the port. 1 leaves out that check, so
        /// that several groups can share one port. The workers of a group always share theirs.
        so_reuseport: Flag = "0", Start, Supported;

        /// Folder of the unix socket `.s.PGSQL.PORT`; servers without `host` are also looked for
        /// there. When empty, there is no unix socket.
        unix_socket_dir: Text = "/tmp", Start, Supported;

        /// Permissions of the unix socket.
        unix_socket_mode: Octal = "0777", Start, Supported;

        /// Group that the unix socket is given to.
        unix_socket_group: Text = "", Start, Supported;

        /// Address and port that take nothing but cancel requests of other hosts, or `off`. It
        /// stays open until the group ends, and does not count towards `max_client_conn`.
        peer_listen: Listen = "off", Start, Supported;

        /// Address and port where `/ready` and `/live` are answered by HTTP, or `off`.
        http_listen: Listen = "off", Start, Supported;

        /// Whether clients come through a proxy that announces their addresses by the PROXY
        /// protocol.
        proxy_protocol: Flag = "0", Restart, Supported;

        /// Networks of those proxies, such as `10.0.0.0/8`, with commas between them. Whoever
        /// comes from there has to begin with a header of the PROXY protocol, and nobody else may.
        proxy_protocol_from: Networks = "", Now, Supported;

        /// Number of this host in a group of hosts, 1 to 16383, or `hostname`: one more than the
        /// number behind the last dash of the host's name. 0 means that there is no group.
        peer_id: PeerId = "0", Now, Supported;
    }

    "Who may log in" {
        /// How clients prove who they are. `any` does not ask, and ignores the name of the user;
        /// `trust` does not ask but must know the user; `md5` uses SCRAM for users whose stored
        /// secret is one for SCRAM; `cert` knows them by the common names of their certificates and
        /// needs `client_tls_sslmode = verify-full`.
        auth_type: AuthType = "md5", Now, Supported;

        /// File with the names of users and their passwords or secrets.
        auth_file: Text = "", Now, Supported;

        /// File with the rules of `auth_type = hba`.
        auth_hba_file: Text = "", Now, Supported;

        /// File that maps names of the system, and those in certificates, to users, for rules
        /// with `map=`.
        auth_ident_file: Text = "", Now, Supported;

        /// The directory of `auth_type = ldap`, and of `ldap` lines of the HBA file that have no
        /// options of their own: PostgreSQL's options as `name=value` or `name="value"`.
        auth_ldap_options: Options = "", Now, Supported;

        /// Authorities that the certificates of directories are checked against; when empty,
        /// those of the system.
        auth_ldap_ca_file: Text = "", Now, Supported;

        /// How long a server of a directory may take for an answer before the next one is asked.
        auth_ldap_timeout: Seconds = "5", Now, Supported;

        /// The service of `auth_type = pam`, and of `pam` lines of the HBA file that have no
        /// options of their own: `pamservice=`, else `pgbouncer`, and `pamconfdir=`, the folder of
        /// its file in place of `/etc/pam.d`.
        auth_pam_options: Text = "", Now, Supported;

        /// User that asks the database for the secrets of users who are not in `auth_file`.
        auth_user: Text = "", Now, Supported;

        /// Query that fetches the name and the secret of the user `$1`. It runs with an empty
        /// `search_path`, so names that are not PostgreSQL's own need their schema.
        auth_query: Text = "SELECT rolname, CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL ELSE rolpassword END FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin", Now, Supported;

        /// Entry of `[databases]` where `auth_query` runs; when empty, the one that the client
        /// asks for.
        auth_dbname: Text = "", Now, Supported;

        /// Iterations for SCRAM secrets that are made from passwords in clear text.
        scram_iterations: Count = "4096", Now, Supported;

        /// Users who may do everything on the console.
        admin_users: Names = "", Now, Supported;

        /// Users who may look at everything on the console, and change nothing.
        stats_users: Names = "", Now, Supported;

        /// Startup parameters that clients may send and that are dropped. Others that the pooler
        /// does not know refuse the login.
        ignore_startup_parameters: Names = "", Now, Supported;

        /// Notice that clients get after their login.
        login_notify_message: Text = "", Now, Supported;
    }

    "Pools and limits" {
        /// When a server goes back to its pool: when the client leaves (`session`), when the
        /// transaction ends (`transaction`), or after each query (`statement`).
        pool_mode: PoolMode = "session", Now, Supported;

        /// Client connections of the whole group. Consoles and cancel requests do not count.
        max_client_conn: Count = "100", Now, Supported;

        /// Server connections that one pool, a pair of database and user, may open in the whole
        /// group.
        default_pool_size: Count = "20", Now, Supported;

        /// Server connections that a pool of the whole group keeps open even when nobody uses
        /// them, at most its pool size. They are opened for a pool that has a client, or whose
        /// entry in `[databases]` has a user.
        min_pool_size: Count = "0", Now, Supported;

        /// Further server connections for a pool whose clients wait for too long.
        reserve_pool_size: Count = "0", Now, Supported;

        /// How long a client waits before its pool may use the reserve. 0 never uses it.
        reserve_pool_timeout: Seconds = "5", Now, Supported;

        /// Server connections to one database, whoever the users are. 0 means no limit.
        max_db_connections: Count = "0", Now, Supported;

        /// Server connections of one user, whatever the databases are. 0 means no limit.
        max_user_connections: Count = "0", Now, Supported;

        /// Client connections of the whole group to one database. 0 means no limit.
        max_db_client_connections: Count = "0", Now, Supported;

        /// Client connections of the whole group that one user has. 0 means no limit.
        max_user_client_connections: Count = "0", Now, Supported;

        /// Prepared statements that are kept on each server connection, so that clients can use
        /// theirs in transaction mode. 0 passes them on untouched.
        max_prepared_statements: Count = "200", Now, Supported;

        /// Memory for prepared statements in each worker.
        prepared_statement_memory: Size = "64MB", Now, Supported;

        /// 1 uses the servers of a pool in turn; 0 prefers the one that was used last.
        server_round_robin: Flag = "0", Now, Supported;

        /// Whether clients that send simple queries, which may hold several statements, are
        /// disconnected.
        disable_pqexec: Flag = "0", Restart, Supported;

        /// What becomes of session state that a client leaves behind in transaction and statement
        /// mode: `reset` undoes it, `pin` lets the client keep the connection until it leaves, `pass`
        /// passes it on.
        session_state: SessionState = "reset", Now, Supported;

        /// Parameters that follow each client from server to server, beside those that PostgreSQL 18
        /// reports, which always do. The server has to report them.
        track_extra_parameters: Names = "IntervalStyle", Restart, Supported;

        /// Whether the address of the client is appended to the `application_name` that it logs in
        /// with, as in `psql - 10.0.0.7:51834`; without a name it is `app`.
        application_name_add_host: Flag = "0", Now, Supported;

        /// How long a pool without any connection is kept whose database was made from `*`. 0 keeps
        /// it for ever.
        autodb_idle_timeout: Seconds = "3600", Now, Supported;

        /// How long a pool without any connection is kept. 0 keeps it for ever.
        pool_idle_timeout: Seconds = "0", Now, Supported;

        /// How long a server connection of a dead worker goes on counting towards the limits.
        lease_linger: Seconds = "5", Now, Supported;
    }

    "Timeouts" {
        /// Longest time that a query may run before client and server are disconnected. 0 means
        /// any time.
        query_timeout: Seconds = "0", Now, Supported;

        /// Longest time that a client waits for a server before it is disconnected. 0 waits for
        /// ever.
        query_wait_timeout: Seconds = "120", Now, Supported;

        /// A client that waits for a server for longer than this gets a notice, once each time. 0
        /// sends none.
        query_wait_notify: Seconds = "5", Now, Supported;

        /// Longest time that a cancel request waits until it is passed on.
        cancel_wait_timeout: Seconds = "10", Now, Supported;

        /// Clients that do nothing for this long, and hold no server, are disconnected. 0 means
        /// never.
        client_idle_timeout: Seconds = "0", Now, Supported;

        /// Longest time that a login may take. 0 means any time.
        client_login_timeout: Seconds = "60", Now, Supported;

        /// Clients that are idle in a transaction for this long are disconnected. 0 means never.
        idle_transaction_timeout: Seconds = "0", Now, Supported;

        /// Longest time that a transaction may last. 0 means any time.
        transaction_timeout: Seconds = "0", Now, Supported;

        /// Longest time that SUSPEND waits for buffers to be written.
        suspend_timeout: Seconds = "10", Now, Supported;

        /// Longest time that a console command waits for the other processes; who has not
        /// answered then is named in a notice. 0 waits as long as it takes.
        console_timeout: Seconds = "5", Now, Supported;
    }

    "Servers" {
        /// Query that cleans a server connection when its client leaves, in session mode. When
        /// empty, none is run.
        server_reset_query: Text = "DISCARD ALL", Now, Supported;

        /// Whether `server_reset_query` runs in the other modes as well.
        server_reset_query_always: Flag = "0", Now, Supported;

        /// Query that shows whether an idle server still answers. `<empty>` is the empty query;
        /// when empty, none is run.
        server_check_query: Text = "<empty>", Now, Supported;

        /// A server that was idle for longer than this is checked before it is used.
        server_check_delay: Seconds = "30", Now, Supported;

        /// Longest time that connecting and logging in to a server may take.
        server_connect_timeout: Seconds = "15", Now, Supported;

        /// Server connections that were idle for this long are closed. 0 means never.
        server_idle_timeout: Seconds = "600", Now, Supported;

        /// Server connections older than this are closed when they are free. 0 uses each once.
        server_lifetime: Seconds = "3600", Now, Supported;

        /// How long to wait after a failed connect or login before the next one.
        server_login_retry: Seconds = "15", Now, Supported;

        /// Whether RECONNECT disconnects the clients of session mode together with their servers.
        server_fast_close: Flag = "0", Now, OnlyDefault;

        /// Protocol version that servers are asked for. `auto` takes the newest that a host has;
        /// `3.0` asks for nothing newer, `3.2` takes nothing older.
        server_protocol: ServerProtocol = "auto", Now, Supported;

        /// How long a resolved host name is used.
        dns_max_ttl: Seconds = "15", Now, Supported;

        /// How long a host name that could not be resolved is not asked for again.
        dns_nxdomain_ttl: Seconds = "15", Now, Supported;
    }

    "Leaving" {
        /// How long new clients are still accepted after the order to end, while load balancers
        /// take notice, and nobody is asked to go.
        drain_delay: Seconds = "0", Now, Supported;

        /// How clients are asked to go: by GoAway those that asked for it and by a parameter the
        /// others (`both`), by one of these only (`goaway`, `parameter`), or not at all (`none`).
        drain_notify: DrainNotify = "both", Now, Supported;

        /// What becomes of the TCP port then: `close` stops listening, `answer` refuses sessions with
        /// 57P03 and serves cancel requests until the end.
        drain_listen: DrainListen = "close", Now, Supported;

        /// Clients that each worker asks to go in a second, idle ones first. 0 asks all at once.
        goaway_rate: Count = "0", Now, Supported;

        /// When the clients that are left are disconnected, between transactions only. 0 means
        /// never.
        drain_timeout: Seconds = "0", Now, Supported;

        /// When the clients that are left are disconnected, whatever they do. 0 means never.
        drain_kill_timeout: Seconds = "0", Now, Supported;

        /// When the sessions that an old worker still has after RESTART are disconnected, each
        /// between two of its transactions. 0 means never.
        restart_drain_timeout: Seconds = "3600", Now, Supported;

        /// Bytes in the secrets of cancel keys for clients of protocol 3.2, 4 to 32. `auto` means
        /// 32, or 4 while some peer is not known to be pgskein.
        cancel_key_length: CountOrAuto = "auto", Now, Supported;
    }

    "Log" {
        /// File to log to, beside standard error.
        logfile: Text = "", Now, Supported;

        /// Whether to log to syslog.
        syslog: Flag = "0", Now, Supported;

        /// Name under which syslog gets the lines.
        syslog_ident: Text = "pgbouncer", Now, Supported;

        /// Facility of the lines in syslog: `auth`, `authpriv`, `daemon`, `user` or `local0` to
        /// `local7`.
        syslog_facility: Text = "daemon", Now, Supported;

        /// How much to log, 0 to 3; as many as there are `-v`.
        verbose: Count = "0", Now, Supported;

        /// Whether to log logins, and connections to servers.
        log_connections: Flag = "1", Now, Supported;

        /// Whether to log why connections were closed.
        log_disconnections: Flag = "1", Now, Supported;

        /// Whether to log errors that are sent to clients.
        log_pooler_errors: Flag = "1", Now, Supported;

        /// Whether to log a line of statistics in every `stats_period`.
        log_stats: Flag = "1", Now, Supported;

        /// Time over which averages are taken, 1 s or more.
        stats_period: Seconds = "60", Now, Supported;
    }

    "Connections" {
        /// Largest message that is accepted, in bytes.
        max_packet_size: Count = "2147483647", Now, Supported;

        /// Whether the kernel hands over a connection only when its first bytes are there. It makes
        /// it impossible to stop listening without losing connections, hence off.
        tcp_defer_accept: Flag = "0", Now, Supported;

        /// Whether the kernel probes idle connections.
        tcp_keepalive: Flag = "1", Now, Supported;

        /// Probes without an answer after which a connection is lost. 0 leaves it to the system.
        tcp_keepcnt: Count = "0", Now, Supported;

        /// Seconds of idleness before the first probe. 0 leaves it to the system.
        tcp_keepidle: Count = "0", Now, Supported;

        /// Seconds between probes. 0 leaves it to the system.
        tcp_keepintvl: Count = "0", Now, Supported;

        /// Size of the kernel's buffers of a socket, in bytes. 0 leaves it to the system.
        tcp_socket_buffer: Count = "0", Now, Supported;

        /// Milliseconds without an acknowledgement after which a connection is lost. 0 leaves it to
        /// the system.
        tcp_user_timeout: Count = "0", Now, Supported;
    }

    "TLS" {
        /// How much TLS clients have to use.
        client_tls_sslmode: SslMode = "disable", Now, Supported;

        /// Certificate that is shown to clients.
        client_tls_cert_file: Text = "", Now, Supported;

        /// Private key of `client_tls_cert_file`.
        client_tls_key_file: Text = "", Now, Supported;

        /// Authorities that certificates of clients are checked against: of those who have to show
        /// one (`verify-ca`, `verify-full`, `clientcert` of the HBA file) and of all who do.
        client_tls_ca_file: Text = "", Now, Supported;

        /// TLS versions that clients may use: a list, or one of `secure`, `all`, `legacy`.
        client_tls_protocols: Text = "secure", Now, Supported;

        /// Ciphers that clients may use up to TLS 1.2.
        client_tls_ciphers: Text = "default", Now, Supported;

        /// Ciphers that clients may use with TLS 1.3.
        client_tls13_ciphers: Text = "", Now, Supported;

        /// Elliptic curve for key exchange with clients.
        client_tls_ecdhcurve: Text = "auto", Now, Supported;

        /// Diffie-Hellman parameters for key exchange with clients: there are none.
        client_tls_dheparams: Text = "auto", Now, Supported;

        /// How much TLS to use with servers. `allow` is as `prefer`: TLS first, and without
        /// it if it is declined, fails, or lets nobody in. Unix sockets are left alone.
        server_tls_sslmode: SslMode = "prefer", Now, Supported;

        /// Certificate that is shown to servers.
        server_tls_cert_file: Text = "", Now, Supported;

        /// Private key of `server_tls_cert_file`.
        server_tls_key_file: Text = "", Now, Supported;

        /// Authorities that certificates of servers are checked against; when empty, those that
        /// the system knows.
        server_tls_ca_file: Text = "", Now, Supported;

        /// TLS versions to use with servers: a list, or one of `secure`, `all`, `legacy`.
        server_tls_protocols: Text = "secure", Now, Supported;

        /// Ciphers to use with servers up to TLS 1.2.
        server_tls_ciphers: Text = "default", Now, Supported;

        /// Ciphers to use with servers with TLS 1.3.
        server_tls13_ciphers: Text = "", Now, Supported;
    }

    "Obsolete" {
        /// Size of the buffer of a connection.
        pkt_buf: Count = "4096", Restart, Obsolete("an idle connection has no buffer here");

        /// Reads from one connection before the next one gets its turn.
        sbuf_loopcnt: Count = "5", Now, Obsolete("the turns of the event loop have a fixed budget");

        /// Another `resolv.conf` than that of the system.
        resolv_conf: Text = "", Restart, Obsolete("names are resolved by the system");

        /// How often to ask whether a DNS zone has changed.
        dns_zone_check_period: Seconds = "0", Now,
            Obsolete("names are looked up again after dns_max_ttl");

        /// Name of the service on Windows.
        service_name: Text = "", Restart, Obsolete("it is for Windows only");
    }
}

#[cfg(test)]
mod tests;

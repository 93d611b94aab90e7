//! Connect: from a lease to a connection.
//!
//! At which of the hosts of a database that is, [`ServerTour`] says.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::time::{Duration, Instant};

use pgskein_config::Settings;
use pgskein_pool::control::{HostReport, LeaseId, PoolKey, ToSupervisor};
use pgskein_pool::flow::Flow;
use pgskein_pool::pools::{Failure, PoolId};
use pgskein_pool::prepared;
use pgskein_pool::slab::ServerId;
use pgskein_pool::statistics::Traffic;
use pgskein_pool::text::Classes;
use socket2::{SockRef, TcpKeepalive};

use super::Worker;
use super::addresses::Wanted;
use super::client::Rest;
use super::flight::Replay;
use super::reason::{CONNECTION_FAILURE, ServerReason};
use super::server::{Server, ServerState, Target};
use super::stream::{Outbox, Socket, Stream};
use super::token::Subject;
use super::tour::ServerTour;
use super::watch::Watch;

impl Worker {
    /// Opens a server with a lease that was granted, or gives it back.
    pub(super) fn on_grant(&mut self, lease: LeaseId, key: &PoolKey) {
        self.last_lease = lease.id;
        let pool_id = self.pools.lookup(key);
        let used = pool_id
            .and_then(|id| self.pools.get_mut(id))
            .is_some_and(|pool| pool.on_grant());
        match pool_id {
            Some(pool) if used => self.open_server(pool, lease),
            _ => self.tell_supervisor(&ToSupervisor::Returned { lease }),
        }
    }

    /// Opens a server that nobody waits for, as the ledger has ordered.
    pub(super) fn on_ordered(&mut self, lease: LeaseId, key: &PoolKey) {
        self.last_lease = lease.id;
        if self.refuses_servers()
            || self.orders.state().is_paused(&key.database)
            || self.config.database(&key.database).is_none()
        {
            return self.tell_supervisor(&ToSupervisor::Returned { lease });
        }
        let config = &self.config;
        let id = self.pools.find(key, || key.settings(config));
        if let Some(pool) = self.pools.get_mut(id) {
            pool.on_ordered();
        }
        self.open_server(id, lease);
    }

    /// Opens a server with a lease that its pool has taken.
    pub(super) fn open_server(&mut self, pool: PoolId, lease: LeaseId) {
        self.open_addressed(pool, lease, false);
    }

    /// The same; `any` takes what is known of the addresses of hosts, however old.
    pub(super) fn open_addressed(&mut self, pool_id: PoolId, lease: LeaseId, any: bool) {
        let Some(pool) = self.pools.get(pool_id) else {
            return;
        };
        if pool.is_paused() {
            return self.decline(pool_id, lease);
        }
        let Some(database) = self.config.database(&pool.key.database) else {
            return self.open_failed(pool_id, lease, "database removed", None);
        };
        let addressed = match self.targets(&database, any) {
            Ok(addressed) => addressed,
            Err(names) => return self.look_up(names, Wanted::Server(pool_id, lease)),
        };
        let choice = (database.load_balance_hosts, database.target_session_attrs);
        let mut tour = self.begin_tour(pool_id, choice, addressed);
        let socket = self.next_place(&mut tour, lease);
        match (socket, tour.target().cloned()) {
            (Some(socket), Some(target)) => self.connect(pool_id, lease, target, socket, tour),
            _ => {
                let reason = tour.end();
                self.open_failed(pool_id, lease, &reason.text(), reason.host());
            }
        }
    }

    fn connect(
        &mut self,
        pool: PoolId,
        lease: LeaseId,
        target: Target,
        socket: Socket,
        tour: Box<ServerTour>,
    ) {
        let stream = Stream::to_server(socket);
        let now = self.now;
        let server = Server {
            stream,
            queued: false,
            used: false,
            retire: None,
            farewell: None,
            state: ServerState::Connecting {
                deadline: tour.deadline(now),
            },
            tour: Some(tour),
            flow: Flow::default(),
            known: prepared::Known::default(),
            replay: Replay::default(),
            dirty: Classes::NONE,
            watch: Watch::default(),
            rest: Rest::None,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            parameters: self.parameters.empty(),
            number: self.scoreboard.next_id(),
            traffic: Traffic::default(),
            pool,
            owner: None,
            lease,
            bid: self.bid(&target),
            target,
            key: None,
            cancels: 0,
            opened: now,
            expires: self.expiry(pool, now),
        };
        let id = self.servers.insert_with(|_| server);
        self.count_servers();
        let registry = self.poll.registry();
        let registered = match self.servers.get_mut(id) {
            Some(server) => server
                .stream
                .register(registry, Subject::Server(id).token()),
            None => Ok(()),
        };
        match registered {
            Ok(()) => self.wake_server(id),
            Err(error) => self.lose_server(id, &ServerReason::SocketFailed(error.kind())),
        }
    }

    /// When a server of this pool, opened at `opened`, has lived long enough;
    /// with `server_lifetime = 0` each is used once.
    pub(super) fn expiry(&self, pool: PoolId, opened: Instant) -> Instant {
        let lifetime = self
            .pools
            .get(pool)
            .map(|pool| pool.settings.server_lifetime);
        opened + lifetime.unwrap_or_default()
    }

    /// Tells the scoreboard how many servers there are.
    pub(super) fn count_servers(&self) {
        let servers = self.servers.len() - self.undecided.coming_servers;
        let servers = u32::try_from(servers).unwrap_or(u32::MAX);
        self.cell.set_servers(servers);
    }

    /// Looks whether a connect has ended.
    pub(super) fn connect_turn(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        if !server.stream.writable() {
            return;
        }
        match server.stream.connect_error() {
            Ok(None) => self.begin_server_login(id),
            Ok(Some(error)) | Err(error) => {
                let text = format!("connect failed: {}: {error}", server.target);
                self.leave_host(id, &ServerReason::ConnectFailed(text));
            }
        }
    }

    /// A server of a pool could not even be connected to; `host` is known if it
    /// has an address.
    fn open_failed(&mut self, pool_id: PoolId, lease: LeaseId, text: &str, host: Option<&str>) {
        let now = self.now;
        if let Some(pool) = self.pools.get_mut(pool_id) {
            log::warn!("{}: {text}", pool.key);
            let failure = Failure {
                sqlstate: CONNECTION_FAILURE.to_owned(),
                message: text.to_owned(),
            };
            pool.on_returned();
            match host.filter(|_| self.control.is_some()).map(str::to_owned) {
                Some(host) => {
                    pool.on_unreachable(failure);
                    let report = HostReport::Unreachable {
                        lease,
                        host,
                        says: false,
                        message: text.to_owned(),
                    };
                    self.tell_supervisor(&ToSupervisor::Host(report));
                }
                None => pool.on_open_failed(Some(failure), now),
            }
        }
        if self.control.is_none() {
            self.spare_leases.push((pool_id, lease));
        }
        self.tell_supervisor(&ToSupervisor::Returned { lease });
        self.refuse_greeting(pool_id);
        self.wish(pool_id);
    }
}

/// Begins to connect.
///
/// # Errors
///
/// The error of the socket calls.
pub(super) fn open_socket(target: &Target, settings: &Settings) -> io::Result<Socket> {
    match target {
        Target::Tcp(address) => {
            let socket = mio::net::TcpStream::connect(*address)?;
            tune(&SockRef::from(&socket), settings)?;
            Ok(Socket::Tcp(socket))
        }
        Target::Unix(path) => {
            let name = path.to_string_lossy();
            let address = match name.strip_prefix('@') {
                Some(name) => std::os::unix::net::SocketAddr::from_abstract_name(name)?,
                None => std::os::unix::net::SocketAddr::from_pathname(path)?,
            };
            mio::net::UnixStream::connect_addr(&address).map(Socket::Unix)
        }
    }
}

/// Sets the options of a TCP socket, to a client or to a server.
///
/// # Errors
///
/// The error of `setsockopt(2)`.
pub(super) fn tune(socket: &SockRef<'_>, settings: &Settings) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // Urgent data stays in the stream, so that a short read means empty.
    socket.set_out_of_band_inline(true)?;
    if settings.tcp_keepalive {
        let mut keepalive = TcpKeepalive::new();
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        if settings.tcp_keepidle > 0 {
            keepalive = keepalive.with_time(seconds(settings.tcp_keepidle));
        }
        if settings.tcp_keepintvl > 0 {
            keepalive = keepalive.with_interval(seconds(settings.tcp_keepintvl));
        }
        if settings.tcp_keepcnt > 0 {
            keepalive = keepalive.with_retries(settings.tcp_keepcnt);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&keepalive)?;
    }
    if settings.tcp_user_timeout > 0 {
        let timeout = Duration::from_millis(u64::from(settings.tcp_user_timeout));
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    if settings.tcp_socket_buffer > 0 {
        let size = settings.tcp_socket_buffer as usize;
        socket.set_recv_buffer_size(size)?;
        socket.set_send_buffer_size(size)?;
    }
    Ok(())
}

//! Server: an idle server connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use pgskein_config::{PoolMode, SessionState};
use pgskein_pool::flow::Flow;
use pgskein_pool::handoff::Refusal;
use pgskein_pool::handoff::server::{self as format, Changed, KnownStatement, Lent, ServerCargo};
use pgskein_pool::pools::PoolId;
use pgskein_pool::prepared::Known;
use pgskein_pool::slab::ServerId;
use pgskein_pool::statistics::Traffic;
use pgskein_pool::text::Classes;
use pgskein_protocol::{Bid, TransactionStatus};

use super::super::Worker;
use super::super::client::Rest;
use super::super::flight::Replay;
use super::super::reason::ServerReason;
use super::super::server::{Retire, Server, ServerState, Target, Use};
use super::super::stream::{Outbox, Socket, Stream};
use super::super::token::Subject;
use super::super::watch::{Watch, resets_always};
use super::{Packed, Place, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedServer {
    id: ServerId,
    /// What its giver greets clients with.
    welcome: Option<Vec<u8>>,
}

impl Worker {
    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_server(&self, id: ServerId) -> Result<Packed, Unmovable> {
        let server = self.servers.get(id).ok_or(Unmovable::Busy)?;
        if !matches!(server.state, ServerState::Idle) || server.retire.is_some() {
            return Err(Unmovable::Busy);
        }
        let cargo = self.server_cargo(id, server)?;
        Ok(Packed {
            body: cargo.encode(),
            descriptors: vec![duplicate(&server.stream)?],
        })
    }

    /// What is to be said of a server.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn server_cargo(
        &self,
        id: ServerId,
        server: &Server,
    ) -> Result<ServerCargo, Unmovable> {
        if server.owner.is_some() {
            return Err(Unmovable::Replication);
        }
        if !server.is_at_rest() {
            return Err(Unmovable::Busy);
        }
        if server.stream.tls().is_some() {
            return Err(Unmovable::Tls);
        }
        let pool = self.pools.get(server.pool).ok_or(Unmovable::Busy)?;
        let lent = server.client().map(|_| Lent {
            status: server.flow.status(),
            renames: server.flow.renames(),
            unnamed: server.flow.has_own_unnamed(),
            manner: self.manner(server.pool),
        });
        let idle = match pool.idle_since(id) {
            Some(since) => self.age(since),
            None => Duration::ZERO,
        };
        Ok(ServerCargo {
            number: server.number,
            pool: pool.key.clone(),
            lease: server.lease,
            target: server.target.to_string(),
            route: self.route(&pool.key.database),
            key: server
                .key
                .as_ref()
                .map(|(process_id, secret)| (*process_id, secret.to_vec())),
            version: server.bid.version(),
            goaway: server.bid.goaway(),
            age: self.age(server.opened),
            idle,
            used: server.used,
            retire: server.retire.and_then(Retire::moves),
            parameters: self.values_of(server.parameters),
            statements: server
                .known
                .all()
                .map(|(name, stale)| KnownStatement { name, stale })
                .collect(),
            changed: Changed {
                kinds: Classes::of_kinds(server.dirty.kinds()).unwrap_or(Classes::ALL),
                followed: (0..u32::BITS)
                    .filter(|bit| server.dirty.followed & 1 << bit != 0)
                    .map(|position| self.parameters.name(position as usize).to_owned())
                    .collect(),
            },
            lent,
            orders: self.orders.version(),
            welcome: pool
                .welcome
                .as_ref()
                .map(|welcome| self.encode_welcome(welcome)),
        })
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_server(&mut self, id: ServerId) {
        let now = self.now;
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        server.stream.deregister(self.poll.registry());
        let pool = self.pools.get_mut(server.pool);
        let since = pool.and_then(|pool| {
            let since = pool.idle_since(id);
            pool.forget_idle(id);
            since
        });
        server.state = ServerState::Offered(Use::Idle(since.unwrap_or(now)));
    }

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_server(&mut self, id: ServerId) {
        // One that is given up in any case is closed next, and lent to nobody.
        let lends = !self.recalled.contains(&id);
        self.rest_again(id, lends);
    }

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn server_given(&mut self, id: ServerId, _to: Place) {
        let Some(mut server) = self.servers.remove(id) else {
            return;
        };
        self.count_servers();
        self.parameters.release(server.parameters);
        self.forget_statements(&mut server);
        if let Some(pool) = self.pools.get_mut(server.pool) {
            pool.statistics.on_traffic(&server.traffic);
            pool.on_given();
        }
        self.wish(server.pool);
    }

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_server(
        &mut self,
        _from: Place,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedServer, Refusal> {
        let cargo = ServerCargo::decode(body).map_err(refusal)?;
        let [descriptor] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| Refusal::Other)?;
        self.may_take(cargo.orders)?;
        // One that leads elsewhere is of no use here.
        if cargo.lent.is_some() || cargo.route != self.route(&cargo.pool.database) {
            return Err(Refusal::Other);
        }
        let pool = self.pool_for(&cargo.pool)?;
        let since = self.now.checked_sub(cargo.idle).unwrap_or(self.now);
        let state = ServerState::Coming(Use::Idle(since));
        let flow = Flow::taken(TransactionStatus::Idle);
        let id = self.take_in(&cargo, pool, descriptor, state, flow)?;
        let welcome = cargo.welcome;
        Ok(ReservedServer { id, welcome })
    }

    /// It is this worker's from now on.
    pub(super) fn start_server(&mut self, reserved: ReservedServer, from: Place) {
        let ReservedServer { id, welcome } = reserved;
        if self.own_server(id, from, welcome.as_deref()) {
            self.rest_again(id, true);
        }
    }

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_server(&mut self, reserved: ReservedServer, _from: Place) {
        self.forget_coming(reserved.id);
    }

    /// Puts a server that comes from another worker into the books.
    ///
    /// # Errors
    ///
    /// Why it cannot be; nothing has changed then.
    pub(super) fn take_in(
        &mut self,
        cargo: &ServerCargo,
        pool: PoolId,
        descriptor: OwnedFd,
        state: ServerState,
        flow: Flow,
    ) -> Result<ServerId, Refusal> {
        let target = match cargo.target.parse::<SocketAddr>() {
            Ok(address) => Target::Tcp(address),
            Err(_) => Target::Unix(cargo.target.clone().into()),
        };
        let socket = match target {
            Target::Tcp(_) => tcp(descriptor),
            Target::Unix(_) => unix(descriptor),
        };
        let mut dirty = cargo.changed.kinds;
        for name in &cargo.changed.followed {
            let position = self.parameters.position(name.as_bytes());
            let position = position.and_then(|position| u32::try_from(position).ok());
            dirty |= position.map_or(Classes::GUC, Classes::followed);
        }
        let mut known = Known::default();
        for statement in &cargo.statements {
            known.adopt(statement.name, statement.stale, &mut self.statements);
        }
        let opened = self.now.checked_sub(cargo.age).unwrap_or(self.now);
        let server = Server {
            stream: Stream::new(socket),
            queued: false,
            used: cargo.used,
            retire: cargo.retire.map(Retire::moved),
            farewell: None,
            state,
            tour: None,
            flow,
            known,
            replay: Replay::default(),
            dirty,
            watch: Watch::default(),
            rest: Rest::None,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            parameters: self.set_of(&cargo.parameters),
            number: cargo.number,
            traffic: Traffic::default(),
            pool,
            owner: None,
            lease: cargo.lease,
            target,
            bid: Bid::granted(cargo.version, cargo.goaway),
            key: cargo
                .key
                .as_ref()
                .map(|(process_id, secret)| (*process_id, secret.as_slice().into())),
            cancels: 0,
            opened,
            expires: self.expiry(pool, opened),
        };
        self.undecided.coming_servers += 1;
        Ok(self.servers.insert_with(|_| server))
    }

    /// A server that was coming is this worker's; false if it is gone. Whoever
    /// waits for the greeting of its pool has it with `welcome`.
    pub(super) fn own_server(&mut self, id: ServerId, from: Place, welcome: Option<&[u8]>) -> bool {
        let Some(server) = self.servers.get(id) else {
            return false;
        };
        self.undecided.coming_servers = self.undecided.coming_servers.saturating_sub(1);
        let mut key = None;
        if let Some(pool) = self.pools.get_mut(server.pool) {
            pool.on_taken();
            key = pool.welcome.is_none().then(|| pool.key.clone());
        }
        self.count_servers();
        self.received(id, from);
        if let (Some(key), Some(welcome)) = (key, welcome) {
            self.adopt_welcome(key, welcome);
        }
        true
    }

    /// A server that was coming stays where it is.
    pub(super) fn forget_coming(&mut self, id: ServerId) {
        let Some(mut server) = self.servers.remove(id) else {
            return;
        };
        self.undecided.coming_servers = self.undecided.coming_servers.saturating_sub(1);
        self.parameters.release(server.parameters);
        self.forget_statements(&mut server);
    }

    /// Goes on with a server that was offered, or has come, and is idle; it is
    /// lent to the next client if it `lends`.
    fn rest_again(&mut self, id: ServerId, lends: bool) {
        let paused = self.paused(id);
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let (ServerState::Offered(Use::Idle(since)) | ServerState::Coming(Use::Idle(since))) =
            server.state
        else {
            return;
        };
        server.state = ServerState::Idle;
        if paused {
            server.pause();
        }
        let pool = server.pool;
        let token = Subject::Server(id).token();
        if let Err(error) = server
            .stream
            .register_again(self.poll.registry(), token, true)
        {
            return self.lose_server(id, &ServerReason::SocketFailed(error.kind()));
        }
        // It may have said something meanwhile, or be gone.
        if !self.hear_idle(id) || !lends {
            return;
        }
        self.lend(id);
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.rests_since(id, since);
        }
        self.wake_server(id);
        self.wish(pool);
    }

    /// Whether the pool of a server lends none.
    pub(super) fn paused(&self, id: ServerId) -> bool {
        let pool = self.servers.get(id).map(|server| server.pool);
        pool.and_then(|pool| self.pools.get(pool))
            .is_some_and(|pool| pool.is_paused())
    }

    /// A hash of how connections of a database are opened, which all workers of
    /// the group compute in the same way.
    pub(super) fn route(&self, database: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.statements.key().0.hash(&mut hasher);
        if let Some(database) = self.config.database(database) {
            database.route().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// How servers of a pool are lent: whoever is lent one in another manner may
    /// have changed what nobody has seen.
    pub(super) fn manner(&self, pool: PoolId) -> u32 {
        let settings = &self.config.settings;
        let pool = self.pools.get(pool);
        let pool = pool.map(|pool| (pool.settings.pool_mode, pool.settings.session_state));
        let (mode, state) = pool.unwrap_or((PoolMode::Session, SessionState::Pass));
        let mode = match mode {
            PoolMode::Session => 0,
            PoolMode::Transaction => 1,
            PoolMode::Statement => 2,
        };
        let state = match state {
            SessionState::Reset => 0,
            SessionState::Pin => 1,
            SessionState::Pass => 2,
        };
        let prepares = u32::from(settings.max_prepared_statements > 0);
        let resets = u32::from(resets_always(settings));
        mode | state << 2 | prepares << 4 | resets << 5
    }
}

impl Server {
    /// Whether nothing of it is under way: nothing due, unparsed, unsent, and no
    /// cancel.
    fn is_at_rest(&self) -> bool {
        self.flow.at_rest()
            && !self.flow.unfinished()
            && !self.flow.copying()
            && self.rest == Rest::None
            && self.inbox.is_empty()
            && self.outbox.is_empty()
            && self.cancels == 0
            && self.farewell.is_none()
            && self.retire != Some(Retire::Ended)
            && !self.watch.reads()
            && self.bid.is_settled()
    }
}

impl Retire {
    /// The same, as it is told another worker.
    fn moves(self) -> Option<format::Retire> {
        match self {
            Self::Paused => Some(format::Retire::Paused),
            Self::Changed | Self::WrongRole => Some(format::Retire::Changed),
            Self::AsksToGo => Some(format::Retire::AsksToGo),
            // Such a server stays.
            Self::Ended => None,
        }
    }

    /// The opposite of [`Retire::moves`].
    fn moved(retire: format::Retire) -> Self {
        match retire {
            format::Retire::Paused => Self::Paused,
            format::Retire::Changed => Self::Changed,
            format::Retire::AsksToGo => Self::AsksToGo,
        }
    }
}

/// A second descriptor of a socket.
///
/// # Errors
///
/// [`Unmovable::NoDescriptors`].
pub(super) fn duplicate(stream: &Stream) -> Result<OwnedFd, Unmovable> {
    stream.duplicate().map_err(|error| {
        log::warn!("cannot duplicate a descriptor: {error}");
        Unmovable::NoDescriptors
    })
}

/// Why a body is refused.
pub(super) fn refusal(error: pgskein_pool::handoff::BodyError) -> Refusal {
    log::warn!("refused what another worker offers: {error}");
    if error.is_unknown() {
        Refusal::Unknown
    } else {
        Refusal::Other
    }
}

/// A TCP socket that another worker has used.
pub(super) fn tcp(descriptor: OwnedFd) -> Socket {
    let socket = std::net::TcpStream::from(descriptor);
    Socket::Tcp(mio::net::TcpStream::from_std(socket))
}

/// The same of a unix socket.
pub(super) fn unix(descriptor: OwnedFd) -> Socket {
    let socket = std::os::unix::net::UnixStream::from(descriptor);
    Socket::Unix(mio::net::UnixStream::from_std(socket))
}

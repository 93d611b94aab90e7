//! Session: a client that is logged in to a pool.

use std::os::fd::OwnedFd;

use pgskein_config::PoolMode;
use pgskein_pool::flow::Flow;
use pgskein_pool::handoff::Refusal;
use pgskein_pool::handoff::server::ServerCargo;
use pgskein_pool::handoff::session::{self as format, Ages, SessionCargo};
use pgskein_pool::pools::PoolId;
use pgskein_pool::prepared::Prepared;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::key::Slot;

use super::super::Worker;
use super::super::client::{Carrier, Client, Origin, Rest, Session, SessionState, Stage};
use super::super::reason::ServerReason;
use super::super::server::{Retire, ServerState, Target, Use};
use super::super::stream::{Outbox, Stream};
use super::super::token::Subject;
use super::books::socket;
use super::server::{duplicate, refusal};
use super::{Packed, Place, Unmovable};

/// What is kept ready for one until its offer is decided.
#[derive(Debug)]
pub(super) struct ReservedSession {
    id: ClientId,
    /// What is made use of when it starts.
    cargo: Box<SessionCargo>,
}

impl Worker {
    /// Why a session stays whose server has to stay: in session mode it has no
    /// other, else it can go between two transactions.
    fn stays_with(&self, pool: PoolId, why: Unmovable) -> Unmovable {
        let mode = self.pools.get(pool).map(|pool| pool.settings.pool_mode);
        match why {
            Unmovable::Tls if mode != Some(PoolMode::Session) => Unmovable::Busy,
            why => why,
        }
    }

    /// What an offer of it is made of.
    ///
    /// # Errors
    ///
    /// Why it has to stay.
    pub(super) fn pack_session(&self, id: ClientId) -> Result<Packed, Unmovable> {
        let client = self.clients.get(id).ok_or(Unmovable::Busy)?;
        let session = client.session().ok_or(Unmovable::Busy)?;
        let carrier = session.carrier.moves().ok_or(Unmovable::Replication)?;
        if session.rest != Rest::None
            || session.held
            || !client.inbox.is_empty()
            || !client.outbox.is_empty()
        {
            return Err(Unmovable::Busy);
        }
        let server = match session.state {
            SessionState::Idle => None,
            SessionState::Linked(server_id) => {
                let server = self.servers.get(server_id).ok_or(Unmovable::Busy)?;
                let cargo = self.server_cargo(server_id, server);
                let cargo = cargo.map_err(|why| self.stays_with(session.pool, why))?;
                Some((cargo, &server.stream))
            }
            _ => return Err(Unmovable::Busy),
        };
        let mut descriptors = vec![duplicate(&client.stream)?];
        if let Some((_, stream)) = server {
            descriptors.push(duplicate(stream)?);
        }
        let pool = self.pools.get(session.pool).ok_or(Unmovable::Busy)?;
        let prepared = session.prepared.as_deref();
        let statements = prepared.map(|prepared| {
            let names = prepared.names().into_iter();
            let texts = names.map(|(name, id)| (name.to_vec(), self.statements.tail(id).to_vec()));
            texts.collect()
        });
        let cargo = SessionCargo {
            number: client.number,
            origin: client.origin.told(),
            pool: pool.key.clone(),
            user: self.claims.user(client.number).map(str::to_owned),
            counted: client.counted,
            claimed: self.claims.counts(client.number),
            ages: Ages {
                accepted: self.age(client.accepted),
                heard: self.age(client.heard),
                since: self.age(session.since),
                turned: self.age(session.turned),
            },
            key: session.key,
            carrier,
            parameters: self.values_of(session.parameters),
            statements: statements.unwrap_or_default(),
            unnamed: prepared.and_then(|prepared| prepared.unnamed.text().map(<[u8]>::to_vec)),
            learned: self.shown_by(&pool.key),
            server: server.map(|(cargo, _)| cargo),
            orders: self.orders.version(),
        };
        Ok(Packed {
            body: cargo.encode(),
            descriptors,
        })
    }

    /// Takes it out of the event loop; it gets no turn from now on.
    pub(super) fn freeze_session(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let linked = client.linked();
        client.stream.deregister(self.poll.registry());
        if let Some(session) = client.session_mut() {
            session.state = SessionState::Offered(linked);
        }
        if let Some(server) = linked.and_then(|server| self.servers.get_mut(server)) {
            server.stream.deregister(self.poll.registry());
            server.state = ServerState::Offered(Use::Linked(id));
        }
    }

    /// It stays: goes on with it, and does what was asked of it meanwhile.
    pub(super) fn thaw_session(&mut self, id: ClientId) {
        self.link_again(id);
        if self.register_client(id) {
            self.go_on_with(id);
        }
    }

    /// It is another worker's: forgets it, and closes what this worker has of
    /// it, before the taker is told to start.
    pub(super) fn session_given(&mut self, id: ClientId, to: Place) {
        let Some(client) = self.clients.remove(id) else {
            return;
        };
        let Stage::Session(session) = client.stage else {
            return;
        };
        if let SessionState::Offered(Some(server)) = session.state {
            self.lent(server, to);
            self.server_given(server, to);
        }
        let key = session.key;
        self.forget_session(id, session);
        self.hand_claim_over(client.number, to);
        self.send_after(id, key, to);
    }

    /// Reserves all that it needs, and touches no byte of it.
    ///
    /// # Errors
    ///
    /// Why it is not taken; nothing is reserved then.
    pub(super) fn reserve_session(
        &mut self,
        _from: Place,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<ReservedSession, Refusal> {
        let cargo = Box::new(SessionCargo::decode(body).map_err(refusal)?);
        if descriptors.len() != 1 + usize::from(cargo.server.is_some()) {
            return Err(Refusal::Other);
        }
        let mut descriptors = descriptors.into_iter();
        let descriptor = descriptors.next().ok_or(Refusal::Other)?;
        self.may_take(cargo.orders)?;
        if self.refuses_servers() {
            return Err(Refusal::Leaving);
        }
        let key = &cargo.key;
        if self.owner(key.process_id, key.secret()).is_some() {
            return Err(Refusal::KeyTaken);
        }
        let pool = self.pool_for(&cargo.pool)?;
        let prepared = self.adopt_prepared(&cargo)?;
        let id = self.insert_session(&cargo, pool, prepared, descriptor);
        if Slot::of_process_id(cargo.key.process_id) != Some(self.slot) {
            // Before it is ours alone, so that somebody can find it at any time.
            self.scoreboard.note_guest(self.slot, self.generation);
        }
        self.keys.insert(cargo.key.process_id, id);
        self.undecided.coming_clients += 1;
        if let Some(server) = &cargo.server
            && let Some(descriptor) = descriptors.next()
            && let Err(refusal) = self.reserve_linked(id, server, pool, descriptor)
        {
            self.forget_coming_session(id, &cargo);
            return Err(refusal);
        }
        Ok(ReservedSession { id, cargo })
    }

    /// It is this worker's from now on.
    pub(super) fn start_session(&mut self, reserved: ReservedSession, from: Place, pid: i32) {
        let ReservedSession { id, cargo } = reserved;
        if self.clients.get(id).is_none() {
            return;
        }
        self.undecided.coming_clients = self.undecided.coming_clients.saturating_sub(1);
        self.undecided.away.forget(&cargo.key);
        if cargo.counted {
            self.take_place_over(id, from, pid);
        }
        log::debug!("c{}: comes from worker {from}", cargo.number);
        if let Some(learned) = &cargo.learned {
            self.learn(&cargo.pool, learned);
        }
        let user = cargo.user.as_deref().unwrap_or(&cargo.pool.user);
        self.note_user(id, user, &cargo.pool.user);
        if cargo.claimed {
            self.claim_taken(cargo.number, &cargo.pool.database, user);
        }
        if let Some(SessionState::Coming(Some(server))) = self.state_of(id) {
            let cargo = cargo.server.as_ref();
            self.own_server(
                server,
                from,
                cargo.and_then(|cargo| cargo.welcome.as_deref()),
            );
        }
        self.link_again(id);
        self.arrived(id);
        if self.register_client(id) {
            self.go_on_with(id);
        }
    }

    /// It is not this worker's; nothing of it remains.
    pub(super) fn release_session(&mut self, reserved: ReservedSession, _from: Place) {
        self.forget_coming_session(reserved.id, &reserved.cargo);
    }

    fn adopt_prepared(&mut self, cargo: &SessionCargo) -> Result<Option<Box<Prepared>>, Refusal> {
        if cargo.statements.is_empty() && cargo.unnamed.is_none() {
            return Ok(None);
        }
        let prepared = Prepared::adopt(
            &cargo.statements,
            cargo.unnamed.as_deref(),
            &self.parameters,
            &mut self.statements,
        );
        let prepared = prepared.map_err(|_| Refusal::NoMemory)?;
        Ok(Some(Box::new(prepared)))
    }

    fn insert_session(
        &mut self,
        cargo: &SessionCargo,
        pool: PoolId,
        prepared: Option<Box<Prepared>>,
        descriptor: OwnedFd,
    ) -> ClientId {
        let ages = cargo.ages;
        let session = Session {
            pool,
            state: SessionState::Coming(None),
            rest: Rest::None,
            held: false,
            prepared,
            parameters: self.set_of(&cargo.parameters),
            key: cargo.key,
            carrier: Carrier::moved(cargo.carrier),
            since: self.before(ages.since),
            turned: self.before(ages.turned),
        };
        let client = Client {
            stream: Stream::new(socket(cargo.origin, descriptor)),
            queued: false,
            counted: false,
            stage: Stage::Session(session),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            number: cargo.number,
            origin: Origin::of(cargo.origin),
            accepted: self.before(ages.accepted),
            heard: self.before(ages.heard),
        };
        self.clients.insert_with(|_| client)
    }

    /// Reserves the server of a session that is coming.
    fn reserve_linked(
        &mut self,
        id: ClientId,
        cargo: &ServerCargo,
        pool: PoolId,
        descriptor: OwnedFd,
    ) -> Result<(), Refusal> {
        let lent = cargo.lent.ok_or(Refusal::Other)?;
        let mode = self.pools.get(pool).map(|pool| pool.settings.pool_mode);
        let mut flow = Flow::taken(lent.status);
        let singly = mode == Some(PoolMode::Statement);
        flow.go_on_with(lent.renames, singly, lent.unnamed);
        let state = ServerState::Coming(Use::Linked(id));
        let server_id = self.take_in(cargo, pool, descriptor, state, flow)?;
        let changed =
            cargo.route != self.route(&cargo.pool.database) || lent.manner != self.manner(pool);
        let demanded = self.demands_tls();
        if let Some(server) = self.servers.get_mut(server_id) {
            // Those that are encrypted never come.
            let changed = changed || demanded && matches!(server.target, Target::Tcp(_));
            let settings = self.pools.get(pool).map(|pool| &pool.settings);
            server.watch.begin(settings, &self.config.settings);
            if changed {
                // It leads elsewhere, or nobody has watched what its client does.
                server.retire = Some(Retire::Changed);
            }
        }
        if let Some(session) = self.clients.get_mut(id).and_then(Client::session_mut) {
            session.state = SessionState::Coming(Some(server_id));
        }
        Ok(())
    }

    fn state_of(&self, id: ClientId) -> Option<SessionState> {
        Some(self.clients.get(id)?.session()?.state)
    }

    /// A session that was offered, or has come, is as it was before, with its
    /// server.
    fn link_again(&mut self, id: ClientId) {
        let Some(session) = self.clients.get_mut(id).and_then(Client::session_mut) else {
            return;
        };
        let (SessionState::Offered(linked) | SessionState::Coming(linked)) = session.state else {
            return;
        };
        session.state = SessionState::Idle;
        let Some(server_id) = linked else {
            return;
        };
        let paused = self.paused(server_id);
        let Some(server) = self.servers.get_mut(server_id) else {
            return;
        };
        server.state = ServerState::Linked(id);
        if paused {
            server.pause();
        }
        let token = Subject::Server(server_id).token();
        let registered = server
            .stream
            .register_again(self.poll.registry(), token, true);
        if let Some(session) = self.clients.get_mut(id).and_then(Client::session_mut) {
            session.state = SessionState::Linked(server_id);
        }
        match registered {
            Ok(()) => self.wake_server(server_id),
            Err(error) => self.lose_server(server_id, &ServerReason::SocketFailed(error.kind())),
        }
    }

    /// Gives back what a session takes that is not here any more.
    fn forget_session(&mut self, id: ClientId, session: Session) {
        self.keys.remove(session.key.process_id, id);
        self.parameters.release(session.parameters);
        if let Some(prepared) = session.prepared {
            prepared.release(&mut self.statements);
        }
    }

    fn forget_coming_session(&mut self, id: ClientId, cargo: &SessionCargo) {
        let Some(client) = self.clients.remove(id) else {
            return;
        };
        let Stage::Session(session) = client.stage else {
            return;
        };
        self.undecided.coming_clients = self.undecided.coming_clients.saturating_sub(1);
        if let SessionState::Coming(Some(server)) = session.state {
            self.forget_coming(server);
        }
        self.forget_session(id, session);
        self.stop_waiting_for(id, cargo.key);
    }
}

impl Carrier {
    /// The same, as it is told another worker; none for one that stays.
    fn moves(self) -> Option<format::Carrier> {
        match self {
            Self::GoAway => Some(format::Carrier::GoAway),
            Self::Parameter => Some(format::Carrier::Parameter),
            Self::Told => Some(format::Carrier::Told),
            Self::Never(_) => None,
        }
    }

    /// The opposite of [`Carrier::moves`].
    fn moved(carrier: format::Carrier) -> Self {
        match carrier {
            format::Carrier::GoAway => Self::GoAway,
            format::Carrier::Parameter => Self::Parameter,
            format::Carrier::Told => Self::Told,
        }
    }
}

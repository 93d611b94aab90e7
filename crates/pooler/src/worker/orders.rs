//! Orders: what the console wants of the whole group.
//!
//! A console's order goes to the supervisor, and comes back to every worker
//! with the state that holds from then on. Each says when it has carried it
//! out; then the console that asked is answered.

use std::time::Instant;

use pgskein_pool::control::{LeaseId, ToSupervisor};
use pgskein_pool::pools::PoolId;
use pgskein_pool::runtime::{Activity, FromSupervisor, FromWorker, Order, RuntimeState, Scope};
use pgskein_pool::slab::{ClientId, ServerId};

use super::client::Stage;
use super::login::Step;
use super::reason::{Reason, ServerReason};
use super::server::{Retire, ServerState};
use super::{Runnable, Worker};

/// What holds for the whole group, and what of it is not carried out yet.
#[derive(Debug)]
pub(super) struct Orders {
    state: RuntimeState,
    version: u64,
    /// Orders that are not carried out here yet, with their versions.
    under_way: Vec<(u64, Order)>,
    /// The console by which everything stands still, and its request.
    pub suspended_by: Option<(ClientId, u64)>,
    /// Connections that have their turn when things go on.
    pub parked: Vec<Runnable>,
    /// When what is not written is given up, in order to stand still.
    pub give_up_at: Option<Instant>,
}

impl Orders {
    /// What holds when the worker begins.
    pub(super) fn new((version, state): (u64, RuntimeState)) -> Self {
        Self {
            state,
            version,
            under_way: Vec::new(),
            suspended_by: None,
            parked: Vec::new(),
            give_up_at: None,
        }
    }

    /// What holds now.
    #[inline]
    pub(super) fn state(&self) -> &RuntimeState {
        &self.state
    }

    /// The version of what holds.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether something is not carried out yet.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        !self.under_way.is_empty()
    }
}

impl Worker {
    /// The supervisor passes on an order.
    pub(super) fn on_runtime(&mut self, message: FromSupervisor) {
        match message {
            FromSupervisor::Runtime {
                version,
                state,
                order,
            } => {
                log::debug!("order {version}: {order}");
                self.orders.version = version;
                self.follow_state(state);
                let found = self.begin(&order);
                if self.is_done(&order) {
                    self.applied(version, found);
                } else {
                    self.orders.under_way.push((version, order));
                }
            }
        }
    }

    /// Looks which orders are carried out by now.
    #[cold]
    pub(super) fn orders_turn(&mut self) {
        self.give_up_writing();
        for (version, order) in std::mem::take(&mut self.orders.under_way) {
            if self.is_done(&order) {
                self.applied(version, true);
            } else {
                self.orders.under_way.push((version, order));
            }
        }
    }

    /// A pool that is new is paused like the others.
    pub(super) fn pause_new_pool(&mut self, id: PoolId) {
        if let Some(pool) = self.pools.get_mut(id)
            && self.orders.state.is_paused(&pool.key.database)
        {
            pool.pause();
        }
    }

    /// Gives back the lease of a server that is not opened because its pool is
    /// paused.
    pub(super) fn decline(&mut self, id: PoolId, lease: LeaseId) {
        if let Some(pool) = self.pools.get_mut(id) {
            pool.on_open_declined();
            pool.on_returned();
        }
        if self.control.is_none() {
            self.spare_leases.push((id, lease));
        }
        self.tell_supervisor(&ToSupervisor::Returned { lease });
        self.wish(id);
    }

    /// The supervisor is gone: nobody could take back what stands still.
    pub(super) fn forget_orders(&mut self) {
        self.orders.under_way.clear();
        if self.orders.state.is_suspended() {
            let mut state = self.orders.state.clone();
            state.activity = Activity::Active;
            self.follow_state(state);
        }
    }

    /// Tells a new supervisor what holds.
    pub(super) fn report_state(&mut self) {
        let message = FromWorker::State {
            version: self.orders.version,
            state: self.orders.state.clone(),
        };
        self.tell_supervisor(&ToSupervisor::Runtime(message));
    }

    /// Puts a state into effect.
    fn follow_state(&mut self, state: RuntimeState) {
        let before = std::mem::replace(&mut self.orders.state, state);
        let state = &self.orders.state;
        let holds = |order: &Order| match order {
            Order::Pause(scope) | Order::Kill(scope) => state.pauses(scope),
            Order::Suspend => state.is_suspended(),
            _ => true,
        };
        // The supervisor has answered who waited for the others.
        self.orders.under_way.retain(|(_, order)| holds(order));
        let (mut paused, mut resumed) = (Vec::new(), Vec::new());
        for (id, pool) in self.pools.iter_mut() {
            match (state.is_paused(&pool.key.database), pool.is_paused()) {
                (true, false) => {
                    pool.pause();
                    paused.push(id);
                }
                (false, true) => {
                    pool.resume();
                    resumed.push(id);
                }
                _ => {}
            }
        }
        for id in self.servers.ids(|server| paused.contains(&server.pool)) {
            self.pause_server(id);
        }
        for id in self.servers.ids(|server| resumed.contains(&server.pool)) {
            if let Some(server) = self.servers.get_mut(id) {
                server.retire.take_if(|retire| *retire == Retire::Paused);
            }
        }
        for id in paused.into_iter().chain(resumed) {
            self.wish(id);
        }
        match (before.is_suspended(), self.orders.state.is_suspended()) {
            (false, true) => self.suspend(),
            (true, false) => self.go_on_again(),
            _ => {}
        }
    }

    /// Does what an order asks for beyond the state that follows from it; says
    /// whether what it is about is here.
    fn begin(&mut self, order: &Order) -> bool {
        match order {
            Order::Kill(scope) => self.kill(scope),
            Order::Reconnect(scope) => self.reconnect(scope),
            Order::KillClient(number) => return self.kill_client(*number),
            Order::GoAway(order) => return self.obey(order.clone()),
            Order::GoAwayStop => self.drains.stop(),
            _ => {}
        }
        true
    }

    /// Whether nothing is left to be waited for.
    fn is_done(&self, order: &Order) -> bool {
        let mut servers = self.servers.iter().map(|(_, server)| server);
        match order {
            // A part of what was paused may be served again by now.
            Order::Pause(scope) | Order::Kill(scope) => !servers.any(|server| {
                let pool = self.pools.get(server.pool);
                pool.is_some_and(|pool| pool.is_paused() && scope.covers(&pool.key.database))
            }),
            Order::WaitClose(scope) => !servers.any(|server| {
                server.retire == Some(Retire::Changed) && self.covers(scope, server.pool)
            }),
            Order::Suspend => self.stands_still(),
            _ => true,
        }
    }

    fn applied(&mut self, version: u64, found: bool) {
        let message = FromWorker::Applied { version, found };
        self.tell_supervisor(&ToSupervisor::Runtime(message));
    }

    fn covers(&self, scope: &Scope, pool: PoolId) -> bool {
        let pool = self.pools.get(pool);
        pool.is_some_and(|pool| scope.covers(&pool.key.database))
    }

    /// Closes a server whose pool is paused, now or when it is free.
    fn pause_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        match server.state {
            ServerState::Connecting { .. } | ServerState::LoggingIn { .. }
                if server.owner.is_none() =>
            {
                self.close_server(id, &ServerReason::Paused);
            }
            ServerState::Idle => self.close_server(id, &ServerReason::Paused),
            ServerState::Closing { .. } => {}
            _ => server.pause(),
        }
    }

    fn kill(&mut self, scope: &Scope) {
        let clients = self.clients.ids(|client| match &client.stage {
            Stage::Session(session) => self.covers(scope, session.pool),
            Stage::Login(login) => match login.pool {
                Some(pool) => self.covers(scope, pool),
                None => matches!(login.step, Step::Claiming) && scope.covers(&login.database),
            },
            _ => false,
        });
        self.close_waiting(clients, &Reason::DatabaseRemoved);
    }

    fn kill_client(&mut self, number: u64) -> bool {
        let clients = self.clients.ids(|client| {
            client.number == number && !matches!(client.stage, Stage::Closing { .. })
        });
        let found = !clients.is_empty();
        self.close_waiting(clients, &Reason::Killed);
        found
    }

    /// Closes servers, those in use when they are free.
    fn reconnect(&mut self, scope: &Scope) {
        let servers: Vec<ServerId> = self
            .servers
            .iter()
            .filter(|(_, server)| self.covers(scope, server.pool))
            .map(|(id, _)| id)
            .collect();
        for id in servers {
            let Some(server) = self.servers.get_mut(id) else {
                continue;
            };
            match server.state {
                ServerState::Idle => self.close_server(id, &ServerReason::DatabaseChanged),
                // Its client would be refused, and it is new enough.
                ServerState::Connecting { .. } | ServerState::LoggingIn { .. }
                    if server.owner.is_some() => {}
                ServerState::Closing { .. } => {}
                _ => server.retire = Some(Retire::Changed),
            }
        }
    }
}

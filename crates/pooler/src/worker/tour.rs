//! Tours: a server is opened at the first of its database's hosts that lets it
//! in and fits.
//!
//! All names are looked up before; then one address after the other is tried
//! with the same lease, within `server_connect_timeout`. Which comes next is
//! decided by [`Tour`]. A server that does not fit is left in good order, and the
//! next one is not tried before it has closed its side.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Instant;

use pgskein_config::{Database, LoadBalanceHosts, TargetSessionAttrs};
use pgskein_pool::control::{HostReport, LeaseId, ToSupervisor};
use pgskein_pool::pools::PoolId;
use pgskein_pool::role::{Fit, Role};
use pgskein_pool::slab::ServerId;
use pgskein_pool::tour::{Failed, Refusal, Standing, Tour};

use super::Worker;
use super::addresses::Lookup;
use super::connect::open_socket;
use super::reason::ServerReason;
use super::server::{ServerState, Target};
use super::stream::{Outbox, Socket, Stream};
use super::sweep::after;
use super::token::Subject;

/// What is known of the places where servers are.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Those that have failed: when in the order of all, and until when that
    /// is lately.
    failed: HashMap<String, (u64, Instant)>,
    /// What servers there were when one has logged in last.
    roles: HashMap<String, Role>,
    /// Counts the tours of pools.
    turns: HashMap<PoolId, usize>,
}

/// The tries of a server that is being opened.
#[derive(Debug)]
pub(super) struct ServerTour {
    tour: Tour,
    targets: Vec<Target>,
    /// The host of each, as its database calls it.
    names: Vec<String>,
    /// Which of them is tried.
    at: usize,
    /// Which of them was tried last without TLS, which it could have had, and what
    /// it has said to that.
    plain: Option<(usize, String)>,
    /// When all have failed.
    deadline: Instant,
}

/// The addresses of the hosts of a database.
pub(super) struct Addressed {
    targets: Vec<Target>,
    /// The host of each, as its database calls it.
    names: Vec<String>,
    /// How many of them each host has.
    counts: Vec<usize>,
    /// Hosts that have none, and why.
    unknown: Vec<Refusal>,
}

impl Places {
    /// A host has failed; others are to be tried before until then.
    pub(super) fn fails(&mut self, host: String, order: u64, until: Instant, now: Instant) {
        if self.failed.len() >= MOST {
            self.failed.retain(|_, (_, until)| *until > now);
        }
        self.failed.insert(host, (order, until));
    }

    /// Forgets all of hosts, which may be others from now on.
    pub(super) fn forget(&mut self) {
        self.failed.clear();
        self.roles.clear();
    }

    /// Forgets which hosts have failed.
    pub(super) fn forget_failures(&mut self) {
        self.failed.clear();
    }

    /// Forgets a pool that is gone.
    pub(super) fn forget_pool(&mut self, pool: PoolId) {
        self.turns.remove(&pool);
    }

    /// Takes note of what a server is.
    pub(super) fn note_role(&mut self, target: &Target, role: Role) {
        if self.roles.len() >= MOST {
            self.roles.clear();
        }
        self.roles.insert(target.to_string(), role);
    }

    /// What a server there has last been.
    pub(super) fn role(&self, target: &Target) -> Role {
        let role = self.roles.get(&target.to_string()).copied();
        role.unwrap_or_default()
    }

    fn standing(&self, target: &Target, wanted: TargetSessionAttrs, now: Instant) -> Standing {
        let name = target.to_string();
        let failed = self.failed.get(&name).map(|(order, until)| Failed {
            order: *order,
            lately: *until > now,
        });
        let role = self.roles.get(&name);
        let unfit = role.is_some_and(|role| matches!(role.fit(wanted), Fit::Unfit(_)));
        Standing { failed, unfit }
    }
}

impl ServerTour {
    /// Where the server is tried.
    pub(super) fn target(&self) -> Option<&Target> {
        self.targets.get(self.at)
    }

    /// The host there, as its database calls it.
    pub(super) fn name(&self) -> &str {
        self.names.get(self.at).map_or("", String::as_str)
    }

    /// Whether the server is tried without TLS there, because with it it was
    /// refused.
    pub(super) fn is_plain(&self) -> bool {
        self.refusal_by_tls().is_some()
    }

    /// Why the server is tried without TLS there.
    pub(super) fn refusal_by_tls(&self) -> Option<&str> {
        let (_, text) = self.plain.as_ref().filter(|(at, _)| *at == self.at)?;
        Some(text)
    }

    /// Has the server tried without TLS there, because of this.
    pub(super) fn go_plain(&mut self, refusal: String) {
        self.plain = Some((self.at, refusal));
    }

    /// Has it tried with TLS again, whatever was said to that before.
    pub(super) fn begin_with_tls(&mut self) {
        self.plain = None;
    }

    /// What it has to be there.
    pub(super) fn wanted(&self) -> TargetSessionAttrs {
        self.tour.wanted()
    }

    /// When it has failed there, though others may be left.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        now + self
            .tour
            .share(self.deadline.saturating_duration_since(now))
    }

    fn refused(&mut self, text: &str, gone: Option<bool>, unfit: bool) -> String {
        let host = self.target().map(Target::to_string).unwrap_or_default();
        let why = if text.contains(&host) {
            text.to_owned()
        } else {
            format!("{host}: {text}")
        };
        let refusal = Refusal {
            host: host.clone(),
            why,
            gone,
        };
        self.tour.refused(self.at, refusal, unfit);
        host
    }

    /// Why there is no server.
    pub(super) fn end(&self) -> ServerReason {
        let refusals = self.tour.refusals();
        let whys: Vec<_> = refusals.iter().map(|refusal| &*refusal.why).collect();
        let message = match whys.as_slice() {
            [why] => (*why).to_owned(),
            whys => format!("no suitable host: {}", whys.join("; ")),
        };
        let tried = refusals.get(refusals.len().saturating_sub(self.targets.len())..);
        let host = tried.and_then(|tried| tried.iter().max_by_key(|refusal| refusal.gone));
        ServerReason::NoHost {
            message,
            host: host.map_or_else(String::new, |refusal| refusal.host.clone()),
            says: host.is_some_and(|refusal| refusal.gone == Some(true)),
        }
    }
}

impl Worker {
    /// The addresses of a database's hosts.
    ///
    /// # Errors
    ///
    /// The names that have to be looked up first; `any` takes what is known of
    /// them, however old.
    pub(super) fn targets(&self, database: &Database, any: bool) -> Result<Addressed, Vec<String>> {
        let local = [self.config.settings.unix_socket_dir.clone()];
        let hosts = match database.hosts.as_slice() {
            [] => local.as_slice(),
            hosts => hosts,
        };
        let mut missing = Vec::new();
        let (mut targets, mut counts, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        for (position, host) in hosts.iter().enumerate() {
            let (port, before) = (database.port(position), targets.len());
            let tcp = |address| Target::Tcp(SocketAddr::new(address, port));
            if host.starts_with(['/', '@']) || database.hosts.is_empty() {
                let path = PathBuf::from(format!("{host}/.s.PGSQL.{port}"));
                targets.push(Target::Unix(path));
            } else if let Ok(address) = host.parse::<IpAddr>() {
                targets.push(tcp(address));
            } else {
                let found = if any {
                    self.addresses.last(host)
                } else {
                    self.addresses.find(host, self.now)
                };
                match found {
                    Lookup::Found(addresses) => targets.extend(addresses.iter().copied().map(tcp)),
                    Lookup::Failed(error) => unknown.push(Refusal {
                        host: host.clone(),
                        why: format!("server DNS lookup failed: {host}: {error}"),
                        gone: None,
                    }),
                    Lookup::Unknown if missing.contains(host) => {}
                    Lookup::Unknown => missing.push(host.clone()),
                }
            }
            counts.push(targets.len() - before);
            names.resize(targets.len(), host.clone());
        }
        if missing.is_empty() {
            Ok(Addressed {
                targets,
                names,
                counts,
                unknown,
            })
        } else {
            Err(missing)
        }
    }

    /// A tour of these addresses.
    pub(super) fn begin_tour(
        &mut self,
        pool: PoolId,
        (balance, wanted): (LoadBalanceHosts, TargetSessionAttrs),
        addressed: Addressed,
    ) -> Box<ServerTour> {
        let turn = match balance {
            LoadBalanceHosts::RoundRobin => {
                // Workers do not all begin with the same host.
                let first = usize::from(self.slot.get());
                let turn = self.places.turns.entry(pool).or_insert(first);
                *turn = turn.wrapping_add(1);
                turn.wrapping_sub(1)
            }
            LoadBalanceHosts::Disable => 0,
        };
        let mut tour = Tour::new(&addressed.counts, balance, turn, wanted);
        for refusal in addressed.unknown {
            tour.unknown_host(refusal);
        }
        Box::new(ServerTour {
            tour,
            targets: addressed.targets,
            names: addressed.names,
            at: 0,
            plain: None,
            deadline: after(self.now, self.config.settings.server_connect_timeout),
        })
    }

    /// Begins to connect to the next place of a tour; `None` if there is none.
    pub(super) fn next_place(&mut self, tour: &mut ServerTour, lease: LeaseId) -> Option<Socket> {
        loop {
            let (wanted, now) = (tour.wanted(), self.now);
            let (places, targets) = (&self.places, &tour.targets);
            tour.at = tour.tour.next(|at| match targets.get(at) {
                Some(target) => places.standing(target, wanted, now),
                None => Standing::default(),
            })?;
            let target = tour.target()?;
            match open_socket(target, &self.config.settings) {
                Ok(socket) => return Some(socket),
                Err(error) => {
                    let text = format!("connect failed: {target}: {error}");
                    let host = tour.refused(&text, Some(false), false);
                    self.tell_refused(tour, lease, host, false);
                }
            }
        }
    }

    /// A server that is being opened has failed, for this reason: it is tried at
    /// the next place, if there is one and the reason is not one of all.
    pub(super) fn leave_host(&mut self, id: ServerId, reason: &ServerReason) {
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let misfit = server.misfit();
        let reason = misfit.as_ref().unwrap_or(reason);
        let (gone, unfit) = (
            reason.unreachable(),
            matches!(reason, ServerReason::Unfit(_)),
        );
        let goes_on = gone.is_some() || unfit;
        let tour = server.tour.take().filter(|_| goes_on);
        let Some(mut tour) = tour.filter(|tour| unfit || tour.tour.has_several()) else {
            return self.lose_server(id, reason);
        };
        let lease = server.lease;
        let host = tour.refused(&reason.text(), gone, unfit);
        if let Some(says) = gone {
            self.tell_refused(&tour, lease, host, says);
        }
        match self.next_place(&mut tour, lease) {
            Some(socket) => self.connect_instead(id, tour, socket, reason),
            None => self.lose_server(id, &tour.end()),
        }
    }

    /// Connects a server that has failed at one place to the next one.
    fn connect_instead(
        &mut self,
        id: ServerId,
        tour: Box<ServerTour>,
        socket: Socket,
        reason: &ServerReason,
    ) {
        let Some(target) = tour.target().cloned() else {
            return self.lose_server(id, reason);
        };
        let bid = self.bid(&target);
        let empty = self.parameters.empty();
        let Some(server) = self.servers.get(id) else {
            return;
        };
        log::info!(
            "s{} {}: left for {target}: {}",
            server.number,
            self.server_name(server),
            reason.text()
        );
        let Some(server) = self.servers.get_mut(id) else {
            return;
        };
        let registry = self.poll.registry();
        server.stream.deregister(registry);
        server.stream = Stream::to_server(socket);
        server.inbox = Vec::new();
        server.outbox = Outbox::default();
        server.key = None;
        server.bid = bid;
        server.target = target;
        server.state = ServerState::Connecting {
            deadline: tour.deadline(self.now),
        };
        server.tour = Some(tour);
        let before = std::mem::replace(&mut server.parameters, empty);
        let registered = server
            .stream
            .register(registry, Subject::Server(id).token());
        self.parameters.release(before);
        match registered {
            Ok(()) => self.wake_server(id),
            Err(error) => self.lose_server(id, &ServerReason::SocketFailed(error.kind())),
        }
    }

    /// Tells the group that a host is to be tried last.
    fn tell_refused(&mut self, tour: &ServerTour, lease: LeaseId, host: String, says: bool) {
        if tour.tour.has_several() {
            let report = HostReport::Refused { lease, host, says };
            self.tell_supervisor(&ToSupervisor::Host(report));
        }
    }
}

/// Most places that are remembered.
const MOST: usize = 1000;

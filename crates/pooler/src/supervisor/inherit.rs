//! Inherit: a supervisor that goes on where another program has stopped.

use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use mio::Poll;
use nix::unistd::Pid;
use pgskein_pool::control::ToWorker;
use pgskein_pool::legacy::{self, Common, Legacy};
use pgskein_pool::tickets::TicketBook;
use pgskein_pool::usual_secrets::UsualSecrets;

use super::ask::Asker;
use super::begin::Beginning;
use super::peers::PeerConnection;
use super::signals::Signals;
use super::statistics::Statistics;
use super::tokens::{register, register_listener, token_of};
use super::{PEERS, Place, Pulse, SIGNALS, Supervisor, Worker};
use crate::link::Link;
use crate::runtime_dir::RuntimeDir;
use crate::scoreboard::Scoreboard;
use crate::start::adopt::{Former, Heritage};
use crate::start::error::StartError;
use crate::start::listen;
use crate::start::pidfile::Pidfile;
use crate::start::unix_socket::UnixSocket;
use crate::sys::exec::Inherited;
use crate::sys::title::Title;

/// Everything that can fail, before anything is taken for good.
struct Prepared {
    poll: Poll,
    signals: Signals,
    scoreboard: Scoreboard,
}

impl Supervisor {
    /// Takes over what another program has left; `back` if that could not go
    /// on, and everything is to be as it was.
    ///
    /// # Errors
    ///
    /// [`StartError::System`]; then nothing was closed that was inherited.
    pub(crate) fn inherit(
        heritage: Heritage,
        mut inherited: Inherited,
        back: bool,
    ) -> Result<Self, StartError> {
        let prepared = prepare(&heritage.legacy, &inherited)?;
        let runtime_dir = lock(&heritage.legacy.common, &mut inherited)?;
        let Heritage {
            legacy,
            sources,
            config,
            books,
            now,
        } = heritage;
        let common = &legacy.common;
        let peer = inherited.take(common.peer).ok_or_else(missing)?;
        // The mapping holds on without it, and a second one is open.
        drop(inherited.take(common.scoreboard));
        let unix = common.unix.as_ref().and_then(|unix| {
            let listener = inherited.take(unix.listener)?;
            Some(UnixSocket::inherited(
                listener.into(),
                unix.path.clone(),
                unix.mark.as_deref(),
            ))
        });
        let for_cancels = common.cancel_listeners.iter();
        let for_cancels = for_cancels.filter_map(|number| inherited.take(*number));
        let cancel_listeners = for_cancels.map(TcpListener::from).collect();
        let title = Title::take().inspect_err(|error| log::warn!("cannot set titles: {error}"));
        let title = title.ok();
        if let Some(title) = &title {
            title.set("pgskein: supervisor");
        }
        let beginning = Beginning {
            poll: prepared.poll,
            signals: prepared.signals,
            title,
            sources,
            config,
            runtime_dir,
            peer: peer.into(),
            scoreboard: prepared.scoreboard,
            program: legacy.program.path.clone(),
        };
        let mut supervisor = Self {
            started: ago(now, common.age),
            statistics: Statistics::of(books.statistics),
            config_version: legacy.config.version,
            pidfile: common.pidfile.clone().map(Pidfile::inherited),
            unix,
            cancel_listeners,
            last_token: token_of(common.last_token).0,
            ledger: books.ledger,
            client_places: books.client_places,
            statement_key: common.statement_key.into(),
            // Workers tell it when they are asked what they have.
            usual: UsualSecrets::default(),
            old_hosts: books.old_hosts,
            identity: books.identity.unwrap_or_default(),
            tickets: books.tickets.unwrap_or_else(|| TicketBook::new(now)),
            welcomes: books.welcomes,
            orders: books.orders,
            ever_ready: true,
            elders_told: true,
            ..Self::begin(beginning, now)
        };
        if let Some(service) = &mut supervisor.service {
            service.go_on();
        }
        if let Some(http) = &common.http {
            supervisor.take_http(http, &mut inherited);
        }
        supervisor.take_places(&legacy, &mut inherited, back);
        supervisor.take_workers(&legacy, &mut inherited);
        for peer in &legacy.peers {
            if let Some(socket) = inherited.take(peer.socket) {
                let token = token_of(peer.token);
                let deadline = now + peer.left;
                let peer = PeerConnection::inherited(socket.into(), peer.inbox.clone(), deadline);
                supervisor.peers.insert(token, peer);
            }
        }
        supervisor.go_on(&legacy);
        Ok(supervisor)
    }

    fn take_places(&mut self, legacy: &Legacy, inherited: &mut Inherited, back: bool) {
        let newest = legacy.places.iter().map(|place| place.generation).max();
        for place in &legacy.places {
            let listeners = place.listeners.iter();
            let listeners = listeners.filter_map(|number| inherited.take(*number));
            let listeners: Vec<_> = listeners.map(TcpListener::from).collect();
            if back && place.generation == 0 {
                continue;
            }
            let mut taken = Place::new(listeners, place.generation, self.now);
            taken.retired = place.retired;
            taken.failures = place.failures;
            taken.worker = place.worker.map(token_of);
            taken.adopter = place.adopter.map(token_of);
            if place.generation == 0 {
                taken.generation = newest.unwrap_or_default().saturating_add(1);
            }
            if taken.worker.is_some() || taken.retired {
                taken.respawn_at = None;
            }
            self.places.insert(place.slot, taken);
        }
    }

    fn take_workers(&mut self, legacy: &Legacy, inherited: &mut Inherited) {
        for worker in &legacy.workers {
            let token = Self::token_of(worker.id);
            let (slot, generation) = (worker.id.slot, worker.id.generation);
            let Some(cell) = self.scoreboard.cell(slot, generation) else {
                continue;
            };
            let link = worker.link.as_ref();
            let mut taken = Worker {
                id: worker.id,
                pid: Pid::from_raw(i32::try_from(worker.pid).unwrap_or_default()),
                link: link.and_then(|link| take_link(link, inherited)),
                cell,
                elder: false,
                leaving: false,
                foreign: true,
                outdated: false,
                started: ago(self.now, worker.age),
                ready_since: worker.ready.map(|age| ago(self.now, age)),
                heard: 0,
                pulse: Pulse::default(),
                kill_at: worker.kill_in.map(|left| self.now + left),
            };
            if taken.ready_since.is_some()
                && let Some(place) = self.places.get_mut(&slot)
                && place.worker == Some(token)
            {
                if place.adopter.is_some() {
                    // It did not turn: else it would have its slot back.
                    taken.pulse = Pulse::suspect(cell.swept());
                } else {
                    place.vacant_since = None;
                }
            }
            self.workers.insert(token, taken);
        }
    }

    /// Asks the workers what they have, and goes on with what others wait for.
    fn go_on(&mut self, legacy: &Legacy) {
        for token in self.worker_tokens() {
            self.reporting.insert(token, Vec::new());
            self.tell(token, &ToWorker::Report);
        }
        for order in &legacy.drains {
            self.note_goaway(order);
        }
        for (asker, asked) in &legacy.asked {
            self.ask(Asker::of_id(*asker), asked.clone());
        }
        for (asker, topic) in &legacy.tables {
            let worker = token_of(asker.worker);
            self.ask_for_statistics(worker, asker.request, *topic);
        }
    }

    /// Begins to replace the workers, all of which the program before has
    /// started.
    pub(crate) fn begin_with(&mut self, restart: legacy::Restart, former: &Former) {
        self.config_version += 1;
        self.config_changed(former.config.as_ref());
        let (version, sources) = (self.config_version, self.sources.encode());
        self.tell_all(&ToWorker::Prepare { version, sources });
        for worker in self.workers.values_mut() {
            worker.outdated = true;
        }
        self.reloads.continue_from(self.config_version);
        self.begin_listening();
        self.replace_all(restart, &former.version);
    }

    /// Everything is as it was before a restart that could not be.
    pub(crate) fn remain(&mut self, restart: &legacy::Restart, why: &str) {
        self.refuse_restart(Asker::of_id(restart.asker), why);
    }

    fn begin_listening(&mut self) {
        let settings = &self.config.settings;
        for (slot, place) in &self.places {
            if place.worker.is_none() && !place.retired {
                for listener in &place.listeners {
                    if let Err(error) = listen::begin(listener, settings) {
                        log::error!("worker {slot}: cannot listen: {error}");
                    }
                }
            }
        }
    }
}

/// Makes all that can fail, with every descriptor where it was.
fn prepare(legacy: &Legacy, inherited: &Inherited) -> Result<Prepared, StartError> {
    let poll = Poll::new().map_err(StartError::system("make an epoll instance"))?;
    let signals = Signals::block().map_err(StartError::system("take signals"))?;
    register_all(&poll, &signals, legacy).map_err(StartError::system("register with epoll"))?;
    let scoreboard = inherited
        .duplicate(legacy.common.scoreboard)
        .and_then(Scoreboard::open)
        .map_err(StartError::system("use the scoreboard"))?;
    Ok(Prepared {
        poll,
        signals,
        scoreboard,
    })
}

fn register_all(poll: &Poll, signals: &Signals, legacy: &Legacy) -> io::Result<()> {
    register_listener(poll, signals, SIGNALS)?;
    register_listener(poll, &legacy.common.peer, PEERS)?;
    for worker in &legacy.workers {
        if let Some(link) = &worker.link {
            register(poll, &link.socket, Supervisor::token_of(worker.id))?;
        }
    }
    for peer in &legacy.peers {
        register(poll, &peer.socket, token_of(peer.token))?;
    }
    Ok(())
}

/// Locks the folder again, which is locked by the same file.
fn lock(common: &Common, inherited: &mut Inherited) -> Result<RuntimeDir, StartError> {
    let path = common.runtime_dir.clone();
    let file = inherited.take(common.lock).ok_or_else(missing)?;
    RuntimeDir::inherited(path.clone(), file.into()).map_err(|(file, _)| {
        // The other program may need it.
        inherited.give_back(file.into());
        StartError::FolderInUse { path }
    })
}

fn take_link(link: &legacy::Link, inherited: &mut Inherited) -> Option<Link> {
    let socket = inherited.take(link.socket)?;
    let outbox = link.outbox.iter().map(|(bytes, descriptors)| {
        let descriptors = descriptors.iter();
        let descriptors = descriptors.filter_map(|number| inherited.take(*number));
        (bytes.clone(), descriptors.collect())
    });
    let outbox = outbox.collect();
    Some(Link::inherited(socket, link.inbox.clone(), outbox))
}

/// A descriptor is not there, though it was claimed.
fn missing() -> StartError {
    StartError::system("find what was inherited")(io::Error::from(io::ErrorKind::NotFound))
}

/// What is older than the clock began when the clock did.
fn ago(now: Instant, age: Duration) -> Instant {
    now.checked_sub(age).unwrap_or(now)
}

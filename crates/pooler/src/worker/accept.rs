//! Accept: new clients.
//!
//! A worker accepts from the listeners of its slot, from the unix socket and
//! those for cancel requests, which all share, and from the listeners of slots
//! that it has adopted because they have no worker at the moment.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use mio::net as mio_net;
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use pgskein_config::Settings;
use pgskein_pool::slab::ClientId;
use pgskein_protocol::key::Slot;
use socket2::SockRef;

use super::Worker;
use super::client::{Client, Origin, Stage};
use super::connect::tune;
use super::login::{Login, Step};
use super::reason::Reason;
use super::stream::{Outbox, Socket, Stream};
use super::token::Subject;
use crate::sys::epoll;

/// Everything that clients come from.
#[derive(Debug)]
pub(super) struct Listeners {
    places: Vec<Option<Place>>,
    /// Whether any of them may have something to accept.
    readable: bool,
    /// Whether one worker at a time is woken by the sockets that all share.
    one_at_a_time: bool,
    /// Nothing is accepted for now.
    held: bool,
    /// Where siblings and the supervisor come from.
    pub peers: mio_net::UnixListener,
}

/// The sockets that a worker begins with.
#[derive(Debug)]
pub(super) struct Sockets {
    /// Those of its slot.
    pub tcp: Vec<TcpListener>,
    /// Where other hosts bring cancel requests.
    pub cancels: Vec<TcpListener>,
    pub unix: Option<UnixListener>,
    pub peers: UnixListener,
}

#[derive(Debug)]
struct Place {
    /// The slot of a TCP listener; what all share belongs to none.
    slot: Option<Slot>,
    listener: Listener,
    /// More may be waiting.
    readable: bool,
    /// The last accept failed for want of descriptors or memory.
    starved: bool,
}

#[derive(Debug)]
enum Listener {
    Tcp(mio_net::TcpListener),
    Unix(mio_net::UnixListener),
    /// Other hosts bring cancel requests, and nothing else.
    Cancels(mio_net::TcpListener),
}

impl Listeners {
    /// Registers the listeners that a worker begins with.
    ///
    /// # Errors
    ///
    /// The error of the event loop.
    pub(super) fn new(
        registry: &Registry,
        slot: Slot,
        sockets: Sockets,
        one_at_a_time: bool,
    ) -> io::Result<Self> {
        let mut peers = mio_net::UnixListener::from_std(sockets.peers);
        registry.register(&mut peers, Subject::Peers.token(), Interest::READABLE)?;
        let mut listeners = Self {
            places: Vec::new(),
            readable: true,
            one_at_a_time,
            held: false,
            peers,
        };
        for listener in sockets.tcp {
            let listener = Listener::Tcp(mio_net::TcpListener::from_std(listener));
            listeners.add(registry, Some(slot), listener)?;
        }
        for listener in sockets.cancels {
            let listener = Listener::Cancels(mio_net::TcpListener::from_std(listener));
            listeners.add(registry, None, listener)?;
        }
        if let Some(unix) = sockets.unix {
            let listener = Listener::Unix(mio_net::UnixListener::from_std(unix));
            listeners.add(registry, None, listener)?;
        }
        Ok(listeners)
    }

    /// Accepts from the listeners of another slot as well.
    ///
    /// # Errors
    ///
    /// The error of the event loop.
    pub(super) fn adopt(
        &mut self,
        registry: &Registry,
        slot: Slot,
        descriptors: Vec<OwnedFd>,
    ) -> io::Result<()> {
        for descriptor in descriptors {
            let listener = TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            let listener = Listener::Tcp(mio_net::TcpListener::from_std(listener));
            self.add(registry, Some(slot), listener)?;
        }
        Ok(())
    }

    /// Stops accepting from the listeners of a slot, which live on elsewhere; says
    /// whether there were any.
    pub(super) fn drop_slot(&mut self, registry: &Registry, slot: Slot) -> bool {
        let of_slot = |place: &mut Place| place.slot == Some(slot);
        let mut dropped = false;
        for mut place in self
            .places
            .iter_mut()
            .filter_map(|place| place.take_if(of_slot))
        {
            place.deregister(registry);
            dropped = true;
        }
        dropped
    }

    /// Stops accepting altogether; the sockets live on elsewhere, with those who
    /// wait there.
    pub(super) fn leave_all(&mut self, registry: &Registry) {
        for mut place in self.places.iter_mut().filter_map(Option::take) {
            place.deregister(registry);
        }
        self.readable = false;
    }

    /// Sets the options that accepted sockets inherit from their listener.
    pub(super) fn tune(&self, settings: &Settings) {
        for place in self.places.iter().flatten() {
            if let Listener::Tcp(listener) | Listener::Cancels(listener) = &place.listener
                && let Err(error) = tune(&SockRef::from(listener), settings)
            {
                log::warn!("cannot set the options of a listener: {error}");
            }
        }
    }

    /// Notes that a listener has something to accept.
    pub(super) fn on_event(&mut self, place: usize) {
        if let Some(Some(place)) = self.places.get_mut(place) {
            place.readable = true;
            self.readable = true;
        }
    }

    /// Whether something may be waiting to be accepted.
    #[inline]
    pub(super) fn readable(&self) -> bool {
        self.readable && !self.held
    }

    /// Accepts nothing, or again what has come meanwhile.
    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Has the unix socket wake one worker at a time, or all.
    ///
    /// One is enough where clients are passed on to those with fewer; without
    /// that it would always be the same that gets them.
    pub(super) fn wake_one(&mut self, registry: &Registry, one_at_a_time: bool) {
        if std::mem::replace(&mut self.one_at_a_time, one_at_a_time) == one_at_a_time {
            return;
        }
        for (number, place) in self.places.iter_mut().enumerate() {
            let unix = |place: &&mut Place| matches!(place.listener, Listener::Unix(_));
            let Some(place) = place.as_mut().filter(unix) else {
                continue;
            };
            place.deregister(registry);
            if let Err(error) = place.register(registry, number, one_at_a_time) {
                log::error!("cannot wait for clients of the unix socket: {error}");
            }
            place.readable = true;
            self.readable = true;
        }
    }

    /// Looks again at listeners whose last accept failed, and at those of which
    /// only one worker is told: it may be one that stands still.
    pub(super) fn look_again(&mut self) {
        for place in self.places.iter_mut().flatten() {
            place.readable |= std::mem::take(&mut place.starved);
            place.readable |= place.wakes_one(self.one_at_a_time);
            self.readable |= place.readable;
        }
    }

    fn add(
        &mut self,
        registry: &Registry,
        slot: Option<Slot>,
        listener: Listener,
    ) -> io::Result<()> {
        let free = self.places.iter().position(Option::is_none);
        let number = free.unwrap_or(self.places.len());
        let mut place = Place {
            slot,
            listener,
            readable: true,
            starved: false,
        };
        place.register(registry, number, self.one_at_a_time)?;
        match self.places.get_mut(number) {
            Some(free) => *free = Some(place),
            None => self.places.push(Some(place)),
        }
        self.readable = true;
        Ok(())
    }
}

impl Place {
    /// Whether of all workers that share it one is told that somebody has come.
    fn wakes_one(&self, unix_does: bool) -> bool {
        match self.listener {
            Listener::Tcp(_) => false,
            Listener::Unix(_) => unix_does,
            Listener::Cancels(_) => true,
        }
    }

    fn accept(&mut self) -> io::Result<(Socket, Origin)> {
        match &self.listener {
            Listener::Tcp(listener) | Listener::Cancels(listener) => {
                let (socket, address) = listener.accept()?;
                Ok((Socket::Tcp(socket), Origin::Tcp(address)))
            }
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                let credentials = getsockopt(&socket.as_fd(), PeerCredentials).ok();
                let origin = Origin::Unix {
                    uid: credentials.map(|credentials| credentials.uid()),
                    pid: credentials.map(|credentials| credentials.pid()),
                };
                Ok((Socket::Unix(socket), origin))
            }
        }
    }

    fn register(
        &mut self,
        registry: &Registry,
        number: usize,
        one_at_a_time: bool,
    ) -> io::Result<()> {
        let token = Subject::Listener(number).token();
        match &mut self.listener {
            Listener::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener) if one_at_a_time => {
                epoll::wait_alone(registry, listener.as_fd(), token.0 as u64)
            }
            Listener::Cancels(listener) => {
                epoll::wait_alone(registry, listener.as_fd(), token.0 as u64)
            }
            Listener::Unix(listener) => {
                let mut source = SourceFd(&listener.as_raw_fd());
                registry.register(&mut source, token, Interest::READABLE)
            }
        }
    }

    fn deregister(&mut self, registry: &Registry) {
        // What is not registered needs no deregistration.
        let _ = match &mut self.listener {
            Listener::Tcp(listener) => registry.deregister(listener),
            Listener::Unix(listener) => registry.deregister(&mut SourceFd(&listener.as_raw_fd())),
            Listener::Cancels(listener) => {
                registry.deregister(&mut SourceFd(&listener.as_raw_fd()))
            }
        };
    }
}

impl Worker {
    /// Accepts what waits, a bounded number from each listener.
    pub(super) fn accept_turn(&mut self) {
        for place in 0..self.listeners.places.len() {
            self.accept_from(place, ACCEPTS);
        }
        let places = self.listeners.places.iter();
        self.listeners.readable = places.flatten().any(|place| place.readable);
    }

    /// Accepts what is still queued on TCP, then closes the listeners.
    pub(super) fn stop_listening(&mut self) {
        for place in 0..self.listeners.places.len() {
            let tcp = matches!(
                self.listeners.places.get(place),
                Some(Some(Place { slot: Some(_), .. }))
            );
            if !tcp {
                continue;
            }
            if let Some(Some(place)) = self.listeners.places.get_mut(place) {
                place.readable = true;
            }
            self.accept_from(place, usize::MAX);
            if let Some(mut place) = self.listeners.places.get_mut(place).and_then(Option::take) {
                place.deregister(self.poll.registry());
            }
        }
    }

    /// Accepts everything that is queued, from all listeners.
    pub(super) fn accept_queued(&mut self) {
        for place in 0..self.listeners.places.len() {
            if let Some(Some(place)) = self.listeners.places.get_mut(place) {
                place.readable = true;
            }
            self.accept_from(place, usize::MAX);
        }
    }

    fn accept_from(&mut self, number: usize, most: usize) {
        for _ in 0..most {
            let Some(Some(place)) = self.listeners.places.get_mut(number) else {
                return;
            };
            if !place.readable {
                return;
            }
            match place.accept() {
                Ok((socket, origin)) if matches!(place.listener, Listener::Cancels(_)) => {
                    self.accepted_for_cancel(socket, origin);
                }
                Ok((socket, origin)) => self.accepted(socket, origin),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        place.readable = false;
                        return;
                    }
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Out of descriptors or memory: the sweep looks again.
                        place.readable = false;
                        place.starved = true;
                        log::error!("cannot accept: {error}");
                        return;
                    }
                },
            }
        }
    }

    fn accepted(&mut self, socket: Socket, origin: Origin) {
        let id = self.insert_accepted(socket, origin, Login::default());
        if !self.pass_on(id) {
            self.serve_accepted(id);
        }
    }

    /// Makes a client of an accepted socket, which is not in the event loop yet.
    pub(super) fn insert_accepted(
        &mut self,
        socket: Socket,
        origin: Origin,
        login: Login,
    ) -> ClientId {
        let now = self.now;
        let client = Client {
            stream: Stream::new(socket),
            queued: false,
            counted: false,
            stage: Stage::Login(Box::new(login)),
            inbox: Vec::new(),
            outbox: Outbox::default(),
            number: self.scoreboard.next_id(),
            origin,
            accepted: now,
            heard: now,
        };
        self.clients.insert_with(|_| client)
    }

    /// Begins to serve a client that was accepted, here or by a sibling.
    pub(super) fn serve_accepted(&mut self, id: ClientId) {
        let settings = &self.config.settings;
        let max_clients = settings.max_client_conn;
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        if settings.proxy_protocol
            && let Origin::Tcp(address) = client.origin
            && let mut proxies = settings.proxy_protocol_from.iter()
            && proxies.any(|proxies| proxies.contains(address.ip()))
        {
            client.stage = Stage::Login(Box::new(Login::at(Step::Proxy)));
        }
        client.counted = self.scoreboard.take_place(self.cell, max_clients);
        self.listen_to(id);
    }

    /// Hears from now on what an accepted client says.
    pub(super) fn listen_to(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else {
            return;
        };
        let token = Subject::Client(id).token();
        match client.stream.register(self.poll.registry(), token) {
            Ok(()) => self.wake_client(id),
            Err(error) => self.close_client(id, &Reason::SocketFailed(error.kind())),
        }
    }
}

/// Connections accepted from one listener in one turn: few, since those who are
/// served already wait for what new ones want, and a look at the events in
/// between costs little.
const ACCEPTS: usize = 8;

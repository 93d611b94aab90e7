//! The HTTP process: tells balancers and the like how the group is.
//!
//! The supervisor forks it, so that no byte of HTTP reaches supervisor or
//! workers, and has it replaced when it dies. It has the scoreboard, the sockets
//! where it is asked, the log, and a link to the supervisor, over which it says
//! [`SERVES`] every second and may be told to [`LEAVE`].
//!
//! ```text
//! serving ──LEAVE──────────────────────────────────> leaving ──> ended
//!    └──link ends──> orphaned ──no worker stays───────^
//! ```
//!
//! Nobody who asks can hold it up: connections have a deadline, and where there
//! are too many the oldest one gives way.

mod connection;
mod health;
mod message;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpListener as Listener;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use self::connection::{Connection, Turn};
use self::health::Health;
use self::message::{Asked, What};
use crate::scoreboard::Scoreboard;
use crate::waiting::wait_for_events;
use crate::worker::monotonic_milliseconds;

/// What the HTTP process is born with.
#[derive(Debug)]
pub(crate) struct Setup {
    /// They do not block.
    pub listeners: Vec<Listener>,
    /// Its end of the link to the supervisor.
    pub link: UnixStream,
    pub scoreboard: Scoreboard,
}

/// The process says that it serves, and goes on saying so.
pub(crate) const SERVES: u8 = b'S';

/// The supervisor has no use for the process any more.
pub(crate) const LEAVE: u8 = b'L';

impl Setup {
    /// The descriptors that the process needs.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut needed: Vec<RawFd> = self.listeners.iter().map(AsRawFd::as_raw_fd).collect();
        needed.push(self.link.as_raw_fd());
        needed.push(self.scoreboard.as_fd().as_raw_fd());
        needed
    }
}

/// The life of the process; gives its exit code.
pub(crate) fn run(setup: Setup) -> i32 {
    match Server::new(setup).and_then(Server::serve) {
        Ok(()) => 0,
        Err(error) => {
            log::error!("cannot go on: {error}");
            1
        }
    }
}

#[derive(Debug)]
struct Server {
    poll: Poll,
    now: Instant,
    listeners: Vec<TcpListener>,
    link: UnixStream,
    scoreboard: Scoreboard,
    phase: Phase,
    /// The supervisor is gone.
    orphaned: bool,
    /// By their tokens, the oldest first.
    connections: BTreeMap<usize, Connection>,
    last_token: usize,
    /// When the supervisor hears next that this process turns.
    beat_at: Instant,
    /// When somebody may wait to be accepted of whom no event tells.
    accept_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Serving,
    /// The supervisor is gone; when it is looked next whether a worker is left.
    Orphaned {
        look_at: Instant,
    },
    /// When the process ends, if those who have asked are not answered before.
    Leaving {
        until: Instant,
    },
}

impl Server {
    fn new(setup: Setup) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        setup.link.set_nonblocking(true)?;
        let link = setup.link.as_raw_fd();
        registry.register(&mut SourceFd(&link), LINK, Interest::READABLE)?;
        let listeners = setup.listeners.into_iter().map(TcpListener::from_std);
        let mut listeners: Vec<TcpListener> = listeners.collect();
        for (listener, token) in listeners.iter_mut().zip(FIRST_LISTENER..) {
            registry.register(listener, Token(token), Interest::READABLE)?;
        }
        let now = Instant::now();
        Ok(Self {
            poll,
            now,
            last_token: FIRST_LISTENER + listeners.len(),
            listeners,
            link: setup.link,
            scoreboard: setup.scoreboard,
            phase: Phase::Serving,
            orphaned: false,
            connections: BTreeMap::new(),
            beat_at: now,
            // Who has come before the first event.
            accept_at: Some(now),
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        self.on_time();
        while !self.has_ended() {
            let deadline = self.next_deadline();
            wait_for_events(&mut self.poll, &mut events, deadline, self.now)?;
            self.now = Instant::now();
            for event in &events {
                match event.token() {
                    LINK => self.read_link(),
                    Token(token) if token < FIRST_LISTENER + self.listeners.len() => {
                        self.accept_at = Some(self.now);
                    }
                    Token(token) => self.turn(token),
                }
            }
            self.on_time();
        }
        Ok(())
    }

    fn on_time(&mut self) {
        if self.phase == Phase::Serving && self.beat_at <= self.now {
            self.beat_at = self.now + BEAT;
            // It is said again, and that the link has ended is heard there.
            let _told_soon = (&self.link).write(&[SERVES]);
        }
        if self.accept_at.take_if(|at| *at <= self.now).is_some() {
            self.accept();
        }
        self.connections.retain(|_, one| self.now < one.deadline());
        if let Phase::Orphaned { look_at } = &mut self.phase
            && *look_at <= self.now
        {
            *look_at = self.now + LOOK;
            // A new group, which answers here as well, has those that leave.
            if !self.health().does_anybody_stay() {
                log::info!("no worker stays, ending");
                self.leave();
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Serving => Some(self.beat_at),
            Phase::Orphaned { look_at } => Some(look_at),
            Phase::Leaving { until } => Some(until),
        };
        let connections = self.connections.values().map(Connection::deadline);
        connections.chain(phase).chain(self.accept_at).min()
    }

    fn has_ended(&self) -> bool {
        match self.phase {
            Phase::Leaving { until } => self.connections.is_empty() || until <= self.now,
            Phase::Serving | Phase::Orphaned { .. } => false,
        }
    }

    /// Hears the supervisor, or that it is gone.
    fn read_link(&mut self) {
        let mut bytes = [0; 16];
        loop {
            match (&self.link).read(&mut bytes) {
                Ok(length) if length > 0 => {
                    if bytes.iter().take(length).any(|byte| *byte == LEAVE) {
                        return self.leave();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => {
                    if self.phase == Phase::Serving {
                        self.orphaned = true;
                        log::warn!("the supervisor is gone: answering as long as a worker lives");
                        self.phase = Phase::Orphaned { look_at: self.now };
                    }
                    return;
                }
            }
        }
    }

    /// Answers who is there, and ends.
    fn leave(&mut self) {
        if matches!(self.phase, Phase::Leaving { .. }) {
            return;
        }
        // What is queued would be reset if this is the last to listen.
        self.accept();
        self.listeners.clear();
        self.accept_at = None;
        let until = self.now + LAST_ANSWERS;
        self.phase = Phase::Leaving { until };
    }

    fn accept(&mut self) {
        let mut accepted = Vec::new();
        for listener in &self.listeners {
            loop {
                match listener.accept() {
                    Ok((stream, _)) => accepted.push(stream),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_about_one_connection(&error) => {}
                    Err(error) => {
                        log::warn!("cannot accept: {error}");
                        self.accept_at = Some(self.now + LOOK);
                        break;
                    }
                }
                if accepted.len() >= MOST {
                    // Others have their turn first.
                    self.accept_at = Some(self.now);
                    break;
                }
            }
        }
        for stream in accepted {
            self.greet(stream);
        }
    }

    fn greet(&mut self, mut stream: mio::net::TcpStream) {
        self.last_token += 1;
        let token = self.last_token;
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        if let Err(error) = registry.register(&mut stream, Token(token), both) {
            return log::warn!("cannot register with epoll: {error}");
        }
        if self.connections.len() >= MOST {
            self.connections.pop_first();
        }
        let connection = Connection::new(stream, self.now);
        self.connections.insert(token, connection);
        self.turn(token);
    }

    fn turn(&mut self, token: usize) {
        let Some(mut connection) = self.connections.remove(&token) else {
            return;
        };
        if connection.turn(self.now, |asked| self.answer(asked)) == Turn::Waits {
            self.connections.insert(token, connection);
        }
    }

    fn answer(&self, asked: &Asked) -> Vec<u8> {
        match asked.what {
            What::Ready => message::verdict(&self.health().ready(), asked.head_only),
            What::Live => message::verdict(&self.health().live(), asked.head_only),
            what => message::refusal(what, asked.head_only),
        }
    }

    fn health(&self) -> Health {
        let now = monotonic_milliseconds().unwrap_or_default();
        Health::look(&self.scoreboard, self.orphaned, now)
    }
}

/// Whether accepting the next one may go well.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

const LINK: Token = Token(0);
const FIRST_LISTENER: usize = 1;

/// Most connections at a time.
const MOST: usize = 128;

/// From one look at what no event tells of to the next.
const LOOK: Duration = Duration::from_millis(100);

/// How often the supervisor hears that this process turns.
const BEAT: Duration = Duration::from_secs(1);

/// How long the process stays for those who have asked already.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
